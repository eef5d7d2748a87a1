"""Answers that are streams of server-sent events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from ..errors import BadRequest
from .call import Call

log = logging.getLogger("outpost.server")

STUCK_SECONDS = 60
"""Without a byte taken, after which a client counts as gone: its connection would be held for ever."""
_MAX_DIGITS = 15


class OpenStreams:
    """The streams that somebody follows. They end with the application: it would wait for them, and they for news."""

    def __init__(self) -> None:
        self._followed: set[asyncio.Task[Any]] = set()
        self._is_over = False

    async def end(self, _: web.Application) -> None:
        """Wait for no more news. A handler of `on_shutdown`."""
        self._is_over = True
        for task in self._followed:
            task.cancel()

    @contextmanager
    def until_the_end(self) -> Generator[None, None, None]:
        """What the current task waits for in this block, it waits for no longer when all streams end."""
        task = asyncio.current_task()
        assert task
        self._followed.add(task)
        if self._is_over:
            task.cancel()
        try:
            yield
        except asyncio.CancelledError:
            if not self._is_over:
                raise
        finally:
            self._followed.discard(task)


STREAMS = web.AppKey("streams", OpenStreams)


def last_event_id(request: web.Request) -> int | None:
    """After which event a stream is to go on, by the header Last-Event-ID. Raises BadRequest."""
    text = request.headers.get("Last-Event-ID")
    if text is None:
        return None
    if not (text.isascii() and text.isdecimal()) or len(text) > _MAX_DIGITS:
        raise BadRequest("Last-Event-ID has to be the id of an event of this stream")
    return int(text)


async def stream(call: Call, news: Callable[[], Awaitable[bytes]], *, what: str) -> web.StreamResponse:
    """Send what `news` gives until that is empty, the client goes, or its key or the server ends.

    `what` is for the log.
    """
    response = web.StreamResponse(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-cache"})
    response.content_type, response.charset = "text/event-stream", "utf-8"
    try:
        await response.prepare(call.request)
        with call.request.app[STREAMS].until_the_end():
            await _tell(call, response, news)
        await response.write_eof()
    except ConnectionResetError:
        pass  # the client is gone
    except Exception:
        # The answer has begun, so there is no other way to say that it is not whole.
        log.exception("the stream of %s broke off", what)
        if call.request.transport:
            call.request.transport.abort()
    return response


async def _tell(call: Call, response: web.StreamResponse, news: Callable[[], Awaitable[bytes]]) -> None:
    """Write what there is, until nothing more comes or the key is not valid any more."""
    clock, keep_alive = asyncio.get_running_loop().time, call.platform.config.keep_alive_seconds
    look_at = clock() + keep_alive
    while chunk := await news():
        if clock() >= look_at:
            if not await call.platform.store.keys.is_valid(call.holder):
                return  # it has been revoked, or has expired
            look_at = clock() + keep_alive
        await _write(call.request, response, chunk)


async def _write(request: web.Request, response: web.StreamResponse, chunk: bytes) -> None:
    """Write to a client that takes it in time; ConnectionResetError when it does not."""

    def break_off() -> None:
        if request.transport:
            request.transport.abort()

    giving_up = asyncio.get_running_loop().call_later(STUCK_SECONDS, break_off)
    try:
        await response.write(chunk)
    finally:
        giving_up.cancel()
