"""The inputs of External nodes, as ComfyUI wants them declared.

Their names, order and types are those that the hosted platform and existing graphs know: a saved graph has the values
of widgets by position.
"""

from __future__ import annotations

from typing import Any

from ..open_sockets import AnyType

CATEGORY = "Outpost/External"
Field = tuple[Any, dict[str, Any]]
Fields = dict[str, Field]

LARGEST = 2147483647
_ID = "What the input is called in a deployment's inputs. It is its own in the graph."


ANY = AnyType("*")


def text(tooltip: str, *, default: str = "", multiline: bool = False, **options: Any) -> Field:
    """A text."""
    return "STRING", {"multiline": multiline, "default": default, "tooltip": tooltip, **options}


def number(kind: str, tooltip: str, *, default: float, **options: Any) -> Field:
    """A number of the type INT or FLOAT."""
    step = {"step": 0.01} if kind == "FLOAT" else {}
    limits = {"min": -LARGEST, "max": LARGEST}
    return kind, {"display": "number", "default": default, **limits, **step, "tooltip": tooltip, **options}


def link(kind: str, tooltip: str) -> Field:
    """What comes only from another node."""
    return kind, {"tooltip": tooltip}


def choice(options: list[str], tooltip: str, **more: Any) -> Field:
    """One of a list."""
    return options, {"tooltip": tooltip, **more}


def file(tooltip: str, *, default: str = "") -> Field:
    """A URL or the name of a file in ComfyUI's input folder; a platform brings files there that belong here."""
    return text(tooltip, default=default, outpost_upload=True)


def input_id(default: str) -> Fields:
    """The id of the input."""
    return {"input_id": text(_ID, default=default)}


def labels(*, multiline: bool = True, description: str = "") -> Fields:
    """What is shown of the input where somebody fills it in."""
    return {
        "display_name": text("What the input is called where somebody fills it in. Empty: as its id."),
        "description": text("What the input is for.", default=description, multiline=multiline),
    }
