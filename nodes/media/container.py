"""Sound and video files, opened with FFmpeg's libraries (PyAV) in a way that is safe for files of strangers.

A playlist or a script that FFmpeg knows may name other files and addresses, so only real containers are opened, and
nothing but the file itself.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from ...api.errors import UnsupportedMedia
from .files import head_and_size, looks_like, missing_bytes

if TYPE_CHECKING:
    from av.container import InputContainer

_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,flv,asf,ogg,flac,mp3,wav,w64,aiff,au,aac,caf,amr,ac3,gif"
)
_ONLY_THE_FILE = {"format_whitelist": _FORMATS, "protocol_whitelist": "file"}


class Damaged(Exception):
    """What is wrong with a file, found while it was read; the end of a sentence."""


@contextmanager
def opened(source: Path | bytes, *, name: str) -> Generator[InputContainer]:
    """A file of sound or video, open for reading.

    Whatever FFmpeg says against it, then or while it is read, becomes UnsupportedMedia; `name` is what the message
    calls the file. Damaged may be raised inside for what the reader itself finds.
    """
    import av
    from av.error import FFmpegError

    try:
        head, size = head_and_size(source)
    except OSError as error:
        raise UnsupportedMedia(f"{name} cannot be opened: {error.strerror or type(error).__name__}.") from error
    try:
        if lacking := missing_bytes(source):
            raise Damaged(f"its end is missing, {lacking} bytes of it")
        file = BytesIO(source) if isinstance(source, bytes) else str(source.absolute())
        with av.open(file, "r", options=dict(_ONLY_THE_FILE), metadata_errors="replace") as container:
            yield container
        return
    except Damaged as error:
        reason, cause = str(error), error
    except FFmpegError as error:
        reason, cause = f"it is damaged, incomplete, or in no format that is read here ({error.strerror})", error
    raise UnsupportedMedia(f"{name} ({size} bytes, {looks_like(head)}) cannot be read: {reason}.") from cause
