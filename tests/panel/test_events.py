"""The stream of events: what a page hears, from whichever platform, whatever is lost on the way."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import PreviewImage
from comfyui_outpost.api.panel.clients import Clients
from comfyui_outpost.api.panel.live import watching
from comfyui_outpost.api.panel.live.bulletin import Bulletin
from comfyui_outpost.api.panel.live.watching import Watcher
from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.fakes.hosted import HostedPlatform, recorded_run
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import OWN, Page
from comfyui_outpost.tests.server.graphs import ECHO, sleep
from comfyui_outpost.tests.server.machines import ScriptedMachine

EVENTS = "/outpost/events"
RUNS = "/outpost/runs"
UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"


class Stream:
    """What a page hears."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.last = ""

    async def next(self) -> tuple[str, Any]:
        fields: dict[str, str] = {}
        while line := (await self._answer.content.readline()).decode().strip():
            name, _, value = line.partition(": ")
            fields[name] = value
        assert fields, "the stream has ended"
        self.last = fields.get("id", self.last)
        return (fields["event"], json.loads(fields["data"])) if "event" in fields else await self.next()

    async def until(self, name: str, **wanted: Any) -> Any:
        """The next event of this name in which these fields are so."""
        while True:
            found, data = await asyncio.wait_for(self.next(), 20)
            if found == name and all(data.get(key) == value for key, value in wanted.items()):
                return data


@asynccontextmanager
async def heard(page: Page, last: str = "") -> AsyncGenerator[Stream, None]:
    headers = {**OWN, "Last-Event-ID": last}
    async with aiohttp.ClientSession() as session, session.get(page.url + EVENTS, headers=headers) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream"
        yield Stream(answer)


@pytest.fixture
def connected(platform: Any, page: Page, monkeypatch: pytest.MonkeyPatch) -> Page:
    # The platform first, which is so the last to end: nobody listens to it then, which it would wait for.
    monkeypatch.setattr(watching, "_LOOK", 0.05)
    monkeypatch.setattr(watching, "PACE", watching.Pace(active=0.05, listing=0.2, quiet=0.2))
    page.connect(platform.url, platform.owner.api_key)
    return page


async def _newest(bulletin: Bulletin, run_id: str) -> Any:
    """What was told last of a run, as soon as anything was."""
    while not (told := bulletin.told("run", run_id)):
        await bulletin.grown(bulletin.last)
    return told


async def _start(page: Page, platform: Any, graph: Any, key: str = "a-deed-of-the-page") -> Any:
    deployment_id = await _deployed(platform, graph, "Echo")
    return await page.done("POST", RUNS, {"deployment_id": deployment_id, "key": key})


async def _deployed(platform: Any, graph: Any, name: str) -> str:
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        made = await client.workflows.create(name, {"nodes": []}, workflow_api=graph)
        deployment = await client.deployments.create(
            workflow_id=made.workflow_id,
            workflow_version_id=made.workflow_version_id or "",
            machine_id=platform.owner.machine_id,
        )
    return deployment.id


@pytest.mark.parametrize("content", [None, "no JSON", '{"connections": []}', '{"connections": [{"id": "a"}]}'])
@pytest.mark.parametrize("mode", [0o600, 0o644])
async def test_no_stream_tells_where_anything_lies_on_this_computer(
    page: Page, tmp_path: Path, content: str | None, mode: int
):
    settings = tmp_path / "settings" / "connection.json"
    settings.parent.mkdir()
    if content is not None:
        settings.write_text(content)
        settings.chmod(mode)

    async with heard(page) as stream:
        told = await stream.until("connection", state="none")

    assert told["message"]
    assert str(tmp_path) not in json.dumps(told)


async def test_a_page_hears_of_a_run_from_its_start_to_its_end(connected: Page, platform: Any):
    async with heard(connected) as stream:
        assert await stream.next() == ("hello", {})
        await stream.until("connection", state="well")
        run = await _start(connected, platform, ECHO)
        assert (run["name"], run["environment"], run["machine"], run["is_ours"]) == (
            "Echo",
            "production",
            "built-in",
            True,
        )
        done = await stream.until("run", id=run["id"], status="success")
    assert done["progress"] == 1
    assert done["ended_at"]


async def test_a_run_that_somebody_else_starts_is_heard_of_and_is_not_ours(connected: Page, platform: Any):
    async with heard(connected) as stream, Client(Connection(platform.url, platform.owner.api_key)) as client:
        await stream.until("connection", state="well")
        run_id = await client.runs.queue(await _deployed(platform, ECHO, "Theirs"), {})
        told = await stream.until("run", id=run_id, status="success")
    assert (told["name"], told["is_ours"]) == ("Theirs", False)


async def test_a_run_that_has_ended_before_its_start_was_answered_is_told_as_ours_all_the_same(platform: Any):
    connection = Connection(platform.url, platform.owner.api_key)
    clients = Clients(lambda: connection)
    watcher = Watcher(clients)
    async with (
        asyncio.timeout(20),
        aclosing(clients),
        Client(connection) as client,
        watcher.listening() as bulletin,
    ):
        deployment_id = await _deployed(platform, ECHO, "Quick")
        run_id = await client.runs.queue(deployment_id, {})
        while (await _newest(bulletin, run_id))["status"] != "success":
            await bulletin.grown(bulletin.last)
        assert not (await _newest(bulletin, run_id))["is_ours"]
        seen = bulletin.last
        await watcher.started(client, run_id, deployment_id=deployment_id)
        [news] = bulletin.since(seen) or []
    assert (news.data["id"], news.data["status"], news.data["is_ours"]) == (run_id, "success", True)


async def test_a_page_that_comes_later_is_told_what_is_at_work(connected: Page, platform: Any):
    async with heard(connected) as first:
        await first.until("connection", state="well")
        run = await _start(connected, platform, sleep(30))
        await first.until("run", id=run["id"])
        async with heard(connected) as second:
            assert (await second.until("run"))["id"] == run["id"]
        await connected.done("POST", f"{RUNS}/{run['id']}/cancel")
        await first.until("run", id=run["id"], status="cancelled")


async def test_a_stream_goes_on_where_it_was_lost_and_says_when_it_cannot(connected: Page, platform: Any):
    async with heard(connected) as other:
        async with heard(connected) as lost:
            await lost.until("connection", state="well")
            await other.until("connection", state="well")
        run = await _start(connected, platform, ECHO)
        await other.until("run", id=run["id"], status="success")
        async with heard(connected, lost.last) as back:
            assert (await back.next())[0] != "hello"
        async with heard(connected, lost.last) as back:
            await back.until("run", id=run["id"], status="success")
        async with heard(connected, "0-0") as stranger:
            assert [(await stranger.next())[0] for _ in range(2)] == ["connection", "hello"]


async def test_a_picture_of_a_sampler_is_told_of_and_seen(
    page: Page, start_platform: Any, monkeypatch: pytest.MonkeyPatch
):
    picture = contact_sheet.made_up_picture()

    async def play(job: Job, emit: Emit) -> None:
        emit(PreviewImage(job.run_id, "3", "image/png", picture))
        await asyncio.Event().wait()

    monkeypatch.setattr(watching, "_LOOK", 0.05)
    async with start_platform(machines={"builtin": ScriptedMachine(play)}) as platform, heard(page) as stream:
        page.connect(platform.url, platform.owner.api_key)
        await stream.until("connection", state="well")
        run = await _start(page, platform, ECHO)
        told = await stream.until("preview", run_id=run["id"])
        answer = await page.get(f"{RUNS}/{run['id']}/preview?n={told['number']}")
        assert (answer.status, answer.body) == (200, picture)
        assert (await page.told(f"{RUNS}/{run['id']}"))["preview"] == told["number"]
        await page.done("POST", f"{RUNS}/{run['id']}/cancel")


async def test_what_was_started_is_told_even_if_the_platform_cannot_be_asked_for_it(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        body = {"deployment_id": server.deployment["id"], "key": "a-deed-of-the-page"}
        server.run, shown = {"id": UNKNOWN}, dict(server.run)
        row = await page.done("POST", RUNS, body)
        assert (row["id"], row["status"], row["is_ours"]) == (UNKNOWN, "not-started", True)
        server.run = shown
        assert (await page.done("POST", RUNS, body))["id"] == UNKNOWN
        assert len(server.log.submissions()) == 1


async def test_a_platform_that_does_not_answer_is_told_by_its_own_connection(
    platform: Any, page: Page, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "_LOOK", 0.05)
    async with heard(page) as stream:
        page.connect(platform.url, platform.owner.api_key)
        former = await stream.until("connection", state="well")
        page.connect(platform.url, "outpost_a-key-that-it-does-not-know")
        away = await stream.until("connection", state="away")
        assert away["id"] not in (None, former["id"])


async def test_without_a_connection_the_page_is_told_and_hears_when_one_is_set_up(
    platform: Any, page: Page, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "_LOOK", 0.05)
    async with heard(page) as stream:
        assert (await stream.until("connection", state="none"))["id"] is None
        page.connect(platform.url, platform.owner.api_key)
        mine = await stream.until("connection", state="well")
        page.connect(platform.url, platform.stranger.api_key)
        assert (await stream.until("connection", state="well"))["id"] != mine["id"]


async def test_a_platform_that_goes_away_is_told_of_and_what_was_missed_is_read_again(
    page: Page, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(watching, "_PAUSES", (0.05,))
    monkeypatch.setattr(watching, "_LOOK", 0.05)
    server = HostedPlatform()
    async with heard(page) as stream, served(server.app) as url:
        page.connect(url, "a-key-that-it-does-not-take")
        away = await stream.until("connection", state="away")
        assert "Invalid or missing token" in away["message"]
        page.connect(url, KEY)
        await stream.until("connection", state="well")


async def test_the_hosted_platform_is_asked_for_what_it_does_not_tell(page: Page, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "PACE", watching.Pace(active=0.02, listing=0.05, quiet=0.05))
    server = HostedPlatform()
    server.run = recorded_run("poll trace: serverless", "6212a6e7-5642-463c-aac8-a2bbee46379a")
    server.states = [{"status": "running", "live_status": "Executing", "progress": 0.5, "outputs": []}] * 3
    async with served(server.app) as url:
        page.connect(url, KEY)
        async with heard(page) as stream:
            await stream.until("connection", state="well")
            await page.done("POST", RUNS, {"deployment_id": server.deployment["id"], "key": "a-deed-of-the-page"})
            working = await stream.until("run", status="running")
            assert (working["doing"], working["is_ours"]) == ("Executing", True)
            assert (await stream.until("run"))["status"] == "success"


async def test_a_run_that_is_gone_is_not_asked_for_for_ever(page: Page, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(watching, "PACE", watching.Pace(active=0.01, listing=0.05, quiet=0.05))
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        async with heard(page) as stream:
            await stream.until("connection", state="well")
            shown, server.run = dict(server.run), {**server.run, "id": UNKNOWN, "status": "running"}
            await page.done("POST", RUNS, {"deployment_id": server.deployment["id"], "key": "a-deed-of-the-page"})
            await stream.until("run", id=UNKNOWN)
            server.run = shown
            lists = len(server.log.named("GET", "/api/workflows"))
            while len(server.log.named("GET", "/api/workflows")) < lists + 3:
                await asyncio.sleep(0.01)
            asked = [each for each in server.log.requests if UNKNOWN in each.path]
            while len(server.log.named("GET", "/api/workflows")) < lists + 6:
                await asyncio.sleep(0.01)
            assert [each for each in server.log.requests if UNKNOWN in each.path] == asked


async def test_who_does_not_come_from_the_page_hears_nothing(page: Page):
    async with aiohttp.request("GET", page.url + EVENTS, headers={"Origin": "http://evil.example"}) as answer:
        assert answer.status == 403


def test_a_slow_page_misses_steps_and_never_an_end():
    bulletin = Bulletin(kept=3)
    for step in range(100):
        bulletin.tell("run", "a", {"progress": step})
        bulletin.tell("run", "b", {"progress": step})
    bulletin.tell("connection", "", {"state": "well"})
    bulletin.tell("run", "a", {"status": "success"})

    news = bulletin.since(0)

    assert news and [each.data for each in news] == [{"progress": 99}, {"state": "well"}, {"status": "success"}]
    for name in "cdefg":
        bulletin.tell("run", name, {})
    assert bulletin.since(5) is None
    assert bulletin.told("connection", "") == {"state": "well"}
    assert bulletin.number(bulletin.place(5)) is None
    assert bulletin.number(bulletin.place(bulletin.last)) == bulletin.last
