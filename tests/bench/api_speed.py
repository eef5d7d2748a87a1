"""How fast the server answers when there are ten thousand workflows and a hundred thousand runs, and few."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from api_load import Wire, seconds_each, seconds_to_post, wires
from api_rows import SLOTS, Furnished, furnish
from comfyui_outpost.api.settings import Connection
from figures import Figure, median_ms, p99_ms
from server import program, serve

BENCH = Path(__file__).parent
FEW = {"workflows": 100, "runs": 1000}
MANY = {"workflows": 10_000, "runs": 100_000}
ASKED = 500
"""Requests of each kind that are measured, one after the other."""
QUEUED = 2000
CONNECTIONS = 8
LISTS = {
    "workflows": "/workflows?limit=100",
    "workflows_search": "/workflows?limit=100&search=portrait",
    "workflows_search_in_vain": "/workflows?limit=100&search=cathedral",
    "deployments": "/deployments",
    "runs": "/runs?limit=100",
}


@dataclass(frozen=True)
class _Answers:
    """How one kind of request went."""

    seconds: list[float]
    size: int
    """Bytes of an answer."""


@dataclass(frozen=True)
class _Measured:
    """One server's figures."""

    reads: dict[str, _Answers]
    lists: dict[str, _Answers]
    queued_per_second: float


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: a bare handler that answers with as many bytes; of growth: the server with a hundredth of the rows."""
    few, many = await _measure(**FEW), await _measure(**MANY)
    async with (
        program(str(BENCH / "api_bare.py"), until="http://") as (_, url),
        wires(Connection(url.strip(), "no-key"), CONNECTIONS) as opened,
    ):
        for kind, answers in (("read", many.reads), ("list", many.lists)):
            for name, each in answers.items():
                bare = await seconds_each(opened[0], [f"/answer/{each.size}"] * ASKED)
                yield Figure(f"api_{kind}_{name}", median_ms(each.seconds), "ms", median_ms(bare), 5.0)
                yield Figure(f"api_{kind}_{name}_p99", p99_ms(each.seconds), "ms", p99_ms(bare), 20.0)
        bare_queue = QUEUED / await seconds_to_post(opened, "/accept", [_body("x" * 36, 1)] * QUEUED)
    yield Figure("api_queue", many.queued_per_second, "1/s", bare_queue, 500.0, is_more_better=True)
    for kind, of_many, of_few in (("read", many.reads, few.reads), ("list", many.lists, few.lists)):
        for name, each in of_many.items():
            yield _growth(f"{kind}_{name}", median_ms(each.seconds), median_ms(of_few[name].seconds))
    yield _growth("queue", 1000 / many.queued_per_second, 1000 / few.queued_per_second)


def _growth(name: str, many: float, few: float) -> Figure:
    """Of a hundred times the rows. What grew with them would have a ratio of a hundred."""
    return Figure(f"api_growth_{name}", many, "ms", few, 10.0, is_goal_for_ratio=True)


async def _measure(*, workflows: int, runs: int) -> _Measured:
    with tempfile.TemporaryDirectory() as name:
        rows = await furnish(Path(name), workflows=workflows, runs=runs)
        async with (
            serve(rows.folder, api_key=rows.api_key) as server,
            wires(server.connection, CONNECTIONS) as opened,
        ):
            ids = {"run": rows.run_ids, "deployment": rows.deployment_ids, "workflow": rows.workflow_ids}
            return _Measured(
                {kind: await _ask(opened[0], _paths(kind, some)) for kind, some in ids.items()},
                {name: await _ask(opened[0], [path] * ASKED) for name, path in LISTS.items()},
                await _queue(opened, rows),
            )


def _paths(kind: str, ids: list[str]) -> list[str]:
    """So many different ones from all over the table, the same ones again where there are fewer."""
    return [f"/{kind}/{each}" for each in islice(cycle(ids[:: max(1, len(ids) // ASKED)]), ASKED)]


async def _ask(wire: Wire, paths: list[str]) -> _Answers:
    size = len(await wire.ask("GET", paths[0]))
    await seconds_each(wire, paths[:20])
    return _Answers(await seconds_each(wire, paths), size)


async def _queue(opened: list[Wire], rows: Furnished) -> float:
    """Runs accepted per second while the machine has no free slot: what is measured is the queue, not the work."""
    for _ in range(SLOTS):
        await opened[0].ask("POST", "/run/deployment/queue", body=_body(rows.busy_id))
    bodies = [_body(each, number) for number, each in enumerate(islice(cycle(rows.deployment_ids), QUEUED))]
    await seconds_to_post(opened, "/run/deployment/queue", bodies[: QUEUED // 10])
    return QUEUED / await seconds_to_post(opened, "/run/deployment/queue", bodies)


def _body(deployment_id: str, number: int | None = None) -> bytes:
    inputs = {} if number is None else {"prompt": f"a landscape in soft light, 85 mm, {number}", "seed": number}
    return json.dumps({"deployment_id": deployment_id, "inputs": inputs}).encode()
