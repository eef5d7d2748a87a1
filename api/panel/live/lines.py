"""An answer that comes line by line, each a JSON object, as things happen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Any

from aiohttp import web

from ..call import Call
from ..routes import SAFE


async def told_in_lines(call: Call, lines: AsyncGenerator[Mapping[str, Any], None]) -> web.StreamResponse:
    """Send each line as it comes. When the page is gone, what makes them is ended."""
    headers = {**SAFE, "Content-Type": "application/x-ndjson", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(call.request)
    # What is raised for a page that is gone differs between the versions of aiohttp.
    with suppress(ConnectionError, asyncio.TimeoutError):
        async with aclosing(lines):
            async for line in lines:
                await response.write(json.dumps(line).encode() + b"\n")
    return response
