"""What is known of an object whose bytes are there."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class Stored:
    """An object as it was when it was looked for."""

    key: str
    size: int
    modified: datetime
    etag: str | None
    """Changes with the bytes; quoted as in the header ETag. None when the store has none."""
    path: Path | None = None
    """Its file, when it is one on this computer."""
