"""Inputs and outputs that a node class cannot know: those of the deployment that a node is about.

ComfyUI's versions ask in different ways whether there is such a socket and of which type it is; each gets its answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MAX_OUTPUTS = 100
"""Most outputs of a deployment that have a socket of their own."""
PREFIX = "input:"
"""Stands before the id of a deployment's input that is called like one of the node's own inputs."""


class AnyType(str):
    """The type of a socket that fits every other: ComfyUI before 0.3 asks only whether two types are unequal."""

    __slots__ = ()

    def __ne__(self, other: object) -> bool:
        return False

    __eq__ = str.__eq__
    __hash__ = str.__hash__


class AnyInputs(dict[str, Any]):
    """The optional inputs of a node that takes inputs of any name: ComfyUI asks whether a name is in here."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return ("*", {"forceInput": True})


class OpenTypes(tuple[str, ...]):
    """The types of fixed outputs, followed by those of a deployment, which may be of any type.

    JSON holds the fixed ones only, so the page makes no sockets for the others by itself.
    """

    __slots__ = ()

    def __getitem__(self, index: Any) -> Any:
        fixed = super().__len__()
        if isinstance(index, int) and fixed <= index < len(self):
            return AnyType("*")
        return super().__getitem__(index)

    def __len__(self) -> int:
        return super().__len__() + MAX_OUTPUTS


def open_lists(*fixed: bool) -> tuple[bool, ...]:
    """OUTPUT_IS_LIST of a node with OpenTypes: what a deployment puts out is always a list."""
    return (*fixed, *(True,) * MAX_OUTPUTS)


def deployment_values(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The values by the ids of the deployment's inputs, from what a node was given beside its own inputs."""
    return {name.removeprefix(PREFIX): value for name, value in inputs.items()}
