"""Files that are brought into ComfyUI's input folder, for its own Load nodes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from ...errors import UnsupportedMedia
from ...outputs import OutputKind, kind_of_file, suffix_of
from .copies import remove_forgotten

MAX_BYTES = 4 * 1024**3
LOADED = (OutputKind.IMAGE, OutputKind.VIDEO, OutputKind.AUDIO)
"""What ComfyUI has nodes for that load it from there."""
_UNSAFE = re.compile(r"[^\w.-]+")
_LONGEST = 60
_MARK = "outpost-"
_ARRIVING = f".{_MARK}arriving-"

Download = Callable[[Path], Awaitable[object]]
"""Writes a file of at most MAX_BYTES to a path."""


async def bring(download: Download, *, name: str, kind: OutputKind | None, input_folder: Path) -> str:
    """Download a file, and return what Load nodes call it. The same content is there once.

    It is in the input folder itself: ComfyUI's page takes what is in a folder below for a file that is missing.

    Raises UnsupportedMedia for what no Load node reads, TransferError.
    """
    if (kind or kind_of_file(name)) not in LOADED or kind_of_file(name) not in LOADED:
        raise UnsupportedMedia(
            f"ComfyUI loads images, video and audio, and {name[:_LONGEST]!r} is none. Save it instead."
        )
    await asyncio.to_thread(input_folder.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(remove_forgotten, input_folder, prefix=_ARRIVING)
    with tempfile.TemporaryDirectory(prefix=_ARRIVING, dir=input_folder) as arriving:
        path = Path(arriving) / "file"
        await download(path)
        return await asyncio.to_thread(_kept, path, input_folder, name)


def _kept(path: Path, folder: Path, name: str) -> str:
    with path.open("rb+") as file:
        digest = hashlib.sha256()
        while piece := file.read(1024 * 1024):
            digest.update(piece)
        size = file.tell()
        os.fsync(file.fileno())  # or a computer that fails could have the name, and not all of the file
    final = folder / f"{_MARK}{digest.hexdigest()[:32]}_{_safe(name)}"
    if not final.exists() or final.stat().st_size != size:
        path.replace(final)
    return final.name


def _safe(name: str) -> str:
    """A name that is one on every system, with the end that tells what it is."""
    suffix = suffix_of(name)
    stem = _UNSAFE.sub("_", name[: len(name) - len(suffix)]).strip("._-")[:_LONGEST]
    stem = stem.encode(errors="replace")[: 2 * _LONGEST].decode(errors="ignore")
    return (stem or "file") + suffix
