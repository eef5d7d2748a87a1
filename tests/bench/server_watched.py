"""A platform that tells how much it holds, for every line that it is sent: `python server_watched.py FOLDER`."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
from pathlib import Path

import psutil
from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import Platform, open_platform

LOOK_SECONDS = 0.01


async def holdings(platform: Platform) -> dict[str, int]:
    """Bytes of memory, open files and tasks, once it has let go of the last run."""
    while any(held.at_work for held in platform.fleet.machines):
        await asyncio.sleep(LOOK_SECONDS)
    gc.collect()
    process = psutil.Process()
    return {"bytes": process.memory_info().rss, "files": process.num_fds(), "tasks": len(asyncio.all_tasks())}


async def main(folder: str) -> None:
    """Serve until nothing more can come on the standard input."""
    async with (
        open_platform(ServerConfig(Path(folder))) as platform,
        serving(platform, host="127.0.0.1", port=0) as url,
    ):
        assert platform.first_start
        # Said where only the program that started this one hears it.
        print(url, platform.first_start.api_key, flush=True)
        gc.freeze()  # as `outpost serve` does
        while await asyncio.to_thread(sys.stdin.readline):
            print(json.dumps(await holdings(platform)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
