"""Runs are cancelled from threads without an event loop, also when the interpreter shuts down."""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import RunFailed
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import cancelling, open_runs
from comfyui_outpost.nodes.cancelling import cancel_run, cancel_runs
from comfyui_outpost.nodes.open_runs import Fate
from comfyui_outpost.tests.nodes.sites import CANCEL
from comfyui_outpost.tests.server.graphs import ECHO, node, sleep

FAILS = {"1": node("EmptyImage", width=8, height=8), "2": node("ImageBlur", image=["1", 0], blur_radius=500)}
FAILS |= {"3": node("SaveImage", images=["2", 0])}

PROGRAM = """
import atexit, functools, sys
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes.cancelling import cancel_runs
atexit.register(cancel_runs, lambda: Client(Connection(sys.argv[1], sys.argv[2])), sys.argv[3:])
"""


async def test_all_of_them_are_cancelled_and_those_that_have_ended_stay_as_they_are(place):
    running, ended = await place.deploy(sleep(600)), await place.deploy(ECHO)
    ids = [await place.client.runs.queue(each, {}) for each in (running, ended, running)]
    await place.client.runs.follow(ids[1])

    fates = await asyncio.to_thread(cancel_runs, lambda: Client(place.client.connection), ids)

    assert [fates[each] for each in ids] == [Fate.USELESS, Fate.LEFT, Fate.USELESS]
    statuses = {run.id: run.status for run in await place.runs()}
    assert [statuses[each] for each in ids] == [RunStatus.CANCELLED, RunStatus.SUCCESS, RunStatus.CANCELLED]


async def test_it_works_at_the_very_end_of_a_program_and_with_the_name_of_a_host(place):
    run_id = await place.client.runs.queue(await place.deploy(sleep(600)), {})
    url = place.site.url.replace("127.0.0.1", "localhost")
    command = [sys.executable, "-c", PROGRAM, url, place.client.connection.api_key, run_id]

    program = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=30)

    assert (program.returncode, program.stderr) == (0, "")
    assert [run.status for run in await place.runs()] == [RunStatus.CANCELLED]


async def test_a_platform_that_does_not_answer_is_left_after_a_while(place, monkeypatch, caplog):
    run_id = await place.client.runs.queue(await place.deploy(sleep(600)), {})
    monkeypatch.setattr(cancelling, "CANCEL_SECONDS", 0.2)
    place.site.hold("POST /api/run/{run_id}/cancel")

    fates = await asyncio.to_thread(cancel_runs, lambda: Client(place.client.connection), [run_id])

    assert f"these runs may go on: {run_id}" in caplog.text
    assert fates == {run_id: Fate.UNKNOWN}


async def test_a_platform_that_fails_once_is_asked_again(place):
    run_id = await place.client.runs.queue(await place.deploy(sleep(600)), {})
    place.site.fail(CANCEL, 503)

    await place.client.runs.cancel(run_id)

    assert [run.status for run in await place.runs()] == [RunStatus.CANCELLED]
    assert place.site.count(CANCEL) == 2


async def test_a_run_whose_cancelling_failed_is_cancelled_by_a_later_try(place, monkeypatch):
    monkeypatch.setattr(open_runs, "FIRST_RETRY_SECONDS", 0.0)
    run_id = await place.client.runs.queue(await place.deploy(sleep(600)), {})
    place.site.fail(CANCEL, *[503] * 4)
    cancel = functools.partial(cancel_runs, lambda: Client(place.client.connection))
    runs = open_runs.OpenRuns(state_of=lambda prompt_id: open_runs.PromptState.FAILED, cancel=cancel)

    runs.add(run_id, prompt_id="a prompt")
    while runs.run_ids:
        await asyncio.sleep(0.01)

    assert [run.status for run in await place.runs()] == [RunStatus.CANCELLED]


async def test_a_run_that_had_failed_is_of_no_use(place):
    run_id = await place.client.runs.queue(await place.deploy(FAILS), {})
    with pytest.raises(RunFailed):
        await place.client.runs.follow(run_id)

    assert await cancel_run(place.client, run_id) is Fate.USELESS


async def test_a_platform_that_is_away_is_told(place, monkeypatch, caplog):
    monkeypatch.setattr(cancelling, "CANCEL_SECONDS", 60)  # the client's own tries end before that
    connection = Connection(place.site.url, place.client.connection.api_key)
    await place.site.kill()

    await asyncio.to_thread(cancel_runs, lambda: Client(connection), ["00000000-0000-4000-8000-000000000000"])

    assert "goes on, because it could not be cancelled" in caplog.text
