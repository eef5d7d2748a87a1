"""What a ComfyUI tells of its node classes (`/object_info`), whose two ways to declare a choice are read here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..shapes import is_array, is_object

NodeInfo = Mapping[str, Mapping[str, Any]]
"""Node class to what ComfyUI tells of it; a class that the ComfyUI lacks is not in it."""

_UPLOADS = ("image_upload", "animated_image_upload", "video_upload", "audio_upload", "file_upload", "outpost_upload")

_FILE = re.compile(r"\.[A-Za-z]\w{1,11}$")

_GROWING = ("COMFY_AUTOGROW", "COMFY_DYNAMIC")
"""How the types begin of inputs that stand for others."""


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


class Choices:
    """What one input chooses from, looked through once however often it is asked."""

    def __init__(self, told: list[Any]) -> None:
        self.told = told

    def __contains__(self, value: Any) -> bool:
        # ComfyUI chooses among texts, numbers and booleans. Nodes that choose among anything else are left to it.
        return self._has_odd_ones if isinstance(value, (list, dict)) else value in self._plain_ones

    @cached_property
    def are_files(self) -> bool:
        """Whether they look like names of files. Where there is none, that is possible."""
        return not self.told or any(isinstance(each, str) and _FILE.search(each) for each in self.told)

    def meant_by(self, value: str) -> str:
        """The choice that is meant: Windows writes the folders in model names with another separator."""
        return value if value in self else self._by_slashes.get(_with_slashes(value), value)

    @cached_property
    def _plain_ones(self) -> frozenset[Any]:
        return frozenset(each for each in self.told if not isinstance(each, (list, dict)))

    @cached_property
    def _has_odd_ones(self) -> bool:
        return any(isinstance(each, (list, dict)) for each in self.told)

    @cached_property
    def _by_slashes(self) -> dict[str, str]:
        return {_with_slashes(each): each for each in reversed(self.told) if isinstance(each, str)}


class ChoicesOfNodes:
    """The choices of every input that the nodes of one graph have."""

    def __init__(self, info: NodeInfo) -> None:
        self._info = info
        self._found: dict[tuple[str, str], Choices | None] = {}

    def of(self, node_class: str, name: str) -> Choices | None:
        """What an input chooses from; None when it is no choice, or one among files that can be uploaded."""
        key = node_class, name
        if key not in self._found:
            told = _told_choices(self._info, node_class, name)
            self._found[key] = None if told is None else Choices(told)
        return self._found[key]


def _with_slashes(name: str) -> str:
    return name.replace("\\", "/")


def _told_choices(info: NodeInfo, node_class: str, name: str) -> list[Any] | None:
    spec = _spec(info, node_class, name)
    if spec is None or takes_upload(info, node_class, name):
        return None
    # Older versions have the choices in place of the type.
    choices = spec[0] if is_array(spec[0]) else _options(spec).get("options") if spec[0] == "COMBO" else None
    return choices if is_array(choices) else None


def required_inputs(info: NodeInfo, node_class: str) -> list[str]:
    """The inputs without which ComfyUI takes no node of a class; of those that grow with the graph, none."""
    groups = info.get(node_class, {}).get("input")
    inputs = groups.get("required") if is_object(groups) else None
    return [name for name, spec in inputs.items() if not _grows(spec)] if is_object(inputs) else []


def _grows(spec: Any) -> bool:
    """Whether an input stands for others, which depend on the graph and may be none."""
    return is_array(spec) and bool(spec) and isinstance(spec[0], str) and spec[0].startswith(_GROWING)


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
