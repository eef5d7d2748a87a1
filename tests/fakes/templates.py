"""The workflows that ComfyUI's templates ship: what people really build, from the smallest to the largest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True)
class Template:
    """One workflow: the editor's, or an executable graph."""

    name: str
    content: Json

    @property
    def is_editors(self) -> bool:
        return isinstance(self.content.get("nodes"), list)

    def executable(self) -> list[Json]:
        """The executable graph; of the editor's workflow nearly, its subgraphs apart."""
        if not self.is_editors:
            return [self.content]
        subgraphs = (self.content.get("definitions") or {}).get("subgraphs", [])
        return [dict(_nodes(part)) for part in (self.content, *subgraphs)]


@cache
def templates() -> list[Template]:
    """Every workflow of the package; what else it has, such as its index, is none."""
    spec = find_spec("comfyui_workflow_templates_json")
    assert spec and spec.origin
    found = [(path.stem, json.loads(path.read_bytes())) for path in sorted(Path(spec.origin).parent.rglob("*.json"))]
    return [Template(name, content) for name, content in found if _is_workflow(content)]


def _is_workflow(content: Any) -> bool:
    if not isinstance(content, dict) or not content:
        return False
    is_executable = all(isinstance(node, dict) and "class_type" in node for node in content.values())
    return isinstance(content.get("nodes"), list) or is_executable


def _nodes(part: Json) -> Iterator[tuple[str, Json]]:
    """The nodes of the editor's graph as an export would write them, as far as that can be read without the editor."""
    sources = dict(map(_link, part.get("links") or ()))
    for node in part["nodes"]:
        inputs = node.get("inputs") or []
        widgets = [each["name"] for each in inputs if each.get("widget")]
        values = node.get("widgets_values")
        fields = dict(zip(widgets, values if isinstance(values, list) else (), strict=False))
        fields |= {each["name"]: sources[each["link"]] for each in inputs if each.get("link") in sources}
        yield str(node["id"]), {"class_type": node["type"], "inputs": fields}


def _link(link: Any) -> tuple[Any, Any]:
    """The id of a connection, and where it begins."""
    if isinstance(link, dict):
        return link["id"], [str(link["origin_id"]), link["origin_slot"]]
    return link[0], [str(link[1]), link[2]]
