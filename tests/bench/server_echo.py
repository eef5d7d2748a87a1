"""A platform whose machine gives back the file that it gets: `python server_echo.py FOLDER`."""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from comfyui_outpost.api.server.app import serving
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.machines import Emit, Job, OutputBytes
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.tests.fakes.deploying import kinds_of
from comfyui_outpost.tests.nodes.machines import ScriptedMachine


async def give_back(job: Job, emit: Emit) -> None:
    """Put out the file behind the input `file`, under its own name."""
    url = str(job.inputs["file"])
    name = url.partition("?")[0].rpartition("/")[2]

    async def chunks() -> AsyncIterator[bytes]:
        async for chunk in job.read_file(url):
            yield chunk

    file = OutputBytes("files", name, "application/octet-stream", chunks())
    await job.outputs.add("1", "", output_id="back", files=[file], texts=[])


async def main(folder: str) -> None:
    """Serve until the program that started this one ends it."""
    kinds = kinds_of({"builtin": ScriptedMachine(give_back)})
    async with (
        open_platform(ServerConfig(Path(folder)), kinds=kinds) as platform,
        serving(platform, host="127.0.0.1", port=0) as url,
    ):
        assert platform.first_start
        # Said where only the program that started this one hears it.
        print(url, platform.first_start.api_key, flush=True)
        gc.freeze()  # as `outpost serve` does
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
