"""How much memory a large file takes on its way to the server and back."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import threading
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from figures import Figure
from server import serve

SIZE = 1024**3
MEBIBYTE = 1024**2
GOAL = 64.0

TRANSFER = """
import asyncio, sys
from pathlib import Path
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection

async def main(url, key, source, target):
    async with Client(Connection(url, key)) as client:
        small = await client.files.upload(b"warm", content_type="application/octet-stream", name="warm.bin")
        await client.files.download(small.url, max_bytes=10)
        print("ready", flush=True)
        sys.stdin.readline()
        stored = await client.files.upload(source, content_type="application/octet-stream", name="large.bin")
        await client.files.download_to(stored.url, target, max_bytes=2 * 1024**3)

asyncio.run(main(sys.argv[1], sys.stdin.readline().strip(), Path(sys.argv[2]), Path(sys.argv[3])))
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: the size of the file, which is what holding it in memory would take."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, target = folder / "large.bin", folder / "back.bin"
        await asyncio.to_thread(_make, source)
        async with serve(folder / "data") as server:
            client = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", TRANSFER, server.connection.base_url, str(source), str(target)),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
            )
            assert client.stdin and client.stdout
            client.stdin.write(f"{server.connection.api_key}\n".encode())
            assert await client.stdout.readline() == b"ready\n"
            with _growth(client.pid) as of_client, _growth(server.pid) as of_server:
                client.stdin.write(b"go\n")
                assert await client.wait() == 0
            assert target.stat().st_size == SIZE
        yield Figure("stream_1gb_client_rss", of_client[0], "MiB", SIZE / MEBIBYTE, GOAL)
        yield Figure("stream_1gb_server_rss", of_server[0], "MiB", SIZE / MEBIBYTE, GOAL)


def _make(path: Path) -> None:
    block = os.urandom(16 * MEBIBYTE)
    with path.open("wb") as file:
        for _ in range(SIZE // len(block)):
            file.write(block)


@contextmanager
def _growth(pid: int) -> Iterator[list[float]]:
    """By how many MiB the resident memory of a process grew at most, looked at every few milliseconds."""
    process, is_over, grown = psutil.Process(pid), threading.Event(), [0.0]
    before = process.memory_info().rss

    def watch() -> None:
        while not is_over.wait(0.005):
            try:
                grown[0] = max(grown[0], (process.memory_info().rss - before) / MEBIBYTE)
            except psutil.NoSuchProcess:
                return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield grown
    finally:
        is_over.set()
        thread.join()
