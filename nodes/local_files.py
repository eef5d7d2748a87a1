"""Files of this computer by names that come from outside: what they are called, and where they may be."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path

from ..api.errors import InvalidInput, quote

MAX_LISTED = 2000
"""Most files that are shown to choose from."""
_MAX_STEM, _MAX_SUFFIX = 80, 16
"""Bytes of a name that are kept."""
_BLOCK = 2**20
_DIGITS = 16
"""Of the SHA-256 of a file, in the name of its copy."""
_UNSAFE = re.compile(r"[^\w.-]+")


def safe_name(filename: str) -> str:
    """The last part of a path from anywhere as a name that is good on every system, with the same end.

    Windows keeps names such as CON for itself, whatever follows the dot: put something before or behind the stem.
    """
    base = _UNSAFE.sub("_", filename.replace("\\", "/").rpartition("/")[2]).strip(".")
    stem, dot, suffix = base.rpartition(".")
    if not dot or len(suffix.encode()) > _MAX_SUFFIX:
        stem, dot, suffix = base, "", ""
    stem = stem.encode()[:_MAX_STEM].decode(errors="ignore").strip(".")
    return f"{stem or 'file'}{dot}{suffix}"


def digest_of(path: Path) -> str:
    """The SHA-256 of what is in a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def keep(source: Path, filename: str, *, root: Path, subfolder: str = "outpost") -> str:
    """Copy a file into a folder below `root`; its path from `root`, with slashes.

    The content is a part of the name: what is there already is not copied again, and nothing is overwritten.
    """
    folder, name, digest = root / subfolder, Path(safe_name(filename)), digest_of(source)
    folder.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        other = f"_{number}" if number > 1 else ""
        target = folder / f"{name.stem}_{digest[:_DIGITS]}{other}{name.suffix}"
        if not target.exists():
            _copy(source, target)
        elif not _has(target, source.stat().st_size, digest):
            continue  # somebody has changed it
        return f"{subfolder}/{target.name}"
    raise AssertionError("there is always a next number")


def choose(name: str, *, root: Path) -> Path:
    """The file below `root` with this path. InvalidInput when there is none, or when it leads to another place."""
    home = root.resolve()
    try:
        path = (home / name).resolve()
        is_there = bool(name.strip()) and path.is_relative_to(home) and path.is_file()
    except (OSError, ValueError, RuntimeError):
        raise _not_there(name) from None  # the system's own words have the path in them
    if not is_there:
        raise _not_there(name)
    return path


def listed(root: Path) -> list[str]:
    """The files in a folder and in the folders directly in it, by their paths from there, with slashes."""
    return sorted(islice(_files(root), MAX_LISTED))


@contextmanager
def temporary_folder(home: Path | None) -> Generator[Path, None, None]:
    """A new folder in `home`, or where the system keeps temporary files; it is deleted in the end with all in it."""
    if home:
        home.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="outpost-", dir=home, ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def _files(root: Path) -> Iterator[str]:
    for pattern in ("*", "*/*"):
        for path in root.glob(pattern):
            parts = path.relative_to(root).parts
            if not any(part.startswith(".") for part in parts) and path.is_file():
                yield "/".join(parts)


def _copy(source: Path, target: Path) -> None:
    """A copy that appears only when it is whole."""
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}.part")
    try:
        shutil.copyfile(source, partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _has(path: Path, size: int, digest: str) -> bool:
    return path.is_file() and path.stat().st_size == size and digest_of(path) == digest


def _not_there(name: str) -> InvalidInput:
    return InvalidInput(
        f"There is no file {quote(repr(name))} in the folder that it has to be in. A file of another folder is not "
        "taken, and neither is a link to one: copy it there."
    )
