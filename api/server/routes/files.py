"""Files: announce one and upload it to a signed URL, upload it in a form, or let the server fetch it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable
from datetime import timedelta
from typing import Any

from ...errors import BadRequest, TooLarge
from ...models import FileFromUrl, FileRename, StoredFile, UploadedFile, UploadRequest, UploadTicket
from ..call import Call
from ..endpoint import FORM, Access, Endpoint
from ..fetching import fetch_url
from ..forms import FormFile, last_name, receive, type_of
from ..objects import checked, safe_name
from ..store.files import FileRow

_ID_PREFIXES = {"image": "img", "video": "vid", "audio": "audio"}


async def upload_file(call: Call, body: UploadRequest | None) -> UploadTicket | UploadedFile:
    """Announce a file and get a URL to PUT it to; or send it in a form at once."""
    if body is None:
        return await receive(call.request, lambda file: _keep_form(call, file))
    check_size(call, body.file_size)
    # Lower case, as aiohttp will read it from the upload's own header.
    row = _new_row(call, last_name(body.file_name or "file"), content_type=body.type.lower(), size=body.file_size)
    await call.platform.store.files.announce(row)
    objects, seconds = call.platform.objects, call.platform.config.url_seconds
    kind: dict[str, Any] = {"key": row.object_key, "content_type": row.content_type, "seconds": seconds}
    return UploadTicket(
        file_id=row.id,
        upload_url=objects.sign(call.base_url, method="PUT", size=row.size, **kind),
        download_url=objects.sign(call.base_url, method="GET", **kind),
        expires_at=call.platform.store.database.now() + timedelta(seconds=seconds),
    )


async def add_file(call: Call, body: FileFromUrl | None) -> StoredFile:
    """Add a file: send it in a form, or name an http(s) URL that the server fetches."""
    if body is None:
        return await receive(call.request, lambda file: _add(call, file.name, file.content_type, file.chunks))
    config = call.platform.config
    fetching = fetch_url(body.url, allow_private=config.allow_private_addresses, max_bytes=config.max_file_bytes)
    async with fetching as found:
        name = last_name(body.file_name or found.name)
        return await _add(call, name, type_of(name, found.content_type), found.chunks())


async def get_file(call: Call, file_id: str) -> StoredFile:
    """Read about a file, with a new URL to it."""
    return _stored(call, await call.platform.store.files.get(call.owner, file_id))


async def rename_file(call: Call, file_id: str, body: FileRename) -> StoredFile:
    """Call a file something else. The URLs to it go on working."""
    return _stored(call, await call.platform.store.files.rename(call.owner, file_id, last_name(body.name)))


async def _keep_form(call: Call, file: FormFile) -> UploadedFile:
    stored = await _add(call, file.name, file.content_type, file.chunks)
    return UploadedFile(file_id=stored.id, file_name=stored.name, file_url=stored.url)


async def _add(call: Call, name: str, content_type: str, chunks: AsyncIterable[bytes]) -> StoredFile:
    row = _new_row(call, name, content_type=content_type, size=0)
    files, objects = call.platform.store.files, call.platform.objects
    await files.announce(row)
    whole = checked(chunks, content_type)
    try:
        size = await objects.put(row.object_key, whole, max_size=call.platform.config.max_file_bytes)
    except BaseException:
        await files.forget(row.id)
        raise
    await files.mark_stored(row.object_key, size=size)
    return _stored(call, await files.get(call.owner, row.id))


def check_size(call: Call, size: int) -> None:
    """Refuse, before a byte is sent, what will be too large."""
    limit = call.platform.config.max_file_bytes
    if size > limit:
        raise TooLarge(f"The file has {size} bytes; this server accepts at most {limit}")


def new_file_id(content_type: str) -> str:
    """An id that tells people what kind of file it is, as the hosted platform's do."""
    return f"{_ID_PREFIXES.get(content_type.partition('/')[0], 'file')}_{secrets.token_hex(8)}"


def _new_row(call: Call, name: str, *, content_type: str, size: int) -> FileRow:
    file_id = new_file_id(content_type)
    key, now = f"files/{file_id}/{safe_name(name)}", call.platform.store.database.now()
    return FileRow(file_id, call.owner.id, name, content_type, size, key, now)


def _stored(call: Call, row: FileRow) -> StoredFile:
    return StoredFile(
        id=row.id,
        name=row.name,
        type=row.content_type,
        size=row.size,
        url=call.platform.rendering.url(call.base_url, key=row.object_key, content_type=row.content_type),
        created_at=row.created_at,
        expires_at=call.platform.store.database.now() + timedelta(seconds=call.platform.config.url_seconds),
    )


ENDPOINTS: list[Endpoint] = [
    Endpoint("POST", "/file/upload", upload_file, Access.RUN, (TooLarge,), form=FORM),
    Endpoint("POST", "/file", add_file, Access.RUN, (BadRequest, TooLarge), form=FORM),
    Endpoint("GET", "/file/{file_id}", get_file, Access.READ_OR_RUN),
    Endpoint("POST", "/file/{file_id}/rename", rename_file, Access.WRITE),
]
