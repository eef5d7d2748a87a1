"""The servers that tests talk to leave nothing behind."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

import pytest
from aiohttp import web
from comfyui_outpost.tests.fakes.serving import end


@pytest.mark.parametrize("turns", range(6))
async def test_a_connection_that_comes_as_a_server_ends_is_ended_with_it(turns: int):
    """`turns`: of the event loop between the two."""
    runner = web.AppRunner(web.Application(), shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    with socket.create_connection(runner.addresses[0]) as client:
        client.setblocking(False)
        for _ in range(turns):
            await asyncio.sleep(0)
        await end(runner)
        with suppress(ConnectionResetError):  # where nobody has taken it up
            assert await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 1), 20) == b""
