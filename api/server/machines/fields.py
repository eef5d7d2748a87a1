"""What a node of the built-in machine works on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import quote
from .picture import Picture

Batch = tuple[Picture, ...]


class Fields:
    """The inputs of one node, with its links replaced by what they lead to."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = values

    def get(self, name: str) -> Any:
        return self._values.get(name)

    def number(self, name: str, default: float | None = None) -> float:
        value = self._values.get(name, default)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"the input {name!r} takes a number, not {quote(repr(value))}")
        return value

    def images(self, name: str) -> Batch:
        value = self._values.get(name)
        if not isinstance(value, tuple) or not value:
            raise ValueError(f"the input {name!r} takes an image and nothing is connected to it")
        return value  # pyright: ignore[reportUnknownVariableType] only batches are tuples here
