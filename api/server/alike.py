"""Names that are written alike, for people who have meant another one."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from difflib import SequenceMatcher
from heapq import nlargest
from itertools import islice
from typing import Any

from ..errors import MAX_QUOTED

MAX_NEAR = 3
_MAX_NAMES = 5000
"""Names that one is compared with: it takes a microsecond each."""
_CANDIDATES = 10
"""Names that are compared a second time, which is exact and slow."""
_ALIKE = 0.7
"""Share of two names that has to be the same."""
_SUFFIX = re.compile(r"\.[a-z]{2,12}$")


class Names:
    """Names among which others are looked for. Folders, suffixes and capitals count for nothing."""

    def __init__(self, names: Iterable[Any]) -> None:
        self._names = [str(each) for each in islice(names, _MAX_NAMES)]
        self._plain = [_plain(each) for each in self._names]
        self._pairs = [_pairs(each) for each in self._plain]

    def near(self, asked: str) -> list[str]:
        """The most similar first, at most `MAX_NEAR`."""
        plain = _plain(asked)
        pairs = _pairs(plain)
        scores = ((2 * len(pairs & each) / (len(pairs) + len(each) + 1), n) for n, each in enumerate(self._pairs))
        matcher = SequenceMatcher(b=plain, autojunk=False)
        found: list[tuple[float, int]] = []
        for _, number in nlargest(_CANDIDATES, scores):
            matcher.set_seq1(self._plain[number])
            found.append((matcher.ratio(), -number))
        return [self._names[-n][:MAX_QUOTED] for score, n in nlargest(MAX_NEAR, found) if score >= _ALIKE]


class Guide:
    """Looks for names among several collections, for the first few that are asked for."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._indexes: dict[int, Names] = {}
        self._answers: dict[tuple[int, str], list[str]] = {}

    def near(self, asked: str, names: Collection[Any]) -> list[str]:
        """What is written like a name. The collection has to stay as it is for as long as this is used."""
        key = id(names), asked
        if key not in self._answers and names and self._left:
            self._left -= 1
            index = self._indexes[id(names)] = self._indexes.get(id(names)) or Names(names)
            self._answers[key] = index.near(asked)
        return self._answers.get(key, [])


def _plain(name: str) -> str:
    name = name.replace("\\", "/").rpartition("/")[2] or name
    return _SUFFIX.sub("", name[:MAX_QUOTED].lower())


def _pairs(name: str) -> frozenset[str]:
    """Every two letters that follow each other, with the beginning and the end."""
    name = f" {name} "
    return frozenset(name[at : at + 2] for at in range(len(name) - 1))
