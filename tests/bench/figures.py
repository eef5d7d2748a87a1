"""What a measurement is, and how it is printed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Figure:
    """One measured value beside a baseline from the same run. It holds when it is at most the goal, or at least."""

    name: str
    value: float
    unit: str
    baseline: float
    goal: float
    is_goal_for_ratio: bool = False
    """Whether the goal is about value / baseline, instead of about the value."""
    is_more_better: bool = False
    """Whether the goal is the least that is wanted, instead of the most that is allowed."""

    @property
    def ratio(self) -> float:
        return self.value / self.baseline if self.baseline else 0.0

    @property
    def holds(self) -> bool:
        measured = self.ratio if self.is_goal_for_ratio else self.value
        return measured >= self.goal if self.is_more_better else measured <= self.goal

    def line(self) -> str:
        """The figure as one line of JSON."""
        numbers = {key: round(getattr(self, key), 4) for key in ("value", "baseline", "ratio", "goal")}
        order = {"name": self.name, "value": numbers["value"], "unit": self.unit, "baseline": numbers["baseline"]}
        return json.dumps({**order, "ratio": numbers["ratio"], "goal": self.goal, "holds": self.holds})


def p99_ms(seconds: Iterable[float]) -> float:
    """The duration that one in a hundred exceeds, in milliseconds."""
    ordered = sorted(seconds)
    return ordered[len(ordered) * 99 // 100] * 1000


def median_ms(seconds: Iterable[float]) -> float:
    """The median of some durations, in milliseconds."""
    return median(seconds) * 1000
