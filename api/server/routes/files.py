"""Files: announce one and upload it to a signed URL, or upload it in a form."""

from __future__ import annotations

import mimetypes
import secrets
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from aiohttp import BodyPartReader, MultipartReader, web
from aiohttp.http_exceptions import BadHttpMessage

from ...errors import TooLarge, quote
from ...models import UploadRequest, UploadTicket
from ..call import Call, Endpoint, Handler, reply, unprocessable
from ..objects import safe_name
from ..store.files import FileRow

_ID_PREFIXES = {"image": "img", "video": "vid", "audio": "audio"}
_BROKEN_FORM = (ValueError, AssertionError, BadHttpMessage)
"""What aiohttp's reader of forms raises."""


async def upload_file(call: Call) -> web.Response:
    """Two forms at one address: JSON asks for a signed URL, multipart brings the file itself."""
    if call.request.content_type.startswith("multipart/"):
        return await _receive_form(call)
    announced = await call.body(UploadRequest)
    _check_size(call, announced.file_size)
    # Lower case, as aiohttp will read it from the upload's own header.
    row = _new_row(call, announced.file_name or "file", announced.type.lower(), announced.file_size)
    await call.platform.store.files.announce(row)
    return reply(_ticket(call, row))


async def _receive_form(call: Call) -> web.Response:
    """The hosted platform's form: one part named `file`."""
    try:
        parts = await call.request.multipart()
        while (part := await parts.next()) is not None:
            if isinstance(part, BodyPartReader) and part.name == "file":
                return await _receive_part(call, parts, part)
    except _BROKEN_FORM as error:
        raise unprocessable("body", f"is not a whole form: {quote(str(error))}") from error
    raise unprocessable("body.file", "Field required")


async def _receive_part(call: Call, parts: MultipartReader, part: BodyPartReader) -> web.Response:
    name = safe_name(part.filename or "file")
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    row = _new_row(call, name, content_type, 0)
    store, objects = call.platform.store.files, call.platform.objects
    await store.announce(row)
    size = await objects.put(row.object_key, _chunks(parts, part), max_size=call.platform.config.max_file_bytes)
    await store.mark_stored(row.object_key, size=size)
    url = _ticket(call, row).download_url
    answer = {"message": "File uploaded successfully", "file_id": row.id, "file_name": part.filename}
    return reply({**answer, "file_url": url, "download_url": url})


async def _chunks(parts: MultipartReader, part: BodyPartReader) -> AsyncIterator[bytes]:
    while chunk := await part.read_chunk(256 * 1024):
        yield chunk
    await parts.next()  # fails where the form breaks off, so that half a file is not taken for a whole one


def _check_size(call: Call, size: int) -> None:
    limit = call.platform.config.max_file_bytes
    if size > limit:
        raise TooLarge(f"The file has {size} bytes; this server accepts at most {limit}")


def _new_row(call: Call, name: str, content_type: str, size: int) -> FileRow:
    prefix = _ID_PREFIXES.get(content_type.partition("/")[0], "file")
    file_id, name = f"{prefix}_{secrets.token_hex(8)}", safe_name(name)
    return FileRow(file_id, call.owner.id, name, content_type, size, f"files/{file_id}/{name}")


def _ticket(call: Call, row: FileRow) -> UploadTicket:
    objects, seconds = call.platform.objects, call.platform.config.url_seconds
    kind: dict[str, Any] = {"key": row.object_key, "content_type": row.content_type, "seconds": seconds}
    return UploadTicket(
        file_id=row.id,
        upload_url=objects.sign(call.base_url, method="PUT", size=row.size, **kind),
        download_url=objects.sign(call.base_url, method="GET", **kind),
        expires_at=call.platform.store.database.now() + timedelta(seconds=seconds),
    )


ENDPOINTS: list[Endpoint[Handler]] = [Endpoint("POST", "/file/upload", upload_file)]
