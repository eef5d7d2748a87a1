"""What the platform on this computer and the ComfyUIs that share it leave for each other, in a folder of their user's.

The platform leaves where it serves, and proves there that it knows the key: another program may listen where it was. A
ComfyUI leaves what a second one of its folder is started with, and gets a machine for it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from .shapes import is_array, is_object

PROOF_PATH = "/here/"
"""Where the platform answers a question, which comes after it, with its proof."""
_ADDRESS = "address.json"
_COMFYUIS = "comfyuis"
_PATIENCE = 3.0
"""Seconds in which a platform has to prove itself."""
_LONGEST_ANSWER = 4096
"""Bytes, with all headers."""
_LONGEST_NAME = 100


class ComfyUIFacts(NamedTuple):
    """What a second ComfyUI of the same folder is started with."""

    folder: Path
    python: Path
    arguments: Sequence[str] = ()

    @property
    def name(self) -> str:
        """Under which the platform knows the folder: another one for another folder."""
        digest = hashlib.sha256(str(self.folder).encode()).hexdigest()
        return f"{self.folder.name[:_LONGEST_NAME]}-{digest[:6]}"


class ComfyUIs(Mapping[str, Path]):
    """The folders of the ComfyUIs that have left what they are started with, by their names, as it is now."""

    def __init__(self, data: Path) -> None:
        self._place = data / _COMFYUIS

    def leave(self, facts: ComfyUIFacts) -> None:
        """Leave what a ComfyUI is started with. Raises OSError."""
        self._place.mkdir(exist_ok=True, mode=0o700)
        left = {"folder": str(facts.folder), "python": str(facts.python), "arguments": list(facts.arguments)}
        _write(self._place / f"{facts.name}.json", left)

    def facts(self, folder: Path | None) -> ComfyUIFacts | None:
        """What the ComfyUI of a folder is started with."""
        return next((each for each in self._all() if each.folder == folder), None)

    def __getitem__(self, name: str) -> Path:
        found = next((each.folder for each in self._all() if each.name == name), None)
        if found is None:
            raise KeyError(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return (each.name for each in self._all())

    def __len__(self) -> int:
        return len(list(self._all()))

    def _all(self) -> Iterator[ComfyUIFacts]:
        """Those whose folder is still there."""
        for path in sorted(self._place.glob("*.json")):
            left = _read(path)
            folder, python, arguments = left.get("folder"), left.get("python"), left.get("arguments")
            if isinstance(folder, str) and isinstance(python, str) and is_array(arguments) and Path(folder).is_dir():
                yield ComfyUIFacts(Path(folder), Path(python), [str(each) for each in arguments])


def leave_address(data: Path, url: str) -> Path:
    """Leave where the platform serves; the file, which whoever has left it removes. Raises OSError."""
    _write(data / _ADDRESS, {"url": url})
    return data / _ADDRESS


def forget_address(data: Path) -> None:
    """Remove what a platform has left that was killed."""
    (data / _ADDRESS).unlink(missing_ok=True)


def address_in(data: Path, api_key: str) -> str | None:
    """Where the platform serves whose key this is, if what listens there proves to be it; None while it is off."""
    url = _read(data / _ADDRESS).get("url")
    return url if isinstance(url, str) and _proves_itself(url, api_key) else None


def proof_of(api_key: str, question: str) -> str:
    """What only those can say who know the key, and which tells nothing of it."""
    return hmac.new(api_key.encode(), question.encode(), hashlib.sha256).hexdigest()


def _proves_itself(url: str, api_key: str) -> bool:
    question = secrets.token_hex(16)
    try:
        said = _answer(url, PROOF_PATH + question)
    except (OSError, ValueError):
        return False
    _, _, body = said.partition(b"\r\n\r\n")
    return hmac.compare_digest(body, proof_of(api_key, question).encode())


def _answer(url: str, path: str) -> bytes:
    """All that is answered, with its headers. Raises OSError, ValueError; in time and after a few KB, whoever answers.

    An HTTP client would wait anew for each part of what comes, and there may be no end of that.
    """
    parts, deadline = urlsplit(url), time.monotonic() + _PATIENCE
    if not parts.hostname:
        raise ValueError("it is no address")
    with socket.create_connection((parts.hostname, parts.port or 80), timeout=_PATIENCE) as connection:
        # By HTTP/1.0 an answer is in one piece, and ends with the connection.
        connection.sendall(f"GET {path} HTTP/1.0\r\nHost: {parts.netloc}\r\n\r\n".encode())
        said = b""
        while len(said) <= _LONGEST_ANSWER and (left := deadline - time.monotonic()) > 0:
            connection.settimeout(left)
            part = connection.recv(_LONGEST_ANSWER)
            if not part:
                return said
            said += part
    raise ValueError("the answer has no end")


def _read(path: Path) -> Mapping[str, Any]:
    with suppress(OSError, ValueError, RecursionError):
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        if is_object(found):
            return found
    return {}


def _write(path: Path, content: Mapping[str, Any]) -> None:
    """Whoever reads meanwhile gets the former content."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(content, file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
