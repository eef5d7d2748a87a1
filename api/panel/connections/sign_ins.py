"""The sign-ins through the browser that have been begun."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass

from ...errors import NotFound

_LIFETIME = 15 * 60.0
"""Seconds after which somebody who has not signed in has to begin anew."""


@dataclass(frozen=True)
class SignIn:
    """One that has been begun."""

    base_url: str
    deadline: float


class SignIns:
    """Those that have been begun and not ended."""

    def __init__(self) -> None:
        self._begun: dict[str, SignIn] = {}

    def begin(self, base_url: str) -> str:
        """The id of a new one. Nobody can guess it: whoever knows it gets the key."""
        now = time.monotonic()
        self._begun = {name: each for name, each in self._begun.items() if each.deadline > now}
        sign_in_id = str(uuid.uuid4())
        self._begun[sign_in_id] = SignIn(base_url, now + _LIFETIME)
        return sign_in_id

    def find(self, sign_in_id: str) -> SignIn:
        """Raises NotFound for one that has ended, or is too old."""
        found = self._begun.get(sign_in_id)
        if found is None or found.deadline < time.monotonic():
            raise NotFound("Nobody has signed in in time. Begin again.", status=404)
        return found

    def end(self, sign_in_id: str) -> None:
        """Forget one."""
        self._begun.pop(sign_in_id, None)
