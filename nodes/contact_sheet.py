"""Pictures for the demo: one to begin with, and a sheet that shows several side by side."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..api import png

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

_SIZE = (1024, 768)
_TILE = (480, 360)
_MARGIN, _CAPTION = 24, 44
_PAPER, _INK = (24, 26, 32), (225, 228, 235)


def made_up_picture() -> bytes:
    """A landscape at dusk with the grain of a photograph, always the same, as PNG."""
    width, height = _SIZE
    y: Floats = np.linspace(0, 1, height, endpoint=False, dtype=np.float32)[:, None].repeat(width, axis=1)
    x: Floats = np.linspace(0, 1, width, endpoint=False, dtype=np.float32)[None, :].repeat(height, axis=0)
    sky = np.stack([0.95 - 0.55 * (1 - y), 0.45 + 0.10 * y, 0.55 - 0.25 * y], axis=-1)
    sun = np.exp(-(((x - 0.68) * 1.33) ** 2 + (y - 0.42) ** 2) / 0.006)[..., None]
    picture: Floats = sky + sun * np.array([0.9, 0.75, 0.35], np.float32)
    for depth in range(4):
        ridge = 0.50 + 0.11 * depth + 0.05 * np.sin(x * (5 + 3 * depth) + depth * 1.7) + 0.02 * np.sin(x * 31 + depth)
        shade = np.array([0.38, 0.24, 0.42], np.float32) * (1 - 0.22 * depth) + 0.03
        picture = np.where((y > ridge)[..., None], shade * (1.1 - 0.3 * y[..., None]), picture)
    grain = np.random.default_rng(7).normal(0.0, 0.008, picture.shape)
    return png.encode(((picture + grain).clip(0, 1) * 255).round().astype(np.uint8))


def draw(pictures: Mapping[str, Pixels]) -> bytes:
    """A sheet with the pictures in a row, each under its name, as PNG."""
    width = _MARGIN + len(pictures) * (_TILE[0] + _MARGIN)
    sheet = Image.new("RGB", (width, _TILE[1] + _CAPTION + 2 * _MARGIN), _PAPER)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=22)
    for index, (name, pixels) in enumerate(pictures.items()):
        left = _MARGIN + index * (_TILE[0] + _MARGIN)
        image = Image.fromarray(pixels).convert("RGB")
        height, width = pixels.shape[:2]
        image.thumbnail(_TILE, Image.Resampling.LANCZOS)
        sheet.paste(image, (left + (_TILE[0] - image.width) // 2, _MARGIN + _CAPTION + (_TILE[1] - image.height) // 2))
        pen.text((left, _MARGIN), f"{name}   {width} x {height}", fill=_INK, font=font)
    return png.encode(np.asarray(sheet))
