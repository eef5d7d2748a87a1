"""Several runs on one node: what each of them would show becomes one share and one line."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

    from .execution import Host


class Joint:
    """A node that so many runs are for."""

    def __init__(self, host: Host, count: int) -> None:
        self._host = host
        self._shares = [0.0] * count
        self._done = 0
        self._failed = 0
        self._line = ""

    def part(self, index: int) -> JointPart:
        """Whom one of the runs shows what it does."""
        return JointPart(self, self._host, index)

    def done(self, index: int, *, is_failed: bool = False) -> None:
        """One of the runs has ended."""
        self._done += 1
        self._failed += is_failed
        self._line = ""
        self.progress(index, 1.0)

    def progress(self, index: int, share: float) -> None:
        """Show how far one of the runs is, and with it how far all are."""
        self._shares[index] = max(share, self._shares[index])
        self._host.progress(sum(self._shares) / len(self._shares))
        self.text()

    def text(self, line: str = "") -> None:
        """Show how many runs have ended, and what the run that has said something last is doing."""
        self._line = line or self._line
        words = [f"{self._done} of {len(self._shares)} done"]
        words += [f"{self._failed} failed"] if self._failed else []
        words += [self._line] if self._line else []
        self._host.text(", ".join(words))


class JointPart:
    """The host of one run of several."""

    def __init__(self, joint: Joint, host: Host, index: int) -> None:
        self._joint = joint
        self._host = host
        self._index = index

    @property
    def prompt_id(self) -> str | None:
        return self._host.prompt_id

    @property
    def folder(self) -> Path:
        return self._host.folder

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1."""
        self._joint.progress(self._index, share)

    def text(self, text: str) -> None:
        """Show a line."""
        self._joint.text(text)

    def preview(self, picture: Image.Image) -> None:
        """Show a picture; that of the run that has come last."""
        self._host.preview(picture)

    def check_interrupted(self) -> None:
        """Raise the host's own exception when its user wants to stop."""
        self._host.check_interrupted()
