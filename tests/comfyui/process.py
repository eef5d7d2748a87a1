"""The process that a ComfyUI runs in."""

import asyncio
import os
import signal
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import aiohttp

LOG_FILE = "comfyui.log"
LOG_TAIL_CHARACTERS = 4000
START_SECONDS = 120
STOP_SECONDS = 5
CTRL_C_SECONDS = 20
ANSWER_TIMEOUT = aiohttp.ClientTimeout(total=5)
POLL_SECONDS = 0.05


class ComfyUIError(Exception):
    """ComfyUI did not start, died, refused a prompt, or did not end one in time."""


class Process:
    """One ComfyUI process. Whoever starts it calls `stop`."""

    def __init__(self, workspace: Path, port: int, process: asyncio.subprocess.Process) -> None:
        self.workspace = workspace
        self.url = f"http://127.0.0.1:{port}"
        self._process = process

    def log(self) -> str:
        return (self.workspace / LOG_FILE).read_text(encoding="utf-8", errors="replace")

    def log_tail(self) -> str:
        return f"The end of its log:\n{self.log()[-LOG_TAIL_CHARACTERS:]}"

    async def wait_until_ready(self, session: aiohttp.ClientSession) -> None:
        """Return once ComfyUI answers, which is after it has loaded its custom nodes.

        Raises ComfyUIError as soon as the process has ended, or after START_SECONDS.
        """
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self._process.returncode is not None:
                raise ComfyUIError(f"ComfyUI ended with {self._process.returncode} at start. {self.log_tail()}")
            try:
                async with session.get("/system_stats", raise_for_status=True, timeout=ANSWER_TIMEOUT):
                    return
            except (aiohttp.ClientConnectionError, asyncio.TimeoutError):
                await asyncio.sleep(POLL_SECONDS)
        raise ComfyUIError(f"ComfyUI does not answer {START_SECONDS} s after its start. {self.log_tail()}")

    async def kill(self) -> None:
        """End the process at once, and without a word."""
        self._process.kill()
        await self._process.wait()

    async def press_ctrl_c(self) -> None:
        """End the process as people do who have started it in a terminal."""
        self._process.send_signal(signal.SIGINT)
        await asyncio.wait_for(self._process.wait(), CTRL_C_SECONDS)

    async def stop(self) -> None:
        """End the process: ask first, kill it STOP_SECONDS later."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except asyncio.TimeoutError:
            await self.kill()


async def launch(
    python: Path, workspace: Path, arguments: list[str], environment: Mapping[str, str], *, port: int | None = None
) -> Process:
    """Start the ComfyUI laid out in `workspace`, at any free port; its output goes to a file there."""
    port = port or free_port()
    options = ["--cpu", "--listen", "127.0.0.1", "--port", str(port), "--disable-auto-launch", *arguments]
    with (workspace / LOG_FILE).open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            python, "main.py", *options, cwd=workspace, env=environment, stdout=log, stderr=asyncio.subprocess.STDOUT
        )
    return Process(workspace, port, process)


def prepare_environment(inherited: Mapping[str, str], extra: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of a ComfyUI: the test's own, `extra`, and what a CPU-only interpreter needs."""
    cpu_build = str(Path(__file__).with_name("cpu_build"))
    own = {
        "PYTHONPATH": cpu_build,
        # The code is the user's installation, seen through links: leave no compiled files in it.
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
    }
    return {**inherited, **own, **extra}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def find_python(repository: Path, environment: Mapping[str, str] = os.environ) -> Path:
    """The interpreter for ComfyUI: OUTPOST_COMFYUI_PYTHON, else that of `.venv-comfyui` beside the package.

    Raises ComfyUIError, with the command that makes it, when there is none.
    """
    relative = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")
    named = environment.get("OUTPOST_COMFYUI_PYTHON")
    python = Path(named) if named else repository / ".venv-comfyui" / relative
    if not python.is_file():
        raise ComfyUIError(
            f"There is no {python}. Make a virtual environment with tests/comfyui/requirements.txt there,"
            " or name the interpreter of another one in OUTPOST_COMFYUI_PYTHON."
        )
    # Not resolve(): a virtual environment's interpreter is a link, and following it would leave the environment.
    return python.absolute()
