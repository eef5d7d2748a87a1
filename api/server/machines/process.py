"""One ComfyUI process that the server has started: a group of its own, a log, a port, and a certain end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any, BinaryIO

from ...models import Failure
from . import MachineError
from .comfyui_messages import words
from .comfyui_wire import Refused, Unreachable, Wire
from .process_logs import without_escapes

HOST = "127.0.0.1"
OPTIONS = ("--disable-auto-launch", "--preview-method", "auto")
"""For every ComfyUI. Those of the operator come later, and the last of two equal options counts."""
TERM_SECONDS = 5
"""For a process to end after it was asked to, before it is killed."""
POLL_SECONDS = 0.1
PROBE_SECONDS = 120
PORT_TRIES = 3
LOG_TAIL_BYTES = 16 * 1024
GUARD = Path(__file__).with_name("guard.py")

_PROBE = """
import json, torch
count = torch.cuda.device_count() if torch.cuda.is_available() else 0
others = [getattr(torch, name, None) or getattr(torch.backends, name, None) for name in ("mps", "xpu", "npu", "mlu")]
found = any(each.is_available() for each in others if hasattr(each, "is_available"))
print(json.dumps({"cuda": count, "other": found}))
"""


@dataclass(frozen=True)
class Devices:
    """What a ComfyUI can compute on. Neither CUDA devices nor another accelerator: on the processor."""

    cuda: int
    other: bool

    @property
    def options(self) -> list[str]:
        """What to tell ComfyUI, which does not find out by itself that there is only a processor."""
        return [] if self.cuda or self.other else ["--cpu"]

    def environment(self, number: int, inherited: Mapping[str, str]) -> dict[str, str]:
        """Variables that give process `number` a GPU of its own, as far as there are several."""
        if self.cuda < 2:
            return {}
        visible = [each.strip() for each in inherited.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
        names = visible or [str(device) for device in range(self.cuda)]
        return {"CUDA_VISIBLE_DEVICES": names[number % len(names)]}


@dataclass(frozen=True)
class Command:
    """How a ComfyUI is started."""

    python: Path
    folder: Path
    arguments: Sequence[str]
    environment: Mapping[str, str]
    python_name: str = "its Python"
    """What the Python is called where its path must not be told."""


async def find_devices(command: Command) -> Devices:
    """What the ComfyUI's own Python sees, unless its arguments say what it is to use. MachineError without a torch."""
    if any(argument in ("--cpu", "--directml") for argument in command.arguments):
        return Devices(cuda=0, other=True)
    probe = await _spawn(command, ["-c", _PROBE], stdin=DEVNULL, stdout=PIPE, stderr=PIPE)
    try:
        output, errors = await asyncio.wait_for(probe.communicate(), PROBE_SECONDS)
    except asyncio.TimeoutError as error:
        raise _error("The Python of the managed ComfyUI does not tell what devices there are") from error
    finally:
        if probe.returncode is None:
            probe.kill()
            await probe.wait()
    try:
        found: Any = json.loads(output.decode().strip().splitlines()[-1])
        return Devices(int(found["cuda"]), bool(found["other"]))
    except (ValueError, LookupError, TypeError) as error:
        reason = words(errors.decode(errors="replace"))
        raise _error(f"ComfyUI is started with {command.python_name}, which cannot import torch:\n{reason}") from error


async def _spawn(command: Command, line: Sequence[str | Path], **options: Any) -> asyncio.subprocess.Process:
    environment = {**command.environment, "PYTHONUNBUFFERED": "1"}  # so that the log can be read while it is written
    try:
        return await asyncio.create_subprocess_exec(
            command.python, *line, cwd=command.folder, env=environment, **options
        )
    except OSError as error:
        raise _error(f"The Python of the managed ComfyUI cannot be started: {error.strerror}") from error


class ComfyUIProcess:
    """A process that runs, or did. Made by `start`; whoever has it calls `stop`."""

    def __init__(self, process: asyncio.subprocess.Process, command: Command, *, port: int, log: Path) -> None:
        self._process = process
        self._command = command
        self._port = port
        self.url = f"http://{HOST}:{port}"
        self.log = log

    @property
    def is_running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> None:
        """Return when the process has ended."""
        await self._process.wait()

    def ended(self, when: str) -> MachineError:
        """The error for a process that has ended by itself, with the last lines of its log."""
        code = self._process.returncode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return _error(f"ComfyUI {how} {when}. The end of its log:\n{self._log_tail()}")

    def _log_tail(self) -> str:
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - LOG_TAIL_BYTES))
            return words(without_escapes(file.read().decode(errors="replace")).replace("\r", "\n"))

    async def wait_until_ready(self, *, seconds: float) -> None:
        """Return once it answers, which is after it has loaded its custom nodes. MachineError when it does not."""
        deadline = time.monotonic() + seconds
        wire = Wire(self.url, auth_token=None)
        try:
            while True:
                with suppress(Unreachable, Refused):
                    await wire.system_stats(seconds=5)
                    if self.is_running:
                        return
                if not self.is_running:
                    raise self.ended(f"while it started with {self._command.python_name}")
                if time.monotonic() > deadline:
                    tail = f"The end of its log:\n{self._log_tail()}"
                    raise _error(f"ComfyUI does not answer {seconds:g} s after its start. {tail}")
                with suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.wait(), POLL_SECONDS)
        finally:
            await wire.close()

    def has_lost_its_port(self) -> bool:
        """Whether somebody else has the port: it was free when the process was given it."""
        return not self.is_running and not _is_free(self._port)

    async def stop(self) -> None:
        """End the process and everything that it has started: ask first, kill what is left."""
        if self._process.stdin:
            self._process.stdin.close()
        self._end_group(by_force=False)
        with suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.wait(), TERM_SECONDS)
        self._end_group(by_force=True)
        await self.wait()

    def _end_group(self, *, by_force: bool) -> None:
        if sys.platform == "win32":
            force = ["/F"] if by_force else []
            command = ["taskkill", *force, "/T", "/PID", str(self._process.pid)]
            subprocess.run(command, check=False, capture_output=True)
        else:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL if by_force else signal.SIGTERM)


async def start(command: Command, *, options: Sequence[str], log: Path) -> ComfyUIProcess:
    """Start a ComfyUI on a free port, which writes its log to a new file. MachineError when it cannot be started."""
    port = _free_port()
    line = ["main.py", "--listen", HOST, "--port", str(port), *OPTIONS, *options, *command.arguments]
    with _new_file(log) as output:
        process = await _spawn(command, [GUARD, *line], stdin=PIPE, stdout=output, stderr=STDOUT, **_own_group())
    return ComfyUIProcess(process, command, port=port, log=log)


def _new_file(path: Path) -> BinaryIO:
    """A file that only the server's user can read: people's texts and prompts are in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _own_group() -> dict[str, Any]:
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP}
    return {"start_new_session": True}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As ComfyUI's server does: what an earlier connection has left behind does not keep it from the port.
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _error(message: str) -> MachineError:
    return MachineError(Failure(message=message))
