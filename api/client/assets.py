"""Assets: the files that people keep on a platform, in folders."""

from __future__ import annotations

import logging
from pathlib import Path

from ..errors import ConnectionFailed, NotFound, ServerError
from ..models import Asset, AssetTicket
from .pages import read_pages
from .platform import Platform, checked_count, checked_name
from .transfers import Transfers, body_of, form_of

log = logging.getLogger("outpost.files")

# Inside of the class `list` is its method.
AssetList = list[Asset]


class Assets:
    """A library of files. Folders are named by their path, such as `refs/hands`; empty is the topmost.

    Nothing comes into a folder that nobody has made: a server of this package raises NotFound, and only the hosted
    platform does not mind.
    """

    def __init__(self, platform: Platform, *, transfers: Transfers) -> None:
        self._platform = platform
        self._transfers = transfers

    async def list(self, path: str = "") -> AssetList:
        """What is directly in a folder: folders and files. A folder that does not exist is empty."""

        async def page(offset: int, size: int) -> list[Asset]:
            params = {"path": _folder(path) or None, "limit": size, "offset": offset}
            return await self._platform.get("/assets", list[Asset], params=params)

        return await read_pages(page)

    async def search(self, query: str, *, limit: int = 100) -> AssetList:
        """Assets with a part of their name, in all folders."""
        params = {"query": query, "limit": checked_count(limit, name="limit")}
        return await self._platform.get("/assets/search", list[Asset], params=params)

    async def get(self, asset_id: str) -> Asset:
        """One asset, with a URL that works for a while. Raises NotFound."""
        return await self._platform.get(f"/assets/{checked_name(asset_id)}", Asset)

    async def upload(self, source: bytes | Path, *, content_type: str, name: str, parent_path: str = "") -> Asset:
        """Bring bytes or a local file into a folder, through the server itself; `upload_large` goes past it.

        Raises BadRequest for a type that the platform does not take, TooLarge.
        """
        form, kind = form_of(await body_of(source), content_type=content_type, name=name)
        params = {"parent_path": _folder(parent_path) or None}
        asset = await self._platform.post("/assets/upload", Asset, params=params, body=form, content_type=kind)
        return await self._readable(asset)

    async def upload_large(self, source: bytes | Path, *, content_type: str, name: str, parent_path: str = "") -> Asset:
        """Bring bytes or a local file into a folder, piece by piece and however big, straight to the store.

        Raises TransferError when they do not get there, TooLarge when the platform does not take so many.
        """
        body = await body_of(source)
        params = {"file_name": name, "type": content_type, "size": body.size}
        folder = {"parent_path": _folder(parent_path) or None}
        ticket = await self._platform.get("/assets/presigned-url", AssetTicket, params=params | folder)
        # The signature covers these headers: one more or less and the store refuses them.
        acl = {"x-amz-acl": "public-read"} if ticket.is_public else {}
        await self._transfers.put(ticket.url, body, headers={"Content-Type": content_type, **acl})
        log.debug("uploaded %s (%d bytes)", ticket.file_id, body.size)
        asset = await self._register(ticket, size=body.size, content_type=content_type, name=name)
        return asset if ticket.is_public else await self._readable(asset)

    async def add_from_url(self, url: str, *, path: str = "") -> Asset:
        """Keep a file in a folder that the platform fetches from an http(s) URL."""
        return await self._platform.post("/assets/add", Asset, json={"url": url, "path": _folder(path)})

    async def create_folder(self, name: str, *, parent_path: str = "") -> Asset:
        """A new folder. Raises Conflict on a server of this package when there is one already."""
        body = {"name": name, "parent_path": _folder(parent_path)}
        return await self._platform.post("/assets/folder", Asset, json=body)

    async def move(self, asset_id: str, path: str) -> Asset:
        """Put an asset into another folder. Raises NotFound."""
        return await self._platform.patch(f"/assets/{checked_name(asset_id)}", Asset, json={"path": _folder(path)})

    async def rename(self, asset_id: str, name: str) -> Asset:
        """Give an asset another name. Raises NotFound; NotSupported on the hosted platform."""
        asset_id = checked_name(asset_id)
        await self._platform.require_outpost("rename an asset", instead="Upload it under the other name.")
        return await self._platform.patch(f"/assets/{asset_id}", Asset, json={"name": name})

    async def delete(self, asset_id: str) -> None:
        """Delete a file, or a folder with all that is in it. Raises NotFound."""
        await self._platform.delete(f"/assets/{checked_name(asset_id)}")

    async def _readable(self, asset: Asset) -> Asset:
        """An asset with a URL that works: the hosted platform's first one lacks the signature that it may need."""
        return asset if self._platform.is_outpost else await self.get(asset.id)

    async def _register(self, ticket: AssetTicket, *, size: int, content_type: str, name: str) -> Asset:
        body = {
            "file_id": ticket.file_id,
            "file_name": name,
            "file_size": size,
            "db_path": ticket.db_path,
            "url": ticket.download_url,
            "mime_type": content_type,
        }
        try:
            return await self._platform.post("/assets/register", Asset, json=body)
        except (ConnectionFailed, ServerError) as error:
            # It may have been registered although the answer was lost, and a second time is an error.
            try:
                return await self.get(ticket.file_id)
            except (NotFound, ConnectionFailed, ServerError):
                raise error from None


def _folder(path: str) -> str:
    """A folder's path as both platforms know it. The hosted one finds nothing behind a leading slash."""
    return path.strip("/")
