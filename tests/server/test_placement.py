"""Where a waiting run may go, and where it goes best."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.models import Lack, RunRequest
from comfyui_outpost.api.server.config import Rhythm
from comfyui_outpost.api.server.fleet import Fleet, HeldMachine
from comfyui_outpost.api.server.placement import NO_OTHER, Placement, models_of
from comfyui_outpost.api.server.store import Store, open_store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.api.server.store.runs import Limits
from comfyui_outpost.api.server.store.work import ClaimedRun, WaitingRun
from comfyui_outpost.tests.fakes.backings import SQLITE_NAME

from .gpus import diffusion
from .graphs import external, node
from .machines import ScriptedMachine, put_out_text


class Choosy(ScriptedMachine):
    """Lacks what a test says that it lacks."""

    def __init__(self) -> None:
        super().__init__(put_out_text)
        self.without: set[str] = set()
        self.error: Exception | None = None

    async def lacks(self, graph: Any, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        if self.error:
            raise self.error
        wanted = models_of(graph, inputs or {}) & self.without
        return [Lack(node_id="1", node_class="X", kind="choice", message=f"{name} is missing") for name in wanted]


@dataclass
class World:
    store: Store
    owner: Owner
    fleet: Fleet
    pool_id: str
    deployment_id: str
    made: dict[str, Choosy] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)
    placement: Placement = field(init=False)

    def __post_init__(self) -> None:
        self.placement = Placement(self.fleet, self.store.work.graph, on_news=self.news.set)

    @property
    def machines(self) -> list[HeldMachine]:
        return self.fleet.of(self.pool_id)

    def own(self, held: HeldMachine) -> Choosy:
        assert isinstance(held.machine, Choosy)
        return held.machine

    async def queue(self, inputs: dict[str, Any] | None = None) -> str:
        deployment = await self.store.deployments.runnable(self.owner, self.deployment_id)
        request = RunRequest(deployment_id=deployment.id, inputs=inputs or {})
        return await self.store.runs.create(
            self.owner, deployment, request=request, inputs=request.inputs, limits=Limits(60, 60)
        )

    async def waiting(self) -> list[WaitingRun]:
        return await self.store.work.first_waiting([self.pool_id, *(each.id for each in self.machines)])

    async def choose(self) -> tuple[WaitingRun, HeldMachine] | None:
        """What is chosen once everybody has said what they lack."""
        waiting = await self.waiting()
        while (choice := self.placement.choose(waiting)) is None and self.placement._asking:
            await asyncio.wait(self.placement._asking.values())
        return choice

    async def give(self) -> tuple[ClaimedRun, HeldMachine]:
        """Have the next run claimed by whoever is chosen for it."""
        choice = await self.choose()
        assert choice is not None
        run = await self.store.work.claim(choice[1].id, seconds=60, run_id=choice[0].id)
        assert run is not None
        choice[1].at_work += 1
        self.placement.note_start(choice[1], run.workflow_api, run.inputs)
        return run, choice[1]


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    store = await open_store(f"sqlite:///{tmp_path / SQLITE_NAME}")
    holder, _ = await store.keys.create("a key")
    owner = holder.owner
    ids = [await store.machines.add(owner, name=name, kind="choosy", slots=1) for name in ("one", "two")]
    pool_id = await store.machines.add_pool(owner, name="both", machine_ids=ids)
    made = await store.workflows.create(owner, name="x", description=None, workflow={}, workflow_api=diffusion())
    deployment = await store.deployments.put(
        owner,
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=pool_id,
        environment="production",
    )
    fleet = Fleet(store.machines, {"choosy": lambda _: Choosy()}, {}, rhythm=Rhythm())
    await fleet.refresh()
    for held in fleet.machines:
        await held.watch.ask()
    world = World(store, owner, fleet, pool_id, deployment.id)
    yield world
    await world.placement.close()
    await fleet.close()
    await store.database.close()


async def test_a_run_that_nobody_free_can_take_holds_up_none_behind_it(world: World):
    one, two = world.machines
    world.own(one).without, world.own(two).without = {"b.ckpt"}, {"a.ckpt"}
    for model in ("a.ckpt", "a.ckpt", "b.ckpt"):
        await world.queue({"1.ckpt_name": model})
    first, at = await world.give()
    assert (first.inputs, at) == ({"1.ckpt_name": "a.ckpt"}, one)
    second, at = await world.give()
    assert (second.inputs, at) == ({"1.ckpt_name": "b.ckpt"}, two)
    assert await world.choose() is None


async def test_models_that_a_value_names_count_as_loaded(world: World):
    one, _ = world.machines
    await world.queue({"1.ckpt_name": "folder\\a.ckpt"})
    _, first = await world.give()
    assert (first, first.models) == (one, ["folder/a.ckpt"])
    first.at_work = 0
    await world.store.database.write(lambda connection: connection.exec_driver_sql("update runs set status = 'failed'"))
    await world.queue({"1.ckpt_name": "folder/a.ckpt"})
    await world.queue({"1.ckpt_name": "other.ckpt"})
    assert (await world.give())[1] is one
    assert (await world.give())[1] is not one


def test_a_default_that_a_value_stands_in_for_is_no_model_of_the_run():
    graph = {
        "1": external("Checkpoint", "model", default_value="old.safetensors"),
        "2": node("CheckpointLoaderSimple", ckpt_name=["1", 0]),
    }
    assert models_of(graph, {}) == {"old.safetensors"}
    assert models_of(graph, {"model": "new.safetensors"}) == {"new.safetensors"}


@pytest.mark.parametrize(
    "graph", [{"1": 7}, {"1": {"inputs": 7}}, {"1": {"inputs": {"input_id": ["1", 0]}}}, {}], ids=str
)
def test_a_graph_that_makes_no_sense_names_no_models(graph: Any):
    assert models_of(graph, {"model": None}) == set()


class TestARunThatWasAtWork:
    """A server that was stopped or killed has left it: its machine may be at work on it still."""

    @pytest.fixture
    async def left(self, world: World) -> tuple[World, HeldMachine, HeldMachine]:
        one, two = world.machines
        await world.queue()
        run, at = await world.give()
        assert at is one
        await world.store.work.release(run)
        one.at_work = 0
        return world, one, two

    async def test_it_goes_back_to_its_machine(self, left: tuple[World, HeldMachine, HeldMachine]):
        world, one, _ = left
        run, at = await world.give()
        assert (at, run.machine_id, run.pool_id) == (one, one.id, world.pool_id)
        assert run.queued_at > run.created_at, "the machine is asked whether it has it"

    async def test_it_waits_for_its_machine_and_says_so(self, left: tuple[World, HeldMachine, HeldMachine]):
        world, one, _ = left
        one.watch.note_loss("it is switched off")
        assert await world.choose() is None
        [run] = await world.waiting()
        assert world.placement.trouble(run) == "it is switched off"

    async def test_another_one_takes_it_if_that_is_allowed(self, left: tuple[World, HeldMachine, HeldMachine]):
        world, one, two = left
        await world.store.deployments.change(world.owner, world.deployment_id, {"retry_elsewhere": True})
        assert (await world.choose() or (None, None))[1] is one, "as long as its own is there"
        one.watch.note_loss("it is switched off")
        run, at = await world.give()
        assert (at, run.machine_id, run.pool_id) == (two, two.id, world.pool_id)


async def test_a_machine_that_cannot_say_what_it_lacks_is_tried(world: World, expect_log):
    expect_log("could not say what it lacks")
    for held in world.machines:
        world.own(held).error = RuntimeError("a bug")
    await world.queue()
    assert await world.choose() is not None


async def test_a_run_that_may_go_nowhere_says_so(world: World):
    one, two = world.machines
    await world.queue()
    [run] = await world.waiting()
    assert world.placement.trouble(run) is None
    await world.store.machines.delete(world.owner, two.id, force=True)
    await world.fleet.refresh()
    lost = WaitingRun(**{**vars(run), "lost_on": one.id})
    assert world.placement.trouble(lost) == NO_OTHER
