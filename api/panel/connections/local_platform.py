"""Starting and stopping the platform on this computer from the page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from ...connections import HERE
from ...errors import NotSupported, OutpostError
from ..call import Call
from ..discretion import without_places
from ..live.lines import told_in_lines
from .answers import changed, shown
from .here import Here

_PULSE = 0.5
"""Seconds between two lines while it starts."""


async def start_here(call: Call) -> web.StreamResponse:
    """Start the platform and use it. Lines `{state, seconds, log}`, the last of which is `ready` or `failed`."""
    return await told_in_lines(call, _started(call, _here(call)))


async def stop_here(call: Call) -> dict[str, Any]:
    """Stop the platform that this ComfyUI has started. While its connection is chosen the next use starts it again."""
    here = _here(call)
    await asyncio.to_thread(here.stop)
    call.desk.connection_changed()
    return await asyncio.to_thread(shown, here)


async def _started(call: Call, here: Here) -> AsyncGenerator[dict[str, Any], None]:
    clock = asyncio.get_running_loop().time
    began = clock()
    starting = asyncio.ensure_future(here.start(tries_again=True))
    try:
        while not (await asyncio.wait({starting}, timeout=_PULSE))[0]:
            yield {"state": "starting", "seconds": round(clock() - began), "log": await _log_of(here)}
        starting.result()
        told = await changed(call, lambda book: book.using(HERE))
    except OutpostError as error:
        yield {"state": "failed", "text": without_places(error), "log": await _log_of(here)}
    else:
        yield {"state": "ready", "is_shared": here.is_shared, **told}
    finally:
        # It goes on starting when the page is gone, and is there when it comes back.
        starting.add_done_callback(lambda task: task.cancelled() or task.exception())


async def _log_of(here: Here) -> list[str]:
    return [without_places(line) for line in await asyncio.to_thread(here.log_tail)]


def _here(call: Call) -> Here:
    if call.desk.here is None:
        raise NotSupported("This ComfyUI was started by a platform itself, or is none, and starts no further one.")
    return call.desk.here
