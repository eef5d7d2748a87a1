"""Keys of objects: names that the server makes, as parts of a path or of a bucket's URL."""

from __future__ import annotations

import re

from ...errors import NotFound

MISSING = "There is no such object: it was announced and never uploaded, or it was deleted"
_UNSAFE = re.compile(r"[^\w.-]+")
KEY = re.compile(r"(?:[\w-][\w.-]*/)*[\w-][\w.-]*")


def safe_name(name: str) -> str:
    """A file name from outside as the last part of a key: no separators, no leading dot, at most 100 bytes."""
    base = _UNSAFE.sub("_", name.replace("\\", "/").rsplit("/", 1)[-1]).lstrip(".")
    return base.encode()[-100:].decode(errors="ignore").lstrip(".") or "file"


def check_key(key: str) -> None:
    """NotFound for what cannot be the key of an object."""
    if not KEY.fullmatch(key):
        raise NotFound("There is no such object")
