"""Waiting for several runs that were submitted before. Knows nothing of ComfyUI."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..api.errors import InvalidInput, quote
from .execution import Flow, Host
from .several import End, Ends, Several
from .waiting import gather_or_cancel

if TYPE_CHECKING:
    from ..api.client import Client
    from .open_runs import OpenRuns

_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Wanted:
    """A run to wait for."""

    run_id: str
    source: str = ""
    """What has submitted it, in the graph that waits for it; empty for one that is known only by its id."""


def wanted(sockets: Mapping[str, Sequence[Any]], run_ids: Sequence[str]) -> list[Wanted]:
    """The runs on a node's sockets, in the order of their numbers, then those of its texts; each run once.

    Raises InvalidInput when there is none, or something else than a run is connected.
    """
    found: dict[str, Wanted] = {}
    for name in sorted(sockets, key=_place):
        for value in sockets[name]:
            if value is None:
                raise InvalidInput(f"There is no run on the input {quote(repr(name))}", input_id=name)
            run_id = getattr(value, "run_id", None)
            if not isinstance(run_id, str):
                kind = type(value).__name__
                raise InvalidInput(f"The input {quote(repr(name))} takes a run of Queue Deployment, not {kind}")
            found.setdefault(run_id, Wanted(run_id, value.source))
    for run_id in (part for text in run_ids if text for part in re.split(r"[\s,;]+", text) if part):
        found.setdefault(run_id, Wanted(run_id))
    if not found:
        raise InvalidInput("There is no run to wait for: connect a Queue Deployment, or write the id of a run")
    return list(found.values())


def _place(name: str) -> tuple[int, str]:
    number = _NUMBER.search(name)
    return (int(number[0]) if number else 0, name)


class Collection:
    """Waits for runs side by side. Those of the graph are cancelled when nobody wants them any more."""

    def __init__(
        self,
        client: Client,
        host: Host,
        *,
        open_runs: OpenRuns | None = None,
        deadline: float | None = None,
        is_stopped_by_failures: bool = True,
    ) -> None:
        self._client = client
        self._host = host
        self._open_runs = open_runs
        self._deadline = deadline
        self._is_stopped_by_failures = is_stopped_by_failures
        self._prompt_id = host.prompt_id

    async def collect(self, runs: Sequence[Wanted]) -> Ends:
        """How they end, in order. Raises the first failure when failures stop everything, or when all failed."""
        several = Several(self._host, len(runs), is_stopped_by_failures=self._is_stopped_by_failures)
        ends = await gather_or_cancel([self._end(each, several, index) for index, each in enumerate(runs)])
        return several.ends(ends)

    async def _end(self, run: Wanted, several: Several, index: int) -> End:
        flow = Flow(
            self._client,
            several.part(index),
            deadline=self._deadline,
            open_runs=self._open_runs,
            prompt_id=self._prompt_id,
        )
        return await several.end(
            index, flow, lambda: flow.collect(run.run_id, cancels=bool(run.source), source=run.source)
        )
