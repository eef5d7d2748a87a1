"""A server that does nothing but answer, for comparison: `python api_bare.py`."""

from __future__ import annotations

import asyncio
import time

from aiohttp import web

TICK_SECONDS = 0.5


async def answer(request: web.Request) -> web.Response:
    """So many bytes of JSON as the path asks for."""
    return web.Response(
        body=b'"' + b"x" * (int(request.match_info["size"]) - 2) + b'"', content_type="application/json"
    )


async def accept(request: web.Request) -> web.Response:
    """Understand a body, and answer it."""
    body = await request.json()
    return web.json_response({"run_id": body["deployment_id"]})


class Clock:
    """Tells the time on every open stream."""

    def __init__(self) -> None:
        self._next: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            last, self._next = self._next, asyncio.get_running_loop().create_future()
            last.set_result(f"data: tick {time.monotonic()!r}\n\n".encode())

    async def stream(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b":\n\n")
        while True:
            await response.write(await asyncio.shield(self._next))


async def main() -> None:
    """Serve until the process is ended."""
    clock = Clock()
    app = web.Application()
    app.router.add_get("/answer/{size}", answer)
    app.router.add_post("/accept", accept)
    app.router.add_get("/stream", clock.stream)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await clock.tick()


if __name__ == "__main__":
    asyncio.run(main())
