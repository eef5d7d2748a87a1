"""The editor's workflow: which node classes it would execute. How it is wired only the editor knows for certain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..models import Graph
from ..shapes import is_array, is_object

_DRAWN_ONLY = ("Note", "MarkdownNote", "Reroute", "PrimitiveNode")
"""Nodes of the editor itself, which no ComfyUI has."""
_LEFT_OUT = (2, 4)
"""Modes of a node that is not executed: muted, bypassed."""
_GROUP_MARKS = ("workflow/", "workflow>")
"""How the class of a group node begins, which is followed by its name."""


def classes_of_workflow(workflow: Graph) -> dict[str, str]:
    """The node classes that a workflow would execute, by a node of each part that has them.

    A part is the workflow itself, or a subgraph or group node that is used in it, each of which is looked into once. A
    node in it is named as ComfyUI does: `instance:node`.
    """
    extra, definitions = workflow.get("extra"), workflow.get("definitions")
    subgraphs = _list(definitions.get("subgraphs") if is_object(definitions) else None)
    parts = {str(each.get("id")): each for each in subgraphs if is_object(each)}
    groups = extra.get("groupNodes") if is_object(extra) else None
    for name, group in groups.items() if is_object(groups) else ():
        parts |= {mark + name: group for mark in _GROUP_MARKS if is_object(group)}
    found: dict[str, str] = {}
    waiting, seen = [("", workflow)], set[str]()
    while waiting:
        path, part = waiting.pop()
        for node_id, node_class in _executed(part):
            if node_class not in parts:
                found[path + node_id] = node_class
            elif node_class not in seen:
                seen.add(node_class)
                waiting.append((f"{path}{node_id}:", parts[node_class]))
    return found


def graph_of_classes(classes: Mapping[str, str]) -> Graph:
    """An executable graph of unconnected nodes, in which nothing but the classes makes sense."""
    return {node_id: {"class_type": node_class, "inputs": {}} for node_id, node_class in classes.items()}


def _executed(part: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The id and class of the nodes that are executed, those of subgraphs and group nodes among them."""
    for index, node in enumerate(_list(part.get("nodes"))):
        node_class = node.get("type") if is_object(node) else None
        if isinstance(node_class, str) and node_class not in _DRAWN_ONLY and node.get("mode") not in _LEFT_OUT:
            yield str(node.get("id", index)), node_class


def _list(value: Any) -> Iterable[Any]:
    return value if is_array(value) else []
