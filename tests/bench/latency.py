"""How long an event takes from the machine to the node's progress."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import LiveStatus
from comfyui_outpost.api.models import Graph, Lack
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import execution
from figures import Figure, median_ms
from server import SilentHost, deploy

EVENTS = 200
PAUSE = 0.005
GRAPH = {"1": {"class_type": "Anything", "inputs": {}}}


class Metronome:
    """A machine that tells the time, again and again."""

    async def run(self, job: Job, emit: Emit) -> None:
        for number in range(EVENTS):
            await asyncio.sleep(PAUSE)
            emit(LiveStatus(job.run_id, repr(time.perf_counter()), number / EVENTS))

    async def health(self) -> None:
        pass

    async def lacks(self, graph: Graph, inputs: object, *, may_start: bool = False) -> list[Lack]:
        """It has everything."""
        return []

    async def close(self) -> None:
        pass


class Listener(SilentHost):
    """Notes how old each progress is when the node shows it."""

    def __init__(self) -> None:
        self.ages: list[float] = []

    def text(self, text: str) -> None:
        now = time.perf_counter()
        if text[:1].isdigit():
            self.ages.append(now - float(text))


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: a bare byte from one end of a loopback socket to the other."""
    listener = Listener()
    with tempfile.TemporaryDirectory() as folder:
        config = ServerConfig(Path(folder))
        async with (
            open_platform(config, kinds={"builtin": lambda _: Metronome()}) as platform,
            serving(platform, host="127.0.0.1", port=0) as url,
        ):
            assert platform.first_start
            async with Client(Connection(url, platform.first_start.api_key)) as client:
                deployment = await deploy(client, GRAPH)
                await execution.run_deployment(client, listener, deployment_id=deployment, inputs={})
    yield Figure("event_latency", median_ms(listener.ages), "ms", median_ms(await _bare_bytes()), 5.0)


async def _bare_bytes() -> list[float]:
    ages: list[float] = []
    is_done = asyncio.Event()

    async def send(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(EVENTS):
            await asyncio.sleep(PAUSE)
            writer.write(f"{time.perf_counter()!r}\n".encode())
            await writer.drain()
        writer.close()
        is_done.set()

    async with await asyncio.start_server(send, "127.0.0.1", 0) as server:
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
        while line := await reader.readline():
            ages.append(time.perf_counter() - float(line))
        writer.close()
        await is_done.wait()
    return ages
