"""Things on our own server from their making to their end, through the client."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import StatusChanged
from comfyui_outpost.api.models import KeyScope, RunStatus
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.client.world import GRAPH, PNG, Meeting, deploy
from comfyui_outpost.tests.fakes.flaky import answer, text
from comfyui_outpost.tests.server.graphs import ECHO
from comfyui_outpost.tests.server.machines import ScriptedMachine, work_for_ever

TOKEN = "a-token-that-nobody-may-see"

# Runs


async def test_a_synchronous_run_gives_its_outputs_and_a_failed_one_its_error(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world

    outputs = await client.runs.sync(world.deployment.id, {"text": "hello"})
    assert [text for output in outputs for text in output.texts] == ["hello"]

    broken = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}}}
    broken["7"] = {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": -1}}
    version = await client.workflows.add_version(world.workflow_id, GRAPH, workflow_api=broken)
    await client.deployments.update(world.deployment.id, workflow_version_id=version.id)
    with pytest.raises(errors.RunFailed) as caught:
        await client.runs.sync(world.deployment.id, {})
    assert caught.value.failure and caught.value.failure.node_id == "7"
    [failed] = await client.runs.list(status=RunStatus.FAILED)
    assert (failed.id, failed.error) == (caught.value.run_id, caught.value.failure)


async def test_runs_are_listed_newest_first_by_workflow_deployment_and_status(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world
    later = [(await client.runs.execute(world.deployment, {"text": str(number)})).id for number in range(3)]
    newest_first = [*reversed(later), world.run.id]

    async def ids(**wanted: Any) -> list[str]:
        return [run.id for run in await client.runs.list(**wanted)]

    assert await ids() == newest_first
    assert await ids(workflow_id=world.workflow_id, status=RunStatus.SUCCESS) == newest_first
    assert await ids(deployment_id=world.deployment.id, limit=2, offset=1) == newest_first[1:3]
    assert await ids(status=RunStatus.FAILED) == []


async def test_a_run_that_works_is_cancelled_and_again_is_no_error(start_platform: Any, stack: AsyncExitStack) -> None:
    machine = ScriptedMachine(work_for_ever)
    platform = await stack.enter_async_context(start_platform(machines={"builtin": machine}))
    client = await stack.enter_async_context(Client(Connection(platform.url, platform.owner.api_key)))
    made = await client.workflows.create("echo", GRAPH, workflow_api=ECHO)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=platform.owner.machine_id,
    )
    events = client.runs.stream(deployment.id, {})
    run_id = await asyncio.wait_for(_running(events), 20)
    await events.aclose()

    await client.runs.cancel(run_id)
    await client.runs.cancel(run_id)

    assert (await client.runs.get(run_id)).status is RunStatus.CANCELLED
    assert machine.stopped == [run_id]


async def _running(events: Any) -> str:
    """The id of a run, when it works."""
    return await anext(
        event.run_id async for event in events if isinstance(event, StatusChanged) and event.status is RunStatus.RUNNING
    )


# Workflows


async def test_a_workflow_lives_from_its_first_version_to_its_deletion(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world
    workflow_id = world.workflow_id

    versions = await client.workflows.versions(workflow_id)
    assert [(each.version, each.workflow_api) for each in versions] == [(2, None), (1, None)]
    assert versions[0].comment == "the same again"
    full = await client.workflows.versions(workflow_id, search="SAME", include_graphs=True)
    assert [(each.version, each.workflow_api) for each in full] == [(2, ECHO)]
    assert [each.version for each in await client.workflows.versions(workflow_id, limit=1, offset=1)] == [1]
    assert len((await client.workflows.get(workflow_id, versions=9)).versions or []) == 2
    assert (await client.workflows.get(workflow_id, versions=0)).versions == []

    newest = await client.workflows.clone(workflow_id, name="copy")
    everything = await client.workflows.clone(workflow_id, all_versions=True)
    assert [each.version for each in await client.workflows.versions(newest.id)] == [1]
    assert [each.version for each in await client.workflows.versions(everything.id)] == [2, 1]

    await client.workflows.delete(workflow_id)
    for gone in (client.workflows.get, client.workflows.delete, client.workflows.versions, client.workflows.clone):
        with pytest.raises(errors.NotFound):
            await gone(workflow_id)
    with pytest.raises((errors.Conflict, errors.NotFound)):
        await client.runs.queue(world.deployment.id, {})


async def test_a_workflow_is_changed_in_one_request_and_fields_are_cleared(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world
    before = meeting.site.count("PATCH /api/workflow/{workflow_id}")

    changed = await client.workflows.update(
        world.workflow_id, name="new", description="d", pinned=True, selected_machine_id=world.machine_id
    )
    assert (changed.name, changed.description, changed.pinned) == ("new", "d", True)
    assert changed.selected_machine_id == world.machine_id
    assert meeting.site.count("PATCH /api/workflow/{workflow_id}") == before + 1
    assert (await client.workflows.list())[0].id == world.workflow_id

    cleared = await client.workflows.update(world.workflow_id, description=None, selected_machine_id=None)
    assert (cleared.name, cleared.description, cleared.selected_machine_id) == ("new", None, None)


# Deployments


async def test_a_deployment_takes_no_runs_between_deactivation_and_activation(meeting: Meeting) -> None:
    client, deployment = meeting.mine, meeting.world.deployment

    assert (await client.deployments.deactivate(deployment.id)).is_active is False
    with pytest.raises(errors.Conflict):
        await client.runs.queue(deployment.id, {})
    assert (await client.deployments.activate(deployment.id)).is_active is True

    assert (await client.runs.execute(deployment, {"text": "again"})).status is RunStatus.SUCCESS


async def test_a_deployment_is_changed_and_its_limits_are_taken_away(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world

    changed = await client.deployments.update(
        world.deployment.id,
        workflow_version_id=world.first.id,
        environment="staging",
        name="other",
        run_timeout=60,
        queue_timeout=90,
        concurrency_limit=3,
        retry_elsewhere=True,
        check_machine=False,
    )
    assert (changed.workflow_version_id, changed.environment, changed.name) == (world.first.id, "staging", "other")
    assert (changed.run_timeout, changed.queue_timeout, changed.concurrency_limit) == (60, 90, 3)
    assert (changed.retry_elsewhere, changed.check_machine) == (True, False)
    assert [each.id for each in await client.deployments.list("staging")] == [world.deployment.id]

    free = await client.deployments.update(
        world.deployment.id, run_timeout=None, queue_timeout=None, concurrency_limit=None
    )
    assert (free.run_timeout, free.queue_timeout, free.concurrency_limit) == (None, None, None)
    assert (free.name, free.retry_elsewhere, free.check_machine) == ("other", True, False)


async def test_the_same_environment_is_the_same_deployment(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world

    again = await deploy(client, world)

    assert (again.id, again.workflow_version_id) == (world.deployment.id, world.first.id)


# Machines


async def test_a_machine_in_use_is_deleted_only_by_force(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world

    with pytest.raises(errors.Conflict):
        await client.machines.delete(world.machine_id)
    await client.machines.delete(world.machine_id, force=True)

    with pytest.raises(errors.NotFound):
        await client.machines.get(world.machine_id)
    with pytest.raises((errors.Conflict, errors.NotFound)):
        await client.runs.queue(world.deployment.id, {})


async def test_machines_that_cannot_be_made_are_refused_with_a_reason(meeting: Meeting) -> None:
    client = meeting.mine

    with pytest.raises(errors.ApiError) as nobody:
        await client.machines.create_custom("mine", "http://127.0.0.1:9", auth_token=TOKEN)
    with pytest.raises(errors.ApiError) as unknown:
        await client.machines.create_serverless("mine", comfyui="no such ComfyUI")

    assert nobody.value.status in (400, 409, 422)
    assert unknown.value.status in (400, 404, 409, 422)
    assert TOKEN not in str(nobody.value)
    assert [each.name for each in await client.machines.list("mine")] == []


async def test_a_comfyui_by_its_url_is_a_machine_and_its_token_is_not_told(meeting: Meeting, flaky: Any) -> None:
    stats = {"system": {"comfyui_version": "0.3.64"}, "devices": []}
    comfyui, elsewhere = await flaky(answer(stats))
    endpoint = elsewhere.connection.base_url

    made = await meeting.mine.machines.create_custom("mine", endpoint, auth_token=TOKEN, concurrency_limit=2)

    assert (made.type, made.endpoint, made.concurrency_limit) == ("comfyui", endpoint, 2)
    assert comfyui.log.requests[0].headers["Authorization"] == f"Bearer {TOKEN}"
    found = await meeting.mine.machines.list("MINE")
    assert [each.id for each in found] == [made.id]
    assert TOKEN not in repr((made, found))


async def test_a_comfyui_that_the_operator_allows_is_a_machine(
    start_platform: Any, stack: AsyncExitStack, tmp_path: Path
) -> None:
    folders = {"here": tmp_path / "ComfyUI"}
    platform = await stack.enter_async_context(start_platform(comfyui_folders=folders))
    client = await stack.enter_async_context(Client(Connection(platform.url, platform.owner.api_key)))

    made = await client.machines.create_serverless("mine", comfyui="here", concurrency_limit=2, idle_timeout=30)

    assert (made.type, made.concurrency_limit, made.idle_timeout, made.keep_warm) == ("managed", 2, 30, False)
    assert str(tmp_path) not in repr(made)


# Files, assets, keys


async def test_a_file_is_kept_renamed_and_downloaded(meeting: Meeting, tmp_path: Path) -> None:
    client = meeting.mine

    uploaded = await client.files.upload(PNG, content_type="image/png", name="a.png")
    renamed = await client.files.rename(uploaded.file_id, "cat.png")
    found = await client.files.get(uploaded.file_id)

    assert (renamed.name, found.name, found.size, found.type) == ("cat.png", "cat.png", len(PNG), "image/png")
    assert await client.files.download(found.url, max_bytes=1 << 20) == PNG


async def test_an_asset_is_found_moved_read_and_deleted_with_its_folder(meeting: Meeting, tmp_path: Path) -> None:
    client, world = meeting.mine, meeting.world
    path = tmp_path / "big.png"
    path.write_bytes(PNG * 1000)

    big = await client.assets.upload_large(path, content_type="image/png", name="big.png", parent_path="/refs/")
    assert (big.name, big.file_size) == ("big.png", len(PNG) * 1000)
    assert await client.files.download(str(big.url), max_bytes=1 << 24) == PNG * 1000
    assert [each.id for each in await client.assets.list("refs")] == [big.id]
    assert {each.id for each in await client.assets.list()} == {world.asset.id, world.folder.id}
    assert [each.id for each in await client.assets.search("BIG")] == [big.id]

    moved = await client.assets.move(world.asset.id, "refs")
    assert moved.path.startswith("refs/")
    assert (await client.assets.rename(world.asset.id, "renamed.png")).name == "renamed.png"
    assert {each.id for each in await client.assets.list("refs")} == {big.id, world.asset.id}

    await client.assets.delete(world.folder.id)
    for asset in (world.folder, world.asset, big):
        with pytest.raises(errors.NotFound):
            await client.assets.get(asset.id)


async def test_a_file_and_an_asset_are_fetched_from_a_url(
    start_platform: Any, stack: AsyncExitStack, flaky: Any
) -> None:
    platform = await stack.enter_async_context(start_platform(allow_private_addresses=True))
    client = await stack.enter_async_context(Client(Connection(platform.url, platform.owner.api_key)))
    web, elsewhere = await flaky(text(PNG, content_type="image/png"))
    url = f"{elsewhere.connection.base_url}/pictures/cat.png?secret=x"

    file = await client.files.add_from_url(url, name="dog.png")
    with pytest.raises(errors.NotFound, match="pets"):
        await client.assets.add_from_url(url, path="pets")
    await client.assets.create_folder("pets")
    asset = await client.assets.add_from_url(url, path="pets")

    assert (file.name, file.type, file.size) == ("dog.png", "image/png", len(PNG))
    assert await client.files.download(file.url, max_bytes=1 << 20) == PNG
    assert (asset.name, asset.path.partition("/")[0], asset.file_size) == ("cat.png", "pets", len(PNG))
    assert await client.files.download(str(asset.url), max_bytes=1 << 20) == PNG
    assert not any("Authorization" in each.headers for each in web.log.requests)


async def test_what_is_on_this_machine_is_not_fetched_for_anybody(meeting: Meeting) -> None:
    client = meeting.mine

    for fetch in (client.files.add_from_url, client.assets.add_from_url):
        with pytest.raises(errors.ApiError) as refused:
            await fetch(f"{meeting.site.url}/api/health")
        assert refused.value.status in (400, 403, 422)


async def test_a_limited_key_does_what_it_is_for_until_it_is_revoked(meeting: Meeting) -> None:
    client, world = meeting.mine, meeting.world
    key = await client.keys.create("runner", scope=KeyScope.RUN)
    assert key.key not in repr(key)

    async with Client(Connection(meeting.site.url, key.key)) as limited:
        assert (await limited.runs.execute(world.deployment, {"text": "x"})).status is RunStatus.SUCCESS
        with pytest.raises(errors.Forbidden):
            await limited.workflows.delete(world.workflow_id)
        listed = await client.keys.list()
        assert {each.id for each in listed} >= {key.id, world.key.id}
        assert key.key not in repr(listed)

        await client.keys.revoke(key.id)
        with pytest.raises(errors.Unauthorized):
            await limited.runs.queue(world.deployment.id, {})
