"""The nodes, as ComfyUI wants them."""

from __future__ import annotations

from importlib.util import find_spec

from . import assets, downloads, external, for_each, host, queued_runs, run_outputs, runs, uploads

_OURS = (runs, queued_runs, for_each, run_outputs, uploads, downloads, assets)

_taken = host.registered_classes()
NODE_CLASS_MAPPINGS: dict[str, type] = {
    **{name: node for family in _OURS for name, node in family.NODES.items()},
    # Another package that has these, too, keeps its own.
    **{name: node for name, node in external.NODES.items() if name not in _taken},
}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {
    name: text for family in (*_OURS, external) for name, text in family.NAMES.items() if name in NODE_CLASS_MAPPINGS
}

# They are loaded by the first execution of a node, and it is at its start that ComfyUI shows what is missing.
for _library in ("httpx", "httpx_sse", "pydantic", "zlib_ng"):
    if find_spec(_library) is None:
        raise ModuleNotFoundError(f"No module named {_library!r}", name=_library)

host.answer_page()
