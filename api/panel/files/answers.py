"""Files that the page sends to the platform, to be the inputs of a run."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from ...models import Record
from ...models.files import AssetName
from ...outputs import kind_of_file
from ..call import Call
from .spool import for_the_page, received, type_of


class Arriving(Record):
    """A file whose bytes are the request's body."""

    name: AssetName
    size: int = Field(ge=0)


async def upload_file(call: Call) -> dict[str, Any]:
    """Send a file on to the platform, unless the page goes away. The answer names it by an id.

    Raises OutpostError, TooLarge with the limit.
    """
    arriving = call.query(Arriving)
    # The client first: the file goes where the page meant it, whatever is chosen while it comes.
    async with call.client() as client, received(call, size=arriving.size) as path:
        sending = client.files.upload(path, content_type=type_of(arriving.name), name=arriving.name)
        stored = await for_the_page(call, sending)
        call.desk.sent_files.keep(client, stored.file_id, stored.url)
    kind = kind_of_file(arriving.name).value
    return {"file_id": stored.file_id, "name": arriving.name, "kind": kind, "size": arriving.size}
