"""Webhooks: every change of a run's status arrives, signed, however often it has to be tried."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from comfyui_outpost.api.events import LiveStatus, PreviewImage
from comfyui_outpost.api.models import Failure, RunRequest, RunStatus
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.feed import Feed
from comfyui_outpost.api.server.objects import Folder, Objects
from comfyui_outpost.api.server.rendering import Rendering
from comfyui_outpost.api.server.store import Store, open_store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.api.server.store.runs import Limits, Webhook
from comfyui_outpost.api.server.store.webhooks import Busy
from comfyui_outpost.api.server.store.work import ClaimedRun, NewOutput
from comfyui_outpost.api.server.webhooks import (
    ATTEMPTS,
    LEASE_SECONDS,
    RETRY_SECONDS,
    Webhooks,
    retry_delay,
    webhook_secret,
)
from comfyui_outpost.tests.fakes.backings import Backing
from comfyui_outpost.tests.fakes.deploying import deploy
from comfyui_outpost.tests.fakes.names import Names
from comfyui_outpost.tests.fakes.platforms import Furnished
from comfyui_outpost.tests.fakes.receiver import Receiver, receiver

from .clock import Clock
from .graphs import ECHO

SERVER_SECRET = bytes(range(32))
KEY_ID = str(uuid4())
BASE_URL = "https://outpost.example/api"
PASSWORD = "password-that-nobody-may-see"
FAR = 10**6
"""Seconds after which everything is due that will ever be."""


@dataclass
class World:
    """One database, whose runs several servers may tell of."""

    store: Store
    clock: Clock
    owner: Owner
    machine_id: str
    deployment_id: str
    folder: Path
    feed: Feed = field(init=False)

    def __post_init__(self) -> None:
        self.feed = Feed(self.store.runs.events, keep_alive_seconds=60)

    async def begin(self, url: str, *, is_intermediate: bool = False) -> ClaimedRun:
        """A run that has been started, and whose start is to be told."""
        deployment = await self.store.deployments.runnable(self.owner, self.deployment_id)
        request = RunRequest(deployment_id=self.deployment_id)
        webhook = Webhook(url, is_intermediate, KEY_ID, BASE_URL)
        asked = {"request": request, "inputs": request.inputs, "limits": Limits(60, 60)}
        await self.store.runs.create(self.owner, deployment, **asked, webhook=webhook)
        run = await self.store.work.claim(self.machine_id, seconds=FAR)
        assert run is not None
        return run

    async def advance(self, run: ClaimedRun, status: RunStatus, **more: Any) -> None:
        assert await self.store.work.advance(run, status, **more)
        self.feed.wake(run.id)

    @asynccontextmanager
    async def telling(self, *, allow_private: bool = True, **options: Any) -> AsyncGenerator[Webhooks, None]:
        """A server that delivers, until the block ends."""
        config = ServerConfig(self.folder, allow_private_addresses=allow_private)
        render = Rendering(self.store, Objects(Folder(self.folder / "objects"), SERVER_SECRET), 60).outputs
        webhooks = Webhooks(self.store, self.feed, config=config, secret=SERVER_SECRET, render=render, **options)
        await webhooks.start()
        try:
            yield webhooks
        finally:
            await asyncio.wait_for(webhooks.stop(), 20)

    async def status_of(self, run: ClaimedRun) -> str | None:
        """How far the newest message about a run has come."""
        return (await self.store.runs.get(self.owner, run.id)).webhook_status

    async def until_status(self, run: ClaimedRun, status: str) -> None:
        async def poll() -> None:
            while await self.status_of(run) != status:
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), 20)

    async def until_put_off(self, after: datetime) -> timedelta:
        """How long after a moment the next message is due, once a failed attempt has been written down."""

        async def poll() -> timedelta:
            while True:
                due = await self.store.webhooks.next_due(busy=Busy())
                pause = (due - after).total_seconds() if due else 0
                # A message that is under way is put off, too: for the time of its lease.
                if due and pause > 1 and abs(pause - LEASE_SECONDS) > 1:
                    return due - after
                await asyncio.sleep(0.002)

        return await asyncio.wait_for(poll(), 20)


@pytest.fixture
async def world(
    tmp_path: Path, backing: Backing, furnished_for: Callable[[Backing], Furnished]
) -> AsyncGenerator[World, None]:
    furnished, folder = await asyncio.to_thread(furnished_for, backing), tmp_path / "platform"
    async with backing.copied(furnished.folder, to=folder) as settings:
        store = await open_store(settings.get("database_url", f"sqlite:///{folder / 'outpost.sqlite'}"))
        clock = store.database.now = Clock()
        holder, _ = await store.keys.create("a key")
        deployment = await deploy(store, holder.owner, graph=ECHO, name="echo", slots=64)
        yield World(store, clock, holder.owner, str(deployment.machine_id), deployment.id, tmp_path)
        await store.database.close()


@pytest.fixture
async def somebody() -> AsyncGenerator[Receiver, None]:
    async with receiver() as found:
        yield found


class TestMessages:
    async def test_every_change_of_status_is_told_in_order(self, world: World, somebody: Receiver):
        async with world.telling() as webhooks:
            run = await world.begin(f"{somebody.url}/hook?token=a%2Fb")
            webhooks.follow(run)
            await somebody.told("started")
            await world.advance(run, RunStatus.RUNNING)
            await somebody.told("running")
            await world.advance(run, RunStatus.SUCCESS)
            await somebody.told("success")
            await world.until_status(run, "delivered")
        assert somebody.statuses == ["started", "running", "success"]
        assert {message.path for message in somebody.messages} == {"/hook?token=a%2Fb"}
        assert {message.headers["content-type"] for message in somebody.messages} == {"application/json"}
        assert len({message.id for message in somebody.messages}) == 3
        for message in somebody.messages:
            assert message.body["run_id"] == run.id
            assert message.body["event_type"] == "run.updated"
            assert not {"authorization", "cookie"} & set(message.headers)

    async def test_messages_that_wait_together_come_in_order_one_after_the_other(
        self, world: World, somebody: Receiver
    ):
        run = await world.begin(f"{somebody.url}/hook")
        await world.advance(run, RunStatus.RUNNING)
        await world.advance(run, RunStatus.UPLOADING)
        await world.advance(run, RunStatus.SUCCESS)
        async with world.telling():
            await somebody.told("success")
        assert somebody.statuses == ["started", "running", "uploading", "success"]
        assert somebody.most_at_once == 1

    async def test_the_last_message_alone_has_the_outputs_with_urls(self, world: World, somebody: Receiver):
        run = await world.begin(f"{somebody.url}/hook")
        file = {"object": f"runs/{run.id}/x.png", "filename": "x.png", "subfolder": "", "type": "output"}
        data: dict[str, list[Any]] = {"images": [{**file, "content_type": "image/png", "size": 3}], "text": ["hello"]}
        await world.store.work.add_output(run, NewOutput("9", "SaveImage", "picture", data))
        await world.advance(run, RunStatus.SUCCESS, live_status="all done")
        async with world.telling():
            last = (await somebody.told("success")).body
        first = somebody.bodies[0]
        assert (first["status"], first["outputs"], first["progress"]) == ("started", [], 0.0)
        assert (last["live_status"], last["progress"]) == ("all done", 1.0)
        assert "error" not in last
        (output,) = last["outputs"]
        assert (output["run_id"], output["output_id"], output["node_meta"]["node_id"]) == (run.id, "picture", "9")
        assert output["data"]["text"] == ["hello"]
        (image,) = output["data"]["images"]
        assert image["url"].startswith(f"{BASE_URL}/")
        assert "object" not in image

    async def test_a_failure_is_told_with_its_reason(self, world: World, somebody: Receiver):
        run = await world.begin(f"{somebody.url}/hook")
        await world.advance(run, RunStatus.FAILED, failure=Failure(message="no memory", node_id="3"))
        async with world.telling():
            body = (await somebody.told("failed")).body
        assert (body["error"]["message"], body["error"]["node_id"]) == ("no memory", "3")
        assert "error" not in somebody.bodies[0]

    async def test_a_run_without_a_webhook_is_told_to_nobody(self, world: World, somebody: Receiver):
        deployment = await world.store.deployments.runnable(world.owner, world.deployment_id)
        request = RunRequest(deployment_id=world.deployment_id)
        await world.store.runs.create(
            world.owner, deployment, request=request, inputs=request.inputs, limits=Limits(60, 60)
        )
        run = await world.store.work.claim(world.machine_id, seconds=FAR)
        assert run is not None
        async with world.telling() as webhooks:
            webhooks.follow(run)
            await world.advance(run, RunStatus.SUCCESS)
            assert await world.store.webhooks.next_due(busy=Busy()) is None
        assert somebody.messages == []


class TestSignatures:
    async def test_a_message_is_signed_as_standard_webhooks_asks(self, world: World, somebody: Receiver):
        await world.begin(f"{somebody.url}/hook")
        async with world.telling() as webhooks:
            (message,) = await somebody.count(1)
            secret = webhooks.secret_of(KEY_ID)
        assert message.is_signed_with(secret)
        assert not message.is_signed_with(webhook_secret(SERVER_SECRET, "another key"))
        assert not message.is_signed_with(webhook_secret(bytes(32), KEY_ID))
        assert abs(int(message.headers["webhook-timestamp"]) - world.clock.time.timestamp()) < 2

    def test_the_secret_of_a_key_stays_the_same(self):
        # Receivers keep it: another derivation would make them refuse every message.
        expected = "whsec_7SOaaGux8jlVJUWiFj1IxAtypPMYqosHi10dIx7tFs0="
        assert webhook_secret(SERVER_SECRET, "00000000-0000-0000-0000-000000000000") == expected


class TestRetries:
    async def test_a_message_that_is_refused_comes_again_as_the_same_message(self, world: World, somebody: Receiver):
        somebody.say("/hook", 500, 404, 204)
        run = await world.begin(f"{somebody.url}/hook")
        async with world.telling() as webhooks:
            for count, seconds in ((1, 5), (2, 30)):
                now = world.clock.time
                await somebody.count(count)
                pause = await world.until_put_off(now)
                assert seconds <= pause.total_seconds() < seconds * 1.2 + 0.1
                assert await world.status_of(run) == "pending"
                world.clock.pass_seconds(pause.total_seconds())
                webhooks.wake()
            await somebody.count(3)
            await world.until_status(run, "delivered")
        assert len({message.id for message in somebody.messages}) == 1
        assert len({message.headers["webhook-timestamp"] for message in somebody.messages}) == 3
        assert all(message.is_signed_with(webhook_secret(SERVER_SECRET, KEY_ID)) for message in somebody.messages)

    async def test_a_message_that_nobody_takes_is_given_up_after_eight_attempts(
        self, world: World, somebody: Receiver, expect_log, caplog: pytest.LogCaptureFixture
    ):
        somebody.say("/hook", 500)
        url = somebody.url.replace("http://", f"http://me:{PASSWORD}@") + f"/hook?token={PASSWORD}"
        run = await world.begin(url)
        expect_log(f"run {run.id}: {somebody.url.removeprefix('http://')} did not accept that it is started")
        async with world.telling() as webhooks:
            for count in range(1, 9):
                await somebody.count(count)
                if count < 8:
                    await world.until_put_off(world.clock.time)
                    world.clock.pass_seconds(FAR)
                    webhooks.wake()
            await world.until_status(run, "failed")
            world.clock.pass_seconds(FAR)
            assert await world.store.webhooks.next_due(busy=Busy()) is None
        assert len(somebody.messages) == 8
        assert PASSWORD not in caplog.text
        assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1

    def test_the_pauses_grow_and_have_an_end(self):
        assert [retry_delay(n, chance=0) for n in range(1, 8)] == [timedelta(seconds=each) for each in RETRY_SECONDS]
        assert retry_delay(1, chance=1) == timedelta(seconds=6)
        assert retry_delay(8, chance=0) is None
        assert retry_delay(9, chance=0) is None

    async def test_a_redirect_is_a_failure(self, world: World, somebody: Receiver):
        somebody.say("/hook", 307, headers={"Location": "/elsewhere"})
        run = await world.begin(f"{somebody.url}/hook")
        async with world.telling():
            await world.until_put_off(world.clock.time)
        assert [message.path for message in somebody.messages] == ["/hook"]
        assert await world.status_of(run) == "pending"

    async def test_an_answer_that_does_not_come_is_a_failure(self, world: World, somebody: Receiver):
        await world.begin(f"{somebody.url}/hold")
        async with world.telling(answer_seconds=0.05):
            await world.until_put_off(world.clock.time)
        assert len(somebody.messages) == 1

    async def test_a_server_that_is_not_there_is_a_failure(self, world: World, unused_tcp_port: int):
        await world.begin(f"http://127.0.0.1:{unused_tcp_port}/hook")
        async with world.telling():
            await world.until_put_off(world.clock.time)

    async def test_the_answer_is_not_read(self, world: World, somebody: Receiver):
        was_stopped = asyncio.Event()

        class Endless(web.StreamResponse):
            async def prepare(self, request: web.BaseRequest) -> Any:
                await super().prepare(request)
                try:
                    while True:
                        await self.write(bytes(64 * 1024))
                finally:
                    was_stopped.set()

        somebody.answers["/hook"] = lambda _: Endless()
        run = await world.begin(f"{somebody.url}/hook")
        async with world.telling():
            await world.until_status(run, "delivered")
            await asyncio.wait_for(was_stopped.wait(), 20)


class TestSeveral:
    async def test_a_slow_receiver_holds_up_nobody_else(self, world: World, somebody: Receiver):
        async with receiver() as other:
            for _ in range(10):
                await world.begin(f"{somebody.url}/hold")
            quick = [await world.begin(f"{other.url}/hook") for _ in range(10)]
            async with world.telling():
                await other.count(10)
                await somebody.count(2)
                for run in quick:
                    await world.until_status(run, "delivered")
                assert (len(somebody.messages), somebody.under_way) == (2, 2)
                somebody.released.set()
                await somebody.count(10)
        assert somebody.most_at_once == 2

    async def test_no_more_than_eight_messages_are_under_way(self, world: World):
        async with receiver() as a, receiver() as b, receiver() as c, receiver() as d, receiver() as e:
            for place in (a, b, c, d, e):
                for _ in range(2):
                    await world.begin(f"{place.url}/hold")
            async with world.telling():
                for place in (a, b, c, d):
                    await place.count(2)
                assert e.messages == []
                a.released.set()
                await e.count(2)
                for place in (b, c, d, e):
                    place.released.set()

    async def test_a_receiver_is_busy_however_its_paths_differ(self, world: World, somebody: Receiver):
        urls = ("/hold/1", "/hold/2?x", "?hold", "#hold", "")
        for url in urls:
            await world.begin(somebody.url + url)
        assert await world.store.webhooks.claim(seconds=1, busy=Busy([somebody.url])) is None
        others = [somebody.url[:-1], somebody.url + "0", "http://%", "http://127.0.0.1"]
        for _ in urls:
            assert await world.store.webhooks.claim(seconds=FAR, busy=Busy(others)) is not None

    async def test_two_servers_deliver_each_message_once(self, world: World, somebody: Receiver):
        runs = [await world.begin(f"{somebody.url}/hook") for _ in range(20)]
        async with world.telling() as one, world.telling() as another:
            await somebody.count(20)
            for run in runs:
                await world.until_status(run, "delivered")
            one.wake()
            another.wake()
        assert len({message.id for message in somebody.messages}) == len(somebody.messages) == 20


class TestRestarts:
    async def test_what_a_server_left_is_delivered_by_the_next_one(self, world: World, somebody: Receiver):
        run = await world.begin(f"{somebody.url}/hold")
        async with world.telling():
            await somebody.count(1)
        assert await world.status_of(run) == "pending"
        somebody.released.set()
        async with world.telling():
            await world.until_status(run, "delivered")
        assert len({message.id for message in somebody.messages}) == 1
        assert len(somebody.messages) == 2

    async def test_what_a_server_began_when_it_died_is_delivered_when_its_lease_has_run_out(
        self, world: World, somebody: Receiver
    ):
        run = await world.begin(f"{somebody.url}/hook")
        lost = await world.store.webhooks.claim(seconds=60, busy=Busy())
        assert lost is not None
        async with world.telling() as webhooks:
            assert await world.store.webhooks.claim(seconds=60, busy=Busy()) is None
            world.clock.pass_seconds(61)
            webhooks.wake()
            await world.until_status(run, "delivered")
            await world.store.webhooks.settle(lost, is_delivered=False, next_attempt_at=world.clock())
            assert await world.status_of(run) == "delivered", "who comes too late changes nothing"
        assert len(somebody.messages) == 1

    async def test_what_is_settled_stays_so_when_the_server_is_stopped_at_that_moment(self, world: World):
        run = await world.begin("http://example.com/hook")
        delivery = await world.store.webhooks.claim(seconds=60, busy=Busy())
        assert delivery is not None
        await world.store.webhooks.settle(delivery, is_delivered=True)
        await world.store.webhooks.release(delivery)
        assert await world.status_of(run) == "delivered"
        assert await world.store.webhooks.next_due(busy=Busy()) is None

    async def test_a_message_at_which_every_server_dies_is_given_up(self, world: World, somebody: Receiver, expect_log):
        run = await world.begin(f"{somebody.url}/hook")
        for _ in range(ATTEMPTS):
            assert await world.store.webhooks.claim(seconds=60, busy=Busy()) is not None
            world.clock.pass_seconds(61)
        expect_log("it is not told again")
        async with world.telling():
            await world.until_status(run, "failed")
        assert somebody.messages == []

    async def test_a_database_that_is_away_for_a_moment_is_asked_again(
        self, world: World, somebody: Receiver, expect_log
    ):
        failures = [OSError("away")]
        next_due = world.store.webhooks.next_due

        async def flaky(**options: Any) -> Any:
            if failures:
                raise failures.pop()
            return await next_due(**options)

        world.store.webhooks.next_due = flaky
        expect_log("could not reach their database")
        async with world.telling() as webhooks:
            run = await world.begin(f"{somebody.url}/hook")
            webhooks.follow(run)
            await somebody.count(1)


class TestAddresses:
    async def test_a_private_address_is_never_told(self, world: World, somebody: Receiver):
        await world.begin(f"{somebody.url}/hook")
        async with world.telling(allow_private=False):
            await world.until_put_off(world.clock.time)
        assert somebody.messages == []

    async def test_a_name_that_leads_to_a_private_address_is_never_told(self, world: World, somebody: Receiver):
        names = Names({"inside.example": [["127.0.0.1"]]})
        await world.begin(somebody.url.replace("127.0.0.1", "inside.example"))
        async with world.telling(allow_private=False, resolver=names):
            await world.until_put_off(world.clock.time)
        assert names.asked == ["inside.example"]
        assert somebody.messages == []


class TestProgress:
    async def test_the_latest_progress_is_told_to_whom_asked_for_it(self, world: World, somebody: Receiver):
        async with world.telling(progress_seconds=0) as webhooks:
            run = await world.begin(f"{somebody.url}/hold", is_intermediate=True)
            await world.advance(run, RunStatus.RUNNING)
            somebody.released.set()
            webhooks.follow(run)
            await somebody.told("running")
            await world.until_status(run, "delivered")
            somebody.released.clear()
            before = len(somebody.messages)
            for share in (0.1, 0.2, 0.3):
                world.feed.publish(run.id, LiveStatus(run.id, f"at {share}", share))
                world.feed.publish(run.id, PreviewImage(run.id, "1", "image/jpeg", b"a picture"))
                await somebody.count(before + 1)
            assert len(somebody.messages) == before + 1, "one message at a time"
            somebody.released.set()
            await somebody.count(before + 2)
            await world.advance(run, RunStatus.SUCCESS)
            await somebody.told("success")
        told = [(body["status"], body["live_status"], body["progress"]) for body in somebody.bodies[before:-1]]
        assert told == [("running", "at 0.1", 0.1), ("running", "at 0.3", 0.3)]
        assert all(message.is_signed_with(webhook_secret(SERVER_SECRET, KEY_ID)) for message in somebody.messages)

    async def test_progress_is_told_to_nobody_who_has_not_asked(self, world: World, somebody: Receiver):
        async with world.telling(progress_seconds=0) as webhooks:
            run = await world.begin(f"{somebody.url}/hook")
            webhooks.follow(run)
            await somebody.told("started")
            await world.advance(run, RunStatus.RUNNING)
            world.feed.publish(run.id, LiveStatus(run.id, "half", 0.5))
            await somebody.told("running")
            await world.advance(run, RunStatus.SUCCESS)
            await somebody.told("success")
        assert somebody.statuses == ["started", "running", "success"]

    async def test_progress_that_nobody_takes_is_lost_and_hurts_nothing(self, world: World, somebody: Receiver):
        somebody.say("/hook", 200, 500, 200)
        async with world.telling(progress_seconds=0) as webhooks:
            run = await world.begin(f"{somebody.url}/hook", is_intermediate=True)
            webhooks.follow(run)
            await world.until_status(run, "delivered")
            world.feed.publish(run.id, LiveStatus(run.id, "half", 0.5))
            await somebody.count(2)
            await world.advance(run, RunStatus.SUCCESS)
            await somebody.told("success")
            await world.until_status(run, "delivered")
        assert somebody.statuses == ["started", "running", "success"]

    async def test_a_run_that_ends_elsewhere_is_followed_until_the_server_stops(self, world: World, somebody: Receiver):
        async with world.telling() as webhooks:
            run = await world.begin(f"{somebody.url}/hook", is_intermediate=True)
            webhooks.follow(run)
            webhooks.follow(run)
            await somebody.told("started")
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not [task for task in others if "webhooks" in repr(task.get_coro())]
