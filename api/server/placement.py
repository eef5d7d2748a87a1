"""Which machine of a pool a waiting run goes to.

It goes to one that is free and has what the graph needs; among these to the one that has most of the graph's models
loaded already. Loading a model takes longer than most runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import OutpostError
from ..inputs import with_widgets
from ..models import Graph, Lack
from ..shapes import is_object
from .ending import end_tasks
from .fleet import Fleet, HeldMachine
from .machines import MachineError
from .store.machines import MANAGED
from .store.work import WaitingRun

log = logging.getLogger("outpost.dispatcher")

MODEL_SUFFIXES = (".safetensors", ".sft", ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx")
REMEMBERED_MODELS = 8
"""Of a machine: as many as are likely to be in its memory."""
VERDICT_SECONDS = 60
"""After which a machine is asked anew whether it has what a graph needs: somebody may have added it."""
ANSWER_SECONDS = 10
"""For a machine to say so."""
NODE_CLASS = "node_class"
NO_OTHER = "there is no machine to which it may go"

LoadGraph = Callable[[str], Awaitable[Graph]]
"""The executable graph of a workflow version, by its id."""


def models_of(graph: Graph, inputs: Mapping[str, Any]) -> set[str]:
    """The models that a run of a graph names, with one sort of separator."""
    values = [*inputs.values()]
    for node in with_widgets(graph, inputs).values():
        fields = node.get("inputs") if is_object(node) else None
        if is_object(fields) and not _has_value(fields, inputs):
            values += fields.values()
    named = (value for value in values if isinstance(value, str) and value.lower().endswith(MODEL_SUFFIXES))
    return {value.replace("\\", "/") for value in named}


def _has_value(fields: Mapping[str, Any], inputs: Mapping[str, Any]) -> bool:
    """Whether a run gives the value of an input node, whose default then names nothing that is loaded."""
    input_id = fields.get("input_id")
    return isinstance(input_id, str) and input_id in inputs


@dataclass(frozen=True)
class _Verdict:
    lacks: tuple[Lack, ...]
    until: float

    def allows(self, run: WaitingRun) -> bool:
        """Whether the run may go there. Where the deployment wants no check, only missing node classes count."""
        return not any(run.check_machine or lack.kind == NODE_CLASS for lack in self.lacks)


_Key = tuple[str, str, str]
"""A machine, a workflow version, and the values of a run, which may name a model."""


class Placement:
    """Chooses machines for waiting runs. `on_news` is called when it knows more than when it chose last."""

    def __init__(self, fleet: Fleet, load_graph: LoadGraph, *, on_news: Callable[[], None]) -> None:
        self._fleet = fleet
        self._load_graph = load_graph
        self._on_news = on_news
        self._graphs: dict[str, Graph] = {}
        self._verdicts: dict[_Key, _Verdict] = {}
        self._asking: dict[_Key, asyncio.Task[None]] = {}
        self._forget_at = 0.0

    def choose(self, waiting: Sequence[WaitingRun]) -> tuple[WaitingRun, HeldMachine] | None:
        """The first run that a free machine can take, and the best such machine; None when there is none now."""
        for run in waiting:
            free = [each for each in self._open_to(run) if _is_free_for(each, run)]
            if len(free) == 1 and free[0].id == run.machine_id:
                return run, free[0]  # it was asked for, and says itself what it lacks
            verdicts = [self._verdict(each, run) for each in free]
            fit = [each for each, verdict in zip(free, verdicts, strict=True) if verdict and verdict.allows(run)]
            # The best of them may be one that has not answered yet.
            if fit and None not in verdicts:
                graph = self._graphs.get(run.workflow_version_id, {})
                models = models_of(graph, run.inputs) if len(fit) > 1 else set[str]()
                return run, max(fit, key=lambda each: _preference(each, models))
        return None

    def _open_to(self, run: WaitingRun) -> list[HeldMachine]:
        """The machines that a run may go to. One that was at work stays with its own, which may be at work on it."""
        own = self._fleet.of(run.machine_id)
        is_gone = not any(each.watch.condition.is_ready for each in own)
        if run.pool_id and is_gone and run.retry_elsewhere and run.lost_on is None:
            return [each for each in self._fleet.of(run.pool_id) if each.id != run.machine_id]
        return own

    def note_start(self, held: HeldMachine, graph: Graph, inputs: Mapping[str, Any]) -> None:
        """A machine begins with a run of a graph, and loads its models."""
        models = models_of(graph, inputs)
        others = [each for each in held.models if each not in models]
        held.models[:] = [*others, *sorted(models)][-REMEMBERED_MODELS:]

    def trouble(self, run: WaitingRun) -> str | None:
        """Why no machine takes a run; None when those that could are only busy."""
        condition = self._fleet.condition(run.machine_id)
        if not condition.is_ready:
            return condition.reason
        key = _values_of(run)
        told: list[str] = []
        for held in self._open_to(run):
            if _is_barred(held, run):
                continue
            verdict = self._verdicts.get((held.id, run.workflow_version_id, key))
            if held.watch.condition.is_ready and (verdict is None or verdict.allows(run)):
                return None
            told += [f"{held.name}: {verdict.lacks[0].message}"] if verdict and verdict.lacks else []
        return "; ".join(told) or NO_OTHER

    def forget(self, machine_id: str) -> None:
        """A machine may have other nodes and models than before."""
        for key in [each for each in self._verdicts if each[0] == machine_id]:
            del self._verdicts[key]

    async def close(self) -> None:
        """Ask nobody any more."""
        await end_tasks(self._asking.values())

    def _verdict(self, held: HeldMachine, run: WaitingRun) -> _Verdict | None:
        """Whether a machine has what a run needs; while that is not known the machine is being asked."""
        key = held.id, run.workflow_version_id, _values_of(run)
        verdict = self._verdicts.get(key)
        if (verdict is None or verdict.until < time.monotonic()) and key not in self._asking:
            task = self._asking[key] = asyncio.create_task(self._ask(held, run, key))
            task.add_done_callback(lambda _: self._asking.pop(key, None))
        return verdict

    async def _ask(self, held: HeldMachine, run: WaitingRun, key: _Key) -> None:
        try:
            graph = with_widgets(await self._graph(run.workflow_version_id), run.inputs)
            lacks = await asyncio.wait_for(held.machine.lacks(graph, run.inputs), ANSWER_SECONDS)
        except (MachineError, OutpostError, asyncio.TimeoutError):
            lacks = []  # it cannot say so now, and will when it has the run
        except Exception:
            log.exception("machine %s could not say what it lacks for a run", held.id)
            lacks = []
        before, verdict = self._verdicts.get(key), _Verdict(tuple(lacks), time.monotonic() + VERDICT_SECONDS)
        if time.monotonic() > self._forget_at:
            self._forget_old()
        self._verdicts[key] = verdict
        if before is None or before.lacks != verdict.lacks:
            self._on_news()

    async def _graph(self, version_id: str) -> Graph:
        if version_id not in self._graphs:
            self._graphs[version_id] = await self._load_graph(version_id)
        return self._graphs[version_id]

    def _forget_old(self) -> None:
        now = time.monotonic()
        self._forget_at = now + VERDICT_SECONDS
        self._verdicts = {key: each for key, each in self._verdicts.items() if each.until + VERDICT_SECONDS > now}
        known = {key[1] for key in (*self._verdicts, *self._asking)}
        self._graphs = {version_id: graph for version_id, graph in self._graphs.items() if version_id in known}


def _is_free_for(held: HeldMachine, run: WaitingRun) -> bool:
    """Whether a machine has a place for a run, and is none of those to which it must not go."""
    return held.free_slots > 0 and not _is_barred(held, run)


def _is_barred(held: HeldMachine, run: WaitingRun) -> bool:
    """Whether a run must not go to a machine: it died with the run, or waits for it."""
    is_lost = held.id == run.lost_on and held.row["type"] != MANAGED  # which has another process for it
    return is_lost or held.id == run.comes_from


def _values_of(run: WaitingRun) -> str:
    return hashlib.sha256(json.dumps(run.inputs, sort_keys=True).encode()).hexdigest()


def _preference(held: HeldMachine, models: set[str]) -> tuple[int, int, int]:
    """Most of the models loaded; else the fewest others, which need not make room; else the least to do."""
    loaded = models.intersection(held.models)
    return len(loaded), len(loaded) - len(held.models), held.free_slots
