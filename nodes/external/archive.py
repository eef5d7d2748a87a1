"""The images in a ZIP file, which may stand for a part of a batch."""

from __future__ import annotations

import zipfile
import zlib
from io import BytesIO

from ...api.errors import InvalidInput, SizeLimitExceeded

_SIGNATURE = b"PK\x03\x04"
_IMAGES = (".png", ".jpg", ".jpeg", ".webp")


def is_archive(data: bytes) -> bool:
    """Whether these are the bytes of a ZIP file."""
    return data.startswith(_SIGNATURE)


def images_in(data: bytes, *, max_bytes: int, max_images: int) -> list[bytes]:
    """The image files in a ZIP file, in its order, unpacked. Raises InvalidInput, SizeLimitExceeded."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            found = [entry for entry in archive.infolist() if entry.filename.lower().endswith(_IMAGES)]
            if not 0 < len(found) <= max_images:
                raise InvalidInput(f"The ZIP file has {len(found)} images, and 1 to {max_images} are taken")
            return _unpacked(archive, found, max_bytes)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise InvalidInput("The ZIP file is damaged or encrypted, or packed in a way that is not known") from error


def _unpacked(archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], max_bytes: int) -> list[bytes]:
    images: list[bytes] = []
    for entry in entries:
        with archive.open(entry) as file:
            # What an archive says of its sizes may be a lie.
            images.append(file.read(max_bytes + 1))
        max_bytes -= len(images[-1])
        if max_bytes < 0:
            raise SizeLimitExceeded("The ZIP file holds more than is read into memory")
    return images
