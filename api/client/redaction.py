"""Takes the API key out of what a platform answers: it, or a proxy before it, may quote the request that it got."""

from __future__ import annotations

import json
import re
from urllib.parse import quote

from ..settings import SHORTEST_KEY

HIDDEN = "…"
_LONG = 16
"""Characters from which on a key cannot be a word that an answer is made of. Platforms make keys of 40 and more."""


class Redaction:
    """Hides one key, however JSON or a URL spells it."""

    def __init__(self, key: str) -> None:
        escaped = json.dumps(key)[1:-1]
        spellings = {key, escaped, escaped.replace("/", "\\/"), quote(key, safe="")} - {""}
        by_length = sorted(spellings, key=len, reverse=True)
        # A key so short can be a part of any word, and hiding that would spoil the sentence and no secret.
        around = (rb"(?<![\w-])", rb"(?![\w-])") if len(key) < SHORTEST_KEY else (b"", b"")
        self._patterns = [re.compile(re.escape(each.encode()).join(around)) for each in by_length]
        self._is_long = len(key) >= _LONG

    def of_error(self, data: bytes) -> bytes:
        """The body of an error, in which nothing but words for people can be spoilt."""
        for pattern in self._patterns:
            data = pattern.sub(HIDDEN.encode(), data)
        return data

    def of_answer(self, data: bytes) -> bytes:
        """The body of an answer, which has to stay what it is."""
        return self.of_error(data) if self._is_long else data
