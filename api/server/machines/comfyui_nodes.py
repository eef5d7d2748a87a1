"""What a ComfyUI has told of its node classes: remembered, and asked for anew when something is lacking."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...models import Graph, Lack
from ..aside import aside
from ..graph import Draft, classes_of, draft_graph
from ..node_info import NodeInfo
from ..preflight import as_failure, class_lacks, lacks_of
from . import MachineError
from .comfyui_wire import Wire

MAX_REMEMBERED = 5000
"""Classes that are remembered. A ComfyUI with hundreds of packs has as many."""


class KnownNodes:
    """Of one ComfyUI, or of several that are alike."""

    def __init__(self) -> None:
        self._info: dict[str, Mapping[str, Any]] = {}
        self._names: frozenset[str] = frozenset()
        self._spared: frozenset[str] = frozenset()
        """Classes that it lacks and graphs could be executed without, as they were compiled away."""

    def forget(self) -> None:
        """The ComfyUI may have other nodes now than when it was asked."""
        self._info, self._names, self._spared = {}, frozenset(), frozenset()

    async def draft(self, wire: Wire, graph: Graph, inputs: Mapping[str, Any]) -> tuple[NodeInfo, Draft]:
        """What the ComfyUI tells of a graph's node classes, and what compiling the graph takes.

        Raises MachineError when the ComfyUI cannot execute it, for lack of a node class for instance.
        """
        info, spared = await self._told(wire, graph), self._spared
        self._spared = frozenset()  # whatever stands in the way is asked for anew the next time
        draft = await aside(lambda: draft_graph(graph, inputs, info), graph, inputs)
        if missing := draft.missing:
            names = await self._all(wire)
            raise MachineError(as_failure(await aside(lambda: class_lacks(missing, names), graph, inputs)))
        if draft.unmatched:
            info |= await wire.node_info(draft.unmatched)  # somebody may have added the model since
        lacking = classes_of(graph) - info.keys()
        self._spared = spared | lacking if len(spared) + len(lacking) <= MAX_REMEMBERED else frozenset()
        return info, draft

    async def lacks(self, wire: Wire, graph: Graph, inputs: Mapping[str, Any] | None) -> list[Lack]:
        """What the ComfyUI lacks for a graph. Raises MachineError when it does not answer."""
        info = await self._told(wire, graph)
        found = await aside(lambda: lacks_of(graph, inputs, info), graph, inputs)
        if not found:
            return []
        spared, self._spared = self._spared, frozenset()
        info |= await wire.node_info({lack.node_class for lack in found} & (info.keys() | spared))
        is_class = any(lack.kind == "node_class" for lack in found)
        names = await self._all(wire) if is_class else ()
        return await aside(lambda: lacks_of(graph, inputs, info, names), graph, inputs)

    async def suffice(self, graph: Graph, inputs: Mapping[str, Any] | None) -> bool:
        """Whether the ComfyUI lacked nothing for a graph when it was asked last."""
        info = self._info
        return not await aside(lambda: lacks_of(graph, inputs, info), graph, inputs)

    async def _told(self, wire: Wire, graph: Graph) -> dict[str, Mapping[str, Any]]:
        info = self._info
        told = await wire.node_info(classes_of(graph) - info.keys() - self._spared)
        if len(info) + len(told) > MAX_REMEMBERED:
            info, self._info = dict(info), {}  # runs at work keep what they were told
        info |= told
        return info

    async def _all(self, wire: Wire) -> frozenset[str]:
        """The names of all node classes. What the ComfyUI tells of them is megabytes, so only these are kept."""
        self._names = self._names or await wire.node_classes()
        return self._names
