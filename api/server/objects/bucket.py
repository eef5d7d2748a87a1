"""Objects in a bucket of S3, or of any store that speaks its protocol. Needs the extra `s3`.

Where it is and who may use it comes from the environment, as for every tool of S3: AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from obstore import delete_async, get_async, head_async, open_writer_async, put_async
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from ...errors import ConfigurationError, Conflict, NotFound, Unavailable
from .chunks import in_pieces
from .keys import KEY, MISSING, check_key
from .stored import Stored

if TYPE_CHECKING:
    from obstore import AsyncWritableFile, GetOptions

log = logging.getLogger("outpost.objects")

T = TypeVar("T")
_URL = re.compile(rf"s3://([a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])(?:/({KEY.pattern})?/?)?")
_PART_BYTES = 8 * 1024 * 1024
_PARTS_AT_ONCE = 2
"""With the part that is being filled, what an upload holds in memory."""
_MAX_PARTS = 10_000
"""S3 takes no more in one upload."""
_READ_BYTES = 4 * 1024 * 1024
_CLEAN_UP_SECONDS = 10
_CHECK_KEY = "outpost-checks-that-it-can-write"
_CODE = re.compile(r"<Code>(\w+)</Code>")
_STATUS = re.compile(r"status code: (\d{3})")


class Bucket:
    """Keeps each object under its key. Made by `open_bucket`."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    async def find(self, key: str) -> Stored:
        """What is known of an object; NotFound when its bytes are not there."""
        check_key(key)
        with _failures("find an object"):
            try:
                meta = await head_async(self._store, key)
            except FileNotFoundError:
                raise NotFound(MISSING) from None
        return Stored(key, meta["size"], meta["last_modified"], meta["e_tag"])

    async def read(self, stored: Stored, *, start: int, stop: int) -> AsyncGenerator[bytes, None]:
        """The bytes from `start` up to and without `stop`; Conflict when they are no longer those that were found."""
        # A request for each piece: one for all would fail when whoever reads takes longer than a request may.
        for offset in range(start, stop, _READ_BYTES):
            yield await self._piece(stored, offset, min(offset + _READ_BYTES, stop))

    async def _piece(self, stored: Stored, start: int, stop: int) -> bytes:
        with _failures("read an object"):
            try:
                options: GetOptions = {"range": (start, stop), "if_match": stored.etag}
                found = await get_async(self._store, stored.key, options=options)
                return bytes(await found.bytes_async())
            except FileNotFoundError:
                raise NotFound(MISSING) from None
            except PreconditionError:
                raise Conflict("The object was replaced while it was read. Read it again.") from None

    async def write(self, key: str, chunks: AsyncIterable[bytes], *, limit: int | None) -> None:
        """Store an object, all of it or nothing: nothing when the chunks fail, or on a cancellation.

        `limit` is the most bytes that may come, if that is known.
        """
        check_key(key)
        part_bytes = max(_PART_BYTES, -(-(limit or 0) // _MAX_PARTS))
        writer = open_writer_async(self._store, key, buffer_size=part_bytes, max_concurrency=_PARTS_AT_ONCE)
        try:
            async for piece in in_pieces(chunks):
                with _failures("take a part of an upload"):
                    await _to_its_end(writer.write(piece))
        except BaseException as error:
            await _abort(writer, error)
            raise
        await self._close(writer, key)

    async def _close(self, writer: AsyncWritableFile, key: str) -> None:
        try:
            with _failures("finish an upload"):
                await _to_its_end(writer.close())
        except asyncio.CancelledError:
            with suppress(Unavailable):  # it has been logged
                await _to_its_end(self.delete(key))
            raise

    async def delete(self, key: str) -> None:
        """Remove an object, if there is one."""
        check_key(key)
        with _failures("delete an object"), suppress(FileNotFoundError):
            await delete_async(self._store, key)


async def open_bucket(url: str, *, check_seconds: float = 20) -> Bucket:
    """The bucket behind `s3://bucket/prefix`; ConfigurationError when no object can be written there."""
    if not (parts := _URL.fullmatch(url)):
        raise ConfigurationError(
            "Objects go to a URL such as s3://bucket/prefix, without a key: "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are read from the environment."
        )
    name, prefix = parts.groups()
    try:
        store = S3Store(
            name,
            prefix=prefix,
            # Plain http only where AWS_ENDPOINT_URL says so; the time is that of one part or piece.
            client_options={"allow_http": True, "connect_timeout": "5s", "timeout": "2m"},
            retry_config={"max_retries": 4, "retry_timeout": timedelta(minutes=1)},
        )
        await asyncio.wait_for(_try(store), check_seconds)
    except (BaseError, OSError, ValueError, asyncio.TimeoutError) as error:
        raise ConfigurationError(
            f"The bucket {name} cannot be used: {_reason(error)}. Check its name, AWS_ENDPOINT_URL, AWS_REGION, "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY."
        ) from None
    return Bucket(store)


async def _try(store: S3Store) -> None:
    await put_async(store, _CHECK_KEY, b"")
    await delete_async(store, _CHECK_KEY)


async def _to_its_end(doing: Awaitable[T]) -> T:
    """What something gives. A cancellation waits for its end: nobody could clean up after half a request."""
    future = asyncio.ensure_future(doing)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await asyncio.wait({future}, timeout=_CLEAN_UP_SECONDS)
        if future.done() and not future.cancelled():
            future.exception()  # nobody else asks for it
        raise


async def _abort(writer: AsyncWritableFile, error: BaseException) -> None:
    """Give an upload up, so that the bucket keeps no part of it."""
    # This is how a writer is told that it failed; there is no method for it, and the stub leaves out the types.
    aborting = asyncio.ensure_future(
        writer.__aexit__(type(error), error, None)  # pyright: ignore[reportUnknownMemberType]
    )
    await asyncio.wait({aborting}, timeout=_CLEAN_UP_SECONDS)
    if not aborting.done() or aborting.exception():
        log.warning("parts of a broken upload may be left in the bucket, until a rule of the bucket removes them")


@contextmanager
def _failures(doing: str) -> Generator[None, None, None]:
    """The bucket's failures as Unavailable. Its own words hold addresses and keys, so they are not passed on."""
    try:
        yield
    except (BaseError, OSError) as error:
        log.warning("the bucket failed to %s: %s", doing, _reason(error))
        raise Unavailable("The store of files does not answer as it should. Try again later.") from None


def _reason(error: Exception) -> str:
    if found := _CODE.search(str(error)) or _STATUS.search(str(error)):
        return f"it answers {found[1]}"
    return "it does not answer"
