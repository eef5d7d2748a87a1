"""What samplers have shown last: one picture for each run, for a few runs."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

_KEPT = 32
_MAX_BYTES = 4 * 1024 * 1024
_TYPES = ("image/jpeg", "image/png", "image/webp")


class Preview(NamedTuple):
    """A picture of a run that is at work."""

    number: int
    content_type: str
    data: bytes


class Previews:
    """Keeps only the newest picture of each run."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, Preview] = OrderedDict()
        self._last = 0

    def keep(self, run_id: str, content_type: str, data: bytes) -> int | None:
        """The number of a picture, by which a page sees that it is another one. None for what is not shown."""
        if content_type not in _TYPES or len(data) > _MAX_BYTES:
            return None
        self._last += 1
        self._kept[run_id] = Preview(self._last, content_type, data)
        self._kept.move_to_end(run_id)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return self._last

    def of(self, run_id: str) -> Preview | None:
        """The newest picture of a run."""
        return self._kept.get(run_id)

    def clear(self) -> None:
        """Forget them all."""
        self._kept.clear()
