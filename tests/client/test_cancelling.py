"""Callers that go away before their run has ended: cancelled, interrupted, or out of patience."""

import asyncio

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Timeouts
from comfyui_outpost.api.events import Accepted, StatusChanged
from comfyui_outpost.api.models import Deployment, RunStatus
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
        await asyncio.wait_for(execution, 2)
    server.may_accept.set()

    assert "may go on" in caplog.text


async def test_a_listener_that_raises_cancels_the_run(outpost):
    server, client = await outpost(stay_silent)

    def interrupt(event):
        raise KeyError("the host was interrupted")

    with pytest.raises(KeyError, match="the host was interrupted"):
        await client.runs.execute(DEPLOYMENT, {}, on_event=interrupt)

    assert server.run_was_cancelled.is_set()


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
