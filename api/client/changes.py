"""What a caller wants changed: absent is something else than empty."""

from __future__ import annotations

from enum import Enum
from typing import Any


class Unchanged(Enum):
    """Stands for a field that a change leaves as it is, where None would clear it."""

    UNCHANGED = "unchanged"


UNCHANGED = Unchanged.UNCHANGED


def changes(**fields: object) -> dict[str, Any]:
    """The fields that are to be changed."""
    return {name: value for name, value in fields.items() if value is not UNCHANGED}


def given(**fields: object) -> dict[str, Any]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
