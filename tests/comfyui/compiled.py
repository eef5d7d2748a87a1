"""Copies of ComfyUIs' code together with what Python makes of it.

A ComfyUI is started often here, and half of its start would be to compile ten megabytes of code again: nothing is
written into the user's own folder.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .installations import CACHE, PYPI_VERSION, Installation, compile_to

OWN_FOLDERS = ("custom_nodes", "input", "models", "output", "temp", "user")
"""What ComfyUI writes into, or reads its user's things from: every workspace has its own, empty at first."""

UNUSED_FOLDERS = (
    "blueprints",
    "notebooks",
    "script_examples",
    "tests",
    "tests-ui",
    "tests-unit",
    "venv",
    "__pycache__",
)
NOT_A_NODE = shutil.ignore_patterns(".*", "__pycache__", "node_modules")
FINGERPRINT_DIGITS = 16


def compiled(installation: Installation, cache: Path = CACHE) -> Path:
    """A folder with the code of an installation as it is now, made on its first use.

    Safe to call from several processes at once.
    """
    if installation.version == PYPI_VERSION:
        return installation.folder  # a copy itself
    target = cache / f"{installation.name}-{_fingerprint(installation.folder)}"
    if not target.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="compiling-") as scratch:
            copy = Path(scratch) / "copy"
            _copy(installation.folder, copy)
            compile_to(copy, target)
    return target


def is_code(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".") and entry.name not in (*OWN_FOLDERS, *UNUSED_FOLDERS)


def link_folder(link: Path, target: Path) -> None:
    """Link a folder, or copy it where links need a privilege that the user lacks (Windows)."""
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError:
        shutil.copytree(target, link, ignore=NOT_A_NODE)


def _copy(source: Path, target: Path) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.is_file():
            shutil.copy2(entry, target)
        elif _is_worth_it(entry):
            shutil.copytree(entry, target / entry.name, ignore=shutil.ignore_patterns("__pycache__"))
        elif is_code(entry):
            link_folder(target / entry.name, entry)
    for kind in (source / "models").iterdir():
        (target / "models" / kind.name).mkdir(parents=True)


def _is_worth_it(folder: Path) -> bool:
    """Whether this is code of ComfyUI itself, and much of it. Who knows what else somebody keeps there."""
    return is_code(folder) and folder.name.partition("_")[0] in ("app", "comfy")


def _fingerprint(folder: Path) -> str:
    """Another one whenever somebody updates or edits the ComfyUI in this folder."""
    facts = [f"{file.relative_to(folder)} {file.stat().st_mtime_ns} {file.stat().st_size}" for file in _files(folder)]
    facts += sorted(entry.name for entry in (*folder.iterdir(), *(folder / "models").iterdir()))
    return hashlib.sha256("\n".join([str(folder), *facts]).encode()).hexdigest()[:FINGERPRINT_DIGITS]


def _files(folder: Path) -> Iterator[Path]:
    """What is copied."""
    for entry in sorted(folder.iterdir()):
        if entry.is_file():
            yield entry
        elif _is_worth_it(entry):
            yield from sorted(file for file in entry.rglob("*") if file.is_file() and file.suffix != ".pyc")
