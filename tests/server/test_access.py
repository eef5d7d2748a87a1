"""Who may do what: every endpoint as guest, stranger and owner, and with limited and ended keys, with and without the
prefix `/api`."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from comfyui_outpost.api.models import KeyScope
from comfyui_outpost.api.server.routes import ENDPOINTS, PUBLIC_ENDPOINTS
from comfyui_outpost.api.server.store.keys import KeyStore, Owner
from comfyui_outpost.api.server.store.machines import MachineStore
from comfyui_outpost.tests.fakes import comfyui

from .graphs import external, node, png, sleep
from .shared import SharedPlatform
from .talking import Talker, local, talkers

pytestmark = pytest.mark.shared_platform

PREFIXES = ("", "/api")
SAID = "what the owner said"
DRAWN = "what the owner drew"
"""Stands in the owner's graphs and nowhere else."""
TOKEN = "token-of-the-owners-machine"
GRAPH = {
    "1": external("Text", "text"),
    "2": node("PreviewAny", source=["1", 0], output_id="echo") | {"_meta": {"title": DRAWN}},
}
PICTURE = {"file": ("picture.png", png(), "image/png")}
INNER_FIELDS = {
    "attempts",
    "auth_token",
    "idempotency_key",
    "is_cancel_requested",
    "key_hash",
    "lease",
    "lease_expires_at",
    "object",
    "object_key",
    "owner_id",
    "request_hash",
}
"""Columns that are the server's own."""
NO_IDS = ("version", "comfyui")
"""Words in `CALLS` that stand for what is no id."""
ONLY_ONCE = {"key", "webhook_secret"}
"""Fields that are told when a key is made, and never again."""


@dataclass(frozen=True)
class Call:
    """A request about the owner's things, in which a word in braces stands for the id of one.

    The owner is always answered 200; a guest, and an ended key, 401.
    """

    body: Any = None
    """JSON; or `PICTURE`, for a form."""
    shows: str = ""
    """A part of the answer of everybody who may."""
    stranger: int = 404
    may: str = "full"
    """The scopes of keys that may."""
    path: str = ""
    """In place of the endpoint's own."""
    again: int = 200
    """What the owner is answered the second time."""
    is_endless: bool = False
    """Whether the answer is a stream that does not end: its first event is looked at."""


# In this order, so that nothing is asked for after it has gone.
CALLS = {
    "GET /run/{run_id}": Call(shows=SAID, may="full read run"),
    "GET /events": Call(shows='"is_resumed":false', stranger=200, may="full read", is_endless=True),
    "GET /run/{run_id}/stream": Call(shows='"status":"success"', may="full read run"),
    "POST /run/{run_id}/cancel": Call(shows="is cancelled", may="full run", path="/run/{cancelled}/cancel"),
    "POST /run/deployment/queue": Call({"deployment_id": "{deployment_id}"}, shows="run_id", may="full run"),
    "POST /run/deployment/sync": Call({"deployment_id": "{deployment_id}"}, shows="echo", may="full run"),
    "POST /run/deployment/stream": Call({"deployment_id": "{deployment_id}"}, shows="prompt_id", may="full run"),
    "GET /runs": Call(shows="{run_id}", stranger=200, may="full read"),
    "GET /workflow/{workflow_id}/runs": Call(shows="{run_id}", may="full read"),
    "GET /deployment/{deployment_id}/runs": Call(shows="{run_id}", may="full read"),
    "GET /workflows": Call(shows="the owner's workflow", stranger=200, may="full read"),
    "POST /workflow": Call({"name": "a new one"}, shows="workflow_id", stranger=200),
    "GET /workflow/{workflow_id}": Call(shows=DRAWN, may="full read"),
    "PATCH /workflow/{workflow_id}": Call({"pinned": True}, shows='"pinned":true'),
    "POST /workflow/{workflow_id}/clone": Call({}, shows="the owner's workflow (Cloned)"),
    "GET /workflow/{workflow_id}/versions": Call(shows="the owner's comment", may="full read"),
    "POST /workflow/{workflow_id}/version": Call({"workflow": {}}, shows='"version":'),
    "GET /workflow/{workflow_id}/version/{version}": Call(shows=DRAWN, may="full read"),
    "GET /workflow-version/{version_id}": Call(shows=DRAWN, may="full read"),
    "DELETE /workflow/{workflow_id}": Call(shows="deleted", path="/workflow/{spare_workflow}", again=404),
    "GET /deployments": Call(shows="the owner's deployment", stranger=200, may="full read run"),
    "POST /deployment": Call(
        {
            "workflow_id": "{workflow_id}",
            "version_id": "{version_id}",
            "machine_id": "{machine_id}",
            "environment": "staging",
        },
        shows="staging",
    ),
    "GET /deployment/{deployment_id}": Call(shows="the owner's deployment", may="full read run"),
    "PATCH /deployment/{deployment_id}": Call({"run_timeout": 60}, shows="60.0"),
    "GET /deployment/{deployment_id}/history": Call(shows="{version_id}", may="full read"),
    "POST /deployment/{deployment_id}/deactivate": Call(shows="false", path="/deployment/{spare}/deactivate"),
    "POST /deployment/{deployment_id}/activate": Call(shows="true", path="/deployment/{spare}/activate"),
    "DELETE /deployment/{deployment_id}": Call(shows="deleted", path="/deployment/{spare}", again=404),
    "GET /machines": Call(shows="the owner's machine", stranger=200, may="full read"),
    "GET /machine/{machine_id}": Call(shows="the owner's machine", may="full read"),
    "POST /machine/{machine_id}/check": Call({"workflow_api": {"1": {"class_type": "SaveImage"}}}, shows="is_known"),
    "GET /machine/{machine_id}/logs": Call(shows="[]"),
    "GET /machines/comfyuis": Call(shows="main", stranger=200, may="full read"),
    "PATCH /machine/custom/{machine_id}": Call({"concurrency_limit": 2}, shows='"concurrency_limit":2'),
    "PATCH /machine/serverless/{machine_id}": Call(
        {"idle_timeout": 7}, shows="7.0", path="/machine/serverless/{managed}"
    ),
    "PATCH /machine/pool/{machine_id}": Call(
        {"machine_ids": ["{machine_id}"]}, shows="{machine_id}", path="/machine/pool/{pool}"
    ),
    "POST /machine/{machine_id}/start": Call({}, shows='"processes":', path="/machine/{managed}/start"),
    "POST /machine/{machine_id}/stop": Call({"force": True}, shows='"processes":', path="/machine/{managed}/stop"),
    "POST /machine/create": Call({"name": "a new one", "type": "builtin"}, shows="ready", stranger=200),
    "POST /machine/custom": Call({"name": "a new one", "endpoint": "{comfyui}"}, shows="comfyui", stranger=200),
    "POST /machine/serverless": Call({"name": "a new one"}, shows="managed", stranger=200),
    "DELETE /machine/{machine_id}": Call(shows="deleted", path="/machine/{spare_machine}", again=404),
    "POST /file/upload": Call({"type": "image/png", "file_size": 3}, shows="upload_url", stranger=200, may="full run"),
    "POST /file": Call(PICTURE, shows="picture.png", stranger=200, may="full run"),
    "GET /file/{file_id}": Call(shows="picture.png", may="full read run"),
    "POST /file/{file_id}/rename": Call({"name": "the owner's new name"}, shows="the owner's new name"),
    "GET /assets": Call(shows="the owner's folder", stranger=200, may="full read"),
    "GET /assets/search": Call(
        shows="picture.png", stranger=200, may="full read", path="/assets/search?query=PICTURE.png"
    ),
    "GET /assets/presigned-url": Call(
        shows="db_path",
        stranger=200,
        path="/assets/presigned-url?file_name=a.png&type=image/png&size=3",
    ),
    "POST /assets/register": Call({"file_id": "{announced}"}, shows="announced.png"),
    "POST /assets/folder": Call({"name": "a new one"}, shows="a new one", stranger=200, again=409),
    "POST /assets/upload": Call(PICTURE, shows="picture.png", stranger=200),
    "POST /assets/add": Call({"url": "{file_url}"}, shows="image/png", stranger=200),
    "GET /assets/{asset_id}": Call(shows="picture.png", may="full read"),
    "PATCH /assets/{asset_id}": Call({"name": "the owner's other name"}, shows="the owner's other name"),
    "DELETE /assets/{asset_id}": Call(shows="deleted", path="/assets/{spare_asset}", again=404),
    "GET /platform/api-keys": Call(shows="the owner's spare key", stranger=200),
    "POST /platform/api-keys": Call({"name": "a new one"}, shows="whsec_", stranger=200),
    "DELETE /platform/api-keys/{key_id}": Call(shows="revoked"),
}
PUBLIC = {"GET /health", "GET /openapi.json", "GET /doc", "GET /doc/{file}"} | {
    f"{method} /objects/{{key:.+}}" for method in ("GET", "HEAD", "PUT")
}


def test_every_endpoint_has_its_row():
    assert set(CALLS) == {f"{each.method} {each.path}" for each in ENDPOINTS}
    assert {f"{each.method} {each.path}" for each in PUBLIC_ENDPOINTS} == PUBLIC


@dataclass(frozen=True)
class World:
    """Everybody on one platform, and what belongs to the owner, by the words that stand for it in `CALLS`."""

    people: dict[str, Talker]
    things: dict[str, str]

    async def ask(self, who: str, endpoint: str, prefix: str = "", **other: str) -> httpx.Response:
        """The answer to a row of the table; `other` things take the place of the owner's."""
        call, things = CALLS[endpoint], {**self.things, **other}
        method, _, path = endpoint.partition(" ")
        sent = {"files": PICTURE} if call.body is PICTURE else {"json": _fill(call.body, things)}
        path = prefix + (call.path or path).format(**things)
        if call.is_endless:
            return await self.people[who].ask_first(method, path)
        return await self.people[who].ask(method, path, **sent)


def _fill(template: Any, things: dict[str, str]) -> Any:
    match template:
        case str():
            return template.format(**things)
        case dict():
            return {name: _fill(value, things) for name, value in template.items()}
        case list():
            return [_fill(value, things) for value in template]
        case _:
            return template


@pytest.fixture(scope="module")
def shared_settings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One with a ComfyUI to start."""
    folder = tmp_path_factory.mktemp("comfyui")
    (folder / "main.py").touch()
    return {"comfyui_folders": {"main": folder}, "allow_private_addresses": True}


@pytest.fixture
async def world(
    platform: SharedPlatform, shared_settings: dict[str, Any], tmp_path: Path, allow_log
) -> AsyncGenerator[World, None]:
    allow_log("could not be started: The operator of this server has named no such ComfyUI")
    folders = map(str, (platform.folder, shared_settings["comfyui_folders"]["main"], tmp_path))
    async with comfyui.serve(comfyui.FakeComfyUI()) as url, _people(platform, *folders) as people:
        yield World(people, {**await _things(platform, people["owner"], url), "comfyui": url})


@asynccontextmanager
async def _people(platform: SharedPlatform, *folders: str) -> AsyncGenerator[dict[str, Talker], None]:
    """The owner, also with keys that are limited or have ended; a stranger; and a guest without a key."""
    more = await platform.elsewhere.do(_more_keys(platform.elsewhere.parts.store.keys, platform.owner.owner))
    given = {"full": platform.owner.api_key, **more, "stranger": platform.stranger.api_key}
    secrets = [*given.values(), *map(_hash, given.values()), TOKEN, *folders]
    async with talkers(platform.url, *given.values(), None, secrets=secrets) as found:
        people = dict(zip((*given, "guest"), found, strict=True))
        yield people | {"owner": people["full"]}


async def _more_keys(keys: KeyStore, owner: Owner) -> dict[str, str]:
    past = keys.now() - timedelta(seconds=1)
    _, run = await keys.create("the owner's key to run", owner=owner, scope=KeyScope.RUN)
    _, read = await keys.create("the owner's key to read", owner=owner, scope=KeyScope.READ)
    _, expired = await keys.create("the owner's expired key", owner=owner, expires_at=past)
    holder, revoked = await keys.create("the owner's revoked key", owner=owner)
    await keys.revoke(owner, holder.key_id)
    return {"run": run, "read": read, "expired": expired, "revoked": revoked}


def _hash(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


async def _things(platform: SharedPlatform, owner: Talker, comfyui_url: str) -> dict[str, str]:
    builtin = platform.owner.machine_id
    made = await owner.post("/workflow", {"name": "the owner's workflow", "workflow": {}})
    workflow = {"workflow_id": made["workflow_id"]}
    body = {"workflow": {}, "workflow_api": GRAPH, "comment": "the owner's comment"}
    version = await owner.post(f"/workflow/{made['workflow_id']}/version", body)
    body = {**workflow, "version_id": version["id"], "machine_id": builtin, "name": "the owner's deployment"}
    deployment = (await owner.post("/deployment", body))["id"]
    run = await owner.queue(deployment, {"text": SAID})
    await owner.end_of(run)
    spare = await owner.deploy(sleep(60))
    cancelled = await owner.queue(spare)
    await owner.post(f"/run/{cancelled}/cancel", None)
    file = await owner.post("/file", None, files=PICTURE)
    assets = [await owner.post("/assets/upload", None, files=PICTURE) for _ in range(2)]
    await owner.post("/assets/folder", {"name": "the owner's folder"})
    query = f"file_name=announced.png&type=image/png&size={len(png())}"
    ticket = await owner.get(f"/assets/presigned-url?{query}")
    await owner.ask("PUT", ticket["url"], content=png(), headers={"Content-Type": "image/png"})
    key = await owner.post("/platform/api-keys", {"name": "the owner's spare key"})
    parts = platform.elsewhere.parts
    machines = await platform.elsewhere.do(_machines(parts.store.machines, platform.owner.owner, builtin, comfyui_url))
    return {
        **workflow,
        "spare_workflow": (await owner.post("/workflow", {"name": "the owner's spare workflow"}))["workflow_id"],
        "version": "2",
        "version_id": version["id"],
        "deployment_id": deployment,
        "spare": spare,
        "run_id": run,
        "cancelled": cancelled,
        **machines,
        "file_id": file["id"],
        "file_url": file["url"],
        "asset_id": assets[0]["id"],
        "spare_asset": assets[1]["id"],
        "announced": ticket["file_id"],
        "key_id": key["id"],
    }


async def _machines(machines: MachineStore, owner: Owner, builtin: str, comfyui_url: str) -> dict[str, str]:
    more = {"endpoint": comfyui_url, "auth_token": TOKEN}
    return {
        "machine_id": await machines.add(owner, name="the owner's machine", kind="comfyui", slots=1, **more),
        "pool": await machines.add_pool(owner, name="the owner's pool", machine_ids=[builtin]),
        # A folder with no ComfyUI in it: to start one fails, and nothing has to be stopped.
        "managed": await machines.add(owner, name="the owner's folder", kind="managed", slots=1),
        "spare_machine": await machines.add(owner, name="spare", kind="builtin", slots=1),
    }


def _fields(content: Any) -> Iterator[tuple[str, Any]]:
    """Every field of an answer at any depth, but for graphs, whose fields are their makers' own."""
    for name, value in content.items() if isinstance(content, dict) else enumerate(content):
        yield str(name), value
        if isinstance(value, (dict, list)) and name not in ("workflow", "workflow_api", "workflow_inputs"):
            yield from _fields(value)


def _check_content(answer: httpx.Response, endpoint: str) -> None:
    """An answer tells nothing that is the server's own, whoever asked."""
    if answer.headers["content-type"].startswith("application/json"):
        for name, value in _fields(answer.json()):
            assert name not in INNER_FIELDS, (endpoint, name)
            assert name not in ONLY_ONCE or endpoint == "POST /platform/api-keys", (endpoint, name)
            assert not str(value).startswith(("runs/", "files/", "assets/")), (endpoint, "tells the key of an object")


def _check_nothing_of_the_owners(answer: httpx.Response, world: World, endpoint: str) -> None:
    for word in ("owner", DRAWN, SAID, TOKEN):
        assert word not in answer.text, (endpoint, answer.text)
    if answer.status_code != 404:  # which says what is not there
        assert not [thing for thing in _ids(world.things) if thing in answer.text], endpoint


@pytest.mark.one_backing
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("who", ["guest", "expired", "revoked"])
async def test_without_a_key_that_works_there_is_nothing(world: World, who: str, prefix: str):
    for endpoint in CALLS:
        answer = await world.ask(who, endpoint, prefix)
        assert answer.status_code == 401, endpoint
        assert answer.json() == {"detail": "The API key is missing, wrong, revoked or expired", "code": "unauthorized"}
        assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("prefix", PREFIXES)
async def test_a_stranger_finds_nothing_of_the_owners(world: World, prefix: str):
    for endpoint, call in CALLS.items():
        answer = await world.ask("stranger", endpoint, prefix)
        assert answer.status_code == call.stranger, (endpoint, answer.text)
        assert call.stranger == 200 or answer.json()["code"] == "not_found"
        _check_nothing_of_the_owners(answer, world, endpoint)
        _check_content(answer, endpoint)


@pytest.mark.one_backing
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("scope", ["read", "run"])
async def test_a_limited_key_does_what_its_scope_says_and_no_more(world: World, scope: str, prefix: str):
    for endpoint, call in CALLS.items():
        answer = await world.ask(scope, endpoint, prefix)
        _check_content(answer, endpoint)
        if scope in call.may.split():
            assert answer.status_code == 200, (endpoint, answer.text)
            assert call.shows.format(**world.things) in answer.text, (endpoint, answer.text)
        else:
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), endpoint
            assert f"limited to the scope '{scope}'" in answer.json()["detail"]
            _check_nothing_of_the_owners(answer, world, endpoint)
        assert scope == "read" or DRAWN not in answer.text, (endpoint, "shows a graph")


async def test_the_owner_may_do_everything(world: World):
    for endpoint, call in CALLS.items():
        for prefix, status in zip(PREFIXES, (200, call.again), strict=True):
            answer = await world.ask("owner", endpoint, prefix)
            assert answer.status_code == status, (endpoint, prefix, answer.text)
            assert status != 200 or call.shows.format(**world.things) in answer.text, (endpoint, answer.text)
            _check_content(answer, endpoint)


async def test_what_is_not_there_and_what_is_somebody_elses_look_the_same(world: World):
    nothing = {name: str(uuid4()) for name in world.things if name not in NO_IDS}
    for endpoint in [name for name, call in CALLS.items() if call.stranger == 404]:
        foreign = await world.ask("stranger", endpoint)
        absent = await world.ask("stranger", endpoint, **nothing)
        assert foreign.status_code == absent.status_code == 404, endpoint
        assert _without_ids(foreign, world.things) == _without_ids(absent, nothing)


def _without_ids(answer: httpx.Response, things: dict[str, str]) -> str:
    text = answer.text
    for an_id in _ids(things):
        text = text.replace(an_id, "ID")
    return text


def _ids(things: dict[str, str]) -> list[str]:
    return [thing for name, thing in things.items() if name not in NO_IDS]


async def test_a_key_ends_with_the_answer_to_its_revocation(platform, owner: Talker):
    made = await owner.post("/platform/api-keys", {"name": "soon revoked"})
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        await other.get("/workflows")
        await owner.ask("DELETE", f"/platform/api-keys/{made['id']}")
        assert (await other.ask("GET", "/workflows")).status_code == 401


async def test_a_run_key_knows_the_inputs_of_a_deployment_and_not_its_graph(world: World):
    seen = (await world.ask("run", "GET /deployment/{deployment_id}")).json()
    assert [each["input_id"] for each in seen["input_types"]] == ["text"]
    assert [each["output_id"] for each in seen["output_types"]] == ["echo"]
    assert (seen["version"]["workflow"], seen["version"]["workflow_api"]) == (None, None)
    whole = (await world.ask("read", "GET /deployment/{deployment_id}")).json()
    assert whole["version"]["workflow_api"] == GRAPH


@pytest.mark.one_backing
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("who", ["owner", "stranger", "guest"])
async def test_what_is_public_needs_no_key_and_tells_nothing(people: dict[str, Talker], who: str, prefix: str):
    url = await people["owner"].upload(png())
    health = await people[who].ask("GET", f"{prefix}/health")
    assert set(health.json()) == {"status", "version"}
    picture = await people[who].ask("GET", prefix + local(url).removeprefix("/api"))
    assert (picture.status_code, picture.content) == (200, png())
    for path in ("/openapi.json", "/doc"):
        assert (await people[who].ask("GET", prefix + path)).status_code == 200


@pytest.mark.one_backing
@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {key}"},
        {"Authorization": "bearer {key}"},
        {"x-api-key": "{key}"},
    ],
    ids=str,
)
async def test_a_key_is_taken_in_every_way_that_clients_send_it(platform, guest: Talker, headers, prefix: str):
    sent = {name: value.format(key=platform.owner.api_key) for name, value in headers.items()}
    answer = await guest.ask("GET", f"{prefix}/deployments", headers=sent)
    assert answer.status_code == 200


@pytest.mark.one_backing
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "{key}"},
        {"Authorization": "Basic {key}"},
        {"Authorization": "Bearer outpost_wrong"},
        {"Authorization": "Bearer {key}x"},
        {"Authorization": "Bearer {hash}"},
        {"Authorization": "Bearer ключ"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"x-api-key": b"\xff\xfe"},
        {"x-api-key": "' OR 1=1 --"},
        {"Authorization": "Bearer wrong", "x-api-key": "{key}"},
        {"Authorization": "Bearer " + "x" * 7000},
        {"Cookie": "__session={key}"},
    ],
    ids=lambda headers: str(headers)[:50],
)
async def test_a_wrong_key_opens_nothing(platform, guest: Talker, headers: dict[str, Any]):
    words = {"key": platform.owner.api_key, "hash": hashlib.sha256(platform.owner.api_key.encode()).hexdigest()}
    sent = {
        name: value if isinstance(value, bytes) else value.format(**words).encode() for name, value in headers.items()
    }
    for path in ("/deployments", f"/run/{uuid4()}"):
        answer = await guest.ask("GET", path, headers=sent)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")


@pytest.mark.one_backing
@pytest.mark.parametrize("where", ["/deployments?key={key}", "/deployments?cd_token={key}", "/{key}/deployments"])
async def test_a_key_in_a_url_opens_nothing_and_does_not_come_back(platform, tmp_path, where: str):
    async with talkers(platform.url, None, secrets=[str(tmp_path)]) as (guest,):
        answer = await guest.ask("GET", where.format(key=platform.owner.api_key))
    assert answer.status_code in (401, 404)


@pytest.mark.one_backing
@pytest.mark.parametrize("who", ["owner", "stranger", "guest"])
@pytest.mark.parametrize("path", ["/api", "/api/", "/nothing", "/api/run", "/deployments/", "/api/api/deployments"])
async def test_an_unknown_path_is_404_and_says_so_in_json(people: dict[str, Talker], who: str, path: str):
    answer = await people[who].ask("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == f"There is no GET {path}"


@pytest.mark.one_backing
async def test_the_address_of_a_server_leads_whoever_opens_it_in_a_browser_to_what_it_can_do(people: dict[str, Talker]):
    answer = await people["guest"].ask("GET", "/")
    assert (answer.status_code, answer.headers["Location"], answer.text) == (302, "api/doc", "")
    assert (await people["guest"].ask("GET", "/api/doc")).headers["Content-Type"].startswith("text/html")


@pytest.mark.one_backing
async def test_a_wrong_method_is_405_in_json(owner: Talker):
    answer = await owner.ask("DELETE", "/deployments")
    assert (answer.status_code, answer.json()["detail"]) == (405, "Method Not Allowed")


@pytest.mark.own_platform
async def test_one_owner_with_two_keys_has_one_set_of_things(platform, owner: Talker):
    _, second = await platform.parts.store.keys.create("a second key", owner=platform.owner.owner)
    async with talkers(platform.url, second, secrets=owner.secrets) as (same_person,):
        assert await same_person.get("/deployments") == await owner.get("/deployments")
