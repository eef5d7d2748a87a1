"""A server in a process of its own, and the way to run something on it, for measuring."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comfyui_outpost.api.client import Client, ContentCache
from comfyui_outpost.api.settings import Connection
from PIL import Image

ZERO_COMPUTE: dict[str, Any] = {
    "1": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "image"}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}


@dataclass(frozen=True)
class Server:
    """A running `outpost serve`."""

    pid: int
    connection: Connection

    def client(self, contents: ContentCache | None = None) -> Client:
        return Client(self.connection, contents=contents)


@asynccontextmanager
async def serve(folder: Path, *, api_key: str | None = None) -> AsyncGenerator[Server, None]:
    """Start `outpost serve` on a free port; its first words tell the address, and the key unless there is one."""
    command = ["-m", "comfyui_outpost.api.cli", "serve", "--port", "0", "--data", str(folder)]
    async with program(*command, until="http://" if api_key else "Hello Outpost") as (pid, words):
        url, key = re.search(r"http://\S+", words), re.search(r"outpost_\S+", f"{words}{api_key}")
        assert url and key
        yield Server(pid, Connection(url[0], key[0]))


@asynccontextmanager
async def program(*arguments: str, until: str) -> AsyncGenerator[tuple[int, str], None]:
    """A program of Python in a process of its own: its id, and its words up to a line with `until` in it."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-u", *arguments), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout
    try:
        words = ""
        while until not in words:
            line = await asyncio.wait_for(process.stdout.readline(), 60)
            assert line, f"{arguments} did not start"
            words += line.decode()
        yield process.pid, words
    finally:
        process.terminate()
        await process.wait()


async def deploy(client: Client, workflow_api: dict[str, Any], *, machine_id: str | None = None) -> str:
    """Put a graph on a machine, by default the built-in one; the deployment's id."""
    workflow = await client.workflows.create("bench", {}, workflow_api=workflow_api)
    deployment = await client.deployments.create(
        workflow_id=workflow.workflow_id,
        workflow_version_id=workflow.workflow_version_id or "",
        machine_id=machine_id or (await client.machines.list())[0].id,
    )
    return deployment.id


class SilentHost:
    """Executes a node and shows nothing."""

    prompt_id: str | None = None
    folder: Path | None = None

    def progress(self, share: float) -> None:
        pass

    def text(self, text: str) -> None:
        pass

    def preview(self, picture: Image.Image) -> None:
        pass

    def check_interrupted(self) -> None:
        pass
