"""The nodes, as ComfyUI wants them."""

from __future__ import annotations

from importlib.util import find_spec

from . import runs, uploads

NODE_CLASS_MAPPINGS: dict[str, type] = {**uploads.NODES, **runs.NODES}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {**uploads.NAMES, **runs.NAMES}

# They are loaded by the first execution of a node, and it is at its start that ComfyUI shows what is missing.
for _library in ("httpx", "httpx_sse", "pydantic", "zlib_ng"):
    if find_spec(_library) is None:
        raise ModuleNotFoundError(f"No module named {_library!r}", name=_library)
