"""What an operator can set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class ServerConfig:
    """Settings of one server process."""

    data: Path
    """Folder for the database, the objects and the secret that signs URLs."""
    database_url: str | None = None
    """SQLAlchemy URL of an async driver; SQLite in `data` when None."""
    public_url: str | None = None
    """Origin and path under which clients reach the server, when a proxy hides it; else what each request says."""
    max_file_bytes: int = 16 * 1024 * MEBIBYTE
    max_body_bytes: int = 16 * MEBIBYTE
    url_seconds: float = 24 * 3600
    """How long a signed URL works."""
    keep_alive_seconds: float = 15
    """Silence on a stream after which a comment is sent."""
    lease_seconds: float = 30
    """How long a run stays with a server process that gives no sign of life."""
    run_seconds: float = 3600
    """Longest time that a run may take, unless its deployment says otherwise."""
    builtin_slots: int = 2
    """Runs at once on the built-in machine."""
