"""Following an account: what is told, over a connection that breaks, and where nothing is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api import errors
from comfyui_outpost.api.account_events import (
    AccountEvent,
    RunChanged,
    StreamBegun,
    StreamBroken,
    ThingChanged,
    to_sse,
)
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.tests.client.world import Meeting
from comfyui_outpost.tests.fakes.flaky import answer, break_off
from comfyui_outpost.tests.fakes.outpost import VERSION
from comfyui_outpost.tests.fakes.serving import reset

HEALTHY = answer({"status": "ok"}, headers=VERSION)
Act = Callable[[web.Request], Awaitable[web.StreamResponse]]


def telling(*events: tuple[AccountEvent, int | None], breaks: bool = False) -> Act:
    """A stream with these events and their ids, which ends then, or is reset."""

    async def act(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={**VERSION, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        for event, number in events:
            await response.write(to_sse(event, number=number))
        if breaks:
            await asyncio.sleep(0.05)
            reset(request)
        return response

    return act


async def heard(client: Any, count: int, **options: Any) -> list[AccountEvent]:
    async with aclosing(client.events(**options)) as events:
        return [await anext(events) for _ in range(count)]


async def test_what_happens_is_told_as_records(meeting: Meeting) -> None:
    world, client = meeting.world, meeting.mine
    told: list[AccountEvent] = []

    async def listen() -> None:
        async with aclosing(client.events(previews=True)) as events:
            async for event in events:
                told.append(event)
                if isinstance(event, RunChanged) and event.status.is_terminal:
                    return

    listening = asyncio.create_task(listen())
    while not told:
        await asyncio.sleep(0.01)
    run_id = await client.runs.queue(world.deployment.id, {"text": "x"}, idempotency_key="a key of its own")
    assert await client.runs.queue(world.deployment.id, {"text": "x"}, idempotency_key="a key of its own") == run_id
    await asyncio.wait_for(listening, 20)
    assert told[0] == StreamBegun(is_resumed=False)
    last = told[-1]
    assert isinstance(last, RunChanged)
    assert (last.run_id, last.status, last.deployment_id) == (run_id, RunStatus.SUCCESS, world.deployment.id)


async def test_a_stream_that_breaks_is_taken_up_after_the_last_event(flaky: Any) -> None:
    first, second = (ThingChanged("workflow", name, "created") for name in ("one", "two"))
    server, client = await flaky(
        HEALTHY,
        telling((StreamBegun(False), 7), (first, 8), breaks=True),
        break_off,
        telling((StreamBegun(True), 8), (second, 9)),
        telling((StreamBegun(True), 9)),
    )
    events = await heard(client, 7)
    assert [each for each in events if not isinstance(each, StreamBroken)] == [
        StreamBegun(False),
        first,
        StreamBegun(True),
        second,
        StreamBegun(True),
    ]
    assert sum(isinstance(each, StreamBroken) for each in events) == 2
    ids = [each.headers.get("Last-Event-ID") for each in server.log.requests if each.path.startswith("/api/events")]
    assert (ids[0], set(ids[1:])) == (None, {"8", "9"})


async def test_a_platform_that_is_away_is_waited_for_ever_more_patiently(flaky: Any, time: Any) -> None:
    away = answer({"detail": "no", "code": "unavailable"}, 503, headers=VERSION)
    _, client = await flaky(HEALTHY, *[away] * 20, telling((StreamBegun(False), 1)))
    async with aclosing(client.events(last_event_id="5")) as events:
        async for event in events:
            if isinstance(event, StreamBegun):
                break
            assert isinstance(event, StreamBroken)
            assert event.reason
    assert 0 < len(time.slept) <= 20
    assert max(time.slept) <= 8


async def test_a_stream_goes_on_where_the_caller_had_come_to(flaky: Any) -> None:
    server, client = await flaky(HEALTHY, telling((StreamBegun(True), 41)))
    await heard(client, 1, last_event_id="41", previews=True)
    asked = server.log.requests[1]
    assert (asked.headers["Last-Event-ID"], asked.path) == ("41", "/api/events?previews=true")


@pytest.mark.parametrize(("status", "error"), [(401, errors.Unauthorized), (403, errors.Forbidden)])
async def test_a_key_that_is_good_for_nothing_ends_it(flaky: Any, status: int, error: type[Exception]) -> None:
    _, client = await flaky(HEALTHY, answer({"detail": "no", "code": "x"}, status, headers=VERSION))
    with pytest.raises(error):
        await heard(client, 1)


async def test_an_older_server_tells_nothing(flaky: Any) -> None:
    _, client = await flaky(HEALTHY, answer({"detail": "no", "code": "not_found"}, 404, headers=VERSION))
    with pytest.raises(errors.NotSupported, match="too old"):
        await heard(client, 1)


async def test_the_hosted_platform_tells_nothing_and_is_not_asked(hosted: Any) -> None:
    server, client = await hosted()
    with pytest.raises(errors.NotSupported, match=r"client\.runs\.recent"):
        await heard(client, 1)
    assert not await client.is_outpost()
    assert not [each for each in server.log.requests if "events" in each.path]


async def test_our_own_server_is_known_as_such(meeting: Meeting) -> None:
    assert await meeting.mine.is_outpost()


class TestRecentRuns:
    async def test_our_own_server_lists_them(self, meeting: Meeting) -> None:
        found = await meeting.mine.runs.recent(limit=5)
        assert [each.id for each in found] == [meeting.world.run.id]
        assert found[0].environment == "production"
        assert await meeting.theirs.runs.recent() == []

    async def test_on_the_hosted_platform_they_are_those_of_the_newest_workflows_together(self, hosted: Any) -> None:
        server, client = await hosted()
        for number in range(12):
            await client.workflows.create(f"number {number}", {}, workflow_api={})
        row = {**server.run, "outputs": []}
        server.runs_of_workflow = [
            {**row, "id": f"0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be0{day:02}", "created_at": f"2026-01-{day:02}T00:00:00Z"}
            for day in (11, 12, 10)
        ]
        found = await client.runs.recent(limit=2)
        assert [each.created_at.day for each in found if each.created_at] == [12, 11]
        asked = [each.path for each in server.log.requests if "/runs" in each.path]
        assert len({path.partition("?")[0] for path in asked}) == 10

    async def test_a_workflow_that_has_just_gone_is_left_out(self, hosted: Any) -> None:
        server, client = await hosted()
        row = next(iter(server.workflows.rows.values()))

        async def gone(request: web.Request) -> web.Response:
            return web.json_response({"detail": "Workflow not found"}, status=404)

        server._workflow_runs = gone
        assert row["id"]
        assert await client.runs.recent() == []
