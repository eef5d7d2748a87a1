"""The library, as the page is told of it."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field

from ..errors import InvalidInput, NotFound, TooLarge
from ..models import Asset, Record, write_timestamp
from ..models.files import AssetName, FolderPath
from ..outputs import kind_of_asset
from .call import Call, Line
from .files.copies import identity_of
from .files.spool import MAX_SHOWN, MAX_UPLOAD, downloaded, for_the_page, passed_on, received, type_of
from .routes import picture

_MAX_FOUND = 100
_LARGE = 8 * 1024 * 1024
"""Bytes from which a file goes straight to the platform's store."""


class Where(Record):
    """A folder of the library, or what to look for in all of it."""

    path: Line = ""
    query: Line = ""


class Arriving(Record):
    """A file whose bytes are the request's body."""

    path: FolderPath = ""
    name: AssetName
    size: int = Field(ge=0)


class Folder(Record):
    """A new folder, in another one."""

    path: FolderPath = ""
    name: AssetName


class Change(Record):
    """Another name, another folder, or both."""

    name: AssetName | None = None
    path: FolderPath | None = None


class Showing(Record):
    """How a file is asked for."""

    save: bool = False
    """Whether it is to be saved, whatever it is."""


async def list_assets(call: Call) -> dict[str, Any]:
    """What is in a folder of the library, or what is found in all of it: folders first. Raises OutpostError."""
    where = call.query(Where)
    query = where.query.strip()
    async with call.client() as client:
        found = await (client.assets.search(query, limit=_MAX_FOUND) if query else client.assets.list(where.path))
    # The hosted platform lists the topmost folder as one that is in itself, without a name.
    named = [each for each in found if each.name]
    shown = [_shown(each) for each in sorted(named, key=lambda each: (not each.is_folder, each.name.casefold()))]
    return {"path": where.path, "assets": shown}


async def upload_asset(call: Call) -> dict[str, Any]:
    """Bring a file into a folder, unless the page goes away meanwhile. Raises OutpostError."""
    arriving = call.query(Arriving)
    kind, name, folder = type_of(arriving.name), arriving.name, arriving.path
    # It comes to the platform that was chosen when the page sent it, however long that takes.
    async with call.client() as client, received(call, size=arriving.size) as path:
        bring = client.assets.upload_large if arriving.size >= _LARGE else client.assets.upload
        return _shown(await for_the_page(call, bring(path, content_type=kind, name=name, parent_path=folder)))


async def create_folder(call: Call) -> dict[str, Any]:
    """Make a folder. Raises OutpostError."""
    body = await call.body(Folder)
    async with call.client() as client:
        return _shown(await client.assets.create_folder(body.name, parent_path=body.path))


async def change_asset(call: Call) -> dict[str, Any]:
    """Give an asset another name, or put it into another folder. Raises OutpostError."""
    body, asset_id = await call.body(Change), call.id("asset_id")
    if body.name is None and body.path is None:
        raise InvalidInput("Nothing was said of what to change of the asset.")
    async with call.client() as client:
        asset = await client.assets.rename(asset_id, body.name) if body.name is not None else None
        asset = await client.assets.move(asset_id, body.path) if body.path is not None else asset
    assert asset
    return _shown(asset)


async def delete_asset(call: Call) -> dict[str, Any]:
    """Delete a file, or a folder with all that is in it. Raises OutpostError."""
    async with call.client() as client:
        await client.assets.delete(call.id("asset_id"))
    return {}


async def show_thumbnail(call: Call) -> web.Response:
    """A small WebP picture of an image. Raises OutpostError; UnsupportedMedia for what is no image."""
    async with call.client() as client:
        return picture(await call.desk.thumbnails.of(client, call.id("asset_id")))


async def show_file(call: Call) -> web.StreamResponse:
    """A file as it is, for looking at and for saving. Raises OutpostError."""
    showing = call.query(Showing)
    async with call.client() as client:
        asset = await client.assets.get(call.id("asset_id"))
        if asset.is_folder or not asset.url:
            raise NotFound(f"The asset {asset.id} is no file that can be read.")
        limit = MAX_UPLOAD if showing.save else MAX_SHOWN
        if not showing.save and (asset.file_size or 0) > limit:
            raise TooLarge(f"{asset.name} is too large to be looked at here. Save it, and open what was saved.")
        identity = identity_of(client.connection.id, asset.id, asset.file_size, asset.updated_at, asset.created_at)
    download = downloaded(call, asset.url, max_bytes=limit)
    return await passed_on(call, identity, download, name=asset.name, is_saved=showing.save)


def _shown(asset: Asset) -> dict[str, Any]:
    time = asset.updated_at or asset.created_at
    return {
        "id": asset.id,
        "name": asset.name,
        "path": asset.path,
        "is_folder": asset.is_folder,
        "kind": None if asset.is_folder else kind_of_asset(asset).value,
        "size": asset.file_size,
        "updated_at": write_timestamp(time) if time else None,
    }
