"""Asking for previews and temporary files: of a server of this package only, and only when they are wanted."""

from __future__ import annotations

import json
from contextlib import aclosing
from typing import Any

import pytest
from comfyui_outpost.api.errors import InvalidInput, NotSupported
from comfyui_outpost.api.events import Accepted, PreviewImage, StatusChanged
from comfyui_outpost.api.models import Deployment, RunStatus
from comfyui_outpost.tests.client.world import GRAPH, Meeting
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.outpost import DEPLOYMENT_ID, RUN_ID, succeed

DEPLOYMENT = Deployment(id=DEPLOYMENT_ID)
LARGE = PreviewImage(RUN_ID, "3", "image/jpeg", bytes(range(256)) * 4000)
WISHES = ("preview_images", "temporary_files")

SHOWING: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 4, "height": 4}},
    "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}


async def show(stream: Any) -> None:
    await stream.send(Accepted(RUN_ID))
    await stream.send(LARGE)
    await stream.send(StatusChanged(RUN_ID, RunStatus.SUCCESS), 1)


@pytest.mark.parametrize("is_known", [True, False])
async def test_what_is_wanted_is_asked_for_and_a_large_preview_arrives(outpost: Any, is_known: bool) -> None:
    server, client = await outpost(show, is_known=is_known)
    events: list[Any] = []

    await client.runs.execute(DEPLOYMENT, {}, on_event=events.append, preview_images=True, temporary_files=True)

    [submission] = server.log.submissions()
    sent = json.loads(submission.body)
    assert [sent[name] for name in WISHES] == [True, True]
    assert [event for event in events if isinstance(event, PreviewImage)] == [LARGE]
    assert len(repr(LARGE)) < 200


async def test_what_nobody_wants_is_not_asked_for(outpost: Any) -> None:
    server, client = await outpost(succeed, succeed)
    await client.runs.execute(DEPLOYMENT, {})
    async with aclosing(client.runs.stream(DEPLOYMENT_ID, {})) as events:
        assert [event async for event in events]
    for submission in server.log.submissions():
        assert not json.loads(submission.body).keys() & WISHES


async def test_the_hosted_platform_is_asked_for_no_previews_and_runs_all_the_same(hosted: Any) -> None:
    server, client = await hosted()
    server.stream = recordings.stream("ok")
    server.run = {**server.run, "status": "success"}
    async with aclosing(client.runs.stream(server.deployment["id"], {}, preview_images=True)) as events:
        assert [event async for event in events]
    [submission] = server.log.submissions()
    assert not json.loads(submission.body).keys() & WISHES


async def test_the_hosted_platform_keeps_no_temporary_files_and_no_run_is_submitted(hosted: Any) -> None:
    server, client = await hosted()
    deployment = Deployment.model_validate(server.deployment)
    with pytest.raises(NotSupported, match="cannot keep what preview nodes show"):
        await client.runs.execute(deployment, {}, temporary_files=True)
    with pytest.raises(NotSupported):
        await client.runs.queue(deployment.id, {}, temporary_files=True)
    with pytest.raises(NotSupported):
        await client.runs.sync(deployment.id, {}, temporary_files=True)
    assert server.log.submissions() == []


async def test_a_value_that_cannot_be_sent_is_refused_before_anybody_is_asked(outpost: Any) -> None:
    server, client = await outpost(is_known=False)
    with pytest.raises(InvalidInput):
        await client.runs.execute(DEPLOYMENT, {"a": {}}, preview_images=True)
    assert server.log.requests == []


async def test_what_a_preview_node_shows_is_an_output_of_the_type_temp_only_on_request(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world
    version = await client.workflows.add_version(world.workflow_id, GRAPH, workflow_api=SHOWING)
    deployment = await client.deployments.update(world.deployment.id, workflow_version_id=version.id)

    plain = await client.runs.execute(deployment, {})
    asked = await client.runs.execute(deployment, {}, temporary_files=True)
    answered = await client.runs.sync(deployment.id, {}, temporary_files=True)
    queued = await client.runs.queue(deployment.id, {}, preview_images=True, temporary_files=True)
    async with aclosing(client.runs.stream(deployment.id, {}, temporary_files=True)) as events:
        told = [event async for event in events]

    assert [(output.node_id, file.type) for output in plain.outputs for file in output.files] == [("3", "output")]
    for outputs in (asked.outputs, answered):
        types = {output.node_id: [file.type for file in output.files] for output in outputs}
        assert types == {"2": ["temp"], "3": ["output"]}
        for output in outputs:
            assert (await client.files.download(output.files[0].url, max_bytes=1000)).startswith(b"\x89PNG")
    assert (await client.runs.get(queued)).id == queued
    assert '"type": "temp"' in json.dumps([getattr(event, "output", None) for event in told])
