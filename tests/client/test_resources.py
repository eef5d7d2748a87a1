"""What the resources of the client send, and what they make of the answers of a server of this package."""

import json
from contextlib import suppress
from uuid import UUID

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.models import RunStatus, Workflow
from comfyui_outpost.tests.fakes.flaky import answer, break_off, text
from comfyui_outpost.tests.fakes.outpost import VERSION

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
OTHER_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be008"
HEALTHY = answer({"status": "ok", "version": "7"}, headers=VERSION)


async def test_a_failure_of_our_own_server_is_no_unknown_deployment(flaky):
    _, client = await flaky(answer({"detail": "broken", "code": "server_error"}, 500, headers=VERSION))

    with pytest.raises(errors.ServerError, match="broken"):
        await client.deployments.get(ID)


async def test_a_gateway_that_fails_is_no_unknown_deployment(flaky):
    _, client = await flaky(text("bad gateway", 502))

    with pytest.raises(errors.Unavailable):
        await client.deployments.get(ID)


async def test_our_own_server_is_asked_for_its_deployments_once(flaky):
    server, client = await flaky(answer([{"id": ID}, {"id": ID}], headers=VERSION))

    assert [each.id for each in await client.deployments.list()] == [ID]

    assert [each.path for each in server.log.requests] == ["/api/deployments?page_size=100&offset=0"]


async def test_our_own_server_is_asked_for_many_deployments_at_a_time_once_it_is_known(flaky):
    rows = [{"id": str(UUID(int=number))} for number in range(130)]
    server, client = await flaky(
        answer(rows[:100], headers=VERSION), answer(rows[100:], headers=VERSION), answer(rows, headers=VERSION)
    )

    assert len(await client.deployments.list()) == len(await client.deployments.list()) == 130

    assert [each.path.partition("?")[2] for each in server.log.requests] == [
        "page_size=100&offset=0",
        "page_size=1000&offset=100",
        "page_size=1000&offset=0",
    ]


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


async def test_a_part_of_a_list_is_read_without_the_rest(flaky):
    rows = [{"id": f"00000000-0000-0000-0000-{number:012}", "name": str(number)} for number in range(150)]
    server, client = await flaky(answer(rows[20:120]), answer(rows[120:130]), answer(rows[20:25]))

    assert [each.name for each in await client.workflows.list("x", limit=110, offset=20)] == [
        str(number) for number in range(20, 130)
    ]
    assert len(await client.workflows.list(limit=5, offset=20)) == 5

    assert [each.path for each in server.log.requests] == [
        "/api/workflows?limit=100&offset=20&search=x",
        "/api/workflows?limit=10&offset=120&search=x",
        "/api/workflows?limit=5&offset=20",
    ]


@pytest.mark.parametrize("call", ["workflows.list", "runs.list"])
@pytest.mark.parametrize("name", ["limit", "offset"])
async def test_a_negative_part_of_a_list_is_refused_before_anything_is_sent(flaky, call, name):
    server, client = await flaky(HEALTHY)
    resource, method = call.split(".")

    with pytest.raises(errors.InvalidInput, match=f"{name} is -1"):
        await getattr(getattr(client, resource), method)(**{name: -1})

    assert [each for each in server.log.requests if each.path != "/api/health"] == []


async def test_a_change_says_what_is_left_as_it_is_and_what_is_cleared(flaky):
    server, client = await flaky(answer({"id": ID, "name": "new"}, headers=VERSION))
    await client.workflows.get(ID)

    await client.workflows.update(ID, name="new", cover_image=None, pinned=True)
    await client.deployments.update(ID, run_timeout=None, concurrency_limit=3)

    assert [json.loads(each.body) for each in server.log.requests[1:]] == [
        {"name": "new", "pinned": True, "cover_image": None},
        {"run_timeout": None, "concurrency_limit": 3},
    ]
    assert all(each.method == "PATCH" for each in server.log.requests[1:])


async def test_a_change_is_not_sent_again_when_its_answer_is_lost(flaky):
    server, client = await flaky(break_off)

    with pytest.raises(errors.ConnectionFailed) as caught:
        await client.workflows.update(ID, name="new")

    assert caught.value.was_sent
    assert len(server.log.requests) == 1


async def test_what_was_deleted_when_the_answer_was_lost_is_deleted(flaky):
    gone = answer({"detail": "There is no workflow", "code": "not_found"}, 404, headers=VERSION)
    server, client = await flaky(break_off, gone)

    await client.workflows.delete(ID)

    assert len(server.log.requests) == 2


@pytest.mark.parametrize("busy", [answer({"detail": "busy"}, 503), answer({"detail": "slowly"}, 429)])
async def test_what_was_never_there_is_not_found_although_it_was_asked_for_twice(flaky, busy):
    server, client = await flaky(busy, answer({"detail": "There is no workflow"}, 404))

    with pytest.raises(errors.NotFound):
        await client.workflows.delete(ID)

    assert len(server.log.requests) == 2


@pytest.mark.parametrize("value", ["", "../keys", "a/b", "a?b", "a" * 101, "a b"])
@pytest.mark.parametrize("call", ["assets.get", "assets.delete", "files.get", "keys.revoke"])
async def test_what_is_no_name_of_a_file_is_refused_before_anything_is_sent(flaky, call, value):
    server, client = await flaky(answer({}))
    resource, method = call.split(".")

    with pytest.raises(errors.InvalidInput, match="not an id"):
        await getattr(getattr(client, resource), method)(value)

    assert server.log.requests == []


@pytest.mark.parametrize("graph", [{"size": float("nan")}, {"a": object()}])
async def test_a_graph_that_is_no_json_is_refused_before_anything_is_sent(flaky, graph):
    server, client = await flaky(answer({}))

    with pytest.raises(errors.InvalidInput, match="JSON"):
        await client.workflows.create("mine", graph, workflow_api={})
    with pytest.raises(errors.InvalidInput, match="JSON"):
        await client.workflows.add_version(ID, {}, workflow_api=graph)

    assert server.log.requests == []


async def test_the_health_of_a_server_is_read(flaky):
    server, client = await flaky(HEALTHY)

    assert (await client.health()).version == "7"

    assert [each.path for each in server.log.requests] == ["/api/health"]


async def test_a_platform_that_fails_is_not_healthy(flaky):
    _, client = await flaky(text("bad gateway", 502))

    with pytest.raises(errors.Unavailable):
        await client.health()


async def test_a_gateway_that_fails_is_not_taken_for_the_hosted_platform(flaky):
    workflow = {"id": ID, "name": "copy"}
    server, client = await flaky(text("bad gateway", 502), HEALTHY, answer(workflow, headers=VERSION))

    assert (await client.workflows.clone(ID, all_versions=True)).name == "copy"

    assert json.loads(server.log.requests[-1].body) == {"all_versions": True}


async def test_a_failed_synchronous_run_is_the_error_that_it_ended_with(flaky):
    run = {"id": ID, "status": "failed", "error": {"message": "too big", "node_id": "3", "node_class": "Crop"}}
    refused = {"detail": f"Run {ID} ended with the status failed", "code": "unprocessable", "run_id": ID}
    server, client = await flaky(answer(refused, 422, headers=VERSION), answer(run, headers=VERSION))

    with pytest.raises(errors.RunFailed, match=r"node 3 \(Crop\): too big") as caught:
        await client.runs.sync(ID, {})

    assert caught.value.run_id == ID
    assert [each.method for each in server.log.requests] == ["POST", "GET"]


async def test_inputs_that_a_synchronous_run_does_not_take_are_an_error_of_the_platform(flaky):
    wrong = {"detail": [{"loc": ["body", "inputs", "size"], "msg": "has to be a number"}]}
    server, client = await flaky(answer(wrong, 422, headers=VERSION))

    with pytest.raises(errors.Unprocessable, match=r"body.inputs.size") as caught:
        await client.runs.sync(ID, {"size": "x"})

    assert caught.value.run_id is None
    assert len(server.log.requests) == 1


@pytest.mark.parametrize("call", ["queue", "sync", "stream"])
async def test_a_webhook_is_sent_under_both_of_its_names(flaky, call):
    server, client = await flaky(answer({"run_id": ID}, headers=VERSION))
    webhook = "https://example.com/hook?secret=x"

    with suppress(errors.ServerError):  # the answer fits only one of the three
        called = getattr(client.runs, call)(ID, {}, webhook=webhook, webhook_intermediate_status=True)
        if call == "stream":
            await anext(called)
        await called

    assert json.loads(server.log.requests[0].body) == {
        "deployment_id": ID,
        "inputs": {},
        "webhook": webhook,
        "webhook_url": webhook,
        "webhook_intermediate_status": True,
    }


async def test_a_webhook_that_is_no_web_address_is_refused_before_anything_is_sent(flaky):
    server, client = await flaky(answer({"run_id": ID}))

    with pytest.raises(errors.InvalidInput, match="webhook") as caught:
        await client.runs.queue(ID, {}, webhook="file:///etc/passwd")

    assert caught.value.input_id == "webhook"
    assert server.log.requests == []


async def test_runs_of_our_own_server_are_listed_with_every_filter(flaky):
    server, client = await flaky(HEALTHY, answer([{"id": ID, "status": "failed"}], headers=VERSION))

    found = await client.runs.list(workflow_id=ID, deployment_id=OTHER_ID, status=RunStatus.FAILED, limit=7, offset=2)

    assert [run.status for run in found] == [RunStatus.FAILED]
    query = f"workflow_id={ID}&deployment_id={OTHER_ID}&status=failed&limit=7&offset=2"
    assert server.log.requests[-1].path == f"/api/runs?{query}"
