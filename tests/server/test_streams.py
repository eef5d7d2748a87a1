"""Event streams: numbered, resumable, kept alive, and always ended by a terminal status."""

from __future__ import annotations

import asyncio
import json

import pytest
from comfyui_outpost.api.events import LiveStatus, NodeProgress, OutputReady
from comfyui_outpost.api.models import RunStatus

from .graphs import ECHO, node, png, sleep
from .machines import ScriptedMachine, picture, work_for_ever
from .talking import SIGNED, TERMINAL, Talker, talkers

pytestmark = pytest.mark.shared_platform


async def test_a_stream_tells_the_run_first_its_end_last_and_numbers_what_is_kept(owner: Talker):
    body = {"deployment_id": await owner.deploy(sleep(0.2))}
    async with owner.stream("POST", "/run/deployment/stream", json=body) as stream:
        events = [event async for event in stream]
    assert events[0].data.keys() == {"prompt_id", "number", "node_errors"}
    run_id = events[0].data["prompt_id"]
    numbers = [event.number for event in events if event.number is not None]
    assert numbers == list(range(1, len(numbers) + 1))
    assert [event.status for event in events if event.status] == ["queued", "started", "running", "success"]
    assert events[-1].status == "success"
    assert {event.name for event in events if event.number is None} >= {"progress", "live_status"}
    assert {event.data["data"]["prompt_id"] for event in events[1:]} == {run_id}


@pytest.mark.one_backing
async def test_a_streams_headers_keep_proxies_from_holding_it_back(owner: Talker):
    run = await owner.run(ECHO)
    async with owner.http.stream("GET", f"/api/run/{run['id']}/stream") as response:
        assert response.headers["Cache-Control"] == "no-cache"
        assert response.headers["X-Accel-Buffering"] == "no"
        assert "Content-Length" not in response.headers


async def test_a_stream_resumes_after_any_event_without_repeating_or_leaving_out_one(owner: Talker):
    run = await owner.run(sleep(0))
    whole = [event for event in await owner.follow(run["id"]) if event.number]
    for last in range(len(whole)):
        rest = await owner.follow(run["id"], after=last)
        assert [event.number for event in rest] == [event.number for event in whole[last:]]
        assert rest[-1].status == "success"


async def test_a_stream_that_was_read_to_its_end_ends_again_at_once(owner: Talker):
    run = await owner.run(ECHO)
    (*_, last) = await owner.follow(run["id"])
    (again,) = await owner.follow(run["id"], after=last.number)
    assert again == last


async def test_the_outputs_in_a_stream_have_urls_that_work_and_no_inner_names(owner: Talker, guest: Talker):
    run = await owner.run(sleep(0))
    (output,) = [event for event in await owner.follow(run["id"]) if event.name == "output_ready"]
    (file,) = output.data["data"]["output"]["images"]
    assert "object" not in file
    assert SIGNED.search(file["url"])
    assert (await guest.ask("GET", file["url"])).content.startswith(b"\x89PNG")


async def test_a_silent_stream_is_kept_alive_by_comments_that_are_no_events(start_platform):
    async with (
        start_platform(keep_alive_seconds=0.02) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        run_id = await owner.queue(await owner.deploy(sleep(60)))
        await owner.until(run_id, "running")
        comments = 0
        async with owner.http.stream("GET", f"/run/{run_id}/stream", headers={"Last-Event-ID": "4"}) as response:
            async for line in response.aiter_lines():
                comments += line.startswith(":")
                if comments == 3:
                    await owner.post(f"/run/{run_id}/cancel", None)
                if '"cancelled"' in line:
                    break
        assert comments >= 3


async def test_many_readers_see_the_same_events(owner: Talker):
    run_id = await owner.queue(await owner.deploy(sleep(0.1)))
    streams = await asyncio.gather(*(owner.follow(run_id) for _ in range(10)))
    kept = [[event.number for event in events if event.number] for events in streams]
    assert kept == [kept[0]] * 10
    assert all(events[-1].status == "success" for events in streams)


async def test_readers_who_come_at_different_times_and_places_miss_nothing_and_hear_nothing_twice(owner: Talker):
    run_id = await owner.queue(await owner.deploy(sleep(0.3)))
    await owner.until(run_id, "running")
    streams = await asyncio.gather(*(owner.follow(run_id, after=after) for after in (0, 1, 2, 3, 4) for _ in range(3)))
    whole = [event.number for event in await owner.follow(run_id) if event.number]
    for index, events in enumerate(streams):
        assert [event.number for event in events if event.number] == whole[index // 3 :]
        assert events[-1].status == "success"


@pytest.mark.one_backing
async def test_everybody_is_given_urls_under_the_address_by_which_they_came(owner: Talker):
    async def follow(run_id: str, host: str) -> str:
        async with owner.stream("GET", f"/run/{run_id}/stream", headers={"Host": host}) as events:
            (output,) = [event async for event in events if event.name == "output_ready"]
        (file,) = output.data["data"]["output"]["images"]
        return file["url"]

    hosts = ["one.example", "two.example:8190"] * 3
    live = await owner.queue(await owner.deploy(sleep(0.2)))
    for run_id in (live, (await owner.run(sleep(0)))["id"]):
        urls = await asyncio.gather(*(follow(run_id, host) for host in hosts))
        for host, url in zip(hosts, urls, strict=True):
            assert url.startswith(f"http://{host}/api/objects/")


@pytest.mark.own_platform
async def test_a_reader_that_goes_away_does_not_stop_the_run_and_leaves_no_word_in_the_log(platform, owner: Talker):
    body = {"deployment_id": await owner.deploy(sleep(0.3))}
    async with owner.stream("POST", "/run/deployment/stream", json=body) as events:
        run_id = (await anext(events)).data["prompt_id"]
    run = await owner.end_of(run_id)
    assert run["status"] == "success"
    assert platform.parts.feed._tails == {}


async def test_a_thousand_events_arrive_in_order_and_whole(start_platform):
    async with (
        start_platform(machines={"none": ScriptedMachine(work_for_ever)}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        run_id = await owner.queue(await owner.deploy(ECHO))
        reading = asyncio.create_task(owner.follow(run_id))
        work = platform.parts.store.work
        claimed = await work.claim(platform.owner.machine_id, seconds=60)
        events = [OutputReady(run_id, "1", {"text": [f"line\n{number}"]}) for number in range(1000)]
        await work.advance(claimed, RunStatus.RUNNING, events=events)
        await work.advance(claimed, RunStatus.SUCCESS)
        platform.parts.feed.wake(run_id)
        live, later = await reading, await owner.follow(run_id)
        assert live == later
        texts = [event.data["data"]["output"]["text"] for event in live if event.name == "output_ready"]
        assert texts == [[f"line\n{number}"] for number in range(1000)]
        assert [event.number for event in live] == list(range(1, 1006))
        rest = await owner.follow(run_id, after=500)
        assert rest == live[500:]


@pytest.mark.one_backing
async def test_a_reader_that_does_not_read_holds_nobody_up_and_memory_does_not_grow(start_platform):
    shown = asyncio.Event()

    async def play(job, emit):
        for number in range(20_000):
            emit(NodeProgress(job.run_id, "1", number, 20_000))
            emit(LiveStatus(job.run_id, "x" * 200, number / 20_000))
            if number % 1000 == 0:
                await asyncio.sleep(0)
        shown.set()

    async with (
        start_platform(machines={"builtin": ScriptedMachine(play)}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        body = {"deployment_id": await owner.deploy(ECHO)}
        async with owner.stream("POST", "/run/deployment/stream", json=body) as events:
            first = await anext(events)
            await asyncio.wait_for(shown.wait(), 20)
            (tail,) = platform.parts.feed._tails.values()
            assert len(tail._progress) <= 3, "the latest of each sort"
            rest = [event async for event in events]
        assert rest[-1].status == "success"
        assert len(rest) < 1000, "a slow reader is told the latest, not everything"
        assert (await owner.get(f"/run/{first.data['prompt_id']}"))["status"] == "success"


async def test_progress_is_told_while_it_happens_and_is_not_kept(owner: Talker):
    run_id = await owner.queue(await owner.deploy(sleep(0.5)))
    async with owner.stream("GET", f"/run/{run_id}/stream") as events:
        async for event in events:
            if event.name == "progress":
                break
    run = await owner.get(f"/run/{run_id}")
    assert 0 < run["progress"] < 1
    assert run["live_status"] == "Executing OutpostSleep"
    await owner.end_of(run_id)
    assert {event.name for event in await owner.follow(run_id)} == {None, "status", "output_ready"}


@pytest.mark.parametrize("text", ["a\nb", "a\r\nb", "\n\nevent: status\ndata: {}\n\n", "\u2028\u2029\x85", "🙂" * 1000])
async def test_no_text_breaks_out_of_its_event(owner: Talker, text: str):
    run = await owner.run(ECHO, {"text": text})
    events = await owner.follow(run["id"])
    assert [event.status for event in events if event.status] == ["queued", "started", "running", "success"]
    (output,) = [event for event in events if event.name == "output_ready"]
    assert output.data["data"]["output"]["text"] == [text]


@pytest.mark.one_backing
async def test_a_secret_word_of_an_exception_does_not_reach_the_stream(start_platform, expect_log):
    expect_log("the machine failed")

    async def play(job, emit):
        raise RuntimeError("password=hunter2 in /etc/shadow")

    async with (
        start_platform(machines={"builtin": ScriptedMachine(play)}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=["hunter2", "/etc/shadow"]) as (owner,),
    ):
        run = await owner.run(ECHO)
        assert run["status"] == "failed"
        assert run["error"]["message"] == "The machine failed for a reason of its own; the server's log has it"
        assert "hunter2" not in json.dumps(run)


async def test_every_stream_has_exactly_one_terminal_status(owner: Talker):
    graphs = [ECHO, sleep(0), {"1": node("KSampler")}, {"1": node("ImageBlur")}]
    runs = [await owner.queue(await owner.deploy(graph, check_machine=False)) for graph in graphs]
    for events in await asyncio.gather(*(owner.follow(run_id) for run_id in runs)):
        assert [event.status for event in events if event.status in TERMINAL] == [events[-1].status]


async def test_files_in_a_stream_keep_their_order(start_platform):
    async def play(job, emit):
        files = [picture(png(), filename=f"{number}.png") for number in range(5)]
        await job.outputs.add("1", "SaveImage", output_id="all", files=files, texts=["and a text"])

    async with (
        start_platform(machines={"builtin": ScriptedMachine(play)}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
    ):
        run = await owner.run(ECHO)
        assert [each["filename"] for each in run["outputs"][0]["data"]["images"]] == [f"{n}.png" for n in range(5)]
        assert run["outputs"][0]["data"]["text"] == ["and a text"]
