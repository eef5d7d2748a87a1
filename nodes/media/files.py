"""Files of media: one that is ready to be sent, where new ones go, and what the first bytes of one look like."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

CONTENT_TYPES = {
    ".aac": "audio/aac",
    ".avi": "video/x-msvideo",
    ".exr": "image/x-exr",
    ".flac": "audio/flac",
    ".gif": "image/gif",
    ".latent": "application/octet-stream",
    ".m4a": "audio/mp4",
    ".m4v": "video/x-m4v",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp3": "audio/mpeg",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".ts": "video/mp2t",
    ".wav": "audio/wav",
    ".webm": "video/webm",
    ".webp": "image/webp",
}
"""What a file is called on the wire, by the end of its name."""

_HEAD_BYTES = 64
_MP4_PARTS = (b"ftyp", b"moov", b"mdat", b"moof", b"mfra", b"free", b"skip", b"wide", b"sidx", b"styp", b"uuid")
_UNBOUNDED = (0, 0xFFFFFFFF)  # sizes of a RIFF file that was written without knowing its end

_RIFF_FORMATS = {b"WAVE": "a WAV sound", b"AVI ": "an AVI video", b"WEBP": "a WebP image"}
EXR_SIGNATURE = b"\x76\x2f\x31\x01"
_LOOKS_LIKE = (
    (b"\x89PNG", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF8", "a GIF image"),
    (b"BM", "a BMP image"),
    (b"II*\0", "a TIFF image"),
    (b"MM\0*", "a TIFF image"),
    (EXR_SIGNATURE, "an OpenEXR image"),
    (b"\x1aE\xdf\xa3", "a WebM or Matroska video"),
    (b"OggS", "an Ogg file"),
    (b"fLaC", "a FLAC sound"),
    (b"ID3", "an MP3 sound"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"glTF", "a glTF model"),
    (b"#EXTM3U", "a playlist"),
    (b"<", "HTML, XML or SVG text"),
    (b"{", "JSON text"),
    (b"[", "JSON text"),
)


@dataclass(frozen=True)
class MediaFile:
    """A file that is ready to be sent.

    It is either one that was made in the folder that the caller gave, or a file of the user's own, which must stay.
    """

    path: Path
    content_type: str

    @property
    def suffix(self) -> str:
        """The end of its name, with the dot and in small letters."""
        return self.path.suffix.lower()


def new_file(folder: Path, suffix: str) -> MediaFile:
    """A name in `folder` that no file has, with the content type that goes with its suffix."""
    return MediaFile(folder / f"{uuid4().hex}{suffix}", CONTENT_TYPES[suffix])


def head_and_size(source: Path | bytes) -> tuple[bytes, int]:
    """The first bytes of a file, and how many it has. OSError where it cannot be opened."""
    if isinstance(source, bytes):
        return source[:_HEAD_BYTES], len(source)
    with source.open("rb") as file:
        return file.read(_HEAD_BYTES), source.stat().st_size


def looks_like(data: bytes) -> str:
    """What a file seems to be by its first bytes, as the rest of a sentence about it."""
    if not data:
        return "empty"
    if data[4:8] == b"ftyp":
        return "which look like an MP4 video or an AVIF image"
    if data.startswith(b"RIFF"):
        return f"which look like {_RIFF_FORMATS.get(data[8:12], 'a WebP image or another RIFF file')}"
    start = data[:_HEAD_BYTES].lstrip()
    kinds = (kind for signature, kind in _LOOKS_LIKE if start.startswith(signature))
    return f"which look like {next(kinds, f'nothing known and start with {data[:8].hex(chr(32))}')}"


def missing_bytes(source: Path | bytes) -> int:
    """How many bytes a WAV, AVI, MP4 or MOV file lacks by what it says of its parts; 0 for any other.

    FFmpeg takes most files that are cut off for shorter ones.
    """
    if isinstance(source, bytes):
        return _missing(BytesIO(source), len(source))
    with source.open("rb") as file:
        return _missing(file, source.stat().st_size)


def _missing(file: BinaryIO, size: int) -> int:
    head = file.read(12)
    if head.startswith((b"RIFF", b"RF64")) and len(head) == 12:
        announced = int.from_bytes(head[4:8], "little")
        return 0 if announced in _UNBOUNDED else max(0, announced + 8 - size)
    place = 0
    while place < size:
        file.seek(place)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1:  # the real length is too long for four bytes
            length = int.from_bytes(head[8:16], "big")
        if head[4:8] not in _MP4_PARTS or length < 8:
            return 0  # something that others append, or the last part, which says that it goes on to the end
        place += length
    return place - size
