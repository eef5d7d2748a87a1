"""Where the time of a run went."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Stopwatch:
    """Where the time of a run went, in seconds by stage. Parallel work on several images adds up."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    sent_bytes: int = 0

    @contextmanager
    def measure(self, stage: str) -> Generator[None, None, None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds
