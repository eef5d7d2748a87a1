"""Who works on which run: slots, leases, servers that die, and servers that stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from comfyui_outpost.api.models import RunRequest, RunStatus
from comfyui_outpost.api.server.attempt import Workplace
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.dispatcher import Dispatcher
from comfyui_outpost.api.server.feed import Feed
from comfyui_outpost.api.server.fleet import Fleet
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.server.objects import Folder, Objects
from comfyui_outpost.api.server.store import Store, open_store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.api.server.store.runs import Limits
from comfyui_outpost.api.server.store.work import MAX_ATTEMPTS, NewOutput
from comfyui_outpost.tests.fakes.backings import SQLITE_NAME
from comfyui_outpost.tests.fakes.deploying import deploy, kinds_of

from .clock import Clock
from .graphs import ECHO, node, sleep
from .machines import ScriptedMachine, picture, put_out_text, work_for_ever
from .talking import talkers

LEASE = 30.0


@dataclass
class World:
    """One database, that several servers may work on."""

    store: Store
    clock: Clock
    owner: Owner
    machine_id: str
    deployment_id: str
    folder: Path
    fleets: list[Fleet] = field(default_factory=list)

    async def queue(self, deployment_id: str | None = None, inputs: dict[str, str] | None = None) -> str:
        deployment = await self.store.deployments.runnable(self.owner, deployment_id or self.deployment_id)
        request = RunRequest(deployment_id=deployment.id, inputs=inputs or {})
        return await self.store.runs.create(
            self.owner, deployment, request=request, inputs=request.inputs, limits=Limits(3600, 3600)
        )

    async def status(self, run_id: str) -> str:
        return (await self.store.runs.get(self.owner, run_id)).status.value

    async def statuses(self, run_id: str) -> list[str]:
        """Every status that the run has had, from its log."""
        events = await self.store.runs.events(run_id, after=0)
        return [payload["data"]["status"] for _, payload in events if payload.get("event") == "status"]

    def feed(self) -> Feed:
        return Feed(self.store.runs.events, keep_alive_seconds=15)

    def dispatcher(self, machine: ScriptedMachine, *, feed: Feed | None = None) -> Dispatcher:
        config = ServerConfig(self.folder, lease_seconds=LEASE)
        fleet = Fleet(self.store.machines, kinds_of({"builtin": machine}), {}, rhythm=config.health)
        self.fleets.append(fleet)
        objects = Objects(Folder(self.folder / "objects"), bytes(32))
        return Dispatcher(Workplace(self.store, feed or self.feed(), objects, fleet, config))

    async def claim(self):
        claimed = await self.store.work.claim(self.machine_id, seconds=LEASE)
        assert claimed is not None
        return claimed


@pytest.fixture
async def world(tmp_path: Path) -> AsyncGenerator[World, None]:
    store, clock = await open_store(f"sqlite:///{tmp_path / SQLITE_NAME}"), Clock()
    store.database.now = clock
    holder, _ = await store.keys.create("a key")
    owner = holder.owner
    deployment = await deploy(store, owner, graph=ECHO, name="echo", slots=2)
    world = World(store, clock, owner, str(deployment.machine_id), deployment.id, tmp_path)
    yield world
    for fleet in world.fleets:
        await fleet.close()
    await store.database.close()


@asynccontextmanager
async def at_work(dispatcher: Dispatcher) -> AsyncGenerator[Dispatcher, None]:
    await dispatcher.start()
    try:
        yield dispatcher
    finally:
        await asyncio.wait_for(dispatcher.stop(), 20)


async def until(condition) -> None:
    """Wait for something that a dispatcher does by itself."""

    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), 20)


async def ended(world: World, *run_ids: str) -> None:
    async def poll() -> None:
        for run_id in run_ids:
            while not RunStatus(await world.status(run_id)).is_terminal:
                await asyncio.sleep(0.002)

    await asyncio.wait_for(poll(), 20)


class TestSlots:
    async def test_no_more_runs_work_at_once_than_the_machine_has_slots(self, world: World):
        machine = ScriptedMachine(work_for_ever)
        runs = [await world.queue() for _ in range(5)]
        async with at_work(world.dispatcher(machine)) as dispatcher:
            await until(lambda: len(machine.began) == 2)
            dispatcher.wake()
            assert machine.began == runs[:2]
            await world.store.runs.request_cancel(runs[0])
            await dispatcher.cancel(runs[0], seconds=10)
            await until(lambda: len(machine.began) == 3)
        assert machine.began == runs[:3]

    async def test_many_runs_are_each_begun_once_and_in_order(self, world: World):
        machine = ScriptedMachine(put_out_text)
        runs = [await world.queue() for _ in range(30)]
        async with at_work(world.dispatcher(machine)):
            await ended(world, *runs)
        assert machine.began == runs
        for run_id in runs:
            assert await world.statuses(run_id) == ["queued", "started", "running", "success"]
            assert len(await world.store.runs.outputs(run_id)) == 1

    async def test_two_servers_share_the_work_and_never_a_run(self, world: World):
        first, second = ScriptedMachine(put_out_text), ScriptedMachine(put_out_text)
        async with AsyncExitStack() as only_first:
            one = await only_first.enter_async_context(at_work(world.dispatcher(first)))
            alone = await self._run_ten(world, one)
            async with at_work(world.dispatcher(second)) as other:
                together = await self._run_ten(world, one, other)
                await only_first.aclose()
                left = await self._run_ten(world, other)
        assert sorted(first.began + second.began) == sorted(alone + together + left)
        assert set(alone) <= set(first.began)
        assert set(left) <= set(second.began)

    async def _run_ten(self, world: World, *dispatchers: Dispatcher) -> list[str]:
        runs = [await world.queue() for _ in range(10)]
        for each in dispatchers:
            each.wake()
        await ended(world, *runs)
        return runs

    async def test_twenty_claims_at_once_give_a_run_to_each_slot_and_no_run_twice(self, world: World):
        runs = [await world.queue() for _ in range(20)]
        claiming = (world.store.work.claim(world.machine_id, seconds=LEASE) for _ in range(20))
        claimed = [run.id for run in await asyncio.gather(*claiming) if run]
        assert len(claimed) == 2
        assert set(claimed) == set(runs[:2])

    async def test_a_run_whose_input_has_a_dot_in_its_name_runs_like_any_other(self, world: World):
        """The names of some nodes' inputs have one, and node ids of subgraphs have other signs."""
        graph = {"5:3": node("PreviewAny", **{"source.first": "before"})}
        deployment = await deploy(world.store, world.owner, graph=graph, name="dotted", slots=1)
        seen: list[str] = []

        async def look(job: Job, emit: Emit) -> None:
            seen.append(job.workflow_api["5:3"]["inputs"]["source.first"])

        run_id = await world.queue(deployment.id, {"5:3.source.first": "after"})
        async with at_work(world.dispatcher(ScriptedMachine(look))):
            await ended(world, run_id)
        assert await world.status(run_id) == "success"
        assert seen == ["after"]

    async def test_a_run_at_work_on_a_machine_that_is_deleted_ends_with_the_reason_when_its_server_stops(
        self, world: World
    ):
        run_id = await world.queue()
        claimed = await world.claim()
        await world.store.machines.delete(world.owner, world.machine_id, force=True)
        assert await world.status(run_id) == "started"
        await world.store.work.release(claimed)
        run = await world.store.runs.get(world.owner, run_id)
        assert run.status is RunStatus.FAILED
        assert "machine was deleted" in str(run.error)

    async def test_a_moment_without_a_database_at_its_end_does_not_execute_a_run_again(
        self, world: World, expect_log, monkeypatch
    ):
        expect_log("could not be written down; it is tried again")
        advance, failures = world.store.work.advance, [OSError("the disk is away")]

        async def fail_once(run, status, **options):
            if status is RunStatus.SUCCESS and failures:
                raise failures.pop()
            return await advance(run, status, **options)

        monkeypatch.setattr(world.store.work, "advance", fail_once)
        run_id, machine = await world.queue(), ScriptedMachine(put_out_text)
        async with at_work(world.dispatcher(machine)):
            await ended(world, run_id)
        assert await world.status(run_id) == "success"
        assert machine.began == [run_id]

    async def test_a_machine_that_gives_up_by_itself_fails_the_run(self, world: World, expect_log):
        expect_log("the machine failed")

        async def give_up(job: Job, emit: Emit) -> None:
            raise asyncio.CancelledError

        run_id, machine = await world.queue(), ScriptedMachine(give_up)
        async with at_work(world.dispatcher(machine)):
            await ended(world, run_id)
        assert await world.status(run_id) == "failed"
        assert machine.began == [run_id]

    async def test_a_machine_of_a_kind_that_this_server_lacks_gets_nothing(self, world: World):
        other = await world.store.machines.add(world.owner, name="other", kind="unheard-of", slots=5)
        run_id = await world.queue()
        async with at_work(world.dispatcher(ScriptedMachine(put_out_text))):
            await ended(world, run_id)
        assert other


class TestLeases:
    async def test_a_run_whose_server_is_gone_is_begun_again_when_its_lease_has_run_out(self, world: World):
        run_id = await world.queue()
        gone = await world.claim()
        assert await world.store.work.recover() == []
        world.clock.pass_seconds(LEASE + 1)
        assert await world.store.work.recover() == [run_id]
        assert await world.store.work.recover() == []
        again = await world.claim()
        assert (again.id, again.lease != gone.lease) == (run_id, True)

    async def test_a_lease_that_is_renewed_does_not_run_out(self, world: World):
        await world.queue()
        claimed = await world.claim()
        for _ in range(5):
            world.clock.pass_seconds(LEASE - 1)
            assert await world.store.work.renew([claimed.lease], seconds=LEASE) == {claimed.lease: False}
            assert await world.store.work.recover() == []

    async def test_whoever_lost_the_lease_can_change_nothing_any_more(self, world: World):
        run_id = await world.queue()
        late = await world.claim()
        world.clock.pass_seconds(LEASE + 1)
        await world.store.work.recover()
        current = await world.claim()
        before = await world.store.runs.events(run_id, after=0)
        output = NewOutput("1", "PreviewAny", None, {"text": ["late"]})
        await world.store.work.add_output(late, output)
        assert not await world.store.work.advance(late, RunStatus.RUNNING)
        assert not await world.store.work.advance(late, RunStatus.FAILED)
        await world.store.work.release(late)
        assert await world.store.work.renew([late.lease], seconds=LEASE) == {}
        assert await world.store.runs.events(run_id, after=0) == before
        assert await world.store.runs.outputs(run_id) == []
        assert await world.store.work.advance(current, RunStatus.RUNNING)

    async def test_a_server_that_was_away_too_long_stops_its_run_and_the_other_ends_it(self, world: World, expect_log):
        expect_log("is left to other server processes: its lease could not be kept")
        slow, quick = ScriptedMachine(work_for_ever), ScriptedMachine(put_out_text)
        run_id = await world.queue()
        first, second = world.dispatcher(slow), world.dispatcher(quick)
        async with at_work(first):
            await until(lambda: slow.began)
            world.clock.pass_seconds(LEASE + 1)
            await second._keep_leases()
            await second._claim_all()
            await until(lambda: second._fleet.condition(world.machine_id).is_ready)
            await second._claim_all()
            await ended(world, run_id)
            await first._keep_leases()
            await until(lambda: slow.stopped == [run_id])
        await second.stop()
        assert quick.began == [run_id]
        assert await world.status(run_id) == "success"
        assert [each["data"] for each in await world.store.runs.outputs(run_id)] == [{"text": ["done"]}]
        terminal = [status for status in await world.statuses(run_id) if RunStatus(status).is_terminal]
        assert terminal == ["success"]

    async def test_a_lease_that_is_renewed_while_somebody_looks_is_not_taken(self, world: World):
        """The other server looks, the first one renews, and only then does the other one take."""
        run_id = await world.queue()
        claimed = await world.claim()
        world.clock.pass_seconds(LEASE + 1)
        recover_one = world.store.work._recover_one

        async def renew_first(row):
            await world.store.work.renew([claimed.lease], seconds=LEASE)
            return await recover_one(row)

        world.store.work._recover_one = renew_first
        assert await world.store.work.recover() == []
        assert await world.status(run_id) == "started"
        assert await world.store.work.advance(claimed, RunStatus.RUNNING)

    async def test_a_run_that_takes_its_server_down_is_not_begun_for_ever(self, world: World):
        run_id = await world.queue()
        for _ in range(MAX_ATTEMPTS):
            assert (await world.claim()).id == run_id
            world.clock.pass_seconds(LEASE + 1)
            await world.store.work.recover()
        run = await world.store.runs.get(world.owner, run_id)
        assert run.status is RunStatus.FAILED
        assert run.error is not None
        assert run.error.message == "The server stopped 3 times while it worked on this run; it is not tried again."
        assert await world.store.work.claim(world.machine_id, seconds=LEASE) is None

    async def test_stopping_a_server_properly_does_not_count_as_an_attempt(self, world: World):
        run_id = await world.queue()
        for _ in range(MAX_ATTEMPTS + 2):
            await world.store.work.release(await world.claim())
        assert await world.status(run_id) == "queued"

    async def test_a_run_that_was_to_be_cancelled_when_its_server_died_is_cancelled(self, world: World):
        run_id = await world.queue()
        await world.claim()
        await world.store.runs.request_cancel(run_id)
        world.clock.pass_seconds(LEASE + 1)
        assert await world.store.work.recover() == []
        assert await world.status(run_id) == "cancelled"

    async def test_a_cancellation_reaches_the_server_that_works_on_the_run_with_its_lease(self, world: World):
        machine = ScriptedMachine(work_for_ever)
        run_id = await world.queue()
        async with at_work(world.dispatcher(machine)) as dispatcher:
            await until(lambda: machine.began)
            await world.store.runs.request_cancel(run_id)  # by another server, which cannot reach this task
            await dispatcher._keep_leases()
            await ended(world, run_id)
        assert await world.status(run_id) == "cancelled"

    async def test_outputs_of_an_attempt_that_was_lost_are_forgotten(self, world: World):
        run_id = await world.queue()
        claimed = await world.claim()
        await world.store.work.add_output(claimed, NewOutput("1", "PreviewAny", None, {"text": ["first"]}))
        world.clock.pass_seconds(LEASE + 1)
        await world.store.work.recover()
        assert await world.store.runs.outputs(run_id) == []


class TestStopping:
    @pytest.mark.parametrize("ticks", range(8))
    async def test_a_dispatcher_that_is_being_woken_stops_all_the_same(self, world: World, ticks: int):
        dispatcher = world.dispatcher(ScriptedMachine(put_out_text))
        await dispatcher.start()
        await until(lambda: dispatcher._wake._waiters)  # it has nothing to do and waits to be woken
        dispatcher.wake()
        for _ in range(ticks):
            await asyncio.sleep(0)
        await asyncio.wait_for(dispatcher.stop(), 20)

    async def test_runs_at_work_are_handed_back_whole(self, world: World):
        async def play(job, emit):
            await job.outputs.add("1", "SaveImage", output_id=None, files=[picture(b"x")], texts=[])
            await asyncio.Event().wait()

        machine = ScriptedMachine(play)
        runs = [await world.queue() for _ in range(3)]
        async with at_work(world.dispatcher(machine)):
            await until(lambda: len(machine.began) == 2)
        assert sorted(machine.stopped) == sorted(runs[:2])
        for run_id in runs:
            assert await world.status(run_id) == "queued"
            assert await world.store.runs.outputs(run_id) == []
        after = ScriptedMachine(put_out_text)
        async with at_work(world.dispatcher(after)):
            await ended(world, *runs)
        assert after.began == runs

    async def test_a_server_begins_with_what_the_last_one_left(self, world: World):
        run_id = await world.queue()
        await world.claim()  # and the server dies; its database file is this server's alone, so no lease counts
        machine = ScriptedMachine(put_out_text)
        async with at_work(world.dispatcher(machine)):
            await ended(world, run_id)
        assert await world.statuses(run_id) == ["queued", "started", "queued", "started", "running", "success"]


class TestTrouble:
    async def test_a_machine_that_breaks_hurts_its_own_run_alone(self, world: World, expect_log):
        expect_log("the machine failed")

        async def play(job, emit):
            if job.run_id == runs[0]:
                raise KeyError("a bug")
            await put_out_text(job, emit)

        runs = [await world.queue(), await world.queue()]
        async with at_work(world.dispatcher(ScriptedMachine(play))):
            await ended(world, *runs)
        assert [await world.status(run_id) for run_id in runs] == ["failed", "success"]

    async def test_a_database_that_is_away_for_a_moment_loses_no_run(self, world: World, expect_log, monkeypatch):
        expect_log("a step of the dispatcher failed; it tries again")
        claim = world.store.work.claim

        async def fail_once(*arguments, **options):
            monkeypatch.undo()
            raise OSError("the disk is away")

        monkeypatch.setattr(world.store.work, "claim", fail_once)
        run_id = await world.queue()
        async with at_work(world.dispatcher(ScriptedMachine(put_out_text))) as dispatcher:
            await until(lambda: world.store.work.claim == claim)
            dispatcher.wake()
            await ended(world, run_id)
        assert await world.status(run_id) == "success"

    async def test_nothing_is_left_in_memory_after_a_run(self, world: World):
        feed, machine = world.feed(), ScriptedMachine(put_out_text)
        run_id = await world.queue()
        async with at_work(world.dispatcher(machine, feed=feed)) as dispatcher:
            await ended(world, run_id)
            await until(lambda: not dispatcher._active)
            assert (feed._live, feed._tails) == ({}, {})


async def test_a_run_whose_cancellation_was_accepted_never_comes_back(start_platform):
    async with start_platform() as platform, talkers(platform.url, platform.owner.api_key, secrets=()) as [owner]:
        run_id = await owner.queue(await owner.deploy(sleep(60)))
        await owner.until(run_id, "running")
        # The cancellation is written down, and the process ends before it has acted on it.
        await platform.parts.store.runs.request_cancel(run_id)
        await platform.parts.dispatcher.stop()
        run = await platform.parts.store.runs.get(platform.owner.owner, run_id)
        assert run.status is RunStatus.CANCELLED
