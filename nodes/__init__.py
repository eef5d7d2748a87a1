"""The nodes, as ComfyUI wants them."""

from __future__ import annotations

from . import runs, uploads

NODE_CLASS_MAPPINGS: dict[str, type] = {**uploads.NODES, **runs.NODES}
NODE_DISPLAY_NAME_MAPPINGS: dict[str, str] = {**uploads.NAMES, **runs.NAMES}
