"""How far a prompt is, from the numbers that its ComfyUI tells. Nothing here does I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Any


def steps_of(data: Mapping[str, Any]) -> tuple[float, float] | None:
    """How many steps a node has done, and of how many; None where that makes no sense."""
    value, maximum = _number(data.get("value")), _number(data.get("max"))
    return None if value is None or maximum is None or maximum <= 0 else (value, maximum)


def share_of(steps: tuple[float, float]) -> float:
    """The share of a node's work that is done, 0 to 1."""
    value, maximum = steps
    return max(0.0, min(1.0, value / maximum))


def _number(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, (int, float)) else None
    except OverflowError:  # JSON can have integers of any length
        return None
    return number if number is not None and isfinite(number) else None


class WorkDone:
    """The share of a prompt's work that is done, every node that was sent counting the same and all others nothing."""

    def __init__(self, nodes: Iterable[str]) -> None:
        self._nodes = frozenset(nodes)
        self._shares: dict[str, float] = {}
        self._at_work: set[str] = set()
        self._sum = 0.0
        self._is_over = False

    def begin(self, node: str) -> None:
        """The machine begins with a node, so those that it has begun with before are done."""
        for each in list(self._at_work):
            self.reach(each, 1.0)
        if node not in self._shares:
            self.reach(node, 0.0)

    def reach(self, node: str, share: float) -> None:
        """So much of a node is done."""
        if node not in self._nodes:
            return
        self._sum += share - self._shares.get(node, 0.0)
        self._shares[node] = share
        if share < 1:
            self._at_work.add(node)
        else:
            self._at_work.discard(node)

    def end(self) -> None:
        """The last node is done."""
        self._is_over = True

    @property
    def share(self) -> float:
        """0 to 1."""
        return 1.0 if self._is_over else max(0.0, min(1.0, self._sum / max(1, len(self._nodes))))
