"""Files in the platform's store as they go through a graph: what may be seen of them is no secret."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..api.errors import NotFound, NotSupported, SizeLimitExceeded, TransferError
from ..api.outputs import OutputKind

if TYPE_CHECKING:
    from ..api.client import Client


@dataclass
class Fate:
    """What has become of a file since it was given."""

    is_lost: bool = False
    """Whether the platform has it no more: it has to be uploaded anew."""


@dataclass(frozen=True, repr=False)
class RemoteFile:
    """A value of the type OUTPOST_FILE.

    ComfyUI writes the text of each input of a node that fails into its history. The URL is a permission to read the
    file, so it is not part of that text.
    """

    kind: OutputKind
    file_id: str
    url: str
    filename: str = ""
    expires_at: datetime | None = None
    """When `url` stops working, where it is known."""
    is_asset: bool = False
    """Whether it is in the platform's library, and `file_id` is the id of an asset."""
    connection_id: str = ""
    """`Connection.id` of whoever it was given to: elsewhere it would mean nothing, and its URL is a secret."""
    fate: Fate = field(default_factory=Fate, compare=False)

    def __repr__(self) -> str:
        return f"<{self.kind.value} {'asset' if self.is_asset else 'upload'} {self.file_id}>"

    def has_expired(self, now: datetime, *, margin: timedelta = timedelta()) -> bool:
        """Whether `url` has stopped working, or will within the margin."""
        return self.expires_at is not None and self.expires_at - margin <= now


async def current_url(client: Client, file: RemoteFile) -> str:
    """A URL of the file that works for a while.

    Raises NotFound when an asset has been deleted since, TransferError when the platform has lost what was uploaded, or
    when the connection is another one by now: the node that did it is executed again by the next prompt.
    """
    if file.connection_id != client.connection.id:
        raise _lost(client, file, "was given to another connection than the one that is set up now")
    if file.is_asset:
        return (await client.assets.get(file.file_id)).url or file.url
    url = await _signed(client, file)
    if url is None or not (client.files.knows(file.url) or await client.files.is_there(url)):
        raise _lost(client, file)
    return url


@contextmanager
def reading(client: Client, file: RemoteFile) -> Generator[None, None, None]:
    """Have a file uploaded again by the next prompt when it cannot be read in the block."""
    try:
        yield
    except SizeLimitExceeded:
        raise
    except TransferError as error:
        if file.is_asset:
            raise
        raise _lost(client, file) from error


async def _signed(client: Client, file: RemoteFile) -> str | None:
    """A URL of an upload, a new one where that of the file is about to expire; None when there is none any more."""
    from ..api.client.contents import URL_MARGIN

    now = datetime.now(timezone.utc)
    if not file.has_expired(now, margin=URL_MARGIN):
        return file.url
    try:
        return (await client.files.get(file.file_id)).url
    except NotSupported:
        return None if file.has_expired(now) else file.url
    except NotFound:
        return None


def _lost(client: Client, file: RemoteFile, what: str = "can no longer be read on the platform") -> TransferError:
    file.fate.is_lost = True
    client.files.forget(file.url)
    name = "asset" if file.is_asset else "upload"
    return TransferError(
        f"The {name} {file.file_id} ({file.kind.value}) {what}. Queue the prompt again: it is brought there anew then."
    )
