"""Workflows, deployments, machines, assets and keys on the hosted platform, with its own ways of saying no."""

import json

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.models import Deployment, Machine

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
GRAPH = {"nodes": []}
API_GRAPH = {"1": {"class_type": "EmptyImage", "inputs": {}}}
PNG = b"\x89PNG" + bytes(range(256))


def sent(server):
    """Method and path of everything that was asked for, without queries."""
    return [f"{each.method} {each.path.partition('?')[0].removeprefix('/api')}" for each in server.log.requests]


# Workflows


async def test_a_workflow_lives_from_its_first_version_to_its_deletion(hosted):
    _, client = await hosted()
    workflows = client.workflows

    made = await workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    second = await workflows.add_version(made.workflow_id, GRAPH, workflow_api={}, comment="better")
    clone = await workflows.clone(made.workflow_id, name="copy")

    assert (made.version, second.version) == (1, 2)
    first = await workflows.version(made.workflow_id, 1)
    assert first.id == made.workflow_version_id
    assert first.workflow_api == API_GRAPH
    assert (await workflows.version_by_id(second.id)).comment == "better"
    assert [each.version for each in await workflows.versions(made.workflow_id)] == [2, 1]
    assert [each.version for each in await workflows.versions(clone.id)] == [1]
    assert {each.name for each in await workflows.list("MINE")} == {"mine"}

    await workflows.delete(made.workflow_id)
    for gone in (workflows.get, workflows.delete, workflows.versions, workflows.clone):
        with pytest.raises(errors.NotFound):
            await gone(made.workflow_id)
    with pytest.raises(errors.NotFound):
        await workflows.add_version(made.workflow_id, GRAPH, workflow_api={})


async def test_a_workflow_is_sent_as_texts_and_a_version_as_objects(hosted):
    server, client = await hosted()

    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH, description="for you")
    await client.workflows.add_version(made.workflow_id, GRAPH, workflow_api=API_GRAPH)

    first, second = json.loads(server.log.requests[0].body), json.loads(server.log.requests[-1].body)
    assert (json.loads(first["workflow_json"]), json.loads(first["workflow_api"])) == (GRAPH, API_GRAPH)
    assert second == {"workflow": GRAPH, "workflow_api": API_GRAPH}
    assert server.workflows.rows[made.workflow_id]["description"] == "for you"


async def test_versions_come_without_their_graphs_unless_these_are_asked_for(hosted):
    server, client = await hosted()
    [workflow_id] = server.workflows.rows

    assert [each.workflow_api for each in await client.workflows.versions(workflow_id)] == [None]
    assert all(each.workflow_api for each in await client.workflows.versions(workflow_id, include_graphs=True))


async def test_a_workflow_is_read_with_as_many_versions_as_are_wanted(hosted):
    server, client = await hosted()
    [workflow_id] = server.workflows.rows
    await client.workflows.add_version(workflow_id, GRAPH, workflow_api=API_GRAPH)

    assert len((await client.workflows.get(workflow_id)).versions or []) == 1
    assert len((await client.workflows.get(workflow_id, versions=5)).versions or []) == 2
    assert (await client.workflows.get(workflow_id, versions=0)).versions == []


async def test_pinning_and_everything_else_is_two_requests(hosted):
    server, client = await hosted()
    [workflow_id] = server.workflows.rows

    updated = await client.workflows.update(
        workflow_id, pinned=True, name="new", selected_machine_id=server.machine["id"]
    )

    assert (updated.pinned, updated.name, updated.selected_machine_id) == (True, "new", server.machine["id"])
    assert sent(server) == [f"PATCH /workflow/{workflow_id}"] * 2


async def test_pinning_alone_is_one_request(hosted):
    server, client = await hosted()
    [workflow_id] = server.workflows.rows

    assert (await client.workflows.update(workflow_id, pinned=True)).pinned

    assert len(server.log.requests) == 1


async def test_what_is_searched_for_is_no_pattern(hosted):
    _, client = await hosted()
    for name in ("50%", "5000", "a_b", "aXb"):
        await client.workflows.create(name, GRAPH, workflow_api=API_GRAPH)

    assert [each.name for each in await client.workflows.list("50%")] == ["50%"]
    assert [each.name for each in await client.workflows.list("A_B")] == ["a_b"]
    assert [each.name for each in await client.workflows.list("%", limit=1)] == ["50%"]


async def test_a_machine_that_does_not_exist_cannot_be_selected(hosted):
    server, client = await hosted()
    [workflow_id] = server.workflows.rows

    with pytest.raises(errors.NotFound, match="Machine not found"):
        await client.workflows.update(workflow_id, selected_machine_id=ID)
    with pytest.raises(errors.NotFound, match="Machine not found"):
        await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH, machine_id=ID)


# Deployments


async def test_a_deployment_is_read(hosted):
    server, client = await hosted()

    deployment = await client.deployments.get(server.deployment["id"])

    assert isinstance(deployment, Deployment)
    assert deployment.environment == "production"
    assert deployment.version and deployment.version.workflow_api


async def test_the_list_of_deployments_holds_those_on_serverless_machines_too(hosted):
    server, client = await hosted()

    assert len(await client.deployments.list("production")) == 2
    assert [each.id for each in await client.deployments.list(is_fluid=True)] == [server.deployments.fluid["id"]]

    assert [each.path.partition("?")[2] for each in server.log.requests] == [
        "environment=production&page_size=100&offset=0",
        "environment=production&is_fluid=true&page_size=100&offset=0",
        "is_fluid=true&page_size=100&offset=0",
    ]


async def test_a_deployment_is_made_with_the_field_names_of_both_platforms(hosted):
    server, client = await hosted()
    ids = {"workflow_id": ID, "workflow_version_id": server.deployment["workflow_version_id"]}
    machine_id = server.machine["id"]

    made = await client.deployments.create(**ids, machine_id=machine_id, environment="staging", name="mine")
    again = await client.deployments.create(**ids, machine_id=machine_id, environment="staging")

    assert made.id == again.id
    assert json.loads(server.log.requests[0].body) == {
        **ids,
        "version_id": ids["workflow_version_id"],
        "machine_id": machine_id,
        "environment": "staging",
        "name": "mine",
    }


async def test_limits_of_a_new_deployment_are_set_after_it_is_made(hosted):
    server, client = await hosted()

    made = await client.deployments.create(
        workflow_id=ID, workflow_version_id=ID, machine_id=server.machine["id"], run_timeout=600, concurrency_limit=2
    )

    assert (made.run_timeout, made.concurrency_limit) == (600, 2)
    assert sent(server) == ["POST /deployment", f"PATCH /deployment/{made.id}"]


@pytest.mark.parametrize(
    ("changed", "error"), [({"machine_id": ID}, errors.NotFound), ({"environment": "qa"}, errors.BadRequest)]
)
async def test_what_a_deployment_cannot_be_made_of_is_an_error_that_says_so(hosted, changed, error):
    server, client = await hosted()
    fields = {"workflow_id": ID, "workflow_version_id": ID, "machine_id": server.machine["id"]}

    with pytest.raises(error) as caught:
        await client.deployments.create(**fields | changed)

    assert "SELECT" not in str(caught.value)


async def test_a_deployment_is_changed(hosted):
    server, client = await hosted()

    updated = await client.deployments.update(server.deployment["id"], workflow_version_id=ID, run_timeout=60)

    assert (updated.workflow_version_id, updated.run_timeout) == (ID, 60)
    with pytest.raises(errors.NotFound, match="Machine not found"):
        await client.deployments.update(server.deployment["id"], machine_id=ID)


async def test_an_unknown_deployment_is_not_found_whatever_is_done_with_it(hosted):
    _, client = await hosted()
    deployments = client.deployments

    for call in (deployments.get, deployments.delete, deployments.deactivate):
        with pytest.raises(errors.NotFound):
            await call(ID)
    with pytest.raises(errors.NotFound, match=ID):
        await deployments.update(ID, run_timeout=60)


async def test_only_shares_are_deleted(hosted):
    server, client = await hosted()
    deployment_id = server.deployment["id"]

    with pytest.raises(errors.Conflict, match="for production"):
        await client.deployments.delete(deployment_id)
    server.deployment["environment"] = "public-share"
    await client.deployments.delete(deployment_id)

    assert deployment_id not in server.deployments.rows


async def test_a_deployment_on_a_serverless_machine_is_deactivated(hosted):
    server, client = await hosted()

    assert (await client.deployments.deactivate(server.deployment["id"])).id == server.deployment["id"]

    server.deployments.active.add(server.deployment["id"])
    with pytest.raises(errors.BadRequest, match="active runs"):
        await client.deployments.deactivate(server.deployment["id"])


async def test_a_deployment_that_nothing_can_be_stopped_of_says_that_it_goes_on(hosted):
    server, client = await hosted()
    server.machine["type"] = "classic"

    with pytest.raises(errors.Conflict, match="goes on to take runs"):
        await client.deployments.deactivate(server.deployment["id"])


# Machines


async def test_the_machines_are_listed_without_the_deleted_ones(hosted):
    server, client = await hosted()
    deleted = next(machine_id for machine_id in server.machines.rows if machine_id != server.machine["id"])

    await client.machines.delete(deleted)

    found = await client.machines.list()
    assert all(isinstance(each, Machine) for each in found)
    assert {each.id for each in found} == set(server.machines.rows) - {deleted}
    assert [each.name for each in await client.machines.list("T-BADURL")] == ["t-badurl"]
    with pytest.raises(errors.NotFound):
        await client.machines.get(deleted)


async def test_a_custom_and_a_serverless_machine_are_made(hosted):
    _, client = await hosted()

    custom = await client.machines.create_custom("mine", "http://machine.example:8188", auth_token="secret")
    serverless = await client.machines.create_serverless("cloud", gpu="H100", concurrency_limit=2)

    assert (custom.type, custom.endpoint) == ("classic", "http://machine.example:8188")
    assert (serverless.type, serverless.status, serverless.keep_warm) == ("comfy-deploy-serverless", "building", True)
    assert "secret" not in repr(custom)
    with pytest.raises(errors.Unprocessable, match=r"body\.gpu"):
        await client.machines.create_serverless("cloud")
    await client.machines.create_custom("without a token", "http://machine.example:8188")


async def test_a_machine_with_deployments_is_deleted_only_by_force(hosted):
    server, client = await hosted()

    with pytest.raises(errors.Conflict, match="force"):
        await client.machines.delete(server.machine["id"])
    await client.machines.delete(server.machine["id"], force=True)

    assert not server.machines.knows(server.machine["id"])
    with pytest.raises(errors.NotFound):
        await client.machines.delete(ID)


# Assets


async def test_an_asset_is_uploaded_found_moved_and_deleted(hosted):
    _, client = await hosted()
    assets = client.assets

    folder = await assets.create_folder("refs")
    small = await assets.upload(PNG, content_type="image/png", name="small.png", parent_path="/refs/")
    added = await assets.add_from_url("https://example.com/cat.png", path="refs")

    assert [each.id for each in await assets.list()] == [folder.id]
    assert {each.id for each in await assets.list("/refs")} == {small.id, added.id}
    assert [each.id for each in await assets.search("SMALL")] == [small.id]
    assert (await assets.get(small.id)).file_size == len(PNG)
    assert await assets.list("nowhere") == []

    moved = await assets.move(small.id, "/refs/old")
    assert moved.path.startswith("refs/old/")
    assert [each.id for each in await assets.list("refs/old")] == [small.id]

    await assets.delete(small.id)
    for gone in (assets.get, assets.delete):
        with pytest.raises(errors.NotFound):
            await gone(small.id)


@pytest.mark.parametrize("is_public", [True, False])
async def test_a_big_asset_goes_straight_to_the_store_with_what_was_signed_and_no_key(hosted, tmp_path, is_public):
    server, client = await hosted()
    server.library.is_public = is_public
    path = tmp_path / "big.png"
    path.write_bytes(PNG * 4000)

    asset = await client.assets.upload_large(path, content_type="image/png", name="big.png", parent_path="refs")

    assert server.library.objects[asset.path] == PNG * 4000
    assert (asset.name, asset.file_size, asset.mime_type) == ("big.png", len(PNG) * 4000, "image/png")
    [put] = [each for each in server.log.requests if each.method == "PUT"]
    assert put.headers.get("x-amz-acl") == ("public-read" if is_public else None)
    assert "Authorization" not in put.headers
    assert ("X-Amz-Signature" in str(asset.url)) is not is_public


async def test_a_new_asset_of_a_private_account_has_a_url_that_works(hosted):
    server, client = await hosted()
    server.library.is_public = False

    asset = await client.assets.upload(PNG, content_type="image/png", name="a.png")

    assert "X-Amz-Signature" in str(asset.url)


async def test_a_type_that_the_platform_does_not_take_is_an_error(hosted):
    _, client = await hosted()

    with pytest.raises(errors.BadRequest, match="Unsupported file type"):
        await client.assets.upload(b"text", content_type="text/plain", name="a.txt")


# Keys, and whether it is there


async def test_keys_are_listed_and_revoked(hosted):
    server, client = await hosted()
    server.keys = {"key_1": {"id": "key_1", "name": "mine", "key": "****", "created_at": "2026-11-23T17:51:13.207025"}}

    [key] = await client.keys.list()
    await client.keys.revoke(key.id)

    assert (key.name, server.keys) == ("mine", {})
    with pytest.raises(errors.NotFound):
        await client.keys.revoke(key.id)


async def test_the_platform_is_there(hosted):
    _, client = await hosted()

    assert (await client.health()).status == "ok"


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.workflows.clone(ID, all_versions=True),
        lambda client: client.workflows.update(ID, description=None),
        lambda client: client.deployments.activate(ID),
        lambda client: client.deployments.update(ID, name="other"),
        lambda client: client.deployments.update(ID, environment="staging"),
        lambda client: client.deployments.update(ID, run_timeout=None),
        lambda client: client.deployments.update(ID, queue_timeout=60),
        lambda client: client.deployments.update(ID, retry_elsewhere=True),
        lambda client: client.deployments.create(
            workflow_id=ID, workflow_version_id=ID, machine_id=ID, check_machine=False
        ),
        lambda client: client.machines.create("mine", "comfyui", endpoint="http://machine.example"),
        lambda client: client.machines.check(ID, API_GRAPH),
        lambda client: client.machines.logs(ID),
        lambda client: client.files.get("file_1"),
        lambda client: client.files.add(PNG, content_type="image/png", name="a.png"),
        lambda client: client.files.add_from_url("https://example.com/a.png"),
        lambda client: client.files.rename("file_1", "b.png"),
        lambda client: client.assets.rename("img_1", "b.png"),
        lambda client: client.keys.create("mine"),
    ],
)
async def test_what_the_platform_cannot_do_is_said_before_it_could_do_something_else(hosted, call):
    server, client = await hosted()

    with pytest.raises(errors.NotSupported, match=r"cannot .+\. [A-Z].+\."):
        await call(client)

    assert sent(server) == ["GET /health"]
