"""The platform that a ComfyUI starts on this computer, as a process of its own that ends with it.

Nodes and the panel share it. They are on different threads, so everything here waits, and is called from one.
"""

from __future__ import annotations

import asyncio
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from ...connection import Connection
from ...connections import HERE, Book, Saved, change_book, folder_here, read_book
from ...errors import OutpostError, Unavailable
from ...here import ComfyUIFacts, ComfyUIs, address_in
from ...settings import is_in_environment, load_connection, settings_path
from ...shapes import is_object

MARK = "OUTPOST_IS_MACHINE"
"""In the environment of what was started by a platform of ours: it starts no further one."""
NAME = "On this computer"
START_SECONDS = 90.0
_END_SECONDS = 25.0
_FORGIVEN_SECONDS = 30.0
"""After which a start that has failed is tried again by whatever needs the platform."""
_LOG_LINES = 12
_FOR_PEOPLE = re.compile(r"\d{4}-\d\d-\d\d |[\w.]*(Error|Exception)\b")
"""How a line of the log begins, or the last one of a traceback."""
_LOG_AGE = 7 * 24 * 3600.0
_LAUNCHER = Path(__file__).resolve().parents[2] / "launch.py"
_KEPT_BACK = ("OUTPOST_BASE_URL", "OUTPOST_API_KEY")


class Here:
    """One platform, for one ComfyUI. A second ComfyUI of the same user finds it in use and shares it."""

    def __init__(
        self, *, folder: Callable[[], Path], arguments: Callable[[], Sequence[str]], python: Path = Path(sys.executable)
    ) -> None:
        self._folder = folder
        self._arguments = arguments
        self._python = python
        self._lock = threading.Lock()
        self._starter = ThreadPoolExecutor(1, "outpost-start")
        self._stops = 0
        self._launched: subprocess.Popen[bytes] | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._shared: str | None = None
        self._failed_at = float("-inf")
        self._failure = ""
        self.is_starting = False

    def connection(self) -> Connection:
        """The connection that is set up on this computer. If it is this platform, that runs afterwards.

        Raises ConfigurationError, and Unavailable with the reason when the platform cannot be started.
        """
        if not is_in_environment() and read_book(settings_path()).current == HERE:
            self.ensure()
            if (chosen := read_book(settings_path()).chosen) and chosen.id == HERE:
                return chosen.connection
        return load_connection()

    @property
    def is_running(self) -> bool:
        """Whether it runs, as far as this ComfyUI knows."""
        process, shared = self._process, self._shared
        if process is not None and process.poll() is None:
            return True
        return shared is not None and (saved := _saved()) is not None and _address_of(saved) == shared

    @property
    def is_shared(self) -> bool:
        """Whether another ComfyUI has started it, and will end it."""
        return self._shared is not None

    @property
    def is_launched(self) -> bool:
        """Whether a process is on its way that does not serve yet."""
        return self._launched is not None

    def ensure(self, *, tries_again: bool = False) -> None:
        """Start it unless it runs. Raises Unavailable; at once, if that has just failed, unless it `tries_again`."""
        with self._lock:
            if self.is_running:
                return
            if self._process:
                _end(self._process)  # it was killed
                self._process = None
            if not tries_again and time.monotonic() - self._failed_at < _FORGIVEN_SECONDS:
                raise Unavailable(self._failure, status=503)
            self.is_starting = True
            try:
                with _as_sentence():
                    self._start()
            except OutpostError as error:
                self._failed_at, self._failure = time.monotonic(), str(error)
                raise
            finally:
                self.is_starting = False

    async def start(self, *, tries_again: bool = False) -> None:
        """The same for an event loop, none of whose threads it keeps: all who wait share one."""
        act = partial(self.ensure, tries_again=tries_again)
        await asyncio.get_running_loop().run_in_executor(self._starter, act)

    def stop(self) -> None:
        """End the process that this ComfyUI has started, and everything that it has started."""
        self._stops += 1
        if launched := self._launched:
            launched.kill()  # what is starting is not wanted any more; its start ends with that
        with self._lock:
            process, self._process, self._shared = self._process, None, None
            if process:
                _end(process)

    def log_tail(self) -> list[str]:
        """The last lines that it has printed for people: no traceback, which names files of this computer."""
        try:
            lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        return [line[:300] for line in lines if _FOR_PEOPLE.match(line)][-_LOG_LINES:]

    @property
    def _data(self) -> Path:
        return folder_here(settings_path())

    @property
    def _log(self) -> Path:
        return self._data / f"here-{os.getpid()}.log"

    def _start(self) -> None:
        self._data.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._data.mkdir(exist_ok=True, mode=0o700)
        saved = _saved()
        ComfyUIs(self._data).leave(ComfyUIFacts(self._folder().absolute(), self._python, self._arguments()))
        wish = {
            "data": str(self._data),
            "port": urlsplit(saved.connection.base_url).port or 0 if saved else 0,
            "kept_key": saved and saved.connection.api_key,
        }
        stops, process = self._stops, self._launch()
        try:
            self._launched = process
            news = _first_words(process, wish)
            if stops != self._stops:
                raise Unavailable("The platform on this computer was stopped while it started.", status=503)
            if news.get("state") == "ready":
                _keep(Connection(str(news["url"]), str(news["api_key"])), saved)
                self._process, self._shared = process, None
                return
        except BaseException:
            _end(process)
            raise
        finally:
            self._launched = None
        _end(process)
        if news.get("state") == "in use":
            self._share()
            return
        reason = str(news.get("detail") or (self.log_tail() or ["it ended without a word"])[-1])
        raise Unavailable(f"The platform on this computer does not start: {reason}", status=503)

    def _launch(self) -> subprocess.Popen[bytes]:
        environment = {name: value for name, value in os.environ.items() if name not in _KEPT_BACK}
        environment |= {MARK: "1", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        with _new_file(self._log) as log:
            return subprocess.Popen(
                [self._python, _LAUNCHER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=self._data,
                env=environment,
                # Ctrl+C in ComfyUI's terminal is for ComfyUI; what it has started ends with it.
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
                start_new_session=sys.platform != "win32",
            )

    def _share(self) -> None:
        saved = _saved()  # as the ComfyUI has kept it that has started the platform
        if saved is None or _address_of(saved) != saved.connection.base_url:
            reason = "another ComfyUI has just begun to start or to end it. Try again in a moment."
            raise Unavailable(f"The platform on this computer does not start: {reason}", status=503)
        self._shared = saved.connection.base_url


@contextmanager
def _as_sentence() -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise Unavailable(f"The platform on this computer cannot be started: {error.strerror}", status=503) from error


def _saved() -> Saved | None:
    return next((each for each in read_book(settings_path()).entries if each.id == HERE), None)


def _address_of(saved: Saved) -> str | None:
    return address_in(folder_here(settings_path()), saved.connection.api_key)


def _keep(connection: Connection, wanted: Saved | None) -> None:
    """Keep where it is; not if it was `wanted` and has been removed meanwhile."""

    def put(book: Book) -> Book:
        former = book.find(HERE) if wanted else Saved(HERE, NAME, connection)
        return book.having(replace(former, connection=connection))

    change_book(settings_path(), put)


def _first_words(process: subprocess.Popen[bytes], wish: dict[str, Any]) -> dict[str, Any]:
    """What the process tells when it serves, or cannot. Raises Unavailable when it takes too long."""
    assert process.stdin and process.stdout
    said: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    output = process.stdout
    threading.Thread(target=lambda: said.put(output.readline()), daemon=True, name="outpost-here").start()
    with suppress(OSError):  # it has ended already, and its output says so
        process.stdin.write(json.dumps(wish).encode() + b"\n")
        process.stdin.flush()
    try:
        line = said.get(timeout=START_SECONDS)
    except queue.Empty:
        raise Unavailable(
            f"The platform on this computer has not started in {START_SECONDS:g} seconds.", status=503
        ) from None
    try:
        news: Any = json.loads(line)
    except ValueError:
        return {}
    return news if is_object(news) else {}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end by closing its input, and end it when it does not."""
    assert process.stdin and process.stdout
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        if sys.platform != "win32":
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
    process.stdout.close()


def _new_file(path: Path) -> BinaryIO:
    """A log that only its owner can read. Those of ComfyUIs that were closed long ago are removed."""
    for each in path.parent.glob("here-*.log"):
        with suppress(OSError):
            if each == path or time.time() - each.stat().st_mtime > _LOG_AGE:
                each.unlink()
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
