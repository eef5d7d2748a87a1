"""Refuses what a machine could not execute, before it is kept: graphs for deployments, and runs with their values.

A machine that cannot say so now is no reason to refuse anything: what is kept waits for it.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import Problem, Unprocessable
from ..inputs import with_widgets
from ..models import Graph, Lack
from .editor_graph import graph_of_classes
from .fleet import Fleet, HeldMachine
from .machines import MachineError
from .preflight import MAX_LACKS, input_behind
from .store.deployments import RunnableDeployment

if TYPE_CHECKING:
    from .call import Call  # which knows the platform, which knows this

START_SECONDS = 60
"""For a machine to say what it lacks when it may be started for that."""
ANSWER_SECONDS = 5
"""For one that runs."""
REMEMBERED_SECONDS = 60
"""After which a machine is asked anew: somebody may have taken a model away."""
_MAX_REMEMBERED = 1000
"""Deployed graphs, and of each of them runs whose values a machine has."""
_MAX_PROBLEMS = 10
_NOWHERE = "\0"
"""A value that is among no machine's choices."""


@dataclass(frozen=True)
class Verdict:
    """What a machine lacks for a graph."""

    machine: str
    """Its name; of a pool, that of the machine which lacks least."""
    lacks: Sequence[Lack] = ()
    doubt: str | None = None
    """Why it cannot say so now, if that is so."""


async def ask(
    fleet: Fleet, machine_id: str, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False
) -> Verdict:
    """What a machine lacks for a graph. A pool lacks nothing when that is so for one of its machines."""
    return _best(await _ask_all(fleet, machine_id, graph, inputs, may_start=may_start))


async def _ask_all(
    fleet: Fleet, machine_id: str, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False
) -> list[Verdict]:
    """What each machine says that a run for this machine or pool may go to; at least one doubt."""
    seconds = START_SECONDS if may_start else ANSWER_SECONDS

    async def ask_one(held: HeldMachine) -> Verdict:
        try:
            work = held.machine.lacks(graph, inputs, may_start=may_start)
            return Verdict(held.name, await asyncio.wait_for(work, seconds))
        except MachineError as error:
            return Verdict(held.name, doubt=error.failure.message)
        except asyncio.TimeoutError:
            return Verdict(held.name, doubt=f"It has not answered within {seconds} seconds")

    verdicts = await asyncio.gather(*map(ask_one, fleet.of(machine_id)))
    return verdicts or [Verdict("", doubt="There is no machine that could be asked")]


async def ask_for_classes(fleet: Fleet, machine_id: str, classes: Mapping[str, str]) -> Verdict:
    """Which of these node classes, by the id of a node, a machine lacks. It may be started for that."""
    verdicts = await _ask_all(fleet, machine_id, graph_of_classes(classes), None, may_start=True)
    return _best([replace(each, lacks=[lack for lack in each.lacks if lack.kind == "node_class"]) for each in verdicts])


def _best(verdicts: Sequence[Verdict]) -> Verdict:
    return min(verdicts, key=lambda each: (len(each.lacks), each.doubt is not None))


async def check_machine_for(call: Call, machine_id: str, graph: Graph | None, *, place: str) -> None:
    """Refuse to put a graph on a machine that could not execute it. The machine may be started for that.

    Raises NotFound when there is no such machine, and Unprocessable with every problem at that place of the body.
    """
    await call.platform.store.machines.row(call.owner, machine_id)
    if graph:
        verdict = await ask(call.platform.fleet, machine_id, graph, None, may_start=True)
        _refuse([(("body", place), each) for each in verdict.lacks], verdict)


def _refuse(lacks: Sequence[tuple[tuple[str, ...], Lack]], verdict: Verdict) -> None:
    problems = [
        Problem(place, f"the machine {verdict.machine!r} cannot execute it: {lack.message}")
        for place, lack in lacks[:_MAX_PROBLEMS]
    ]
    if problems:
        raise Unprocessable("; ".join(map(str, problems)), problems=problems)


@dataclass
class _Remembered:
    """What is known of one graph on one machine."""

    until: float
    is_silent: bool = False
    """Whether the machine could not say anything."""
    harmless: set[str] = field(default_factory=set[str])
    """Inputs of which no value can be lacking."""
    delicate: set[str] = field(default_factory=set[str])
    """Inputs whose values the machine has to have."""
    fine: set[bytes] = field(default_factory=set[bytes])
    """Digests of the values of delicate inputs with which the machine lacks nothing: values may be megabytes."""
    learning: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a machine is asked about inputs, so that of many runs at once only the first one does so."""

    def leave_alone(self) -> None:
        """Do not ask the machine again at once."""
        self.is_silent, self.until = True, time.monotonic() + ANSWER_SECONDS

    def digest(self, inputs: Mapping[str, Any]) -> bytes:
        """Stands for what a run gives for the delicate inputs."""
        values = {name: inputs[name] for name in self.delicate & inputs.keys()}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).digest()


class RunChecks:
    """Checks runs before they are kept. What a machine has is remembered for a while, what it lacks is not."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._remembered: dict[tuple[str, str], _Remembered] = {}

    async def check(self, deployment: RunnableDeployment, inputs: Mapping[str, Any]) -> None:
        """Raise Unprocessable for a run that its machine could not execute, where possible with the input at fault."""
        key = deployment.machine_id, deployment.workflow_version_id
        condition = self._fleet.condition(deployment.machine_id)
        if not deployment.check_machine or condition.status == "error":
            self._remembered.pop(key, None)  # it may come back with other nodes and models
            return
        known = self._remembered.get(key)
        if known is None or known.until < time.monotonic():
            known = self._remember(key)
        if known.is_silent:
            return
        async with known.learning:
            if new := inputs.keys() - known.harmless - known.delicate:
                await self._learn(known, deployment, new)
        digest = known.digest(inputs)
        if known.is_silent or digest in known.fine:
            return
        graph = with_widgets(deployment.workflow_api, inputs)
        verdict = await ask(self._fleet, deployment.machine_id, graph, inputs)
        _refuse([(_place(each, graph, inputs), each) for each in verdict.lacks], verdict)
        if verdict.doubt:
            known.leave_alone()
        elif len(known.fine) < _MAX_REMEMBERED:
            known.fine.add(digest)

    def _remember(self, key: tuple[str, str]) -> _Remembered:
        now = time.monotonic()
        self._remembered = {each: known for each, known in self._remembered.items() if known.until >= now}
        while len(self._remembered) >= _MAX_REMEMBERED:
            del self._remembered[next(iter(self._remembered))]
        known = self._remembered[key] = _Remembered(now + REMEMBERED_SECONDS)
        return known

    async def _learn(self, known: _Remembered, deployment: RunnableDeployment, names: set[str]) -> None:
        """Find out which inputs choose among things that the machine has, by a value that it cannot have."""
        values = dict.fromkeys(names, _NOWHERE)
        graph = with_widgets(deployment.workflow_api, values)
        verdicts = await _ask_all(self._fleet, deployment.machine_id, graph, values)
        if all(each.doubt for each in verdicts):
            known.leave_alone()
            return
        lacks = [lack for each in verdicts for lack in each.lacks if lack.value == _NOWHERE]
        is_whole = not any(each.doubt or len(each.lacks) >= MAX_LACKS for each in verdicts)
        found = {input_behind(each, graph, values) for each in lacks} if is_whole else names
        known.delicate |= names & found
        known.harmless |= names - found


def _place(lack: Lack, graph: Graph, inputs: Mapping[str, Any]) -> tuple[str, ...]:
    input_id = input_behind(lack, graph, inputs)
    return ("body", "deployment_id") if input_id is None else ("body", "inputs", input_id)
