"""Small pictures that are kept in memory: those that were asked for last, all of them within so many bytes."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import NamedTuple

MAX_BYTES = 16 * 1024 * 1024
"""Of all pictures together; most have some 10 KB."""
_OVERHEAD = 500
"""Bytes that one takes beside its data."""

Key = tuple[str, ...]


class _Kept(NamedTuple):
    data: bytes
    until: float


class Pictures:
    """One for each panel, for pictures of all kinds: the first part of a key says of which."""

    def __init__(self, *, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._kept: OrderedDict[Key, _Kept] = OrderedDict()
        self._taken = 0

    def get(self, key: Key, *, now: float = 0.0) -> bytes | None:
        """A picture that was kept, if its time is not over."""
        found = self._kept.get(key)
        if found is None or found.until <= now:
            return None
        self._kept.move_to_end(key)
        return found.data

    def keep(self, key: Key, data: bytes, *, until: float = inf) -> bytes:
        """Remember a picture. Those that nobody has asked for the longest go, if there is no room."""
        if former := self._kept.pop(key, None):
            self._taken -= _size(former)
        self._kept[key] = kept = _Kept(data, until)
        self._taken += _size(kept)
        while self._taken > self._max:
            self._taken -= _size(self._kept.popitem(last=False)[1])
        return data


def _size(kept: _Kept) -> int:
    return len(kept.data) + _OVERHEAD
