"""Files: to the platform's store and from it. Presigned URLs are opened without credentials."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..errors import (
    ApiError,
    BadRequest,
    NotFound,
    SizeLimitExceeded,
    TransferError,
    Unprocessable,
    UrlExpired,
)
from ..models import StoredFile, UploadedFile, UploadRequest, UploadTicket
from .changes import given
from .contents import ContentCache, Uploaded, UploadForm
from .http import Body
from .platform import Platform, checked_name
from .transfers import MAX_REPEATS, Transfers, body_of, expiry_of, form_of

log = logging.getLogger("outpost.files")


class Files:
    """The platform's store of files."""

    def __init__(self, platform: Platform, *, transfers: Transfers, contents: ContentCache) -> None:
        self._platform = platform
        self._transfers = transfers
        self._contents = contents
        self._connection_id = platform.connection.id

    async def upload(self, source: bytes | Path, *, content_type: str, name: str) -> Uploaded:
        """Bring bytes or a local file into the store. A file is sent piece by piece, however big it is.

        Raises TransferError when they do not get there, TooLarge when the platform does not take so many.
        """
        body = await body_of(source)
        form = self._contents.form(self._connection_id)
        if form is not UploadForm.MULTIPART:
            try:
                stored = await self._upload_with_ticket(body, content_type=content_type, name=name)
                self._contents.learn_form(self._connection_id, UploadForm.TICKET)
                return stored
            except ApiError as error:
                if form or self._platform.is_outpost or not _means_no_tickets(error):
                    raise
        stored = await self._upload_multipart(body, content_type=content_type, name=name)
        self._contents.learn_form(self._connection_id, UploadForm.MULTIPART)
        return stored

    async def upload_once(
        self, digest: bytes | str, make: Callable[[], Awaitable[bytes | Path]], *, content_type: str, name: str
    ) -> Uploaded:
        """The file with this digest, uploaded only if no client of the same content cache has done so before.

        `make` gives the bytes, or a local file, and is called only for an upload. The same pixels in another format are
        another content: the digest has to tell them apart.
        """

        async def upload() -> Uploaded:
            return await self.upload(await make(), content_type=content_type, name=name)

        digest = digest.hex() if isinstance(digest, bytes) else digest
        return await self._contents.once(self._connection_id, digest, upload=upload)

    def forget(self, url: str) -> None:
        """Upload the content behind this URL again the next time: a machine could not read it."""
        self._contents.forget(self._connection_id, url)

    def knows(self, url: str) -> bool:
        """Whether this URL is that of an upload with the same content cache which has not been forgotten."""
        return self._contents.knows(self._connection_id, url)

    async def is_there(self, url: str) -> bool:
        """Whether something can be read behind a URL. Its content is not fetched where its size is announced."""
        try:
            await self._transfers.get(url, max_bytes=0)
        except SizeLimitExceeded:
            return True
        except TransferError:
            return False
        return True

    async def download(self, url: str, *, max_bytes: int) -> bytes:
        """The bytes behind a URL. Raises SizeLimitExceeded, UrlExpired, TransferError."""
        return await self._transfers.get(url, max_bytes=max_bytes)

    async def download_to(
        self, url: str, path: Path, *, max_bytes: int, on_size: Callable[[int], Awaitable[None]] | None = None
    ) -> int:
        """Write what is behind a URL to a file, which appears only when it is whole; returns its size in bytes.

        `on_size` is awaited before the first byte is written, with how many there will be at most.
        Raises SizeLimitExceeded, UrlExpired, TransferError.
        """
        return await self._transfers.get_to(url, path, max_bytes=max_bytes, on_size=on_size)

    async def get(self, file_id: str) -> StoredFile:
        """A file, with a URL that works for a while. Raises NotFound; NotSupported on the hosted platform."""
        file_id = checked_name(file_id)
        await self._require_files()
        return await self._platform.get(f"/file/{file_id}", StoredFile)

    async def add(self, source: bytes | Path, *, content_type: str, name: str) -> StoredFile:
        """Bring bytes or a local file into the store through the server itself. Mostly `upload` is what you want.

        Raises TooLarge; NotSupported on the hosted platform.
        """
        await self._require_files()
        form, kind = form_of(await body_of(source), content_type=content_type, name=name)
        return await self._platform.post("/file", StoredFile, body=form, content_type=kind)

    async def add_from_url(self, url: str, *, name: str | None = None) -> StoredFile:
        """Let the server fetch a file from an http(s) URL. Without a name it is called as in the URL.

        Raises BadRequest or Unprocessable when it cannot be had; NotSupported on the hosted platform.
        """
        await self._require_files()
        return await self._platform.post("/file", StoredFile, json={"url": url} | given(file_name=name))

    async def rename(self, file_id: str, name: str) -> StoredFile:
        """Give a file another name. Raises NotFound; NotSupported on the hosted platform."""
        file_id = checked_name(file_id)
        await self._require_files()
        return await self._platform.post(f"/file/{file_id}/rename", StoredFile, json={"name": name})

    async def _require_files(self) -> None:
        # The hosted platform would take these calls for orders to download a model.
        await self._platform.require_outpost("look up, rename or fetch files", instead="Use assets for that.")

    async def _upload_with_ticket(self, body: Body, *, content_type: str, name: str) -> Uploaded:
        request = UploadRequest(type=content_type, file_size=body.size, file_name=name).model_dump()
        for repeats in range(MAX_REPEATS + 1):
            ticket = await self._platform.post("/file/upload", UploadTicket, json=request)
            try:
                await self._transfers.put(ticket.upload_url, body, headers={"Content-Type": content_type})
            except UrlExpired:
                if repeats == MAX_REPEATS:
                    raise
                continue
            log.debug("uploaded %s (%d bytes)", ticket.file_id, body.size)
            expires_at = ticket.expires_at or expiry_of(ticket.download_url)
            return Uploaded(ticket.download_url, ticket.file_id, body.size, expires_at)
        raise AssertionError("the loop above returns or raises")

    async def _upload_multipart(self, body: Body, *, content_type: str, name: str) -> Uploaded:
        form, kind = form_of(body, content_type=content_type, name=name)
        uploaded = await self._platform.post("/file/upload", UploadedFile, body=form, content_type=kind)
        log.debug("uploaded %s (%d bytes)", uploaded.file_id, body.size)
        return Uploaded(uploaded.file_url, uploaded.file_id, body.size, expiry_of(uploaded.file_url))


def _means_no_tickets(error: ApiError) -> bool:
    """Whether a platform refused to give a ticket because it has none; the hosted one says that a field is missing."""
    return isinstance(error, (Unprocessable, BadRequest, NotFound)) or error.status == 405
