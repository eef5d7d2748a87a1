"""Runs that are started now and collected later, also by somebody who knows nothing but their ids."""

from __future__ import annotations

import asyncio
import re

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, NotFound, RunCancelled, RunDeadlineExceeded, RunFailed, RunLost
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.nodes import host, slots
from comfyui_outpost.nodes.collecting import Collection, Wanted, wanted
from comfyui_outpost.nodes.execution import Flow
from comfyui_outpost.nodes.open_runs import Fate, OpenRuns, PromptState
from comfyui_outpost.nodes.queued_runs import PendingRun, WaitForRuns
from comfyui_outpost.nodes.waiting import interruptible
from comfyui_outpost.tests.nodes.hosts import Interrupted
from comfyui_outpost.tests.nodes.sites import CANCEL, FETCH
from comfyui_outpost.tests.server.graphs import ECHO, SAVE_IMAGE, node, sleep

QUEUE = "POST /api/run/deployment/queue"
STREAM = "GET /api/run/{run_id}/stream"
LONG = 600
PIXELS = torch.zeros(1, 4, 4, 3)
FAILS = {"17": node("ImageBlur", image=["1", 0], blur_radius=500), "1": node("EmptyImage", width=8, height=8)}
FAILS |= {"3": node("SaveImage", images=["17", 0])}
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def open_runs():
    """Looks at nothing by itself."""
    states = dict.fromkeys(["a prompt"], PromptState.RUNNING)
    runs = OpenRuns(state_of=lambda prompt_id: states["a prompt"], cancel=cancel_all, spawn=lambda work: work())
    runs.close(cancels=False)
    runs.states = states
    return runs


def cancel_all(run_ids):
    """As if the platform had done it."""
    return dict.fromkeys(run_ids, Fate.USELESS)


async def queued(place, graph, open_runs=None, *, source="node 1", **inputs) -> str:
    deployment_id = graph if isinstance(graph, str) else await place.deploy(graph)
    flow = Flow(place.client, place.host, open_runs=open_runs, prompt_id="a prompt")
    return await interruptible(place.host.check_interrupted, flow.submit(deployment_id, inputs, source=source))


async def collected(place, *runs: str | Wanted, **options):
    wanted = [Wanted(run) if isinstance(run, str) else run for run in runs]
    place.host.prompt_id = "a prompt"
    collection = Collection(place.client, place.host, **options)
    return await interruptible(place.host.check_interrupted, collection.collect(wanted))


async def executed(node_class, **inputs):
    """What a node gives in a ComfyUI that awaits none."""
    return await asyncio.to_thread(node_class().run, **inputs)


async def test_a_run_is_submitted_with_its_pictures_and_nobody_waits_for_it(place, open_runs, caplog):
    run_id = await queued(place, SAVE_IMAGE, open_runs, image=PIXELS)

    assert place.site.count(QUEUE) == 1
    assert open_runs.run_ids == [run_id]
    assert f"run {run_id} of deployment" in caplog.text
    assert place.host.texts[-1] == f"run {run_id} is queued"


async def test_a_submission_whose_answer_is_lost_is_one_run_and_its_id_is_known(place, open_runs):
    deployment_id = await place.deploy(sleep(LONG))
    place.site.lose_answers(QUEUE, 2)

    run_id = await queued(place, deployment_id, open_runs)

    assert [run.id for run in await place.runs()] == [run_id]
    assert place.site.count(QUEUE) == 3
    assert open_runs.run_ids == [run_id]


async def test_a_submission_that_is_never_answered_says_what_to_do(place):
    deployment_id = await place.deploy(sleep(LONG))
    place.site.lose_answers(QUEUE, 1000)

    with pytest.raises(RunLost, match="list of runs"):
        await queued(place, deployment_id)

    assert len(await place.runs()) == 1


async def test_several_are_collected_side_by_side_in_order_by_their_ids_alone(place, caplog):
    ids = [await queued(place, ECHO, text=text) for text in ("one", "two", "three")]

    ends = await collected(place, *reversed(ids))

    assert [each.texts for each in ends.results] == [["three"], ["two"], ["one"]]
    assert [each.run.id for each in ends.results] == ids[::-1]
    assert ends.messages == ["", "", ""]
    assert ends.is_complete
    assert place.site.count(STREAM) == 3
    assert re.search(rf"run {ids[0]}: success after \d+\.\d s", caplog.text)
    assert place.host.texts[-1].startswith("3 of 3 done")


async def test_a_platform_without_streams_of_runs_that_exist_is_asked_again_and_again(place):
    place.site.fail(STREAM, *[404] * 20)
    run_id = await queued(place, ECHO, text="said")

    ends = await collected(place, run_id)

    assert ends.results[0].texts == ["said"]


async def test_an_unknown_run_is_named(place):
    with pytest.raises(NotFound, match=UNKNOWN_ID):
        await collected(place, UNKNOWN_ID)


async def test_stopping_cancels_the_runs_of_the_graph_and_leaves_those_that_are_known_by_their_ids(place, open_runs):
    deployment_id = await place.deploy(sleep(LONG))
    mine, another = await queued(place, deployment_id, open_runs), await queued(place, deployment_id)
    waiting = asyncio.create_task(collected(place, Wanted(mine, "node 1"), another, open_runs=open_runs))
    await place.host.told("done, running")

    place.host.stop()
    with pytest.raises(Interrupted):
        await waiting

    statuses = {run.id: run.status for run in await place.runs()}
    assert statuses[mine] is RunStatus.CANCELLED
    assert not statuses[another].is_terminal
    assert place.site.count(CANCEL) == 1
    open_runs.states["a prompt"] = PromptState.INTERRUPTED
    assert open_runs.failures("node 1") == 1


async def test_stopping_while_outputs_are_fetched_leaves_the_run_the_success_that_it_is(place, open_runs):
    run_id = await queued(place, SAVE_IMAGE, open_runs, image=PIXELS)
    place.site.hold(FETCH)
    waiting = asyncio.create_task(collected(place, Wanted(run_id, "node 1"), open_runs=open_runs))
    await place.site.has_held(FETCH)
    await place.host.told("downloading")

    place.host.stop()
    with pytest.raises(Interrupted):
        await waiting

    open_runs.states["a prompt"] = PromptState.INTERRUPTED
    assert open_runs.failures("node 1") == 0
    assert open_runs.run_ids == []


async def test_stopping_while_a_run_is_being_submitted_cancels_it_as_soon_as_its_id_is_known(place):
    deployment_id = await place.deploy(sleep(LONG))
    answered = place.site.hold_answers(QUEUE)
    submission = asyncio.create_task(queued(place, deployment_id))
    while not await place.runs():
        await asyncio.sleep(0.01)

    place.host.stop()
    while not place.host.was_asked:
        await asyncio.sleep(0.01)
    answered.set()
    with pytest.raises(Interrupted):
        await submission

    assert [run.status for run in await place.runs()] == [RunStatus.CANCELLED]


async def test_a_submission_that_could_not_be_taken_back_is_left_to_whoever_tries_again(place, open_runs):
    deployment_id = await place.deploy(sleep(LONG))
    answered = place.site.hold_answers(QUEUE)
    place.site.fail(CANCEL, *[503] * 3)
    submission = asyncio.create_task(queued(place, deployment_id, open_runs))
    while not await place.runs():
        await asyncio.sleep(0.01)

    place.host.stop()
    while not place.host.was_asked:
        await asyncio.sleep(0.01)
    answered.set()
    with pytest.raises(Interrupted):
        await submission

    assert open_runs.run_ids == [run.id for run in await place.runs()]


async def test_a_failure_stops_and_cancels_the_others_of_the_graph(place, open_runs):
    slow = await queued(place, sleep(LONG), open_runs, source="slow")
    bad = await queued(place, FAILS, open_runs, source="bad")

    with pytest.raises(RunFailed, match=r"node 17 \(ImageBlur\)"):
        await collected(place, Wanted(slow, "slow"), Wanted(bad, "bad"), open_runs=open_runs)

    statuses = {run.id: run.status for run in await place.runs()}
    assert statuses == {slow: RunStatus.CANCELLED, bad: RunStatus.FAILED}
    open_runs.states["a prompt"] = PromptState.FAILED
    assert (open_runs.failures("slow"), open_runs.failures("bad")) == (1, 1)


async def test_a_failure_is_passed_over_with_its_reason_where_that_is_wanted(place, open_runs):
    ids = [await queued(place, graph) for graph in (ECHO, FAILS, ECHO)]

    ends = await collected(place, *ids, is_stopped_by_failures=False)

    assert [each.run.id for each in ends.results] == [ids[0], ids[2]]
    assert (ends.messages[0], ends.messages[2]) == ("", "")
    assert "node 17 (ImageBlur)" in ends.messages[1]
    assert ends.is_complete, "a failed run does not get better"
    shown = slots.shown(ends.shown)["outpost_run"]
    assert [(each["run_id"], each["status"]) for each in shown] == [
        (run_id, status) for run_id, status in zip(ids, ("success", "failed", "success"), strict=True)
    ]
    assert "message" not in shown[0]
    assert shown[1]["message"] == ends.messages[1]


async def test_a_late_run_is_passed_over_with_its_id_and_can_be_collected_later(place, open_runs):
    slow, quick = await queued(place, sleep(LONG), open_runs), await queued(place, ECHO, text="said")
    await place.client.runs.follow(quick)

    ends = await collected(
        place, Wanted(slow, "node 1"), quick, open_runs=open_runs, is_stopped_by_failures=False, deadline=0.5
    )

    assert [each.texts for each in ends.results] == [["said"]]
    assert slow in ends.messages[0]
    assert not ends.is_complete
    assert [each["status"] for each in slots.shown(ends.shown)["outpost_run"]] == ["late", "success"]
    assert open_runs.failures("node 1") == 0
    open_runs.states["a prompt"] = PromptState.INTERRUPTED
    assert open_runs.failures("node 1") == 1, "an interrupt of the same prompt cancels it all the same"


async def test_after_an_incomplete_result_wait_for_runs_is_executed_again(inside_comfyui, place):
    slow, quick = await queued(place, sleep(LONG)), await queued(place, ECHO, text="said")
    await place.client.runs.follow(quick)
    inputs = {"deadline_minutes": [0.5 / 60], "on_failure": ["skip"], "unique_id": ["7"]}
    host.open_runs.cache_clear()
    before = WaitForRuns.IS_CHANGED(unique_id=["7"])

    await executed(WaitForRuns, run_ids=[quick], **inputs)
    assert WaitForRuns.IS_CHANGED(unique_id=["7"]) == before
    await executed(WaitForRuns, run_ids=[f"{quick} {slow}"], **inputs)

    assert WaitForRuns.IS_CHANGED(unique_id=["7"]) != before
    assert WaitForRuns.IS_CHANGED(unique_id=["8"]) == before


async def test_when_all_fail_there_is_nothing_to_go_on_with(place):
    run_id = await queued(place, FAILS)
    with pytest.raises(RunFailed, match="ImageBlur"):
        await collected(place, run_id, is_stopped_by_failures=False)


async def test_the_deadline_leaves_the_runs_alone_and_what_was_submitted_counts(place, open_runs):
    ids = [await queued(place, sleep(LONG), open_runs) for _ in range(2)]

    with pytest.raises(RunDeadlineExceeded, match=f"by these ids: {ids[0]}, {ids[1]}"):
        await collected(place, *(Wanted(run_id, "node 1") for run_id in ids), open_runs=open_runs, deadline=0.3)

    assert [run.status.is_terminal for run in await place.runs()] == [False, False]
    assert place.site.count(CANCEL) == 0
    open_runs.states["a prompt"] = PromptState.FAILED
    open_runs.look()
    assert open_runs.failures("node 1") == 0
    assert open_runs.run_ids == []


async def test_a_run_that_somebody_has_cancelled_is_told_and_not_used_again(place, open_runs):
    run_id = await queued(place, sleep(LONG), open_runs)
    await place.client.runs.cancel(run_id)

    with pytest.raises(RunCancelled, match=run_id):
        await collected(place, Wanted(run_id, "node 1"), open_runs=open_runs)

    assert open_runs.failures("node 1") == 1


async def test_a_run_whose_outputs_did_not_arrive_is_not_run_again(place, open_runs):
    run_id = await queued(place, SAVE_IMAGE, open_runs, image=PIXELS)
    await place.client.runs.follow(run_id)
    place.site.fail(FETCH, *[404] * 10)

    with pytest.raises(Exception, match="'result' of run"):
        await collected(place, Wanted(run_id, "node 1"), open_runs=open_runs)

    assert open_runs.failures("node 1") == 0


async def test_the_place_in_the_queue_is_shown_while_a_run_waits(open_workplace):
    async with open_workplace(builtin_slots=1) as place:
        deployment_id = await place.deploy(sleep(LONG))
        first, second = [await queued(place, deployment_id) for _ in range(2)]
        third = await queued(place, ECHO)
        waiting = asyncio.create_task(collected(place, third))

        await place.host.told("queued behind 1 other run")
        await place.client.runs.cancel(second)
        await place.host.told("queued, next")
        await place.client.runs.cancel(first)

        ends = await waiting
        assert ends.results[0].run.id == third


def test_runs_are_wanted_in_the_order_of_their_sockets_and_each_once():
    one, two, ten = (PendingRun(name, f"node {name}") for name in ("one", "two", "ten"))

    found = wanted({"run_10": [ten], "run_2": [two, one], "run_1": [one]}, ["four, two\n\n five", ""])

    assert [each.run_id for each in found] == ["one", "two", "ten", "four", "five"]
    assert [each.source for each in found] == ["node one", "node two", "node ten", "", ""]


@pytest.mark.parametrize(
    ("sockets", "reason"),
    [
        ({}, "no run to wait for"),
        ({"run_1": [None]}, "no run on the input 'run_1'"),
        ({"run_3": ["x"]}, "'run_3'.*str"),
    ],
)
def test_what_is_no_run_is_named(sockets, reason: str):
    with pytest.raises(InvalidInput, match=reason):
        wanted(sockets, [])
