"""The shapes of JSON values, for reading what somebody else has written."""

from __future__ import annotations

from typing import Any, TypeGuard


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object; what its members are is still unknown."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array; what its items are is still unknown."""
    return isinstance(value, list)
