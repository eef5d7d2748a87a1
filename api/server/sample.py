"""The sample that every new platform has: a graph that runs on the built-in machine.

A platform keeps the editor's graph beside the executable one. Both are made of one description, so that opening the
sample in an editor, comparing it and deploying it again change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..models import Graph

SAMPLE_NAME = "Hello Outpost"


@dataclass(frozen=True)
class _Socket:
    """An input for a link."""

    name: str
    type: str
    source: int | None = None
    """The node whose first output it takes."""
    is_widget: bool = False
    """Whether the link stands in for the value of the widget of this name."""


@dataclass(frozen=True)
class _Node:
    class_type: str
    position: tuple[int, int]
    size: tuple[int, int]
    widgets: Mapping[str, Any]
    """Their values in the order of the node's class: the editor keeps them by position."""
    sockets: Sequence[_Socket] = ()
    outputs: Sequence[tuple[str, str]] = ()
    """Their names and types."""


_NODES: Mapping[int, _Node] = {
    1: _Node(
        "ComfyUIDeployExternalImage",
        (60, 120),
        (320, 180),
        {"input_id": "image", "display_name": "Image", "description": "Any picture", "default_value_url": ""},
        [_Socket("default_value", "IMAGE")],
        [("image", "IMAGE")],
    ),
    2: _Node(
        # One with limits, and for integers: an editor links no fraction to the radius.
        "ComfyUIDeployExternalNumberSliderInt",
        (60, 380),
        (320, 260),
        {
            "input_id": "blur",
            "default_value": 0,
            "min_value": 0,
            "max_value": 100,
            "display_name": "Blur",
            "description": "Radius in pixels",
        },
        outputs=[("value", "INT")],
    ),
    3: _Node("ImageInvert", (440, 120), (220, 60), {}, [_Socket("image", "IMAGE", 1)], [("IMAGE", "IMAGE")]),
    4: _Node(
        "ImageBlur",
        (440, 260),
        (220, 110),
        {"blur_radius": 1, "sigma": 1},
        [_Socket("image", "IMAGE", 3), _Socket("blur_radius", "INT", 2, is_widget=True)],
        [("IMAGE", "IMAGE")],
    ),
    5: _Node(
        "ComfyDeployOutputImage",
        (720, 120),
        (320, 320),
        {"filename_prefix": "outpost", "file_type": "png", "quality": 80, "output_id": "result"},
        [_Socket("images", "IMAGE", 4)],
    ),
}

_Link = tuple[int, int, int, int, int, str]
"""As the editor keeps it: its id, the source and its output, the target and its input, the type."""


def _links() -> list[_Link]:
    found = [
        (socket.source, target, slot, socket.type)
        for target, node in _NODES.items()
        for slot, socket in enumerate(node.sockets)
        if socket.source is not None
    ]
    return [(number, source, 0, target, slot, type_) for number, (source, target, slot, type_) in enumerate(found, 1)]


def _executable() -> Graph:
    def inputs(node: _Node) -> dict[str, Any]:
        linked = {each.name: [str(each.source), 0] for each in node.sockets if each.source is not None}
        return {**node.widgets, **linked}

    return {str(number): {"class_type": node.class_type, "inputs": inputs(node)} for number, node in _NODES.items()}


def _drawn() -> Graph:
    links = _links()
    return {
        "last_node_id": max(_NODES),
        "last_link_id": len(links),
        "nodes": [_drawn_node(number, node, links) for number, node in _NODES.items()],
        "links": [list(link) for link in links],
        "groups": [],
        "config": {},
        "extra": {},
        "version": 0.4,
    }


def _drawn_node(number: int, node: _Node, links: Sequence[_Link]) -> dict[str, Any]:
    into = {slot: link for link, _, _, target, slot, _ in links if target == number}
    out_of = [link for link, source, *_ in links if source == number]
    inputs = [
        {"name": each.name, "type": each.type, "link": into.get(slot)}
        | ({"widget": {"name": each.name}} if each.is_widget else {})
        for slot, each in enumerate(node.sockets)
    ]
    outputs = [{"name": name, "type": type_, "links": out_of} for name, type_ in node.outputs]
    return {
        "id": number,
        "type": node.class_type,
        "pos": list(node.position),
        "size": list(node.size),
        "flags": {},
        "order": list(_NODES).index(number),
        "mode": 0,
        "inputs": inputs,
        "outputs": outputs,
        "properties": {"Node name for S&R": node.class_type},
        "widgets_values": list(node.widgets.values()),
    }


SAMPLE_WORKFLOW_API: Graph = _executable()
SAMPLE_WORKFLOW: Graph = _drawn()
