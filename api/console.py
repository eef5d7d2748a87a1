"""What the command line shows: lines, and a bar for work that takes long."""

from __future__ import annotations

import sys
from types import TracebackType

_WIDTH = 30


def say(text: str) -> None:
    """A line for the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Bar:
    """A progress bar on stderr, only where that is a terminal; it leaves no trace."""

    def __init__(self, title: str) -> None:
        self._title = title
        self._is_shown = sys.stderr.isatty()

    def __enter__(self) -> Bar:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write("\r\x1b[K")

    def show(self, share: float, text: str = "") -> None:
        """Show how much is done, 0 to 1, and what is being done."""
        share = min(max(share, 0.0), 1.0)
        done = round(share * _WIDTH)
        # The text is a server's: nothing in it may move the cursor.
        text = "".join(each if each.isprintable() else " " for each in text[:40])
        self._write(f"\r\x1b[K{self._title} [{'█' * done}{'·' * (_WIDTH - done)}] {share:4.0%} {text}")

    def _write(self, text: str) -> None:
        if self._is_shown:
            sys.stderr.write(text)
            sys.stderr.flush()
