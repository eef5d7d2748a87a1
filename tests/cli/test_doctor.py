"""`outpost doctor` tries the whole way, and says in one sentence what is wrong."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.doctor import examine
from comfyui_outpost.api.settings import Connection, save_connection
from comfyui_outpost.tests.fakes.serving import FakeTime
from comfyui_outpost.tests.nodes.sites import ANNOUNCE, FETCH, PUT, SUBMIT
from comfyui_outpost.tests.server.graphs import ECHO, external, node


@pytest.fixture
async def patient(terminal, site, platform):
    """Somebody whose connection works."""
    terminal.use(site.url, platform.owner.api_key)
    return terminal


async def deploy(platform, graph) -> str:
    connection = Connection(platform.url, platform.owner.api_key)
    async with Client(connection) as client:
        made = await client.workflows.create("a graph", {}, workflow_api=graph)
        deployment = await client.deployments.create(
            workflow_id=made.workflow_id,
            workflow_version_id=made.workflow_version_id or "",
            machine_id=platform.owner.machine_id,
        )
    return deployment.id


async def test_it_tells_each_step_that_works_and_ends_well(patient, site):
    said = await patient.run("doctor")

    assert said.code == 0
    assert said.err == ""
    connection, upload, run, verdict = said.lines
    assert connection == f"ok  the connection: {site.url} accepts the key and has 1 deployment"
    assert upload == "ok  the upload: a picture of 64 x 64 pixels went there and came back the same"
    assert re.fullmatch(r"ok  the run: [0-9a-f-]{36} ended with success and 1 output", run)
    assert verdict == "Everything works."


async def test_it_takes_the_connection_that_was_saved(terminal, site, platform):
    save_connection(Connection(site.url, platform.owner.api_key), terminal.settings)

    assert (await terminal.run("doctor")).code == 0


async def test_a_wrong_key_is_what_is_wrong_with_the_connection(terminal, site):
    terminal.use(site.url, "outpost_a-key-that-nobody-has-made")

    said = await terminal.run("doctor")

    assert said.code == 1
    reason = "The API key is missing, wrong, revoked or expired (GET /deployments answered 401)"
    assert said.lines == [f"--  the connection does not work: {reason}"]


async def test_without_a_connection_it_says_how_to_set_one_up(terminal):
    said = await terminal.run("doctor")

    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("outpost: No platform is set up. Start one on this computer")
    assert len(said.err.splitlines()) == 1


async def test_without_a_server_it_asks_whether_there_is_one(site, platform, capsys):
    await site.kill()
    time = FakeTime()
    async with Client(Connection(site.url, platform.owner.api_key), sleep=time.sleep, clock=time.clock) as client:
        assert not await examine(client, deployment_id=None)

    [line] = capsys.readouterr().out.splitlines()
    assert line == (
        f"--  the connection does not work: No answer from {site.url}: connection refused. Is the server running?"
    )


@pytest.mark.parametrize(
    ("request_name", "status", "reason"),
    [
        (ANNOUNCE, 403, "no reason was given (POST /file/upload answered 403)"),
        (PUT, 400, "The store refused the upload (400)"),
        (FETCH, 404, "The store refused the download (404): the URL has expired or there is no file"),
    ],
)
async def test_an_upload_that_does_not_work_is_told_with_its_reason(patient, site, request_name, status, reason):
    site.fail(request_name, status)

    said = await patient.run("doctor")

    assert said.code == 1
    assert said.lines[1:] == [f"--  the upload does not work: {reason}"]


async def test_a_run_that_the_platform_refuses_is_told_with_its_reason(patient, site):
    site.fail(SUBMIT, 402)

    said = await patient.run("doctor")

    assert said.code == 1
    assert said.lines[2:] == [
        "--  the run does not work: no reason was given (POST /run/deployment/stream answered 402)"
    ]


async def test_where_nothing_can_be_run_for_free_it_says_so_and_how_to_run_something(terminal, site, platform):
    _, key = await platform.parts.store.keys.create("somebody without a deployment")
    terminal.use(site.url, key)

    said = await terminal.run("doctor")

    assert said.code == 0
    assert said.lines[2:] == [
        "--  the run: not tried, as it may cost money here. Name one with outpost doctor --deployment ID",
        "The connection and the upload work.",
    ]


async def test_the_deployment_that_was_named_is_the_one_that_runs(patient, platform):
    said = await patient.run("doctor", "--deployment", await deploy(platform, ECHO))

    assert said.code == 0
    assert "ended with success and 1 output" in said.lines[2]


@pytest.mark.parametrize(
    ("graph", "reason"),
    [
        (
            {"1": external("ImageBatch", "pictures"), "2": node("SaveImage", images=["1", 0])},
            r"The deployment needs a value for 'pictures' \(image batch\); name another one",
        ),
        (
            {"1": node("EmptyImage"), "2": node("ImageBlur", image=["1", 0], blur_radius=500)},
            r"Run \S+ failed: node 2 \(ImageBlur\): ValueError: the blur_radius goes from 0 to 100, not 500",
        ),
    ],
    ids=["it needs what the doctor has not", "it fails"],
)
async def test_a_deployment_that_cannot_be_run_is_told_with_its_reason(patient, platform, graph, reason: str):
    said = await patient.run("doctor", "--deployment", await deploy(platform, graph))

    assert said.code == 1
    assert re.fullmatch(f"--  the run does not work: {reason}", said.lines[-1])


async def test_a_deployment_that_is_not_there_is_told(patient):
    said = await patient.run("doctor", "--deployment", "00000000-0000-0000-0000-000000000000")
    assert (said.code, "There is no deployment" in said.lines[-1]) == (1, True)

    said = await patient.run("doctor", "--deployment", "mine")
    assert (said.code, "'mine' is not an id" in said.lines[-1]) == (1, True)


def test_the_doctor_needs_no_torch_and_no_server():
    code = (
        "import sys, comfyui_outpost.api.doctor as d; print([n for n in ('torch', 'sqlalchemy') if n in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr
