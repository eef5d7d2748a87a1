"""The images that the built-in machine works on."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ... import png
from ...errors import UnsupportedMedia
from ...image_formats import IMAGE_FORMATS

Pixels = NDArray[np.uint8]

MAX_PIXELS = 32 * 1024 * 1024
"""Largest image, in pixels."""

# What Pillow's readers raise for damaged files.
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


@contextmanager
def _opened(data: bytes) -> Generator[Image.Image, None, None]:
    """A picture as Pillow reads it. Raises UnsupportedMedia for bytes that are none, are damaged, or are too large."""
    try:
        Image.init()
        with Image.open(BytesIO(data), formats=[name for name in IMAGE_FORMATS if name in Image.OPEN]) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UnsupportedMedia(f"an image of {width} x {height} pixels is above the limit of {MAX_PIXELS}")
            yield image
    except UnidentifiedImageError as error:
        raise UnsupportedMedia(f"the file is not an image that can be read here ({len(data)} bytes)") from error
    except _UNREADABLE as error:
        raise UnsupportedMedia(f"the image cannot be read: {error}") from error


@dataclass(frozen=True)
class Picture:
    """One image. What was read and is not computed on is written again as the bytes that it came in."""

    size: int
    """In pixels."""
    encoded: bytes = b""
    computed: Pixels | None = None

    @classmethod
    def from_file(cls, data: bytes) -> Picture:
        """The image in a file, of which only the header is read. Raises UnsupportedMedia when it is none."""
        with _opened(data) as image:
            return cls(image.width * image.height, encoded=data)

    @classmethod
    def from_pixels(cls, pixels: Pixels) -> Picture:
        """An image that was computed: [H, W, 3] or [H, W, 4], 0 to 255."""
        return cls(pixels.shape[0] * pixels.shape[1], computed=pixels)

    def pixels(self) -> Pixels:
        """[H, W, 3] or [H, W, 4], 0 to 255. A file is read anew each time: so much is not kept for as long as a run."""
        if self.computed is not None:
            return self.computed
        with _opened(self.encoded) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return np.asarray(image.convert("RGBA" if image.has_transparency_data else "RGB"), np.uint8)

    def to_png(self) -> bytes:
        """The image as a PNG file."""
        return self.encoded if self.encoded.startswith(png.SIGNATURE) else png.encode(self.pixels())
