"""What workflows and runs look like: a picture that they have made, or one that was chosen for a workflow."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from functools import partial
from math import inf

from aiohttp import web

from ..client import Client
from ..client.border import allows_private_addresses
from ..client.foreign import ForeignFiles
from ..errors import ConnectionFailed, InvalidInput, TransferError
from ..models import Run, RunStatus
from ..outputs import OutputKind
from .files.kept import Key
from .files.thumbnails import MAX_BYTES, Thumbnails
from .routes import picture
from .runs.contents import items_of

BLANK = base64.b64decode("UklGRhoAAABXRUJQVlA4TA0AAAAvAAAAEAcQERGIiP4HAA==")
"""A WebP of one transparent pixel. An answer without a picture would be an error in the browser's console."""
RUNS = 20
"""How many of the newest runs are looked at."""
FILES = 3
"""How many pictures of a run are tried: the first may be gone, or no picture at all."""
_AT_ONCE = 3
_PATIENCE = 5.0
"""Seconds for all that one cover needs. A browser has six connections to ComfyUI, and those that wait are six."""
_KEPT_SECONDS = 300.0
_NONE_SECONDS = 60.0
"""How long it is remembered that there is none."""
_LATE_SECONDS = 10.0
"""How long it is remembered that none came in time. A browser keeps a blank one as long."""

_NO_PICTURE = (ConnectionFailed, InvalidInput, TransferError)
"""What comes of an address behind which there is no picture, or none that may be fetched."""


class Covers:
    """Finds covers, a few at a time, and remembers them for a while, as it does that there is none."""

    def __init__(
        self,
        thumbnails: Thumbnails,
        *,
        clock: Callable[[], float] = time.monotonic,
        patience: float = _PATIENCE,
    ) -> None:
        self._thumbnails = thumbnails
        self._clock = clock
        self._patience = patience
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def of_workflow(self, client: Client, workflow_id: str) -> bytes:
        """A WebP picture of at most `thumbnails.SIDE` pixels, or BLANK. Raises ApiError, ConnectionFailed."""
        key = "workflow", client.connection.id, workflow_id
        return await self._of(key, partial(self._find, client, workflow_id), seconds=_KEPT_SECONDS)

    async def of_run(self, client: Client, run_id: str) -> bytes:
        """As `of_workflow`, for a run that has ended: what it has put out stays as it is."""
        key = "run", client.connection.id, run_id
        return await self._of(key, partial(self._find_in_run, client, run_id), seconds=inf)

    async def _of(self, key: Key, find: Callable[[], Awaitable[bytes | None]], *, seconds: float) -> bytes:
        async def in_turn() -> bytes | None:
            async with self._limit:
                return await find()

        pictures = self._thumbnails.pictures
        if known := pictures.get(key, now=self._clock()):
            return known
        try:
            found = await asyncio.wait_for(in_turn(), self._patience)
            seconds = seconds if found else _NONE_SECONDS
        except asyncio.TimeoutError:
            found, seconds = None, _LATE_SECONDS
        return pictures.keep(key, found or BLANK, until=self._clock() + seconds)

    async def _find(self, client: Client, workflow_id: str) -> bytes | None:
        workflow = await client.workflows.get(workflow_id, versions=0)
        if workflow.cover_image and (chosen := await self._chosen(client, workflow.cover_image)):
            return chosen
        runs = await client.runs.list(workflow_id=workflow_id, limit=RUNS)
        newest = next((each for each in runs if each.status is RunStatus.SUCCESS), None)
        if newest is None:
            return None
        # Only the hosted platform tells outputs in a list.
        return await (self._made(client, newest) if newest.outputs else self._find_in_run(client, newest.id))

    async def _find_in_run(self, client: Client, run_id: str) -> bytes | None:
        run = await client.runs.get(run_id, queue_position=False)
        return await self._made(client, run) if run.status.is_terminal else None

    async def _chosen(self, client: Client, url: str) -> bytes | None:
        """The picture behind an address that anybody may have written."""
        files = ForeignFiles(trusted_url=client.connection.base_url, allow_private=allows_private_addresses())
        try:
            return await self._thumbnails.small(await files.get(url, max_bytes=MAX_BYTES))
        except _NO_PICTURE:
            return None

    async def _made(self, client: Client, run: Run) -> bytes | None:
        """The first picture that a run has put out; one that is temporary only where there is no other."""
        images = [item for item in items_of(run) if item.url and item.kind is OutputKind.IMAGE]
        for image in sorted(images, key=lambda item: item.is_temporary)[:FILES]:
            try:
                return await self._thumbnails.small(await client.files.download(image.url or "", max_bytes=MAX_BYTES))
            except _NO_PICTURE:
                continue
        return None


def shown(cover: bytes) -> web.Response:
    """The answer with a cover. A browser asks for one that was not there again soon."""
    return picture(cover, seconds=int(_LATE_SECONDS if cover == BLANK else _KEPT_SECONDS))
