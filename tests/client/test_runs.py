"""Following a run on a server of this package: by its stream, resumed where it broke, and by polling."""

import asyncio
import json
import traceback

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Timeouts
from comfyui_outpost.api.events import (
    Accepted,
    ExecutionFailed,
    ExecutionSucceeded,
    LiveStatus,
    NodeProgress,
    NodeStarted,
    StatusChanged,
)
from comfyui_outpost.api.models import Deployment, Failure, RunStatus
from comfyui_outpost.tests.fakes.flaky import answer, text
from comfyui_outpost.tests.fakes.outpost import DEPLOYMENT_ID, RUN_ID, refuse, succeed
from comfyui_outpost.tests.fakes.serving import KEY

DEPLOYMENT = Deployment(id=DEPLOYMENT_ID)
OUTPUT = {"id": "1", "data": {"images": [{"url": "http://store/a.png"}]}, "node_meta": {"node_id": "9"}}
RUNNING = StatusChanged(RUN_ID, RunStatus.RUNNING)
SUCCESS = StatusChanged(RUN_ID, RunStatus.SUCCESS)
FAILED = StatusChanged(RUN_ID, RunStatus.FAILED)


def polls(server) -> int:
    return len(server.log.named("GET", f"/api/run/{RUN_ID}"))


def resumptions(server) -> list[str | None]:
    return [each.headers.get("Last-Event-ID") for each in server.log.named("GET", f"/api/run/{RUN_ID}/stream")]


async def break_off_at_once(stream):
    await stream.send(Accepted(RUN_ID))
    stream.reset()


async def break_off_after_two(stream):
    await stream.send(Accepted(RUN_ID))
    await stream.send(RUNNING, 7)
    await stream.send(NodeStarted(RUN_ID, "1"), 8)
    stream.reset()


async def stay_silent(stream):
    await stream.send(Accepted(RUN_ID))
    await stream.send(RUNNING, 1)
    await asyncio.Event().wait()


async def test_a_run_is_submitted_followed_and_read(outpost):
    server, client = await outpost(succeed)
    server.run["outputs"] = [OUTPUT]
    events = []

    run = await client.runs.execute(DEPLOYMENT, {"text": "a", "steps": 3, "on": True}, on_event=events.append)

    assert [each.url for each in run.outputs[0].files] == ["http://store/a.png"]
    assert events == [Accepted(RUN_ID), RUNNING, SUCCESS]
    [submission] = server.log.submissions()
    inputs = {"text": "a", "steps": 3, "on": True}
    assert json.loads(submission.body) == {"deployment_id": DEPLOYMENT_ID, "inputs": inputs}
    assert len(submission.headers["Idempotency-Key"]) == 36
    assert polls(server) == 1


async def test_each_event_is_told_before_the_next_one_is_sent(outpost):
    told: asyncio.Queue[object] = asyncio.Queue()

    async def wait_for_the_listener(stream):
        await stream.send(Accepted(RUN_ID))
        assert await asyncio.wait_for(told.get(), 20) == Accepted(RUN_ID)
        for step in range(20):
            await stream.send(NodeProgress(RUN_ID, "1", step, 20))
            assert (await asyncio.wait_for(told.get(), 20)).value == step
        await stream.send(SUCCESS, 1)

    server, client = await outpost(wait_for_the_listener)

    await client.runs.execute(DEPLOYMENT, {}, on_event=told.put_nowait)

    assert polls(server) == 1


async def test_two_executions_have_different_idempotency_keys(outpost):
    server, client = await outpost(succeed, succeed)

    await client.runs.execute(DEPLOYMENT, {})
    await client.runs.execute(DEPLOYMENT, {})

    assert len({each.headers["Idempotency-Key"] for each in server.log.submissions()}) == 2


async def test_keep_alive_comments_are_no_events(outpost):
    async def comment(stream):
        await stream.send(Accepted(RUN_ID))
        await stream.send(RUNNING, 1)
        await stream.comment()
        await stream.comment()
        await stream.send(SUCCESS, 2)

    _, client = await outpost(comment)
    events = []

    await client.runs.execute(DEPLOYMENT, {}, on_event=events.append)

    assert events == [Accepted(RUN_ID), RUNNING, SUCCESS]


async def test_a_stream_that_breaks_is_resumed_after_the_last_event(outpost):
    server, client = await outpost(break_off_after_two, succeed)
    events = []

    await client.runs.execute(DEPLOYMENT, {}, on_event=events.append)

    assert resumptions(server) == ["8"]
    assert events.count(Accepted(RUN_ID)) == 1
    assert events[-1] == SUCCESS
    assert len(server.log.submissions()) == 1


async def test_a_stream_that_goes_silent_is_resumed(outpost):
    server, client = await outpost(stay_silent, succeed, timeouts=Timeouts(silence=0.05))

    assert (await client.runs.execute(DEPLOYMENT, {})).status is RunStatus.SUCCESS

    assert resumptions(server) == ["1"]
    assert len(server.log.submissions()) == 1


async def test_a_stream_that_ends_without_a_terminal_status_is_resumed(outpost):
    async def end_early(stream):
        await stream.send(Accepted(RUN_ID))

    server, client = await outpost(end_early, succeed)

    await client.runs.execute(DEPLOYMENT, {})

    assert resumptions(server) == [None]
    assert len(server.log.submissions()) == 1


async def test_a_run_whose_stream_cannot_be_resumed_is_polled(outpost, time):
    server, client = await outpost(break_off_after_two)
    server.run |= {"status": "running", "live_status": "Executing KSampler", "progress": 0.5}
    events = []

    def hear(event):
        events.append(event)
        if isinstance(event, LiveStatus):
            server.run["status"] = "success"

    assert (await client.runs.execute(DEPLOYMENT, {}, on_event=hear)).status is RunStatus.SUCCESS

    assert LiveStatus(RUN_ID, "Executing KSampler", 0.5) in events
    assert events[-1] == SUCCESS
    assert events.count(RUNNING) == 1
    assert len(server.log.submissions()) == 1


async def test_resuming_is_given_up_when_it_brings_nothing(outpost):
    server, client = await outpost(break_off_after_two, break_off_at_once, break_off_at_once, succeed)

    await client.runs.execute(DEPLOYMENT, {})

    assert resumptions(server) == ["8", "8"]
    assert polls(server) == 1


async def test_a_submission_without_an_answer_is_sent_again_with_the_same_key(outpost):
    server, client = await outpost(refuse, refuse, succeed)

    assert (await client.runs.execute(DEPLOYMENT, {})).id == RUN_ID

    assert len(server.log.submissions()) == 3
    assert len({each.headers["Idempotency-Key"] for each in server.log.submissions()}) == 1


async def test_a_submission_is_sent_again_when_the_stream_broke_before_it_told_the_id(outpost):
    async def break_before_the_id(stream):
        await stream.comment()
        stream.reset()

    server, client = await outpost(break_before_the_id, succeed)

    assert (await client.runs.execute(DEPLOYMENT, {})).id == RUN_ID

    assert len({each.headers["Idempotency-Key"] for each in server.log.submissions()}) == 1


async def test_a_server_that_never_answers_a_submission_has_lost_the_run(outpost):
    server, client = await outpost(*[refuse] * 20)

    with pytest.raises(errors.RunLost, match="was not submitted again"):
        await client.runs.execute(DEPLOYMENT, {})

    assert len({each.headers["Idempotency-Key"] for each in server.log.submissions()}) == 1


async def test_a_server_that_nobody_has_heard_of_yet_gets_no_second_submission(outpost):
    server, client = await outpost(refuse, succeed, is_known=False)

    with pytest.raises(errors.RunLost, match="was not submitted again"):
        await client.runs.execute(DEPLOYMENT, {})

    assert len(server.log.submissions()) == 1


async def test_polling_starts_quickly_slows_down_and_survives_failures(outpost, time):
    server, client = await outpost(break_off_after_two)
    server.run_faults.extend([500, "reset", 500, 429, 500])
    server.run["status"] = "running"
    time.at(60, lambda: server.run.update(status="success"))

    await client.runs.execute(DEPLOYMENT, {})

    waits = [each for each in time.slept if each >= 0.25]
    assert waits[0] == 0.25
    assert max(waits) == 5.0
    assert 15 < polls(server) < 30


async def test_outputs_may_take_long_to_get_into_the_store_after_the_machine_is_done(outpost, time):
    async def break_off_while_uploading(stream):
        await stream.send(Accepted(RUN_ID))
        await stream.send(ExecutionSucceeded(RUN_ID), 1)
        stream.reset()

    server, client = await outpost(break_off_while_uploading)
    server.run["status"] = "uploading"
    time.at(600, lambda: server.run.update(status="success", outputs=[OUTPUT]))

    assert (await client.runs.execute(DEPLOYMENT, {})).outputs


async def test_a_platform_that_stays_away_ends_the_following_but_not_the_run(outpost, time):
    server, client = await outpost(break_off_after_two)
    server.run_faults.extend([500] * 10_000)

    with pytest.raises(errors.ConnectionFailed, match=f"{RUN_ID} may still be going on.* 5 minutes"):
        await client.runs.execute(DEPLOYMENT, {})

    assert time.now >= 300
    assert len(server.log.submissions()) == 1
    assert not server.run_was_cancelled.is_set()


@pytest.mark.parametrize(("status", "words"), [(404, "does not know it"), (401, "cannot be read")])
async def test_a_run_that_cannot_be_read_any_more_is_lost(outpost, status, words):
    server, client = await outpost(succeed)
    server.run_faults.append(status)

    with pytest.raises(errors.RunLost, match=words) as caught:
        await client.runs.execute(DEPLOYMENT, {})

    assert caught.value.run_id == RUN_ID


async def test_a_failed_run_tells_the_node_and_the_reason_of_the_record(outpost):
    server, client = await outpost(succeed)
    server.run |= {"status": "failed", "error": {"message": "out of memory", "node_id": "3", "node_class": "KSampler"}}

    with pytest.raises(errors.RunFailed, match=rf"{RUN_ID} failed: node 3 \(KSampler\): out of memory") as caught:
        await client.runs.execute(DEPLOYMENT, {})

    assert caught.value.failure == Failure(message="out of memory", node_id="3", node_class="KSampler")


async def test_a_failed_run_tells_the_reason_of_the_stream_when_the_record_has_none(outpost):
    async def fail(stream):
        await stream.send(Accepted(RUN_ID))
        await stream.send(ExecutionFailed(RUN_ID, Failure(message="bad size", node_id="3", node_class="Crop")), 1)
        await stream.send(FAILED, 2)

    server, client = await outpost(fail)
    server.run["status"] = "failed"

    with pytest.raises(errors.RunFailed, match="bad size"):
        await client.runs.execute(DEPLOYMENT, {})


@pytest.mark.parametrize(
    ("status", "error"),
    [("cancelled", errors.RunCancelled), ("timeout", errors.RunTimedOut), ("failed", errors.RunFailed)],
)
async def test_every_end_but_success_is_an_error_that_names_the_run(outpost, status, error):
    server, client = await outpost(succeed)
    server.run["status"] = status

    with pytest.raises(error, match=RUN_ID) as caught:
        await client.runs.execute(DEPLOYMENT, {})

    assert caught.value.run_id == RUN_ID
    assert KEY not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", [None, {"a": 1}, float("nan"), float("inf"), [object()]])
async def test_a_value_that_cannot_be_sent_is_refused_before_anything_is(outpost, value):
    server, client = await outpost(succeed)

    with pytest.raises(errors.InvalidInput):
        await client.runs.execute(DEPLOYMENT, {"x": value})

    assert server.log.submissions() == []


async def test_a_refused_submission_is_the_error_of_the_platform(flaky):
    server, client = await flaky(answer({"detail": "The input 'x' is missing"}, 422))

    with pytest.raises(errors.Unprocessable, match="'x' is missing"):
        await client.runs.execute(DEPLOYMENT, {})

    assert len(server.log.submissions()) == 1


async def test_an_answer_that_is_no_stream_is_an_error(flaky):
    server, client = await flaky(text("<html>", content_type="text/html"))

    with pytest.raises(errors.ServerError, match="event stream"):
        await client.runs.execute(DEPLOYMENT, {})

    assert len(server.log.submissions()) == 1


async def test_the_events_of_a_run_can_be_read_alone(outpost):
    _, client = await outpost(succeed)

    events = [event async for event in client.runs.stream(DEPLOYMENT_ID, {})]

    assert events == [Accepted(RUN_ID), RUNNING, SUCCESS]


async def test_a_run_is_read_and_cancelled_by_its_id(outpost):
    server, client = await outpost()

    assert (await client.runs.get(RUN_ID)).status is RunStatus.SUCCESS
    assert (await client.runs.cancel(RUN_ID.upper())).status == "success"
    assert (await client.runs.get(RUN_ID, queue_position=False)).status is RunStatus.CANCELLED
    assert server.log.requests[1].path.endswith("?queue_position=true")


async def test_the_prompt_that_waits_for_a_run_is_told_to_a_server_of_this_package_each_time(outpost):
    server, client = await outpost(refuse, succeed)

    await client.runs.execute(DEPLOYMENT, {}, prompt_id="a-prompt")

    assert [each.headers.get("Outpost-Prompt-Id") for each in server.log.submissions()] == ["a-prompt", "a-prompt"]
    others = [each for each in server.log.requests if each not in server.log.submissions()]
    assert not any("Outpost-Prompt-Id" in each.headers for each in others)


async def test_nobody_else_is_told_of_prompts_and_without_one_nothing_is(outpost, hosted):
    server, client = await outpost(succeed)
    await client.runs.execute(DEPLOYMENT, {})
    assert "Outpost-Prompt-Id" not in server.log.submissions()[0].headers

    server, client = await hosted()
    await client.runs.execute(
        await client.deployments.get(server.deployment["id"]), {"input_image": "https://x.example/a.png"}, prompt_id="p"
    )
    assert server.log.submissions()
    assert not any("Outpost-Prompt-Id" in each.headers for each in server.log.requests)


async def test_a_run_that_was_submitted_before_is_followed_from_its_first_event_and_submitted_by_nobody(outpost):
    server, client = await outpost(succeed)
    events = []

    run = await client.runs.follow(RUN_ID, on_event=events.append)

    assert run.status is RunStatus.SUCCESS
    assert SUCCESS in events
    assert resumptions(server) == [None]
    assert server.log.submissions() == []


@pytest.mark.parametrize("cancels", [True, False])
async def test_whoever_stops_following_a_run_cancels_it_only_if_that_was_said(outpost, cancels):
    server, client = await outpost(stay_silent)
    began = asyncio.Event()
    following = asyncio.create_task(client.runs.follow(RUN_ID, on_event=lambda event: began.set(), cancels=cancels))
    await asyncio.wait_for(began.wait(), 20)

    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following

    assert len(server.log.named("POST", f"/api/run/{RUN_ID}/cancel")) == cancels
