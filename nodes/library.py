"""Assets: how files of a graph come into the platform's library, and out of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from ..api.errors import Conflict, InvalidInput, NotFound
from ..api.models import Asset
from ..api.outputs import kind_of_asset
from .contents import Content
from .remote_files import RemoteFile
from .waiting import side_by_side

if TYPE_CHECKING:
    from ..api.client import Client, ContentCache

MAX_BYTES = 2 * 1024**3
URL_LIFETIME = timedelta(days=1)


async def save(
    client: Client, cache: ContentCache, contents: Sequence[Content], *, name: str, folder: str
) -> list[Asset]:
    """Contents as assets in a folder, which is made if it is not there, in order.

    What is in the folder under that name already, put there with the same cache and not deleted since, stays as it is.
    """
    stem, path = _checked_name(name), _checked_folder(folder)
    await make_folder(client, path)
    names = [f"{stem}{each.suffix}" for each in contents]
    if len(names) > 1:
        names = [f"{stem}_{number:05}{each.suffix}" for number, each in enumerate(contents, start=1)]

    async def save_one(named: tuple[str, Content]) -> Asset:
        return await _save_one(client, cache, named[1], name=named[0], folder=path)

    return await side_by_side(list(zip(names, contents, strict=True)), save_one)


async def make_folder(client: Client, path: str) -> None:
    """Make a folder of the library, and those that it is in, where they are not there."""
    parent = ""
    for name in path.split("/") if path else ():
        known = await client.assets.list(parent)
        if not any(each.is_folder and each.name == name for each in known):
            with contextlib.suppress(Conflict):  # somebody has made it meanwhile
                await client.assets.create_folder(name, parent_path=parent)
        parent = f"{parent}/{name}".lstrip("/")


def remote_file(client: Client, asset: Asset) -> RemoteFile:
    """An asset as a value in a graph. Raises InvalidInput for a folder."""
    if asset.is_folder or not asset.url:
        raise InvalidInput(f"The asset {asset.id} is a folder and not a file. Choose a file in it.")
    from ..api.client.transfers import expiry_of

    # Where the URL does not tell how long it works, it is taken for the day that platforms give.
    expires_at = expiry_of(asset.url) or datetime.now(timezone.utc) + URL_LIFETIME
    kind, connection_id = kind_of_asset(asset), client.connection.id
    return RemoteFile(kind, asset.id, asset.url, asset.name, expires_at, is_asset=True, connection_id=connection_id)


async def _save_one(client: Client, cache: ContentCache, content: Content, *, name: str, folder: str) -> Asset:
    from ..api.client import Uploaded

    asset: Asset | None = None

    async def upload() -> Uploaded:
        nonlocal asset
        data = await asyncio.to_thread(content.encode)
        asset = await client.assets.upload_large(data, content_type=content.content_type, name=name, parent_path=folder)
        return Uploaded(asset.url or asset.id, asset.id, asset.file_size or 0)

    key = f"asset {folder}/{name} {await asyncio.to_thread(lambda: content.key)}"
    known = await cache.once(client.connection.id, key, upload=upload)
    if asset is None:
        try:
            found = await client.assets.get(known.file_id)
            if found.path.rpartition("/")[0] == folder and found.name == name:
                return found
        except NotFound:
            pass
        # It has been deleted, moved or renamed since.
        cache.forget(client.connection.id, known.url)
        await cache.once(client.connection.id, key, upload=upload)
    return asset or await client.assets.get(known.file_id)


def _checked_name(name: str) -> str:
    name = name.strip()
    if not name or "/" in name or "\\" in name:
        raise InvalidInput("An asset needs a name, without a slash: the folder is given by itself.")
    return name


def _checked_folder(path: str) -> str:
    parts = [part.strip() for part in path.replace("\\", "/").split("/") if part.strip()]
    if any(part in (".", "..") for part in parts):
        raise InvalidInput("The folder of an asset is a path in the library, such as refs/hands, without dots.")
    return "/".join(parts)
