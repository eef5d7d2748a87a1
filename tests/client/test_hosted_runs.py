"""Following a run on the hosted platform, as it was recorded, with everything that it leaves out."""

import asyncio

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Timeouts
from comfyui_outpost.api.events import Accepted, ExecutionSucceeded, LiveStatus, Phase, StatusChanged
from comfyui_outpost.api.models import Deployment, RunStatus
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.hosted import STREAMED_RUNS, HostedPlatform, recorded_run, recorded_states


def plays(server: HostedPlatform, stream: str, *, ends_as: str) -> Deployment:
    """The server's next run is this recording; gives the deployment to run."""
    server.stream = recordings.stream(stream)
    server.run = {**server.run, "id": STREAMED_RUNS.get(stream, server.run["id"]), "status": ends_as}
    return Deployment.model_validate(server.deployment)


def polls(server: HostedPlatform) -> int:
    return len(server.log.named("GET", f"/api/run/{server.run['id']}"))


@pytest.mark.parametrize("stream", ["ok", "progress"])
async def test_a_recorded_stream_is_followed_to_its_end(hosted, stream):
    server, client = await hosted()
    deployment, events = plays(server, stream, ends_as="success"), []

    run = await client.runs.execute(deployment, {"caption": "x"}, on_event=events.append)

    assert run.id == STREAMED_RUNS[stream]
    assert {each.output_id for each in run.outputs} >= {"blue", "caption_out"}
    assert events[0] == Phase("queuing")
    assert Accepted(run.id, 24 if stream == "ok" else 25) in events
    assert events[-1] == StatusChanged(run.id, RunStatus.SUCCESS)
    assert [each.path for each in server.log.submissions()] == ["/api/run/deployment/stream"]
    assert polls(server) == 1


async def test_a_failed_run_tells_what_the_stream_told(hosted):
    server, client = await hosted()
    deployment = plays(server, "execution_error", ends_as="failed")

    with pytest.raises(errors.RunFailed, match=r"node 2 \(ImageInvert\)") as caught:
        await client.runs.execute(deployment, {})

    assert caught.value.run_id == STREAMED_RUNS["execution_error"]
    assert caught.value.failure and caught.value.failure.node_class == "ImageInvert"


async def test_a_graph_that_the_machine_refuses_is_a_failure_although_the_run_has_no_id(hosted):
    server, client = await hosted()
    deployment = plays(server, "unknown_node", ends_as="not-started")

    with pytest.raises(errors.RunFailed, match="NoSuchNode does not exist"):
        await client.runs.execute(deployment, {})

    assert len(server.log.submissions()) == 1


async def test_a_stream_without_a_terminal_event_is_finished_by_polling(hosted):
    server, client = await hosted()
    deployment = plays(server, "without_terminal_event", ends_as="success")
    server.states = [{"status": "running"}, {"status": "running"}]

    run = await client.runs.execute(deployment, {})

    assert run.status is RunStatus.SUCCESS
    assert polls(server) == 3
    assert len(server.log.submissions()) == 1


async def test_a_run_that_was_submitted_before_is_polled_to_its_end_and_submitted_by_nobody(hosted):
    server, client = await hosted()
    plays(server, "ok", ends_as="success")
    server.states, events = [{"status": "queued"}, {"status": "running"}], []

    run = await client.runs.follow(server.run["id"], on_event=events.append)

    assert run.status is RunStatus.SUCCESS
    assert [event.status for event in events if isinstance(event, StatusChanged)] == [
        RunStatus.QUEUED,
        RunStatus.RUNNING,
        RunStatus.SUCCESS,
    ]
    assert polls(server) == 3
    assert server.log.submissions() == []


async def test_a_run_that_the_machine_finished_and_the_platform_forgot_does_not_last_for_ever(hosted, time):
    server, client = await hosted()
    deployment, events = plays(server, "without_terminal_event", ends_as="running"), []

    run = await client.runs.execute(deployment, {}, on_event=events.append)

    assert ExecutionSucceeded(run.id) in events
    assert run.status is RunStatus.SUCCESS
    assert run.outputs
    assert 60 <= time.now < 120


async def test_a_run_that_put_nothing_out_says_what_its_workflow_lacks(hosted):
    server, client = await hosted()
    deployment = plays(server, "without_terminal_event", ends_as="running")
    server.run["outputs"] = []

    with pytest.raises(errors.RunLost, match="a node that saves an output"):
        await client.runs.execute(deployment, {})


async def test_a_stream_that_breaks_before_the_id_loses_the_run_and_submits_nothing_again(hosted):
    server, client = await hosted()
    deployment = plays(server, "ok", ends_as="success")
    server.breaks_after = server.stream.index(b"prompt_id") - 40

    with pytest.raises(errors.RunLost, match=r"may still be going on and was not submitted again") as caught:
        await client.runs.execute(deployment, {})

    assert caught.value.run_id is None
    assert len(server.log.submissions()) == 1


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
async def test_a_stream_that_breaks_after_the_id_is_finished_by_polling(hosted, share):
    server, client = await hosted()
    deployment, events = plays(server, "ok", ends_as="success"), []
    server.breaks_after = int(len(server.stream) * share)
    server.states = recorded_states("poll trace: serverless")

    run = await client.runs.execute(deployment, {}, on_event=events.append)

    assert run.status is RunStatus.SUCCESS
    assert any(isinstance(event, LiveStatus) for event in events)
    assert len(server.log.submissions()) == 1
    assert server.log.named("GET", f"/api/run/{run.id}/stream") == []


async def test_a_long_silence_is_not_taken_for_a_break_but_the_run_is_looked_at(hosted):
    server, client = await hosted(timeouts=Timeouts(silence=0.05))
    deployment = plays(server, "ok", ends_as="success")
    server.stream = server.stream[: server.stream.index(b"execution_cached") - 40]
    server.stays_open = True
    server.states = [{"status": "running"}, {"status": "running"}]

    assert (await client.runs.execute(deployment, {})).status is RunStatus.SUCCESS

    assert polls(server) == 4
    assert len(server.log.submissions()) == 1


async def test_a_machine_that_takes_long_to_start_is_waited_for(hosted):
    server, client = await hosted(timeouts=Timeouts(silence=0.02))
    deployment = plays(server, "ok", ends_as="success")
    server.stream = server.stream[: server.stream.index(b"gpu_ready") - 40]
    server.stays_open = True

    with pytest.raises(errors.RunDeadlineExceeded, match="id is not known yet"):
        await client.runs.execute(deployment, {}, deadline=0.3)

    assert polls(server) == 0


async def test_a_cancelled_caller_closes_the_stream_because_nothing_else_cancels_the_run(hosted):
    server, client = await hosted()
    deployment = plays(server, "ok", ends_as="running")
    server.stream = server.stream[: server.stream.index(b"execution_cached") - 40]
    server.stays_open = True
    heard = asyncio.Event()
    execution = asyncio.create_task(
        client.runs.execute(deployment, {}, on_event=lambda event: heard.set() if isinstance(event, Accepted) else None)
    )
    await heard.wait()

    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution

    await asyncio.wait_for(server.stream_was_closed.wait(), 20)
    assert server.log.named("POST", f"/api/run/{server.run['id']}/cancel") == []
    assert len(server.log.submissions()) == 1


async def test_a_deadline_on_a_streamed_run_says_that_the_platform_may_cancel_it(hosted):
    server, client = await hosted()
    deployment = plays(server, "ok", ends_as="running")
    server.stream = server.stream[: server.stream.index(b"execution_cached") - 40]
    server.stays_open = True

    with pytest.raises(errors.RunDeadlineExceeded, match=r"may cancel it now") as caught:
        await client.runs.execute(deployment, {}, deadline=0.1)

    assert caught.value.run_id == server.run["id"]


def plays_classic(server: HostedPlatform, case: str) -> Deployment:
    server.machine["type"] = "classic"
    server.run, server.states = recorded_run(case), recorded_states(case)
    return Deployment.model_validate(server.deployment)


async def test_a_run_on_a_classic_machine_is_queued_and_polled(hosted):
    server, client = await hosted()
    deployment, events = plays_classic(server, "poll trace: classic"), []

    run = await client.runs.execute(deployment, {}, on_event=events.append)

    assert run.status is RunStatus.SUCCESS
    assert [each.path for each in server.log.submissions()] == ["/api/run/deployment/queue"]
    assert events == [
        StatusChanged(run.id, RunStatus.RUNNING),
        LiveStatus(run.id, "Executing ComfyDeployOutputText", 0.25),
        LiveStatus(run.id, "Executing ImageInvert", 0.5),
        LiveStatus(run.id, "Executing ComfyDeployOutputImage", 1.0),
        StatusChanged(run.id, RunStatus.SUCCESS),
    ]


async def test_the_machine_is_not_asked_for_when_the_deployment_tells_its_type(hosted):
    server, client = await hosted()
    deployment = plays_classic(server, "poll trace: classic")
    deployment = Deployment.model_validate(deployment.model_dump() | {"machine": {"type": "classic"}})

    await client.runs.execute(deployment, {})

    assert not any("/machine/" in each.path for each in server.log.requests)


@pytest.mark.parametrize(
    ("case", "words"),
    [("failed runs keep", r"node 1 \(EmptyImage\).*smaller than min"), ("limit=2", r"node 2 \(ImageInvert\)")],
)
async def test_the_reason_of_a_failed_classic_run_is_looked_up_where_the_platform_keeps_it(hosted, case, words):
    server, client = await hosted()
    deployment = plays_classic(server, "poll trace: defaults")
    rows = recordings.body("get_workflow_workflow_id_runs", case)
    server.runs_of_workflow = [{**rows[0], "id": server.run["id"]}]

    with pytest.raises(errors.RunFailed, match=words):
        await client.runs.execute(deployment, {})


async def test_a_failed_run_without_any_reason_says_so(hosted):
    server, client = await hosted()
    deployment = plays_classic(server, "poll trace: defaults")

    with pytest.raises(errors.RunFailed, match="tells no reason"):
        await client.runs.execute(deployment, {})


async def test_a_classic_run_that_cannot_be_cancelled_is_said_to_go_on(hosted, caplog):
    server, client = await hosted()
    deployment = plays_classic(server, "poll trace: classic")
    server.run["status"] = "running"
    heard = asyncio.Event()
    execution = asyncio.create_task(client.runs.execute(deployment, {}, on_event=lambda event: heard.set()))
    await heard.wait()

    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution

    assert f"run {server.run['id']} goes on" in caplog.text
    assert len(server.log.submissions()) == 1
