"""Commands whose reader goes away, as `outpost machine logs ID | head` does."""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio.subprocess import PIPE
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.machines.process_logs import ProcessLogs

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows tells in another way that a reader has gone")

SIGPIPE = 128 + 13
"""How a shell tells of a program that has ended because nobody reads it."""


async def _unread(*arguments: str, environment: dict[str, str]) -> tuple[int | None, str]:
    """The exit code of a command that nobody reads, and what it has said on its other output."""
    reader, writer = os.pipe()
    os.close(reader)
    command = (sys.executable, "-m", "comfyui_outpost.api.cli", *arguments)
    process = await asyncio.create_subprocess_exec(
        *command, stdout=writer, stderr=PIPE, env={**os.environ, "PYTHONUNBUFFERED": "", **environment}
    )
    os.close(writer)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, errors.decode()


@pytest.mark.parametrize("bytes_", [10, 1_000_000], ids=["written at the end", "written before"])
async def test_logs_that_nobody_reads_to_the_end_end_quietly(platform: Any, bytes_: int, tmp_path: Path):
    store, owner = platform.parts.store, platform.owner
    machine_id = await store.machines.add(owner.owner, name="m", kind="managed", slots=1, comfyui="gone")
    await platform.parts.fleet.refresh()
    logs = ProcessLogs(platform.parts.config.data / "logs", machine_id)
    logs.new().parent.mkdir()
    logs.new().write_text("x" * bytes_)
    connection = {
        "OUTPOST_BASE_URL": platform.url,
        "OUTPOST_API_KEY": owner.api_key,
        "OUTPOST_SETTINGS": str(tmp_path / "connection.json"),
    }

    assert await _unread("machine", "logs", machine_id, environment=connection) == (SIGPIPE, "")
    assert await _unread("machine", "list", environment=connection) == (SIGPIPE, "")


async def test_help_that_nobody_reads_ends_quietly():
    assert await _unread("serve", "--help", environment={}) == (SIGPIPE, "")
