"""Time for a database, as a test wants it."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone


class Clock:
    """Time that passes only when a test says so."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=timezone.utc)

    def __call__(self) -> datetime:
        self.time += timedelta(microseconds=1)  # so that no two things are equally old
        return self.time

    def pass_seconds(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)
