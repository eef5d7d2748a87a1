"""A platform's folder with many rows in it, as years of use leave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from comfyui_outpost.api.events import Accepted, StatusChanged, encode
from comfyui_outpost.api.models import Deployment, RunStatus
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.api.server.store import Store, tables
from comfyui_outpost.api.server.store.keys import Owner

Row = dict[str, Any]

SLOTS = 2
DEPLOYMENTS = 100
NODES = 20
"""In each graph."""
INSERTED_AT_ONCE = 5000
FIRST_DAY = datetime(2024, 1, 1, tzinfo=timezone.utc)
WORDS = ("portrait", "landscape", "upscale", "relight", "inpaint", "product", "video", "depth", "sketch", "texture")
ENDS = [RunStatus.SUCCESS] * 95 + [RunStatus.FAILED] * 3 + [RunStatus.CANCELLED] * 2
SLEEP = {"1": {"class_type": "OutpostSleep", "inputs": {"seconds": 3600}}}


@dataclass(frozen=True)
class Furnished:
    """A folder that a server can be started in, and what is there to be asked for."""

    folder: Path
    api_key: str = field(repr=False)
    workflow_ids: list[str]
    deployment_ids: list[str]
    run_ids: list[str]
    busy_id: str
    """A deployment that takes an hour, on the same machine as all the others."""


async def furnish(folder: Path, *, workflows: int, runs: int) -> Furnished:
    """Fill a new folder. All of it belongs to one owner, who is then the one with the longest lists."""
    async with open_platform(ServerConfig(folder, builtin_slots=SLOTS)) as platform:
        assert platform.first_start
        key = platform.first_start.api_key
        holder = await platform.store.keys.holder_of(key)
        assert holder
        model = await platform.store.deployments.get(holder.owner, platform.first_start.deployment_id)
        busy = await _deploy_busy(platform.store, holder.owner, model)
    made = _Rows(holder.owner, model, workflows=workflows, runs=runs)
    engine = sa.create_engine(f"sqlite:///{folder / 'outpost.sqlite'}")
    with engine.begin() as connection:
        for table, rows in made.tables():
            while some := list(islice(rows, INSERTED_AT_ONCE)):
                connection.execute(sa.insert(table), some)
    engine.dispose()
    return Furnished(folder, key, made.workflow_ids, made.deployment_ids, made.run_ids, busy.id)


async def _deploy_busy(store: Store, owner: Owner, model: Deployment) -> Deployment:
    made = await store.workflows.create(owner, name="an hour", description=None, workflow={}, workflow_api=SLEEP)
    return await store.deployments.put(
        owner,
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=str(model.machine_id),
        environment="production",
        name="an hour",
        run_timeout=7200,
    )


class _Rows:
    """Rows like those that the server writes, the same at each call."""

    def __init__(self, owner: Owner, model: Deployment, *, workflows: int, runs: int) -> None:
        self._random = Random(1)
        self._owner = {"owner_id": owner.id}
        self._machine = {"machine_id": model.machine_id}
        self.workflow_ids = self._ids(workflows)
        self._version_ids = self._ids(workflows)
        self.deployment_ids = self._ids(DEPLOYMENTS)
        self.run_ids = self._ids(runs)

    def _ids(self, count: int) -> list[str]:
        return [str(UUID(int=self._random.getrandbits(128), version=4)) for _ in range(count)]

    def tables(self) -> Iterator[tuple[sa.Table, Iterator[Row]]]:
        """Each table with its rows, in an order that foreign keys allow."""
        yield tables.workflows, map(self._workflow, range(len(self.workflow_ids)))
        yield tables.workflow_versions, map(self._version, range(len(self.workflow_ids)))
        yield tables.deployments, map(self._deployment, range(DEPLOYMENTS))
        yield tables.runs, map(self._run, range(len(self.run_ids)))
        yield tables.run_events, (row for number in range(len(self.run_ids)) for row in self._events(number))
        yield tables.run_outputs, map(self._output, range(len(self.run_ids)))

    def _workflow(self, number: int) -> Row:
        made = FIRST_DAY + timedelta(minutes=number)
        changed = made + timedelta(minutes=self._random.randrange(100_000))
        name = f"{' '.join(self._random.sample(WORDS, 2))} {number}"
        row = {"id": self.workflow_ids[number], "name": name, "description": f"What the studio uses for {name}."}
        return {**row, **self._owner, "created_at": made, "updated_at": changed}

    def _version(self, number: int) -> Row:
        ids = {"id": self._version_ids[number], "workflow_id": self.workflow_ids[number]}
        graphs = {"workflow": editor_graph(number), "workflow_api": graph(number)}
        return {**ids, **graphs, "version": 1, "created_at": FIRST_DAY + timedelta(minutes=number)}

    def _deployment(self, number: int) -> Row:
        made = FIRST_DAY + timedelta(hours=number)
        ids = {"id": self.deployment_ids[number], **self._of_deployment(number), **self._owner, **self._machine}
        times = {"created_at": made, "updated_at": made}
        return {**ids, "name": f"{WORDS[number % len(WORDS)]} {number}", "environment": "production", **times}

    def _of_deployment(self, number: int) -> Row:
        number %= len(self.workflow_ids)
        return {"workflow_id": self.workflow_ids[number], "workflow_version_id": self._version_ids[number]}

    def _run(self, number: int) -> Row:
        asked, deployment, status = FIRST_DAY + timedelta(minutes=5 * number), number % DEPLOYMENTS, _end(number)
        ids = {"id": self.run_ids[number], "deployment_id": self.deployment_ids[deployment]}
        error = {"message": "CUDA out of memory", "node_id": "7", "node_class": "KSampler"}
        return {
            **ids,
            **self._of_deployment(deployment),
            **self._owner,
            **self._machine,
            "inputs": {"prompt": f"a {WORDS[number % len(WORDS)]}, soft light, 85 mm, {number}", "seed": number},
            "run_timeout": 3600.0,
            "status": status.value,
            "progress": 1.0 if status is RunStatus.SUCCESS else 0.4,
            "live_status": "Executing SaveImage",
            "error": error if status is RunStatus.FAILED else None,
            "attempts": 1,
            "last_event": 5,
            "created_at": asked,
            "updated_at": asked + timedelta(seconds=20),
            "queued_at": asked,
            "started_at": asked + timedelta(seconds=2),
            "ended_at": asked + timedelta(seconds=20),
        }

    def _events(self, number: int) -> Iterator[Row]:
        run_id, asked = self.run_ids[number], FIRST_DAY + timedelta(minutes=5 * number)
        statuses = (RunStatus.QUEUED, RunStatus.STARTED, RunStatus.RUNNING)
        events = [Accepted(run_id), *(StatusChanged(run_id, status) for status in statuses)]
        for index, event in enumerate([*events, StatusChanged(run_id, _end(number))], start=1):
            yield {"run_id": run_id, "number": index, "payload": encode(event)[1], "created_at": asked}

    def _output(self, number: int) -> Row:
        run_id, made = self.run_ids[number], FIRST_DAY + timedelta(minutes=5 * number, seconds=19)
        file = {"object": f"runs/{run_id}/0a1b2c3d-1-result.png", "filename": "result.png", "subfolder": ""}
        file |= {"type": "output", "content_type": "image/png", "size": 1_500_000}
        ids = {"id": str(UUID(int=UUID(run_id).int ^ 1)), "run_id": run_id, "position": 5}
        node = {"node_id": "20", "node_class": "SaveImage", "output_id": "result"}
        return {**ids, **node, "data": {"images": [file]}, "created_at": made}


def _end(number: int) -> RunStatus:
    return ENDS[number % len(ENDS)]


def graph(number: int) -> Row:
    """A graph in API format with two inputs and one output, about 3 KB."""
    nodes: Row = {
        "1": _node("ComfyUIDeployExternalText", input_id="prompt", default_value="", description="What to paint"),
        "2": _node("ComfyUIDeployExternalSeed", input_id="seed", default_value=number),
    }
    for node_id in range(3, NODES):
        nodes[str(node_id)] = _node("ImageBlur", seed=["2", 0], steps=20, cfg=7.5, positive=[str(node_id - 2), 0])
    return nodes | {str(NODES): _node("SaveImage", images=[str(NODES - 1), 0], output_id="result")}


def _node(class_type: str, **inputs: Any) -> Row:
    return {"class_type": class_type, "inputs": inputs, "_meta": {"title": class_type}}


def editor_graph(number: int) -> Row:
    """The same as the editor keeps it, about 8 KB."""
    ports = [{"name": name, "type": "IMAGE", "link": None} for name in ("model", "positive", "negative", "latent")]
    nodes = [
        {
            "id": node_id,
            "type": "KSampler",
            "pos": [number % 100, 40 * node_id],
            "size": [315, 262],
            "order": node_id,
            "inputs": ports,
            "properties": {"Node name for S&R": "KSampler"},
            "widgets_values": [number, "randomize", 20, 7.5, "euler", "normal", 1],
        }
        for node_id in range(1, NODES + 1)
    ]
    return {"version": 0.4, "last_node_id": NODES, "nodes": nodes, "links": [], "groups": [], "config": {}, "extra": {}}
