"""The connections that are kept on this computer, in one file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .connection import DEFAULT_BASE_URL, Connection
from .errors import ConfigurationError, NotFound
from .shapes import is_array, is_object

HERE = "here"
"""The id of the platform that ComfyUI starts on this computer."""
_FIRST = "first"
"""The id of the connection of a file that was written when there could be only one."""
_LOCK_SECONDS = 15.0
"""How long others may have the file. It takes them milliseconds."""


@dataclass(frozen=True)
class Saved:
    """A connection with what people call it."""

    id: str
    name: str
    connection: Connection


@dataclass(frozen=True)
class Book:
    """All connections, and the id of the one that is used."""

    entries: tuple[Saved, ...] = ()
    current: str | None = None

    @property
    def chosen(self) -> Saved | None:
        """The connection that is used."""
        return next((each for each in self.entries if each.id == self.current), None)

    def find(self, connection_id: str) -> Saved:
        """One of them. Raises NotFound."""
        found = next((each for each in self.entries if each.id == connection_id), None)
        if found is None:
            raise NotFound("There is no such connection on this computer any more.", status=404)
        return found

    def using(self, connection_id: str) -> Book:
        """The same, with another one in use. Raises NotFound."""
        return replace(self, current=self.find(connection_id).id)

    def having(self, saved: Saved) -> Book:
        """The same with one more, or with a new version of one."""
        if any(each.id == saved.id for each in self.entries):
            return replace(self, entries=tuple(saved if each.id == saved.id else each for each in self.entries))
        return replace(self, entries=(*self.entries, saved))

    def without(self, connection_id: str) -> Book:
        """The same without one. Raises NotFound."""
        gone = self.find(connection_id)
        current = None if self.current == gone.id else self.current
        return Book(tuple(each for each in self.entries if each is not gone), current)


def new_id() -> str:
    """An id that no connection has."""
    return secrets.token_hex(8)


def name_for(base_url: str) -> str:
    """What a connection is called that nobody has named."""
    return "ComfyUI Deploy" if base_url == DEFAULT_BASE_URL else urlsplit(base_url).netloc


def read_book(path: Path, *, is_strict: bool = True) -> Book:
    """All that is kept; an empty book where there is no file. Raises ConfigurationError, which shows nothing of it.

    A file that others can read is refused, unless it is about to be written anew.
    """
    try:
        with path.open(encoding="utf-8") as file:
            if is_strict:
                _check_mode(os.fstat(file.fileno()).st_mode, path)
            data: Any = json.load(file)
    except FileNotFoundError:
        return Book()
    except (OSError, ValueError, RecursionError) as error:
        # Neither the file's text nor the parser's message may be shown: both can hold the key.
        reason = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise ConfigurationError(
            f"{path} cannot be read: {reason}. Correct it, or save the connection again."
        ) from None
    rows: Any = data.get("connections") if is_object(data) else None
    if not is_array(rows):
        return Book((_entry(data, path, _FIRST),), _FIRST)
    return Book(tuple(_entry(each, path, new_id()) for each in rows), _text(data, "current") or None)


def folder_here(path: Path) -> Path:
    """The folder of the platform on this computer, beside the settings."""
    return path.absolute().parent / HERE


def change_book(path: Path, change: Callable[[Book], Book], *, replaces_broken: bool = False) -> Book:
    """Read, change and write the file, while no other process does; what it holds then. Raises ConfigurationError.

    Whoever reads meanwhile gets the former content. What cannot be read is given up only if `replaces_broken`.
    """
    if not path.parent.exists():
        path.parent.parent.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
    with _locked(path):
        try:
            before = read_book(path, is_strict=False)
        except ConfigurationError:
            if not replaces_broken:
                raise
            before = Book()
        after = change(before)
        _write(after, path)
    return after


def _write(book: Book, path: Path) -> None:
    rows = [
        {"id": each.id, "name": each.name, "base_url": each.connection.base_url, "api_key": each.connection.api_key}
        for each in book.entries
    ]
    content = json.dumps({"connections": rows, "current": book.current}, indent=2)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(content + "\n")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Generator[None, None, None]:
    from filelock import FileLock, Timeout  # ComfyUI starts without it

    # A file of its own: the settings file itself is replaced while it is locked. The system lets go for the dead.
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_SECONDS, mode=0o600, poll_interval=0.01)
    try:
        lock.acquire()  # pyright: ignore[reportUnknownMemberType] filelock leaves a parameter untyped
    except Timeout:
        raise ConfigurationError(f"Another program keeps {path} to itself. End it, and try again.") from None
    try:
        yield
    finally:
        lock.release()


def _entry(data: Any, path: Path, default_id: str) -> Saved:
    base_url, api_key = _text(data, "base_url") or DEFAULT_BASE_URL, _text(data, "api_key")
    if not api_key:
        raise ConfigurationError(f'{path} has no "api_key". Correct it, or save the connection again.')
    connection = Connection(base_url, api_key)
    return Saved(_text(data, "id") or default_id, _text(data, "name") or name_for(connection.base_url), connection)


def _text(data: Any, name: str) -> str:
    value = data.get(name) if is_object(data) else None
    return value if isinstance(value, str) else ""


def _check_mode(mode: int, path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
        raise ConfigurationError(f"{path} holds an API key and others can read it. Run: chmod 600 '{path}'")
