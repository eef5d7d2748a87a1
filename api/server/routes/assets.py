"""Assets: the files that people keep, in folders."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterable
from contextlib import suppress
from pathlib import PurePosixPath

from ...errors import BadRequest, Conflict, InvalidInput, NotFound, TooLarge
from ...models import (
    Asset,
    AssetAnnouncement,
    AssetChange,
    AssetFromUrl,
    AssetQuery,
    AssetRegistration,
    AssetSearch,
    AssetTicket,
    Message,
    NewFolder,
    ParentFolder,
)
from ..call import Call, unprocessable
from ..endpoint import FORM, Access, Endpoint
from ..fetching import fetch_url
from ..forms import FormFile, last_name, receive, type_of
from ..objects import checked, safe_name
from ..ownership import ASSETS
from ..store.assets import AssetRow
from .files import check_size, new_file_id


async def list_assets(call: Call, query: AssetQuery) -> list[Asset]:
    """List what is in a folder: its folders first, then its files."""
    wanted = query.model_copy(update={"path": _folder(query.path)})
    return [_asset(call, row) for row in await call.platform.store.assets.list(call.owner, wanted)]


async def search_assets(call: Call, query: AssetSearch) -> list[Asset]:
    """Find assets by a part of their name, in all folders."""
    found = await call.platform.store.assets.search(call.owner, query.query, limit=query.limit)
    return [_asset(call, row) for row in found]


async def get_asset(call: Call, asset_id: str) -> Asset:
    """Read about a file or folder, with a new URL to the file."""
    return _asset(call, await call.platform.store.assets.get(call.owner, asset_id))


async def upload_asset(call: Call, query: ParentFolder) -> Asset:
    """Send a file in a form."""

    async def take(file: FormFile) -> Asset:
        return await _keep(call, file.name, file.content_type, file.chunks, folder=query.parent_path)

    return await receive(call.request, take)


async def add_asset(call: Call, body: AssetFromUrl) -> Asset:
    """Let the server fetch a file from an http(s) URL."""
    config = call.platform.config
    fetching = fetch_url(body.url, allow_private=config.allow_private_addresses, max_bytes=config.max_file_bytes)
    async with fetching as found:
        name = last_name(found.name)
        return await _keep(call, name, type_of(name, found.content_type), found.chunks(), folder=body.path)


async def announce_asset(call: Call, query: AssetAnnouncement) -> AssetTicket:
    """Announce a file and get a URL to PUT it to; it has to be registered afterwards."""
    check_size(call, query.size)
    row = _new_row(call, last_name(query.file_name), content_type=query.type.lower(), folder=query.parent_path)
    await call.platform.store.assets.add(row)
    key, kind = str(row.object_key), str(row.mime_type)
    objects, seconds = call.platform.objects, call.platform.config.url_seconds
    return AssetTicket(
        url=objects.sign(call.base_url, method="PUT", key=key, content_type=kind, seconds=seconds, size=query.size),
        download_url=call.platform.rendering.url(call.base_url, key=key, content_type=kind),
        file_id=row.id,
        db_path=row.path,
    )


async def register_asset(call: Call, body: AssetRegistration) -> Asset:
    """Put an announced file, whose bytes have arrived, into the library."""
    store = call.platform.store.assets
    row = await store.announced(call.owner, body.file_id)
    if row.is_folder:
        raise NotFound(f"There is no asset {body.file_id!r} that was announced")
    try:
        size = await call.platform.objects.size(str(row.object_key))
    except NotFound:
        raise Conflict("The file was announced and its bytes have not arrived. PUT them to its URL first.") from None
    return await _mark_stored(call, row, size=size)


async def create_folder(call: Call, body: NewFolder) -> Asset:
    """Make a folder."""
    parent, now = _folder(body.parent_path), call.platform.store.database.now()
    row = AssetRow(
        id=f"folder_{secrets.token_hex(8)}",
        owner_id=call.owner.id,
        name=body.name,
        is_folder=True,
        parent_path=parent,
        path=f"{parent}/{body.name}".lstrip("/"),
        created_at=now,
        updated_at=now,
        stored_at=now,
    )
    await call.platform.store.assets.add(row)
    return _asset(call, row)


async def change_asset(call: Call, asset_id: str, body: AssetChange) -> Asset:
    """Call an asset something else, or move it to another folder."""
    parent = None if body.path is None else _folder(body.path)
    try:
        row = await call.platform.store.assets.change(call.owner, asset_id, name=body.name, parent_path=parent)
    except InvalidInput as error:
        raise unprocessable(("body", str(error.input_id)), str(error)) from error
    return _asset(call, row)


async def delete_asset(call: Call, asset_id: str) -> Message:
    """Delete a file, or a folder with everything in it."""
    for key in await call.platform.store.assets.delete(call.owner, asset_id):
        await call.platform.objects.delete(key)
    return Message(message="Asset deleted successfully")


async def _keep(call: Call, name: str, content_type: str, chunks: AsyncIterable[bytes], *, folder: str) -> Asset:
    row = _new_row(call, name, content_type=content_type, folder=folder)
    assets, objects = call.platform.store.assets, call.platform.objects
    await assets.add(row)
    whole = checked(chunks, content_type)
    try:
        size = await objects.put(str(row.object_key), whole, max_size=call.platform.config.max_file_bytes)
    except BaseException:
        with suppress(NotFound):
            await assets.delete(call.owner, row.id)
        raise
    return await _mark_stored(call, row, size=size)


async def _mark_stored(call: Call, row: AssetRow, *, size: int) -> Asset:
    try:
        return _asset(call, await call.platform.store.assets.mark_stored(call.owner, row.id, size=size))
    except NotFound:  # it was deleted while its bytes came, so nobody else knows of them
        await call.platform.objects.delete(str(row.object_key))
        raise


def _new_row(call: Call, name: str, *, content_type: str, folder: str) -> AssetRow:
    """A file that is not stored yet. The last part of its path is its own, so names need not be unique."""
    asset_id = new_file_id(content_type)
    parent, now = _folder(folder), call.platform.store.database.now()
    suffix = PurePosixPath(safe_name(name)).suffix
    return AssetRow(
        id=asset_id,
        owner_id=call.owner.id,
        name=name,
        is_folder=False,
        parent_path=parent,
        path=f"{parent}/{asset_id}{suffix}".lstrip("/"),
        created_at=now,
        updated_at=now,
        mime_type=content_type,
        object_key=f"{ASSETS}/{asset_id}/{safe_name(name)}",
    )


def _folder(path: str) -> str:
    """The path of a folder in its one spelling: no slash at either end, none twice."""
    return "/".join(part for part in path.split("/") if part)


def _asset(call: Call, row: AssetRow) -> Asset:
    url = None
    if row.object_key and row.mime_type:
        url = call.platform.rendering.url(call.base_url, key=row.object_key, content_type=row.mime_type)
    return Asset.model_validate({**vars(row), "url": url})


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/assets", list_assets, Access.READ),
    Endpoint("GET", "/assets/search", search_assets, Access.READ),
    Endpoint("GET", "/assets/presigned-url", announce_asset, Access.WRITE, (Conflict, TooLarge), may_miss=True),
    Endpoint("POST", "/assets/register", register_asset, Access.WRITE, (Conflict,), may_miss=True),
    Endpoint("POST", "/assets/folder", create_folder, Access.WRITE, (Conflict,), may_miss=True),
    Endpoint("POST", "/assets/upload", upload_asset, Access.WRITE, (TooLarge, Conflict), form=FORM, may_miss=True),
    Endpoint("POST", "/assets/add", add_asset, Access.WRITE, (BadRequest, TooLarge, Conflict), may_miss=True),
    Endpoint("GET", "/assets/{asset_id}", get_asset, Access.READ),
    Endpoint("PATCH", "/assets/{asset_id}", change_asset, Access.WRITE, (Conflict,)),
    Endpoint("DELETE", "/assets/{asset_id}", delete_asset, Access.WRITE),
]
