"""What a ComfyUI tells of its node classes (`/object_info`), whose two ways to declare a choice are read here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..shapes import is_array, is_object

NodeInfo = Mapping[str, Mapping[str, Any]]
"""Node class to what ComfyUI tells of it; a class that the ComfyUI lacks is not in it."""

_UPLOADS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload", "file_upload")


def is_output(info: NodeInfo, node_class: str) -> bool:
    """Whether ComfyUI executes a node of this class for its own sake."""
    return bool(info.get(node_class, {}).get("output_node"))


def has_input(info: NodeInfo, node_class: str, name: str) -> bool:
    """Whether a class declares an input."""
    return _spec(info, node_class, name) is not None


def takes_upload(info: NodeInfo, node_class: str, name: str) -> bool:
    """Whether an input is the name of a file that can be uploaded."""
    options = _options(_spec(info, node_class, name))
    return any(options.get(each) for each in _UPLOADS)


def choices_of(info: NodeInfo, node_class: str, name: str) -> list[Any] | None:
    """What an input chooses from; None when it is no choice, or one among files that can be uploaded."""
    spec = _spec(info, node_class, name)
    if spec is None or takes_upload(info, node_class, name):
        return None
    # Older versions have the choices in place of the type.
    choices = spec[0] if is_array(spec[0]) else _options(spec).get("options") if spec[0] == "COMBO" else None
    return choices if is_array(choices) else None


def choose(value: str, choices: list[Any]) -> str:
    """The choice that is meant: Windows writes the folders in model names with another separator."""
    if value in choices:
        return value
    plain = value.replace("\\", "/")
    return next((each for each in choices if isinstance(each, str) and each.replace("\\", "/") == plain), value)


def _spec(info: NodeInfo, node_class: str, name: str) -> list[Any] | None:
    """How a class declares an input: `[type, options]`."""
    groups = info.get(node_class, {}).get("input")
    for group in ("required", "optional"):
        inputs = groups.get(group) if is_object(groups) else None
        spec = inputs.get(name) if is_object(inputs) else None
        if is_array(spec) and spec:
            return spec
    return None


def _options(spec: list[Any] | None) -> Mapping[str, Any]:
    return spec[1] if spec and len(spec) > 1 and is_object(spec[1]) else {}
