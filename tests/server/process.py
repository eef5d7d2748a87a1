"""The server as a user starts it: a process of its own, which can be killed."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

WAIT_SECONDS = 20
_SERVES = re.compile(r" serves (http://\S+)")
_KEY = re.compile(r"outpost_[\w-]{40,}")


class Process(Protocol):
    """What is known of a process, as `asyncio.subprocess` has it."""

    pid: int
    returncode: int | None
    stdout: asyncio.StreamReader | None

    def send_signal(self, number: int) -> None: ...

    def kill(self) -> None: ...

    async def wait(self) -> int: ...


Launch = Callable[[Sequence[str], Path, Mapping[str, str]], Awaitable[Process]]
"""Begins the command `outpost` with arguments, in a folder, with an environment."""


async def _launch(arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-m", "comfyui_outpost.api.cli", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        cwd=cwd,
        env=environment,
    )


@dataclass
class Server:
    """A server process that serves, or is about to."""

    process: Process
    output: list[str] = field(default_factory=list)
    """What it has said so far, on both of its outputs."""
    _has_begun: asyncio.Event = field(default_factory=asyncio.Event)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Where it serves, once it does."""
        return _SERVES.findall("".join(self.output))[0]

    @property
    def api_key(self) -> str | None:
        """The key that its first start has shown."""
        found = _KEY.findall("".join(self.output))
        assert len(found) <= 1, "a key is shown once"
        return found[0] if found else None

    async def begin(self) -> None:
        """Wait until it serves."""
        await asyncio.wait_for(self._has_begun.wait(), WAIT_SECONDS)
        assert _SERVES.search("".join(self.output)), "".join(self.output)

    async def said(self, part: str) -> str:
        """The first line with this part, once it has been said."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: any(part in line for line in self.output)), WAIT_SECONDS)
        return next(line for line in self.output if part in line)

    async def end(self, number: int) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(number)
        return await asyncio.wait_for(self.process.wait(), WAIT_SECONDS)

    async def listen(self) -> None:
        """Keep what it says, to its end."""
        assert self.process.stdout is not None
        while line := await self.process.stdout.readline():
            self.output.append(line.decode())
            if _SERVES.search(self.output[-1]):
                self._has_begun.set()
            async with self._news:
                self._news.notify_all()
        self._has_begun.set()


@asynccontextmanager
async def started(
    data: Path, *options: str, environment: Mapping[str, str] | None = None, launch: Launch = _launch
) -> AsyncGenerator[Server, None]:
    """A server process on a folder, at any free port, which need not serve yet. If it is still there at the end of the
    block, it is killed. `options` and variables of the `environment` are added."""
    variables = {"PATH": os.environ["PATH"], "HOME": str(data.parent), "PYTHONUNBUFFERED": "1", **(environment or {})}
    process = await launch(["serve", "--port", "0", "--data", str(data), *options], data.parent, variables)
    server = Server(process)
    listening = asyncio.create_task(server.listen())
    try:
        yield server
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        await listening
    assert "Traceback" not in "".join(server.output), "".join(server.output)
