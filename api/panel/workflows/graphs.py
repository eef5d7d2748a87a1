"""The graph that is open in the page: what it would take and give when it is deployed."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

from ...forms import form_of
from ...inputs import PREFIX
from ...models import Deployment, Graph, Record, WorkflowVersion
from ...shapes import is_object
from ..call import MAX_GRAPHS, Call

_NOT_DEPLOYED = str(UUID(int=0))


class Described(Record):
    """The graph that is to be described."""

    workflow_api: Graph


async def describe_graph(call: Call) -> dict[str, Any]:
    """The inputs and outputs of a graph as a platform would read them, and what a person should know. Asks nobody."""
    graph = (await call.body(Described, max_bytes=MAX_GRAPHS)).workflow_api
    return await asyncio.to_thread(_described, graph)


def _described(graph: Graph) -> dict[str, Any]:
    version = WorkflowVersion(id=_NOT_DEPLOYED, workflow_id=_NOT_DEPLOYED, version=1, workflow_api=graph)
    form = form_of(Deployment(id=_NOT_DEPLOYED, version=version)).model_dump(mode="json")
    made = [each for each in form["inputs"] if not each["is_open"]]
    warnings = [{"kind": "twice", "name": name} for name in _shared_ids(graph)]
    if not form["outputs"]:
        warnings.insert(0, {"kind": "no_output" if graph else "empty", "name": ""})
    # A graph without External nodes is open at every widget: that they can be set is said, and not listed.
    return {
        "inputs": made,
        "open": len(form["inputs"]) - len(made),
        "outputs": form["outputs"],
        "warnings": warnings,
    }


def _shared_ids(graph: Graph) -> list[str]:
    """The ids of inputs that several External nodes have: a run gives all of them the same value."""
    seen: set[str] = set()
    shared: dict[str, None] = {}
    for node in graph.values():
        fields = node.get("inputs") if is_object(node) else None
        is_external = is_object(node) and str(node.get("class_type", "")).startswith(PREFIX)
        name = fields.get("input_id") if is_external and is_object(fields) else None
        if isinstance(name, str) and name:
            if name in seen:
                shared[name] = None
            seen.add(name)
    return list(shared)
