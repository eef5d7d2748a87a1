"""Callers that go away before their run has ended: cancelled, interrupted, or out of patience."""

import asyncio

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Timeouts
from comfyui_outpost.api.events import Accepted, StatusChanged
from comfyui_outpost.api.models import Deployment, RunStatus
from comfyui_outpost.tests.fakes.flaky import answer, break_off
from comfyui_outpost.tests.fakes.outpost import DEPLOYMENT_ID, RUN_ID, succeed

DEPLOYMENT = Deployment(id=DEPLOYMENT_ID)


async def stay_silent(stream):
    await stream.send(Accepted(RUN_ID))
    await stream.send(StatusChanged(RUN_ID, RunStatus.RUNNING), 1)
    await asyncio.Event().wait()


async def test_a_cancelled_caller_cancels_exactly_this_run(outpost):
    server, client = await outpost(stay_silent)
    heard = asyncio.Event()
    execution = asyncio.create_task(client.runs.execute(DEPLOYMENT, {}, on_event=lambda event: heard.set()))
    await heard.wait()

    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution

    assert server.run_was_cancelled.is_set()
    assert len(server.log.named("POST", f"/api/run/{RUN_ID}/cancel")) == 1
    assert len(server.log.submissions()) == 1


async def test_a_caller_who_is_cancelled_twice_still_cancels_the_run(outpost):
    server, client = await outpost(stay_silent)
    heard = asyncio.Event()
    execution = asyncio.create_task(client.runs.execute(DEPLOYMENT, {}, on_event=lambda event: heard.set()))
    await heard.wait()

    execution.cancel()
    await asyncio.sleep(0)
    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await execution

    assert server.run_was_cancelled.is_set()


async def test_a_run_whose_id_is_not_known_yet_is_cancelled_as_soon_as_it_is(outpost):
    server, client = await outpost(stay_silent)
    server.may_accept.clear()
    execution = asyncio.create_task(client.runs.execute(DEPLOYMENT, {}))
    await server.was_submitted.wait()

    execution.cancel()
    await asyncio.sleep(0)
    server.may_accept.set()
    with pytest.raises(asyncio.CancelledError):
        await execution

    assert server.run_was_cancelled.is_set()


async def test_a_server_that_does_not_tell_the_id_does_not_hold_up_a_cancelled_caller(outpost, caplog):
    server, client = await outpost(stay_silent, timeouts=Timeouts(identify=0.05))
    server.may_accept.clear()
    execution = asyncio.create_task(client.runs.execute(DEPLOYMENT, {}))
    await server.was_submitted.wait()

    execution.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(execution, 20)
    server.may_accept.set()

    assert "may go on" in caplog.text


async def test_a_listener_that_raises_cancels_the_run(outpost):
    server, client = await outpost(stay_silent)

    def interrupt(event):
        raise KeyError("the host was interrupted")

    with pytest.raises(KeyError, match="the host was interrupted"):
        await client.runs.execute(DEPLOYMENT, {}, on_event=interrupt)

    assert server.run_was_cancelled.is_set()


async def test_something_unexpected_cancels_the_run(outpost):
    async def break_off(stream):
        await stream.send(Accepted(RUN_ID))
        stream.reset()

    async def sleep(seconds):
        raise RuntimeError("nobody has thought of this")

    server, client = await outpost(break_off, sleep=sleep)
    server.run["status"] = "running"

    with pytest.raises(RuntimeError, match="nobody has thought of this"):
        await client.runs.execute(DEPLOYMENT, {})

    assert server.run_was_cancelled.is_set()


async def test_a_run_that_is_just_being_queued_elsewhere_is_cancelled_as_soon_as_its_id_is_known(flaky):
    was_submitted, may_answer = asyncio.Event(), asyncio.Event()

    async def queue(request):
        was_submitted.set()
        await may_answer.wait()
        return await answer({"run_id": RUN_ID})(request)

    classic = DEPLOYMENT.model_dump(mode="json") | {"machine": {"type": "classic"}}
    server, client = await flaky(answer(classic), queue, answer({"message": "The run is cancelled"}))
    deployment = await client.deployments.get(DEPLOYMENT_ID)
    execution = asyncio.create_task(client.runs.execute(deployment, {}))
    await was_submitted.wait()

    execution.cancel()
    await asyncio.sleep(0)
    may_answer.set()
    with pytest.raises(asyncio.CancelledError):
        await execution

    assert len(server.log.named("POST", f"/api/run/{RUN_ID}/cancel")) == 1
    assert len(server.log.submissions()) == 1


async def test_a_run_that_was_queued_elsewhere_and_whose_answer_is_lost_is_not_submitted_again(flaky):
    server, client = await flaky(answer(DEPLOYMENT.model_dump(mode="json")), break_off)
    await client.deployments.get(DEPLOYMENT_ID)

    with pytest.raises(errors.RunLost, match="list of runs"):
        await client.runs.queue(DEPLOYMENT_ID, {})

    assert len(server.log.submissions()) == 1


async def test_a_platform_that_nothing_was_heard_of_is_looked_at_before_anything_is_submitted_again(flaky):
    ours = {"Outpost-Version": "0.1.0"}
    server, client = await flaky(
        break_off, answer({"status": "ok"}, headers=ours), answer({"run_id": RUN_ID}, headers=ours)
    )

    assert await client.runs.queue(DEPLOYMENT_ID, {}) == RUN_ID

    first, second = [each.headers["Idempotency-Key"] for each in server.log.submissions()]
    assert first == second


async def test_a_deadline_ends_the_waiting_and_leaves_the_run_alone(outpost):
    server, client = await outpost(stay_silent)

    with pytest.raises(errors.RunDeadlineExceeded, match="left alone") as caught:
        await client.runs.execute(DEPLOYMENT, {}, deadline=0.1)

    assert caught.value.run_id == RUN_ID
    assert not server.run_was_cancelled.is_set()


async def test_nothing_of_an_execution_is_left_running(outpost):
    _, client = await outpost(stay_silent, succeed)
    before = asyncio.all_tasks()

    with pytest.raises(errors.RunDeadlineExceeded):
        await client.runs.execute(DEPLOYMENT, {}, deadline=0.05)
    await client.runs.execute(DEPLOYMENT, {})

    ours = {each for each in asyncio.all_tasks() - before if "RequestHandler" not in repr(each)}
    assert ours == set()
