"""The stream of an account: all that changes, in order, also after a lost connection, and nothing of anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from comfyui_outpost.api.account_events import (
    MachineChanged,
    PreviewShown,
    RunChanged,
    StreamBegun,
    ThingChanged,
    to_sse,
)
from comfyui_outpost.api.errors import Unavailable
from comfyui_outpost.api.events import LiveStatus, PreviewImage
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.api.server.account_feed import KEPT, AccountStream, AccountTail
from comfyui_outpost.api.server.fleet import Fleet
from comfyui_outpost.api.server.newsroom import Newsroom
from comfyui_outpost.api.server.store import account_events
from comfyui_outpost.api.server.store.account_events import AccountEventStore, Logged

from .account import Told, following
from .graphs import ECHO, node, png, sleep
from .machines import ScriptedMachine, put_out_text, work_for_ever
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

LIFE = ["queued", "started", "running", "success"]


def statuses(told: Told, run_id: str) -> list[str]:
    """The statuses that a run was told to have, one after the other."""
    found = [each.status.value for each in told.of(RunChanged, run_id=run_id)]
    return [each for number, each in enumerate(found) if number == 0 or found[number - 1] != each]


def ended(run_id: str) -> Any:
    return lambda told: any(each.status.is_terminal for each in told.of(RunChanged, run_id=run_id))


def deeds(told: Told, kind: str, thing_id: str) -> list[str]:
    return [each.deed for each in told.of(ThingChanged, kind=kind, id=thing_id)]


class TestRuns:
    async def test_every_status_of_a_run_is_told_once_and_in_order_with_all_that_a_list_shows(self, owner: Talker):
        deployment = await owner.get(f"/deployment/{await owner.deploy(ECHO)}")
        async with following(owner) as told:
            run_id = await owner.queue(deployment["id"])
            await told.until(ended(run_id))
        assert statuses(told, run_id) == LIFE
        first, last = (told.of(RunChanged, run_id=run_id)[place] for place in (0, -1))
        assert (first.status, first.started_at, first.ended_at) == (RunStatus.QUEUED, None, None)
        run = await owner.get(f"/run/{run_id}")
        assert last.progress == 1.0
        for name in ("deployment_id", "workflow_id", "workflow_version_id", "machine_id"):
            assert getattr(first, name) == getattr(last, name) == run[name]
        assert (run["environment"], last.error) == ("production", None)
        assert last.created_at
        assert last.ended_at

    async def test_a_failure_is_told_with_its_reason(self, owner: Talker):
        deployment_id = await owner.deploy({"7": node("OutpostSleep", seconds="long")})
        async with following(owner) as told:
            run_id = await owner.queue(deployment_id)
            await told.until(ended(run_id))
        last = told.of(RunChanged, run_id=run_id)[-1]
        assert last.status is RunStatus.FAILED
        assert last.error
        assert (last.error.node_id, last.error.node_class) == ("7", "OutpostSleep")

    @pytest.mark.one_backing
    async def test_progress_comes_at_a_bearable_pace_and_its_newest_state_always(self, start_platform):
        proceed = asyncio.Event()

        async def hurry(job: Any, emit: Any) -> None:
            for step in range(500):
                emit(LiveStatus(job.run_id, f"step {step}", step / 500))
                await asyncio.sleep(0.001)
            await proceed.wait()

        async with (
            start_platform(machines={"builtin": ScriptedMachine(hurry)}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
            following(owner) as told,
        ):
            loop = asyncio.get_running_loop()
            run_id, began = await owner.queue(await owner.deploy(ECHO)), loop.time()
            await told.until(lambda told: told.of(RunChanged, run_id=run_id, live_status="step 499"))
            seconds = loop.time() - began
            steps = [each for each in told.of(RunChanged, run_id=run_id) if each.live_status]
            assert len(steps) <= seconds / 0.1 + 2
            assert {each.status for each in steps[1:]} == {RunStatus.RUNNING}
            assert all(each.deployment_id and each.created_at for each in steps)
            [listed] = await owner.get("/runs")
            assert (listed["live_status"], listed["progress"]) == ("step 499", 499 / 500)
            async with following(owner) as late:  # is told where it is now, and not only from the next step on
                await late.until(lambda told: told.of(RunChanged, run_id=run_id, live_status="step 499"))
            proceed.set()
            await told.until(ended(run_id))
            assert told.of(RunChanged, run_id=run_id)[-1].live_status is None

    async def test_whoever_waits_is_told_the_place_in_the_queue_as_it_changes(self, start_platform):
        machine = ScriptedMachine(work_for_ever)
        async with (
            start_platform(machines={"builtin": machine}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
            following(owner) as told,
        ):
            deployment_id = await owner.deploy(ECHO, concurrency_limit=1)
            one, two, three = [await owner.queue(deployment_id) for _ in range(3)]
            await told.until(lambda told: told.of(RunChanged, run_id=three, queue_position=1))
            machine_id = platform.owner.machine_id
            await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id, queue=2))
            await owner.post(f"/run/{one}/cancel", None)
            await told.until(lambda told: told.of(RunChanged, run_id=three, queue_position=0))
            await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id, queue=1))
            assert (await owner.get(f"/machine/{machine_id}")).items() >= {"queue": 1, "working": 1}.items()
            async with following(owner) as late:
                await late.until(lambda told: told.of(RunChanged, run_id=three, queue_position=0))
            assert statuses(told, two)[-1] in ("started", "running")


@pytest.mark.one_backing
class TestPreviews:
    @pytest.fixture
    async def shown(self, start_platform) -> AsyncGenerator[tuple[Talker, str], None]:
        """Somebody with a deployment whose runs show fifty pictures within a second."""

        async def show(job: Any, emit: Any) -> None:
            for step in range(50):
                if job.preview_images:
                    emit(PreviewImage(job.run_id, "3", "image/png", png() + bytes([step])))
                await asyncio.sleep(0.02)

        async with (
            start_platform(machines={"builtin": ScriptedMachine(show)}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
        ):
            yield owner, await owner.deploy(ECHO)

    async def test_they_are_told_to_whoever_wants_them_a_few_in_a_second(self, shown: tuple[Talker, str]):
        owner, deployment_id = shown
        async with following(owner, "?previews=true") as told, following(owner) as other:
            body = {"deployment_id": deployment_id, "inputs": {}, "preview_images": True}
            run_id = (await owner.post("/run/deployment/queue", body))["run_id"]
            await asyncio.gather(told.until(ended(run_id)), other.until(ended(run_id)))
        pictures = told.of(PreviewShown, run_id=run_id, content_type="image/png")
        assert 2 <= len(pictures) <= 5
        assert pictures[0].data.startswith(b"\x89PNG")
        assert not other.of(PreviewShown)
        assert isinstance(told.events[-1], RunChanged | MachineChanged)

    async def test_whoever_comes_while_a_run_is_at_work_is_shown_its_newest(self, start_platform):
        shown, may_end = asyncio.Event(), asyncio.Event()

        async def show(job: Any, emit: Any) -> None:
            for picture in (b"first", b"newest"):
                emit(PreviewImage(job.run_id, "3", "image/png", picture))
            shown.set()
            await may_end.wait()

        async with (
            start_platform(machines={"builtin": ScriptedMachine(show)}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
        ):
            body = {"deployment_id": await owner.deploy(ECHO), "inputs": {}, "preview_images": True}
            run_id = (await owner.post("/run/deployment/queue", body))["run_id"]
            await shown.wait()
            async with following(owner, "?previews=true") as told:
                await told.until(lambda told: told.of(PreviewShown, run_id=run_id, data=b"newest"))
                may_end.set()
                await told.until(ended(run_id))
            async with following(owner, "?previews=true") as late:
                await owner.deploy(ECHO)
                await late.until(lambda told: told.of(ThingChanged, kind="deployment"))
        assert not late.of(PreviewShown)
        assert not told.of(PreviewShown, data=b"first")

    async def test_a_run_without_previews_shows_none(self, shown: tuple[Talker, str]):
        owner, deployment_id = shown
        async with following(owner, "?previews=true") as told:
            await told.until(ended(await owner.queue(deployment_id)))
        assert not told.of(PreviewShown)


class TestThings:
    async def test_whatever_is_made_changed_or_deleted_is_told_to_its_owner_alone(
        self, owner: Talker, stranger: Talker
    ):
        async with following(stranger) as nothing, following(owner) as told:
            made = await owner.post("/workflow", {"name": "new", "workflow": {}, "workflow_api": ECHO})
            workflow_id = made["workflow_id"]
            await owner.patch(f"/workflow/{workflow_id}", {"name": "newer"})
            version = await owner.post(f"/workflow/{workflow_id}/version", {"workflow_api": ECHO})
            machine_id = (await owner.post("/machine/create", {"name": "other", "type": "builtin"}))["id"]
            await owner.patch(f"/machine/custom/{machine_id}", {"name": "another"})
            body = {"workflow_id": workflow_id, "version_id": version["id"], "machine_id": machine_id}
            deployment_id = (await owner.post("/deployment", body))["id"]
            await owner.post(f"/deployment/{deployment_id}/deactivate", None)
            folder = (await owner.post("/assets/folder", {"name": "pictures"}))["id"]
            asset = (await owner.send("/assets/upload", png()))["id"]
            await owner.patch(f"/assets/{asset}", {"path": "pictures"})
            await owner.delete(f"/assets/{folder}")
            await owner.delete(f"/deployment/{deployment_id}")
            await owner.delete(f"/machine/{machine_id}")
            await owner.delete(f"/workflow/{workflow_id}")
            await owner.patch(f"/workflow/{workflow_id}", {"deleted": False})
            last = (await owner.post(f"/workflow/{workflow_id}/clone", {}))["id"]
            await told.until(lambda told: told.of(ThingChanged, id=last))
            theirs = (await stranger.post("/workflow", {"name": "theirs", "workflow": {}}))["workflow_id"]
            await nothing.until(lambda told: told.of(ThingChanged, id=theirs))
        assert deeds(told, "workflow", workflow_id) == ["created", "updated", "updated", "deleted", "created"]
        assert deeds(told, "deployment", deployment_id) == ["created", "updated", "deleted"]
        assert deeds(told, "machine", machine_id) == ["created", "updated", "deleted"]
        assert deeds(told, "asset", folder) == ["created", "deleted"]
        assert deeds(told, "asset", asset) == ["created", "updated"]
        assert [each.id for each in nothing.of(ThingChanged)] == [theirs]
        assert not told.of(ThingChanged, id=theirs)

    async def test_what_did_not_happen_is_not_told(self, owner: Talker):
        async with following(owner) as told:
            for path in ("/workflow", "/deployment", "/machine", "/assets"):
                assert (await owner.ask("DELETE", f"{path}/00000000-0000-0000-0000-000000000000")).status_code == 404
            made = await owner.post("/workflow", {"name": "new", "workflow": {}})
            await told.until(lambda told: told.of(ThingChanged))
        assert [each.id for each in told.of(ThingChanged)] == [made["workflow_id"]]

    async def test_a_machine_that_goes_down_and_comes_back_is_told(self, start_platform, allow_log):
        class Fragile(ScriptedMachine):
            is_down = False

            async def health(self) -> None:
                if self.is_down:
                    raise RuntimeError("down")

        allow_log("could not say how it is")
        machine = Fragile(put_out_text)
        async with (
            start_platform(machines={"builtin": machine}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
            following(owner) as told,
        ):
            this = platform.owner.machine_id
            machine.is_down = True
            await owner.get(f"/machine/{this}")
            down = await told.until(lambda told: told.of(MachineChanged, machine_id=this, status="error"))
            assert "could not say how it is" in down.of(MachineChanged, status="error")[0].status_reason
            machine.is_down = False
            await owner.get(f"/machine/{this}")
            await told.until(lambda told: told.of(MachineChanged, machine_id=this)[-1].status == "ready")


class TestResuming:
    async def test_after_any_event_the_rest_follows_and_nothing_else(self, owner: Talker):
        async with following(owner) as told:
            run_id = await owner.queue(await owner.deploy(ECHO))
            await told.until(ended(run_id))
        numbers = told.numbers
        assert numbers == sorted(set(numbers))
        for place, number in enumerate(numbers):
            async with following(owner, after=number) as rest:
                await rest.until(lambda rest: len(rest.numbers) >= len(numbers) - place)  # noqa: B023 (called at once)
                assert rest.of(StreamBegun) == [StreamBegun(is_resumed=True)]
                assert rest.numbers == numbers[place:]

    async def test_what_nobody_heard_is_told_when_the_stream_is_taken_up_again(self, owner: Talker):
        deployment_id = await owner.deploy(ECHO)
        async with following(owner) as told:
            begun = told.numbers[0]
        run_id = await owner.queue(deployment_id)
        await owner.end_of(run_id)
        async with following(owner, after=begun) as rest:
            await rest.until(ended(run_id))
        assert statuses(rest, run_id) == LIFE

    async def test_an_id_of_nothing_that_was_begins_anew_and_says_so(self, owner: Talker):
        async with following(owner, after=999_999_999_999) as told:
            assert told.of(StreamBegun) == [StreamBegun(is_resumed=False)]
            made = await owner.post("/workflow", {"name": "new", "workflow": {}})
            await told.until(lambda told: told.of(ThingChanged, id=made["workflow_id"]))

    @pytest.mark.parametrize("wrong", ["x", "-1", "1.5", "9" * 16, "²"])
    async def test_what_is_no_id_is_refused(self, owner: Talker, wrong: str):
        answer = await owner.ask("GET", "/events", headers={"Last-Event-ID": wrong.encode()})
        assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")

    @pytest.mark.own_platform
    async def test_what_is_too_old_is_forgotten_and_whoever_comes_back_later_is_told_so(
        self, platform, owner: Talker, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(account_events, "BATCH", 1)
        store = platform.parts.store
        async with following(owner) as told:
            begun = told.numbers[0]
        for name in ("one", "two"):
            await owner.post("/workflow", {"name": name, "workflow": {}})
        now = store.database.now
        store.database.now = lambda: now() + timedelta(days=2)
        try:
            assert await store.account_events.forget_old(), "there was more"
            while await store.account_events.forget_old():
                pass
        finally:
            store.database.now = now
        first, last = await store.account_events.span()
        assert first == last
        async with following(owner, after=begun) as told:
            assert told.of(StreamBegun) == [StreamBegun(is_resumed=False)]
        async with following(owner, after=last) as told:
            assert told.of(StreamBegun) == [StreamBegun(is_resumed=True)]


class TestTheStreamItself:
    async def test_it_is_kept_alive_and_ends_with_its_key(self, start_platform):
        async with (
            start_platform(keep_alive_seconds=0.05) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
        ):
            made = await owner.post("/platform/api-keys", {"name": "soon revoked", "scope": "read"})
            async with talkers(platform.url, made["key"], secrets=[]) as (other,), following(other) as told:
                await told.until(lambda told: told.comments >= 3)
                await owner.delete(f"/platform/api-keys/{made['id']}")
                await told.until(lambda told: told.has_ended)
            assert not told.of(RunChanged)
            assert not told.of(ThingChanged)

    async def test_all_who_follow_one_account_are_told_the_same(self, platform, owner: Talker):
        async with AsyncExitStack() as stack:
            everybody = [await stack.enter_async_context(following(owner)) for _ in range(20)]
            run_id = await owner.queue(await owner.deploy(ECHO))
            for told in everybody:
                await told.until(ended(run_id))
                assert statuses(told, run_id) == LIFE


async def _nothing(after: int, until: int) -> list[Logged]:
    raise AssertionError("nothing has to be read again")


def _thing(number: int) -> Logged:
    return Logged(number, "somebody", ThingChanged("workflow", str(number), "updated"))


class TestSlowReaders:
    async def test_whoever_is_far_behind_reads_the_log_and_misses_nothing(self):
        log = [_thing(number) for number in range(1, 3 * KEPT)]
        asked: list[tuple[int, int]] = []

        async def read(after: int, until: int) -> list[Logged]:
            asked.append((after, until))
            return [each for each in log if after < each.number <= until][:500]

        tail = AccountTail(read, last=0)
        slow, quick = (AccountStream(tail, after=0, previews=False) for _ in range(2))
        await slow.next()
        await quick.next()
        heard = b""
        for each in log:
            tail.append(each)
            if each.number % 100 == 0:
                heard += await quick.next()
        tail.tell()
        heard += await quick.next()
        whole = b"".join(to_sse(each.event, number=each.number) for each in log)
        assert heard == whole
        assert not asked
        slowly = b""
        while len(slowly) < len(whole):
            slowly += await slow.next()
        assert slowly == whole
        assert asked

    async def test_progress_that_nobody_has_read_is_told_in_its_newest_state_only(self):
        tail = AccountTail(_nothing, last=0)
        stream = AccountStream(tail, after=None, previews=True)
        await stream.next()
        tail.append(Logged(1, "somebody", RunChanged("r", RunStatus.RUNNING)))
        for step in range(1000):
            tail.show_progress(RunChanged("r", RunStatus.STARTED, step / 1000))
        assert (await stream.next()).count(b"event: run") == 2
        assert (await stream.next()).count(b"0.999") == 1

    async def test_progress_waits_until_the_log_has_told_that_the_run_is_at_work(self):
        tail = AccountTail(_nothing, last=0)
        stream = AccountStream(tail, after=None, previews=True)
        await stream.next()
        tail.show_progress(RunChanged("r", RunStatus.RUNNING, 0.5))
        for number, status in enumerate((RunStatus.QUEUED, RunStatus.STARTED, RunStatus.RUNNING), start=1):
            tail.append(Logged(number, "somebody", RunChanged("r", status)))
        heard = await stream.next()
        assert [heard.index(f'"status":"{status}"'.encode()) for status in ("queued", "started", "running")] == sorted(
            heard.index(f'"status":"{status}"'.encode()) for status in ("queued", "started", "running")
        )
        assert b'"progress":0.5' in heard

    @pytest.mark.parametrize("is_placed", [True, False], ids=["after its place in the queue", "at once"])
    async def test_a_preview_waits_until_the_log_has_told_that_the_run_is_at_work(self, is_placed: bool):
        tail = AccountTail(_nothing, last=0)
        stream = AccountStream(tail, after=None, previews=True)
        await stream.next()
        if is_placed:
            tail.append(Logged(1, "somebody", RunChanged("r", RunStatus.QUEUED)))
            tail.show_place(RunChanged("r", RunStatus.QUEUED, queue_position=1))
        tail.show_preview(PreviewShown("r", "image/png", b"x"))
        for number, status in enumerate((RunStatus.QUEUED, RunStatus.STARTED, RunStatus.RUNNING), start=2):
            tail.append(Logged(number, "somebody", RunChanged("r", status)))
        heard = await stream.next()
        assert heard.index(b"event: preview") > heard.index(b'"status":"running"')

    async def test_a_run_that_waits_again_shows_nothing_of_its_former_attempt(self):
        tail = AccountTail(_nothing, last=0)
        tail.begin_with(RunChanged("r", RunStatus.RUNNING), PreviewShown("r", "image/png", b"x"))
        tail.append(Logged(1, "somebody", RunChanged("r", RunStatus.QUEUED)))
        late = AccountStream(tail, after=None, previews=True)
        await late.next()
        tail.append(Logged(2, "somebody", RunChanged("r", RunStatus.RUNNING)))
        assert b"preview" not in await late.next()

    async def test_a_run_that_has_ended_goes_on_for_nobody(self):
        tail = AccountTail(_nothing, last=0)
        stream = AccountStream(tail, after=None, previews=True)
        await stream.next()
        tail.begin_with(RunChanged("r", RunStatus.RUNNING))
        for step in range(2):
            tail.show_progress(RunChanged("r", RunStatus.RUNNING, step / 10))
            tail.show_preview(PreviewShown("r", "image/png", b"x"))
        tail.append(Logged(1, "somebody", RunChanged("r", RunStatus.SUCCESS, 1.0)))
        tail.show_progress(RunChanged("r", RunStatus.RUNNING, 0.9))
        tail.show_preview(PreviewShown("r", "image/png", b"y"))
        tail.tell()
        assert await stream.next() == to_sse(RunChanged("r", RunStatus.SUCCESS, 1.0), number=1)


class _Shared(AccountEventStore):
    """Of a database that others write to as well."""

    is_shared = True  # pyright: ignore[reportAssignmentType]


async def test_a_machine_that_is_gone_is_not_shown_to_whoever_follows_later():
    tail = AccountTail(_nothing, last=0)
    for name in ("gone", "there"):
        tail.show_machine(MachineChanged(name, "ready", queue=0))
    tail.append(Logged(1, "somebody", ThingChanged("machine", "gone", "deleted")))
    late = AccountStream(tail, after=None, previews=False)
    await late.next()
    assert await late.next() == to_sse(MachineChanged("there", "ready", queue=0))


@pytest.mark.own_platform
async def test_queues_that_could_not_be_looked_at_are_looked_at_again(platform, owner: Talker, expect_log):
    class Failing(_Shared):
        is_away = True

        async def owners(self, machine_ids: Any) -> dict[str, str]:
            if self.is_away:
                self.is_away = False
                raise Unavailable("The database is not there at the moment")
            return await super().owners(machine_ids)

    expect_log("what has happened could not be read")
    fleet = Fleet(platform.parts.store.machines, {}, {}, rhythm=platform.parts.config.health)
    newsroom = Newsroom(Failing(platform.parts.store.database), fleet, keep_alive_seconds=60)
    await newsroom.start()
    try:
        async with newsroom.follow(platform.owner.owner, after=None, previews=False) as stream:
            newsroom.note_machine(platform.owner.machine_id)
            heard = b""
            while b"event: machine" not in heard:
                heard += await asyncio.wait_for(stream.next(), 10)
    finally:
        await newsroom.stop()


@asynccontextmanager
async def _elsewhere(platform: Any) -> AsyncGenerator[Newsroom, None]:
    """The newsroom of another server process on the same database."""
    fleet = Fleet(platform.parts.store.machines, {}, {}, rhythm=platform.parts.config.health)
    newsroom = Newsroom(_Shared(platform.parts.store.database), fleet, keep_alive_seconds=60)
    await newsroom.start()
    try:
        yield newsroom
    finally:
        await newsroom.stop()
        await fleet.close()


@pytest.mark.own_platform
async def test_what_another_process_has_done_is_seen_within_a_second(platform, owner: Talker):
    async with (
        _elsewhere(platform) as newsroom,
        newsroom.follow(platform.owner.owner, after=None, previews=False) as stream,
    ):
        await stream.next()
        run_id = await owner.queue(await owner.deploy(sleep(0)))
        heard = b""

        async def hear() -> None:
            nonlocal heard
            while b'"success"' not in heard:
                heard += await stream.next()

        await owner.end_of(run_id)
        await asyncio.wait_for(hear(), 20)
    assert heard.count(run_id.encode()) >= len(LIFE)


@pytest.mark.own_platform
async def test_nobody_who_follows_is_left_behind(platform, owner: Talker):
    async with following(owner):
        assert platform.parts.newsroom._tails
    await owner.post("/workflow", {"name": "new", "workflow": {}})  # so that the stream finds out that nobody is there

    async def poll() -> None:
        while platform.parts.newsroom._tails:
            await owner.post("/workflow", {"name": "new", "workflow": {}})
            await asyncio.sleep(0.01)

    await asyncio.wait_for(poll(), 10)
