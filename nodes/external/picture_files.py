"""Pictures as files in ComfyUI's output folder, with the graph in those that can have it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...api.errors import InvalidInput

if TYPE_CHECKING:
    from ..media import Pixels

_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_PNG_LEVEL = 4
"""As ComfyUI's own Save Image."""


def write_picture(pixels: Pixels, path: Path, *, quality: int, texts: Mapping[str, Any]) -> None:
    """Write pixels `[H, W, C]` to a PNG, JPEG or WebP file, by the end of its name. A PNG has the texts, as JSON.

    Raises InvalidInput for transparency in a JPEG.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    channels = pixels.shape[2]
    picture = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    assert picture.mode == _MODES[channels]
    if path.suffix == ".jpg" and channels in (2, 4):
        raise InvalidInput("A jpg has no transparency, and this image has some: choose png or webp as file_type")
    if path.suffix != ".png":
        picture.save(path, quality=quality)
        return
    written = PngInfo()
    for name, value in texts.items():
        if value is not None:
            written.add_text(name, json.dumps(value))
    picture.save(path, pnginfo=written, compress_level=_PNG_LEVEL)
