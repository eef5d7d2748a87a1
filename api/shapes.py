"""JSON that somebody else has written: reading it, and the shapes of its values."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from math import isinf
from typing import Any, TypeGuard

MAX_DEPTH = 100
"""Levels of lists and objects in a text. pydantic writes 255 of them, and a graph has a dozen."""
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels"
_MAX_QUOTED = 100
_WITHOUT_VALUE = re.compile(r'"(\w{1,40})"\s*:\s*$')
"""What stands before a place where a value is missing. In a command that puts a file there, the file was missing."""


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """Whether it is a JSON object; what its members are is still unknown."""
    return isinstance(value, dict)


def is_array(value: object) -> TypeGuard[list[Any]]:
    """Whether it is a JSON array; what its items are is still unknown."""
    return isinstance(value, list)


def parse_json(data: str | bytes) -> Any:
    """JSON that can be written again as JSON.

    Raises ValueError for anything else, also for NaN and for what is nested deeper than it could be written.
    """
    try:
        value: Any = json.loads(data, parse_constant=_refuse_constant, parse_float=_parse_float)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    except ValueError as error:
        raise ValueError(f"is not JSON: {_reason(error)[:_MAX_QUOTED]}") from error
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        level = [item for each in level for item in _items(each)]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def _reason(error: ValueError) -> str:
    if isinstance(error, json.JSONDecodeError) and error.msg == "Expecting value":
        before = error.doc[max(0, error.pos - _MAX_QUOTED) : error.pos]
        if found := _WITHOUT_VALUE.search(before):
            return f"{found[1]!r} has no value, at character {error.pos + 1}"
    return str(error)


def _items(value: Any) -> Iterable[Any]:
    """What is directly inside a list or an object."""
    if is_object(value):
        return value.values()
    return value if is_array(value) else ()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _parse_float(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text} is too large for a number")
    return number
