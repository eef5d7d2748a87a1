"""Server processes that begin at once: forks of a process that has imported everything a server needs.

The imports take longer than all else that a short-lived server does. What a start is like for a user is seen by tests
that use `process.started` without this.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

PROGRAM = "comfyui_outpost.tests.server.forks"
"""This module."""
LONGEST_REQUEST = 65536


@dataclass
class Fork:
    """A process as `asyncio.subprocess` has them."""

    pid: int
    stdout: asyncio.StreamReader
    """All that it says."""
    _news: asyncio.StreamReader
    returncode: int | None = None

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Its exit code, once it has ended; of one that a signal has ended, the signal's number below zero."""
        if self.returncode is None:
            self.returncode = int(await self._news.read())
        return self.returncode


@dataclass(frozen=True)
class Forks:
    """A process that can be forked."""

    _requests: socket.socket

    async def launch(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> Fork:
        """The command `outpost` with these arguments, in a process of its own."""
        request = json.dumps({"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}).encode()
        assert len(request) < LONGEST_REQUEST
        stdout, its_stdout = await _pipe()
        news, its_news = await _pipe()
        socket.send_fds(self._requests, [request], [its_stdout, its_news])
        os.close(its_stdout)
        os.close(its_news)
        return Fork(int(await news.readline()), stdout, news)


async def _pipe() -> tuple[asyncio.StreamReader, int]:
    """A pipe: what comes out of it, and the descriptor to write into."""
    source, target = os.pipe()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(source, "rb", 0)
    )
    return reader, target


@contextmanager
def forks() -> Generator[Forks, None, None]:
    """A process that can be forked until the block ends. It needs POSIX."""
    ours, theirs = socket.socketpair()
    program = [sys.executable, "-u", "-W", "error", "-m", PROGRAM, str(theirs.fileno())]
    # A library with threads of its own would not have them after a fork.
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    with ours, subprocess.Popen(program, pass_fds=[theirs.fileno()], env=environ) as process:
        theirs.close()
        try:
            yield Forks(ours)
        finally:
            ours.close()
            assert process.wait(20) == 0


def _fork_for_each(requests: socket.socket) -> None:
    """Fork for every request, until nobody can ask any more."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody here waits for them
    while True:
        request, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, 2)
        if not request:
            return
        if os.fork() == 0:
            requests.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            _see_to(json.loads(request), *descriptors)
        for each in descriptors:
            os.close(each)


def _see_to(request: dict[str, object], stdout: int, news: int) -> None:
    """Fork the process itself, and tell its id and how it ended. Does not return."""
    pid = os.fork()
    if pid == 0:
        os.close(news)
        _execute(request, stdout)
    os.close(stdout)
    os.write(news, f"{pid}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.write(news, str(os.waitstatus_to_exitcode(status)).encode())
    os._exit(0)


def _execute(request: dict[str, object], stdout: int) -> None:
    """Become the command. Does not return."""
    from comfyui_outpost.api.cli import main

    code: object = 1
    try:
        for standard in (1, 2):
            os.dup2(stdout, standard)
        os.close(stdout)
        os.chdir(str(request["cwd"]))
        os.environ.clear()
        os.environ.update(request["environment"])  # pyright: ignore[reportArgumentType,reportCallIssue]
        code = main(request["arguments"])  # pyright: ignore[reportArgumentType]
    except SystemExit as error:
        code = error.code
    except BaseException:  # noqa: BLE001 (it ends here, as at the end of any process)
        traceback.print_exc()
    finally:
        os._exit(code if isinstance(code, int) else 1)


if __name__ == "__main__":
    from comfyui_outpost.api import cli
    from comfyui_outpost.api.server import app

    assert cli
    assert app
    with socket.socket(fileno=int(sys.argv[1])) as asked:
        _fork_for_each(asked)
