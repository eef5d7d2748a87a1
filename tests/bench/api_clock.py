"""A platform whose machine tells the time, again and again: `python api_clock.py FOLDER`."""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from itertools import count
from pathlib import Path

from comfyui_outpost.api.events import LiveStatus
from comfyui_outpost.api.models import Graph, Lack
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.server.platform import open_platform

TICK_SECONDS = 0.5


class Clock:
    """A machine whose runs never end."""

    async def run(self, job: Job, emit: Emit) -> None:
        """Progress, which is kept nowhere, and outputs, which are kept in the log first, take turns."""
        for number in count():
            await asyncio.sleep(TICK_SECONDS)
            tick = f"tick {time.monotonic()!r}"
            if number % 2:
                await job.outputs.add("1", "Clock", output_id=None, files=[], texts=[tick])
            else:
                emit(LiveStatus(job.run_id, tick, 0.5))

    async def health(self) -> None:
        """It always goes."""

    async def lacks(self, graph: Graph, inputs: object, *, may_start: bool = False) -> list[Lack]:
        """It has everything."""
        return []

    async def close(self) -> None:
        """There is nothing to put away."""


async def main(folder: str) -> None:
    """Serve until the process is ended."""
    config = ServerConfig(Path(folder))
    async with (
        open_platform(config, kinds={"builtin": lambda _: Clock()}) as platform,
        serving(platform, host="127.0.0.1", port=0) as url,
    ):
        assert platform.first_start
        # Said where only the program that started this one hears it.
        print(url, platform.first_start.api_key, flush=True)
        gc.freeze()  # as `outpost serve` does
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
