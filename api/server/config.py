"""What an operator can set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Rhythm:
    """How often a machine is asked how it is, in seconds."""

    well: float = 30
    first: float = 1
    """After it has failed; after every further failure twice as long as before."""
    longest: float = 10


@dataclass(frozen=True)
class ServerConfig:
    """Settings of one server process."""

    data: Path
    """Folder for the database, the objects and the secret that signs URLs."""
    database_url: str | None = None
    """SQLAlchemy URL of an async driver; SQLite in `data` when None."""
    objects_url: str | None = None
    """`s3://bucket/prefix` to keep objects in a bucket; in `data` when None. Credentials come from the environment."""
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
    queue_seconds: float = 24 * 3600
    """Longest time that a run may wait for a machine to begin with it, unless its deployment says otherwise."""
    allow_private_addresses: bool = False
    """Whether webhooks, and files that are fetched from a URL, may be on this computer or in its network."""
    comfyui_folders: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Folders of ComfyUIs that the server may start, by the names under which machines ask for them."""
    comfyui_python: Path | None = None
    """The Python that starts them; the one in the folder's own virtual environment, or this one, when None."""
    comfyui_urls: Sequence[str] = ()
    """ComfyUIs that run already, each of which has a machine of the operator's."""
    comfyui_token: str | None = field(default=None, repr=False)
    """A bearer token, or `user:password`, for those."""
    own_folders: Sequence[str] = ()
    """Names among `comfyui_folders`: each of these has a machine of the operator's, too, and is started at once."""
    health: Rhythm = Rhythm()
    builtin_slots: int = 2
    """Runs at once on the built-in machine."""
