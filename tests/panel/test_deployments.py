"""Deployments on the page: what its routes tell and do, on a platform at work and on the hosted one."""

from __future__ import annotations

from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page

LIST = "/outpost/deployments"
UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"
GRAPH = {
    "1": {"class_type": "ComfyUIDeployExternalText", "inputs": {"input_id": "prompt", "default_value": "a cat"}},
    "2": {"class_type": "SaveText", "inputs": {"text": ["1", 0], "output_id": "said"}},
}
KEYS = ("key-of-the-first-deed", "key-of-the-second-deed")


async def wish(client: Client, machine_id: str, *, versions: int = 1, **more: Any) -> dict[str, Any]:
    """What the page sends to deploy the newest version of a new workflow."""
    made = await client.workflows.create("Portraits", {"nodes": []}, workflow_api=GRAPH)
    version_id = made.workflow_version_id
    for _ in range(versions - 1):
        version_id = (await client.workflows.add_version(made.workflow_id, {"nodes": []}, workflow_api=GRAPH)).id
    ids = {"workflow_id": made.workflow_id, "workflow_version_id": version_id, "machine_id": machine_id}
    return {**ids, "key": KEYS[0], "force": True, **more}


async def test_a_version_is_deployed_and_told_with_what_it_runs(connected: Page, client: Client, platform: Any):
    body = await wish(client, platform.owner.machine_id, versions=2, environment="staging")

    made = await connected.done("POST", LIST, body)

    assert (made["name"], made["workflow"], made["environment"]) == ("Portraits", "Portraits", "staging")
    assert (made["version"], made["machine"], made["is_active"]) == (2, "built-in", True)
    assert made["workflow_version_id"] == body["workflow_version_id"]
    assert made["machine_id"] == platform.owner.machine_id
    listed = next(each for each in (await connected.told(LIST))["deployments"] if each["id"] == made["id"])
    assert listed == made
    form = await connected.told(f"{LIST}/{made['id']}")
    assert form["deployment"] == made
    assert [each["input_id"] for each in form["inputs"]] == ["prompt"]


async def test_a_repetition_makes_no_second_deployment(connected: Page, client: Client, platform: Any):
    body = await wish(client, platform.owner.machine_id)

    first, second = [await connected.done("POST", LIST, body) for _ in range(2)]

    assert first["id"] == second["id"]
    of_workflow = [each for each in await client.deployments.list() if each.workflow_id == body["workflow_id"]]
    assert len(of_workflow) == 1


async def test_another_environment_gets_a_deployment_of_its_own_and_the_same_one_is_replaced(
    connected: Page, client: Client, platform: Any
):
    body = await wish(client, platform.owner.machine_id, environment="staging")
    staging = await connected.done("POST", LIST, body)
    production = await connected.done("POST", LIST, {**body, "environment": "production", "key": KEYS[1]})
    version = await client.workflows.add_version(body["workflow_id"], {"nodes": []}, workflow_api=GRAPH)

    again = await connected.done("POST", LIST, {**body, "workflow_version_id": version.id, "key": "a-third-key"})

    assert (again["id"], again["version"]) == (staging["id"], 2)
    assert production["id"] != staging["id"]
    assert (await client.deployments.get(production["id"])).workflow_version_id == body["workflow_version_id"]


async def test_a_deployment_is_told_to_run_another_version(connected: Page, client: Client, platform: Any):
    body = await wish(client, platform.owner.machine_id, versions=2)
    made = await connected.done("POST", LIST, body)
    older = (await client.workflows.versions(body["workflow_id"]))[-1]

    changed = await connected.done("PATCH", f"{LIST}/{made['id']}", {"workflow_version_id": older.id, "force": True})

    assert (changed["version"], changed["machine_id"]) == (1, body["machine_id"])
    assert (await connected.send("PATCH", f"{LIST}/{made['id']}")).status == 422
    told = (await connected.told(f"{LIST}/{made['id']}/history"))["history"]
    assert [each["version"] for each in told] == [1, 2]
    assert (told[1]["workflow_version_id"], told[1]["machine_id"]) == (body["workflow_version_id"], body["machine_id"])
    unknown = await connected.send("PATCH", f"{LIST}/{made['id']}", {"machine_id": UNKNOWN, "force": True})
    assert unknown.status == 404


async def test_a_deployment_rests_works_again_and_is_deleted(connected: Page, client: Client, platform: Any):
    made = await connected.done("POST", LIST, await wish(client, platform.owner.machine_id))
    path = f"{LIST}/{made['id']}"

    assert (await connected.done("POST", f"{path}/deactivate"))["is_active"] is False
    assert (await client.deployments.get(made["id"])).is_active is False
    assert (await connected.done("POST", f"{path}/activate"))["is_active"] is True
    assert await connected.done("DELETE", path) == {}
    with pytest.raises(NotFound):
        await client.deployments.get(made["id"])
    assert (await connected.send("DELETE", path)).status == 404


async def test_a_machine_that_lacks_something_is_a_reason_to_refuse_unless_it_is_forced(
    connected: Page, client: Client, platform: Any
):
    body = await wish(client, platform.owner.machine_id)

    refused = await connected.send("POST", LIST, {**body, "force": False})

    assert (refused.status, "needs the node class 'SaveText'" in refused.data["detail"]) == (422, True)
    assert (await connected.send("POST", LIST, {**body, "key": KEYS[1]})).status == 200


BAD = [
    {"workflow_id": "../x"},
    {"machine_id": "http://evil.example"},
    {"environment": "Has Blanks"},
    {"environment": "x" * 41},
    {"key": "short"},
    {"key": "a b c d e f g h"},
    {"workflow_version_id": None},
]


@pytest.mark.parametrize("wrong", BAD)
async def test_what_cannot_be_deployed_is_refused(connected: Page, wrong: Any):
    good = {"workflow_id": UNKNOWN, "workflow_version_id": UNKNOWN, "machine_id": UNKNOWN, "key": KEYS[0]}
    assert (await connected.send("POST", LIST, {**good, **wrong})).status == 422
    assert (await connected.send("POST", LIST, good)).status == 404


async def test_what_the_hosted_platform_leaves_out_of_its_answers_is_named(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        async with Client(Connection(url, KEY)) as client:
            wanted = await wish(client, server.machine["id"], environment="staging", force=False)
        made = await page.done("POST", LIST, wanted)
        assert (made["name"], made["workflow"], made["version"]) == ("Portraits", "Portraits", 1)
        assert made["machine"] == server.machine["name"]
        assert made in (await page.told(LIST))["deployments"]
        promoted = await page.done("POST", LIST, {**wanted, "environment": "production", "key": KEYS[1]})
        assert (promoted["name"], promoted["version"], promoted["machine"]) == ("Portraits", 1, made["machine"])


async def test_the_hosted_platform_does_what_it_can_and_says_what_it_cannot(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        listed = (await page.told(LIST))["deployments"]
        path = f"{LIST}/{listed[0]['id']}"

        assert (await page.told(path))["deployment"]["id"] == listed[0]["id"]
        history = await page.get(f"{path}/history")
        assert (history.status, history.data["code"]) == (501, "not_supported")
        activated = await page.send("POST", f"{path}/activate")
        assert (activated.status, activated.data["code"]) == (501, "not_supported")
        deleted = await page.send("DELETE", path)
        assert deleted.status == 409
        assert "deletes only deployments that are shares" in deleted.data["detail"]
