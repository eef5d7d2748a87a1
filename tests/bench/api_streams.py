"""A thousand people follow one run: how soon each event has reached them all, and what each of them costs in memory."""

from __future__ import annotations

import asyncio
import json
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
from api_load import listening, wires
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection
from figures import Figure
from server import deploy, program

STREAMS = 1000
TICKS = 16
FIRST_STREAMS = 20
"""Opened before memory is looked at: the first ones pay for what all of them share."""
TICK = re.compile(rb"tick (\d+\.\d+)")
BENCH = Path(__file__).parent


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: a bare handler that sends the same to as many. The value is that of the slowest event."""
    async with program(str(BENCH / "api_bare.py"), until="http://") as (pid, url):
        bare = await _follow(pid, Connection(url.strip(), "no-key"), "/stream")
    with tempfile.TemporaryDirectory() as folder:
        async with program(str(BENCH / "api_clock.py"), folder, until="http://") as (pid, words):
            connection = Connection(*words.split())
            ours = await _follow(pid, connection, f"/run/{await _run_id(connection)}/stream")
    yield Figure("api_streams", max(ours.ages) * 1000, "ms", max(bare.ages) * 1000, 100.0)
    yield Figure("api_streams_median", median(ours.ages) * 1000, "ms", median(bare.ages) * 1000, 100.0)
    yield Figure("api_stream_memory", ours.kilobytes, "KB", bare.kilobytes, 100.0)


async def _run_id(connection: Connection) -> str:
    async with Client(connection) as client:
        deployment = await deploy(client, {"1": {"class_type": "Clock", "inputs": {}}})
    async with wires(connection, 1) as (wire,):
        body = json.dumps({"deployment_id": deployment}).encode()
        return json.loads(await wire.ask("POST", "/run/deployment/queue", body=body))["run_id"]


@dataclass
class _Followed:
    """How it went: for each event how old it was when the last stream had it, and the server's growth per stream."""

    ages: list[float]
    kilobytes: float


class _Ticks:
    """Counts how many streams an event has reached, from the time on when all of them are open."""

    def __init__(self) -> None:
        self.since = float("inf")
        self._counts = defaultdict[bytes, int](int)
        self.ages: list[float] = []
        self.is_complete = asyncio.Event()

    def receive(self, data: bytes) -> None:
        now = time.monotonic()
        for tick in TICK.findall(data):
            self._counts[tick] += 1
            if self._counts[tick] == STREAMS and float(tick) > self.since:
                self.ages.append(now - float(tick))
                if len(self.ages) == TICKS:
                    self.is_complete.set()


async def _follow(pid: int, connection: Connection, path: str) -> _Followed:
    server, ticks = psutil.Process(pid), _Ticks()
    async with AsyncExitStack() as stack:
        for _ in range(FIRST_STREAMS):
            await stack.enter_async_context(listening(connection, path, ticks.receive))
        before = server.memory_info().rss
        for _ in range(STREAMS - FIRST_STREAMS):
            await stack.enter_async_context(listening(connection, path, ticks.receive))
        ticks.since = time.monotonic()
        await asyncio.wait_for(ticks.is_complete.wait(), 120)
        grown = server.memory_info().rss - before
    return _Followed(ticks.ages, grown / (STREAMS - FIRST_STREAMS) / 1000)
