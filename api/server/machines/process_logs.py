"""What the processes of one managed machine have printed: a file for each, in a folder that machines share."""

from __future__ import annotations

import re
import secrets
from collections.abc import Collection
from datetime import datetime, timezone
from pathlib import Path

from ...models import MachineLog

KEPT = 20
"""Logs of a machine; older ones are removed."""
MAX_BYTES_IN_ALL = 1024 * 1024
"""Of all the logs that are read at once."""
_STARTED_AT = re.compile(r"-(\d{8}-\d{6}-\d{6})-\w+\.log$")
_WRITTEN_AS = "%Y%m%d-%H%M%S-%f"
_ESCAPE = re.compile(
    r"""
    \x1b\[ [0-?]* [\ -/]* [@-~]                   # colours, and where the cursor goes
    | \x1b[\]PX^_] [^\x07\x1b]* (?:\x07|\x1b\\)?  # texts for the terminal, such as its title or a link
    | \x1b [\ -/]* [0-~]                          # what is short
    | \x1b                                        # one that was cut off
    """,
    re.VERBOSE,
)
"""What is for a terminal in a text that a program has printed (ECMA-48)."""


class ProcessLogs:
    """The logs in `folder` whose names begin with the machine's id. Nothing here is fit for an event loop."""

    def __init__(self, folder: Path, machine_id: str) -> None:
        self._folder = folder
        self._machine_id = machine_id

    def new(self) -> Path:
        """Where the log of a process that is just being started is to be."""
        now = datetime.now(timezone.utc)
        return self._folder / f"{self._machine_id}-{now.strftime(_WRITTEN_AS)}-{secrets.token_hex(2)}.log"

    def files(self) -> list[Path]:
        """Every log, that of the process that was started last first."""
        return sorted(self._folder.glob(f"{self._machine_id}-*.log"), key=_started_at, reverse=True)

    def forget_old(self) -> None:
        """Remove all but the newest."""
        for path in self.files()[KEPT:]:
            path.unlink(missing_ok=True)

    def read(self, *, limit_bytes: int, running: Collection[Path]) -> list[MachineLog]:
        """The end of each log, the newest first; `running` are those of processes that have not ended."""
        found: list[MachineLog] = []
        left = MAX_BYTES_IN_ALL
        for path in self.files():
            if left <= 0:
                break
            try:
                tail, started_at = _tail(path, min(limit_bytes, left)), _started_at(path)
            except FileNotFoundError:
                continue  # it has just become too old
            left -= len(tail)
            text = without_escapes(tail.decode(errors="replace"))
            found.append(MachineLog(name=path.name, started_at=started_at, is_running=path in running, text=text))
        return found


def without_escapes(text: str) -> str:
    """What a program has printed, without colours and whatever else only a terminal understands."""
    return _ESCAPE.sub("", text)


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read(size)


def _started_at(path: Path) -> datetime:
    if named := _STARTED_AT.search(path.name):
        return datetime.strptime(named[1], _WRITTEN_AS).replace(tzinfo=timezone.utc)
    return datetime.fromtimestamp(path.stat().st_mtime, timezone.utc)
