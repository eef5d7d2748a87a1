"""The image formats that are read from files of somebody else's."""

from __future__ import annotations

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF", "TIFF", "BMP", "PPM", "JPEG2000")
"""Not all that Pillow reads: some of the others start programs (EPS), or take anything for an image (TGA)."""
