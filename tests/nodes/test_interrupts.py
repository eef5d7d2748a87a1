"""Stopping the prompt stops exactly this run, at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
import torch
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.nodes.waiting import gather_or_cancel, interruptible, side_by_side
from comfyui_outpost.tests.nodes.hosts import WAIT_SECONDS, FakeHost, Interrupted
from comfyui_outpost.tests.nodes.sites import CANCEL, FETCH, PUT, SUBMIT
from comfyui_outpost.tests.server.graphs import SAVE_IMAGE, sleep

LONG = 600
PIXELS = torch.zeros(1, 4, 4, 3)


@contextmanager
def stopped_within_a_second(host: FakeHost) -> Generator[None, None, None]:
    start = time.monotonic()
    host.stop()
    with pytest.raises(Interrupted):
        yield
    assert time.monotonic() - start < 1


async def test_stopping_while_the_run_works_cancels_it(place):
    run = asyncio.create_task(place.run(sleep(LONG)))
    await place.host.told("Executing OutpostSleep")

    with stopped_within_a_second(place.host):
        await run

    assert [each.status for each in await place.runs()] == [RunStatus.CANCELLED]
    assert place.site.count(CANCEL) == 1


async def test_stopping_while_the_run_waits_cancels_it_and_not_the_one_before(open_workplace):
    async with open_workplace(builtin_slots=1) as place:
        deployment_id = await place.deploy(sleep(LONG))
        await place.client.runs.queue(deployment_id, {})
        run = asyncio.create_task(place.run(deployment_id))
        await place.host.told("queued")

        with stopped_within_a_second(place.host):
            await run

        first, second = await place.runs()
        assert second.status is RunStatus.CANCELLED
        assert not first.status.is_terminal


async def test_stopping_during_the_upload_starts_no_run(place):
    place.site.hold(PUT)
    run = asyncio.create_task(place.run(SAVE_IMAGE, image=PIXELS))
    await place.site.has_held(PUT)

    with stopped_within_a_second(place.host):
        await run

    assert place.site.count(SUBMIT) == 0
    assert await place.runs() == []


async def test_stopping_during_the_download_leaves_the_run_the_success_that_it_is(place):
    place.site.hold(FETCH)
    run = asyncio.create_task(place.run(SAVE_IMAGE, image=PIXELS))
    await place.site.has_held(FETCH)
    await place.host.told("downloading")  # outputs begin to come before the run has ended

    with stopped_within_a_second(place.host):
        await run

    assert [each.status for each in await place.runs()] == [RunStatus.SUCCESS]
    assert place.site.count(CANCEL) == 0


async def test_a_prompt_that_is_already_stopped_sends_nothing(place):
    place.host.stop()

    with pytest.raises(Interrupted):
        await place.run(SAVE_IMAGE, image=PIXELS)

    assert place.site.count(SUBMIT) == 0


async def test_cancelling_the_nodes_task_cancels_the_run(place):
    run = asyncio.create_task(place.run(sleep(LONG)))
    await place.host.told("Executing OutpostSleep")

    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run

    assert [each.status for each in await place.runs()] == [RunStatus.CANCELLED]


async def test_cancelling_the_nodes_task_twice_cancels_the_run_all_the_same(place):
    run = asyncio.create_task(place.run(sleep(LONG)))
    await place.host.told("Executing OutpostSleep")

    run.cancel()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    await asyncio.wait_for(_until_cancelled(place), WAIT_SECONDS)


async def _until_cancelled(place) -> None:
    while [each.status for each in await place.runs()] != [RunStatus.CANCELLED]:
        await asyncio.sleep(0.01)


async def test_when_one_of_several_fails_the_others_are_cancelled_and_have_ended():
    began, ended = asyncio.Event(), []

    async def sibling() -> None:
        try:
            began.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append("sibling")

    async def fails() -> None:
        await began.wait()
        raise ValueError("one of them failed")

    with pytest.raises(ValueError, match="one of them failed"):
        await gather_or_cancel([sibling(), fails()])
    assert ended == ["sibling"]


async def test_the_hosts_exception_wins_over_a_failure_at_the_same_moment():
    host = FakeHost()

    async def fails() -> None:
        host.stop()
        raise ValueError("too late")

    with pytest.raises(Interrupted):
        await interruptible(host.check_interrupted, fails())


async def test_after_a_failure_nothing_more_is_begun():
    begun: list[int] = []

    async def work(number: int) -> None:
        begun.append(number)
        await asyncio.sleep(0)
        raise ValueError("the first one failed")

    with pytest.raises(ValueError, match="the first one failed"):
        await side_by_side([1, 2, 3], work, limit=1)
    assert begun == [1]
