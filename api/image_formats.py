"""The image formats that are read from files of somebody else's."""

from __future__ import annotations

import struct
import zlib

from PIL import Image

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000")
"""Not all that Pillow reads: some of the others start programs (EPS), or take anything for an image (TGA)."""

DAMAGED = (
    OSError,
    SyntaxError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    EOFError,
    OverflowError,
    RuntimeError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
    Warning,
)
"""What Pillow's readers raise for bytes that are not what they seem. Warning: a program may have made them errors."""
