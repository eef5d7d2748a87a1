"""What becomes of several runs when one of them fails."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class OnFailure(str, Enum):
    """What becomes of the other runs when one fails."""

    STOP = "stop"
    """They are cancelled."""
    SKIP = "skip"
    """They go on, and there is nothing in the place of the one that failed."""
    BLANK = "blank"
    """They go on, and there is a black image in the place of each image of the one that failed."""


@dataclass(frozen=True)
class FailedRun:
    """What is told of a run without outputs."""

    run_id: str | None
    """None where it has not become known."""
    status: str
    """That of the run, or `late` where it was not waited for any longer."""
    seconds: float
    message: str
