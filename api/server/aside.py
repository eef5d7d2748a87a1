"""Work on graphs: a large one would hold up everything else that the server does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from ..models import Graph
from ..shapes import is_array, is_object

LARGE = 10_000
"""Letters of texts, and items of lists, that are worth a thread. A node counts for ten."""
_NODE = 10
T = TypeVar("T")


async def aside(work: Callable[[], T], graph: Graph, inputs: Mapping[str, Any] | None) -> T:
    """The result of some work on a graph and the values of a run, done in a thread when they are large."""
    return await asyncio.to_thread(work) if _is_large(graph, inputs or {}) else work()


def _is_large(graph: Graph, inputs: Mapping[str, Any]) -> bool:
    left = LARGE - _size(inputs.values())
    for node in graph.values():
        if left < 0:
            break
        fields = node.get("inputs") if is_object(node) else None
        left -= _NODE + (_size(fields.values()) if is_object(fields) else 0)
    return left < 0


def _size(values: Iterable[Any]) -> int:
    return sum(len(each) if isinstance(each, str) or is_array(each) else 1 for each in values)
