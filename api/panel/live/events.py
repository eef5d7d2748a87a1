"""The stream of what happens, one for each page that is in sight."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

from aiohttp import web

from ...models import RunStatus
from ..call import Call
from ..routes import SAFE
from .bulletin import Bulletin, News

HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent: only by writing one learns that a page is gone."""
_STUCK = 60.0
"""Seconds after which a page that takes nothing is given up. It comes back by itself."""


async def stream_events(call: Call) -> web.StreamResponse:
    """Server-sent events, from the header Last-Event-ID on; without one, what there is at the moment.

    `hello` says that something may have been missed. It comes after `connection`, where that is known.
    """
    async with call.desk.watcher.listening() as bulletin:
        headers = {**SAFE, "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        response = web.StreamResponse(headers=headers)
        await response.prepare(call.request)
        number = bulletin.number(call.request.headers.get("Last-Event-ID", ""))
        # What is raised for a page that is gone differs between the versions of aiohttp.
        with suppress(ConnectionError, asyncio.TimeoutError):
            while call.desk.watcher.is_watching:
                number = await _write_news(response, bulletin, number)
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(bulletin.grown(number), HEARTBEAT)
                    continue
                await _write(response, b": still here\n\n")
    return response


async def _write_news(response: web.StreamResponse, bulletin: Bulletin, number: int | None) -> int:
    """Send what is newer than `number`, and return how far the page is now."""
    news = None if number is None else bulletin.since(number)
    last = bulletin.last
    if news is None:
        # They are all as of now, so that a page which comes back goes on from now.
        news = [each._replace(number=last) for each in _standing(bulletin, News(last, "hello", {}))]
    told = [_event(each.name, each.data, place=bulletin.place(each.number)) for each in news]
    if told:
        await _write(response, b"".join(told))
    return last


def _standing(bulletin: Bulletin, hello: News) -> list[News]:
    """What a page that comes needs to know beside what it reads by itself: who it speaks to, and what is at work."""
    runs = [each for each in bulletin.all("run") if not RunStatus(each.data["status"]).is_terminal]
    return [*bulletin.all("connection"), hello, *runs]


def _event(name: str, data: Any, *, place: str) -> bytes:
    return f"id: {place}\nevent: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()


async def _write(response: web.StreamResponse, data: bytes) -> None:
    await asyncio.wait_for(response.write(data), _STUCK)
