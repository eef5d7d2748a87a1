"""Where the files are that the page has sent to the platform: the page knows their ids, and no address."""

from __future__ import annotations

from collections import OrderedDict

from ...client import Client
from ...errors import NotFound

_KEPT = 1000


class SentFiles:
    """Remembers the newest, by connection: a file of one platform is none of another."""

    def __init__(self) -> None:
        self._urls: OrderedDict[tuple[str, str], str] = OrderedDict()

    def keep(self, client: Client, file_id: str, url: str) -> None:
        """A file has arrived at the platform."""
        self._urls[client.connection.id, file_id] = url
        while len(self._urls) > _KEPT:
            self._urls.popitem(last=False)

    async def url_of(self, client: Client, file_id: str) -> str:
        """Where a file is. Raises NotFound, NotSupported where only this page knew it and has forgotten it."""
        if url := self._urls.get((client.connection.id, file_id)):
            return url
        found = await client.files.get(file_id)
        if not found.url:
            raise NotFound(f"The platform tells no address of the file {file_id}.")
        return found.url
