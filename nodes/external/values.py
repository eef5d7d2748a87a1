"""Which value an External node has, and whether it can be used. Nothing here knows ComfyUI.

The hosted platform puts the value of a run in place of `input_id`, and for most classes also into an input of its own.
So `input_id` is a value where a class has no other place for it.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any

from ...api.errors import InvalidInput, quote
from ...api.inputs import PREFIX, check_inputs, external_inputs, holds_number
from ...api.shapes import is_array

_ALLOWED = ("http://", "https://", "data:")


def is_url(value: object) -> bool:
    """Whether a value says where a file is."""
    return isinstance(value, str) and value.lower().startswith(_ALLOWED)


def name_of(input_id: object, display_name: str = "") -> str:
    """What a message calls an input, whose id may have been replaced by a value of any type."""
    name = str(input_id)
    is_value = not name.strip() or is_url(name) or holds_number(name)
    return (display_name if is_value else name) or "(without a name)"


def checked(kind: str, value: object, *, name: str, **limits: object) -> Any:
    """The value of a node of the class of this kind, as a platform would accept it. Raises InvalidInput."""
    graph = {"1": {"class_type": PREFIX + kind, "inputs": {"input_id": name, **limits}}}
    return check_inputs(external_inputs(graph), {name: value})[name]


def number(kind: str, default: float, *, input_id: object, display_name: str, **limits: float) -> Any:
    """A number: the value of a run, else the default; within its limits. Raises InvalidInput."""
    name = name_of(input_id, display_name)
    if limits and limits["min_value"] > limits["max_value"]:
        raise InvalidInput(f"The input {name!r} has a minimum above its maximum: change one of them", input_id=name)
    return checked(kind, input_id if holds_number(str(input_id)) else default, name=name, **limits)


def enum(value: str, options: str, *, input_id: str) -> str:
    """One of the options, which are a JSON array in a text; any text without options. Raises InvalidInput."""
    name = name_of(input_id)
    try:
        listed: Any = json.loads(options) if options.strip() else []
    except (ValueError, RecursionError):
        listed = None
    if not is_array(listed):
        raise InvalidInput(
            f'The options of the input {name!r} are no JSON array of texts, such as ["small", "large"]: '
            f"{quote(options)}",
            input_id=name,
        )
    return checked("Enum", value, name=name, options=listed)


def is_fixed_seed(value: object, *, low: int, high: int) -> bool:
    """Whether a seed is one; a value outside of the limits, by custom -1, stands for a random one."""
    return isinstance(value, int) and min(low, high) <= value <= max(low, high)


def seed(value: int, *, low: int, high: int) -> int:
    """The seed, or a random one within the limits."""
    if is_fixed_seed(value, low=low, high=high):
        return value
    low, high = min(low, high), max(low, high)
    return low + secrets.randbelow(high - low + 1)


def model(wanted: str, *, saved_as: str = "", names: Sequence[str] | None, folder: str, input_id: str) -> str:
    """The file in one of ComfyUI's model folders that is meant; `folder\\name` is `folder/name`. Raises InvalidInput.

    `names` is None where ComfyUI does not know the folder: the name is left to whoever takes it then. `saved_as` is
    the name that the file behind a URL is to have.
    """
    name = name_of(input_id)
    by_slashes = {each.replace("\\", "/"): each for each in reversed(names or ())}
    file = saved_as if is_url(wanted) else wanted
    if found := by_slashes.get(file.replace("\\", "/")):
        return found
    if names is None and wanted and not is_url(wanted):
        return wanted
    if is_url(wanted):
        reason = f"is a URL, and no model is downloaded by a node. Put the file into ComfyUI's folder {folder!r}"
    elif not wanted:
        reason = f"is empty. Choose a file of ComfyUI's folder {folder!r}"
    else:
        reason = f"is {quote(repr(wanted))}, which is not in ComfyUI's folder {folder!r}. Put it there"
    raise InvalidInput(f"The input {name!r} {reason}, and give its name", input_id=name)


def urls(value: str, *, name: str) -> list[str]:
    """The entries of a batch, which are a JSON array in a text. Raises InvalidInput."""
    try:
        listed: Any = json.loads(value) if value.strip() else []
    except (ValueError, RecursionError):
        listed = None
    if not is_array(listed) or not all(isinstance(each, str) and each for each in listed):
        raise InvalidInput(f"The input {name!r} is no JSON array of URLs: {quote(value)}", input_id=name)
    return [str(each) for each in listed]
