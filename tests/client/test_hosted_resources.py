"""Workflows, deployments, machines, assets and keys on the hosted platform, with its own ways of saying no."""

import asyncio
import gc
import json
from functools import partial

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


@pytest.mark.parametrize("path", ["/workflow", "/version"])
async def test_a_graph_is_kept_once_although_the_answer_is_lost(hosted, path):
    server, client = await hosted()
    workflows = client.workflows
    server.loses = [path]

    made = await workflows.create("mine", GRAPH, workflow_api=API_GRAPH, description="for you")
    version = await workflows.add_version(made.workflow_id, GRAPH, workflow_api={}, comment="better")

    row = server.workflows.rows[made.workflow_id]
    assert [each["version"] for each in row["versions"]] == [2, 1]
    assert (made.version, version.version, version.comment) == (1, 2, "better")
    assert row["description"] == "for you"
    assert len([each for each in server.workflows.rows.values() if each["name"] == "mine"]) == 1


async def test_whoever_asks_again_after_a_lost_answer_is_given_what_was_made(hosted):
    server, client = await hosted()
    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    asked = {"workflow_api": {}, "idempotency_key": "a-deed-of-the-page"}
    server.loses, server.is_away = ["/version"], True
    with pytest.raises(errors.ConnectionFailed):
        await client.workflows.add_version(made.workflow_id, GRAPH, **asked)
    server.is_away = False

    again = await client.workflows.add_version(made.workflow_id, GRAPH, **asked)

    assert again.version == 2
    assert len(server.workflows.rows[made.workflow_id]["versions"]) == 2


@pytest.mark.parametrize("deed", ["create", "add_version", "clone"])
async def test_whoever_goes_away_and_asks_again_waits_for_the_same_request(hosted, deed, caplog):
    server, client = await hosted()
    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    deeds = {
        "create": partial(client.workflows.create, "new", GRAPH, workflow_api=API_GRAPH),
        "add_version": partial(client.workflows.add_version, made.workflow_id, GRAPH, workflow_api={}),
        "clone": partial(client.workflows.clone, made.workflow_id),
    }
    ask = partial(deeds[deed], idempotency_key="a-deed-of-the-page")
    before, server.may_answer = kept(server), asyncio.Event()
    gone = asyncio.create_task(ask())
    await server.came.wait()
    gone.cancel()
    await asyncio.wait({gone})

    asking = [asyncio.create_task(ask()) for _ in range(3)]
    await asyncio.sleep(0)
    server.may_answer.set()
    first, *others = await asyncio.gather(*asking)
    much_later = await ask()

    assert gone.cancelled()
    assert {each.model_dump_json() for each in others} == {first.model_dump_json()}
    assert kept(server) == before + 1
    if deed == "add_version":
        assert much_later.id == first.id
    gc.collect()
    assert "never retrieved" not in caplog.text


def kept(server):
    """How many versions the platform keeps in all."""
    return sum(len(each["versions"]) for each in server.workflows.rows.values())


async def test_what_was_made_or_failed_while_nobody_waited_is_told_to_whoever_comes_next(hosted, caplog):
    server, client = await hosted()
    for key, machine_id, error in (("one", None, None), ("two", ID, errors.NotFound)):
        ask = partial(client.workflows.create, key, GRAPH, workflow_api=API_GRAPH, idempotency_key=key)
        server.may_answer = asyncio.Event()
        server.came.clear()
        gone = asyncio.create_task(ask(machine_id=machine_id))
        await server.came.wait()
        gone.cancel()
        server.may_answer.set()
        await asyncio.wait({gone, *client.workflows._unanswered._held.values()})
        asked = len(server.log.named("POST", "/api/workflow"))
        if error:
            with pytest.raises(error):
                await ask(machine_id=machine_id)
        else:
            assert (await ask()).version == 1
        assert len(server.log.named("POST", "/api/workflow")) == asked
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_client_that_closes_ends_what_nobody_waits_for(hosted, caplog):
    server, client = await hosted()
    server.may_answer = asyncio.Event()
    async with client:
        gone = asyncio.create_task(client.workflows.create("mine", GRAPH, workflow_api={}, idempotency_key="a-deed"))
        await server.came.wait()
        gone.cancel()
        await asyncio.wait({gone})
    assert not client.workflows._unanswered._held
    gc.collect()
    assert "never retrieved" not in caplog.text


@pytest.mark.parametrize("deed", ["create", "add_version", "clone"])
async def test_what_was_there_before_is_not_what_a_lost_answer_was_about(hosted, deed):
    server, client = await hosted()
    workflows = client.workflows
    older = await workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    copy = await workflows.clone(older.workflow_id, name="copy")
    for row in server.workflows.rows.values():
        for each in (row, *row["versions"]):
            each["created_at"] = "2026-01-01T00:00:00"
    before = kept(server)
    deeds = {
        "create": partial(workflows.create, "mine", GRAPH, workflow_api=API_GRAPH),
        "add_version": partial(workflows.add_version, older.workflow_id, GRAPH, workflow_api=API_GRAPH),
        "clone": partial(workflows.clone, older.workflow_id, name="copy"),
    }
    server.refuses = True
    for _ in range(2):
        with pytest.raises(errors.Unavailable):
            await deeds[deed](idempotency_key="a-deed")
    server.refuses = False
    made = await deeds[deed](idempotency_key="a-deed")
    assert kept(server) == before + 1
    assert made.model_dump().get("workflow_id") != older.workflow_id or deed == "add_version"
    assert made.model_dump().get("id") != copy.id


async def test_a_workflow_whose_answer_was_lost_is_found_behind_many_that_are_pinned(hosted):
    server, client = await hosted()
    for _ in range(12):
        await client.workflows.create("mine", {}, workflow_api={})
    for row in server.workflows.rows.values():
        row["pinned"] = True
    server.loses = ["/workflow"]
    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    assert made.version == 1
    assert len(server.log.named("POST", "/api/workflow")) == 13


@pytest.mark.parametrize("name", [None, "a copy"])
async def test_a_workflow_is_cloned_once_although_the_answer_is_lost(hosted, name):
    server, client = await hosted()
    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    server.loses = ["/clone"]
    copy = await client.workflows.clone(made.workflow_id, name=name)
    assert copy.id != made.workflow_id
    assert copy.name == (name or "mine (Cloned)")
    assert len([each for each in server.workflows.rows.values() if each["name"] == copy.name]) == 1


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


async def test_the_graphs_in_a_list_of_deployments_are_passed_over(hosted):
    server, client = await hosted()

    for listed in await client.deployments.list():
        row = server.deployments.rows[listed.id]
        assert listed.version and row["version"]["workflow_api"] and row["version"]["workflow"]
        assert (listed.version.version, listed.workflow_id) == (row["version"]["version"], row["workflow_id"])
        assert (listed.version.workflow, listed.version.workflow_api, listed.input_types) == (None, None, None)


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


# What the panel asks for


async def test_a_deleted_workflow_comes_back(hosted):
    _, client = await hosted()
    made = await client.workflows.create("mine", GRAPH, workflow_api=API_GRAPH)
    await client.workflows.delete(made.workflow_id)
    assert (await client.workflows.restore(made.workflow_id)).name == "mine"
    assert (await client.workflows.get(made.workflow_id)).name == "mine"


async def test_workflows_come_in_the_platforms_own_order_whatever_is_wanted(hosted):
    server, client = await hosted()
    assert await client.workflows.list(sort="name", limit=1)
    assert "sort" not in server.log.named("GET", "/api/workflows")[-1].path


async def test_what_only_our_own_server_has_is_said_to_be_so_before_anything_is_sent(hosted):
    server, client = await hosted()
    machine_id, deployment_id = server.machine["id"], server.deployment["id"]
    for ask in (
        lambda: client.machines.start(machine_id),
        lambda: client.machines.stop(machine_id),
        lambda: client.machines.comfyuis(),
        lambda: client.deployments.history(deployment_id),
    ):
        with pytest.raises(errors.NotSupported, match="cannot"):
            await ask()
    assert set(sent(server)) == {"GET /health"}


async def test_a_machine_is_changed_by_the_call_for_its_type(hosted):
    server, client = await hosted()
    own = await client.machines.create_custom("mine", "http://10.0.0.1:8188")
    changed = await client.machines.update(own.id, name="ours", endpoint="http://10.0.0.2:8188", auth_token="secret")
    assert (changed.name, changed.endpoint) == ("ours", "http://10.0.0.2:8188")
    theirs = await client.machines.update(server.machine["id"], idle_timeout=30, keep_warm=True)
    assert (theirs.idle_timeout, theirs.keep_warm) == (30, True)
    body = json.loads(server.log.requests[-1].body)
    assert (body["keep_warm"], server.log.requests[-1].path) == (
        1,
        f"/api/machine/serverless/{server.machine['id']}",
    )
    for wrong in ({"keep_warm": True}, {"machine_ids": [ID]}, {"idle_timeout": 3}):
        with pytest.raises(errors.InvalidInput, match="is a machine that has no"):
            await client.machines.update(own.id, **wrong)


async def test_a_gpu_and_a_version_are_told_as_they_come(hosted):
    server, client = await hosted()
    server.machine |= {"gpu": "A10G", "comfyui_version": "c" * 40}
    machine = await client.machines.get(server.machine["id"])
    assert (machine.gpu, machine.comfyui_version, machine.queue) == ("A10G", "c" * 40, None)
