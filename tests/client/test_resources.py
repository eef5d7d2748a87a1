"""Deployments, workflows and machines, on the hosted platform's terms and on our own."""

import json

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.models import Deployment, Machine, Workflow
from comfyui_outpost.tests.fakes.flaky import answer, text
from comfyui_outpost.tests.fakes.outpost import VERSION

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
OTHER_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be008"


async def test_a_deployment_is_read(hosted):
    server, client = await hosted()

    deployment = await client.deployments.get(server.deployment["id"])

    assert isinstance(deployment, Deployment)
    assert deployment.environment == "production"
    assert deployment.version and deployment.version.workflow_api


async def test_an_unknown_deployment_is_not_found_although_the_hosted_platform_says_500(hosted):
    _, client = await hosted()

    with pytest.raises(errors.NotFound, match=ID):
        await client.deployments.get(ID)


async def test_a_failure_of_our_own_server_is_no_unknown_deployment(flaky):
    _, client = await flaky(answer({"detail": "broken", "code": "server_error"}, 500, headers=VERSION))

    with pytest.raises(errors.ServerError, match="broken"):
        await client.deployments.get(ID)


async def test_a_gateway_that_fails_is_no_unknown_deployment(flaky):
    _, client = await flaky(text("bad gateway", 502))

    with pytest.raises(errors.Unavailable):
        await client.deployments.get(ID)


async def test_the_list_of_deployments_holds_those_on_serverless_machines_too(hosted):
    server, client = await hosted()

    deployments = await client.deployments.list("production")

    assert len(deployments) == 2
    assert [each.path.partition("?")[2] for each in server.log.requests] == [
        "environment=production",
        "environment=production&is_fluid=true",
    ]


async def test_our_own_server_is_asked_for_its_deployments_once(flaky):
    server, client = await flaky(answer([{"id": ID}, {"id": ID}], headers=VERSION))

    assert [each.id for each in await client.deployments.list()] == [ID]

    assert [each.path for each in server.log.requests] == ["/api/deployments"]


async def test_a_deployment_is_made_with_the_field_names_of_both_platforms(hosted):
    server, client = await hosted()

    made = await client.deployments.create(
        workflow_id=ID, workflow_version_id=OTHER_ID, machine_id=ID, environment="staging", name="mine"
    )

    assert made.id
    assert json.loads(server.log.requests[0].body) == {
        "workflow_id": ID,
        "workflow_version_id": OTHER_ID,
        "version_id": OTHER_ID,
        "machine_id": ID,
        "environment": "staging",
        "name": "mine",
    }


async def test_a_workflow_is_made_and_its_version_is_found(hosted):
    server, client = await hosted()

    made = await client.workflows.create("mine", {"nodes": []}, workflow_api={"1": {}})

    assert made.workflow_id == server.deployment["workflow_id"]
    assert made.workflow_version_id
    assert made.version
    assert json.loads(json.loads(server.log.requests[0].body)["workflow_api"]) == {"1": {}}


async def test_a_workflow_of_our_own_server_needs_no_second_call(flaky):
    created = {"workflow_id": ID, "workflow_version_id": OTHER_ID, "version": 1}
    server, client = await flaky(answer(created, headers=VERSION))

    made = await client.workflows.create("mine", {}, workflow_api={})

    assert made.workflow_version_id == OTHER_ID
    assert len(server.log.requests) == 1


async def test_a_workflow_without_a_version_is_an_error(flaky):
    _, client = await flaky(answer({"workflow_id": ID}), answer({"id": ID, "name": "mine", "versions": [None]}))

    with pytest.raises(errors.NotFound, match="no version"):
        await client.workflows.create("mine", {}, workflow_api={})


async def test_long_lists_are_read_page_by_page(flaky):
    rows = [{"id": f"00000000-0000-0000-0000-{number:012}", "name": str(number)} for number in range(150)]
    server, client = await flaky(answer(rows[:100]), answer(rows[100:]))

    workflows = await client.workflows.list()

    assert all(isinstance(each, Workflow) for each in workflows)
    assert [each.name for each in workflows] == [str(number) for number in range(150)]
    assert [each.path for each in server.log.requests] == [
        "/api/workflows?limit=100&offset=0",
        "/api/workflows?limit=100&offset=100",
    ]


async def test_a_server_that_ignores_offsets_is_not_read_for_ever(flaky):
    rows = [{"id": f"00000000-0000-0000-0000-{number:012}", "name": str(number)} for number in range(120)]
    server, client = await flaky(answer(rows))

    assert len(await client.workflows.list()) == 120

    assert len(server.log.requests) == 2


async def test_machines_are_listed_without_the_deleted_ones(flaky):
    kept = {"id": ID, "name": "here", "type": "builtin", "deleted": False}
    gone = {"id": OTHER_ID, "name": "gone", "type": "builtin", "deleted": True}
    _, client = await flaky(answer([kept, gone]))

    assert [each.name for each in await client.machines.list()] == ["here"]


async def test_the_hosted_platforms_machines_are_read(hosted):
    server, client = await hosted()

    assert all(isinstance(each, Machine) for each in await client.machines.list())
    assert (await client.machines.get(server.machine["id"])).name == "local classic"
