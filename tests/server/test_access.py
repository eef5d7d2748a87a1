"""Who may do what: every route as guest, stranger and owner, with and without the prefix `/api`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from .graphs import ECHO, png, sleep
from .talking import Talker, local, talkers

PREFIXES = ("", "/api")
PRIVATE = "what the owner said"


@dataclass(frozen=True)
class Call:
    """A request about the owner's things; a word in braces stands for the id of one."""

    method: str
    path: str
    body: Any = None
    stranger: int = 404
    """What the stranger is answered; the owner is always answered 200 and the guest 401."""


CALLS = [
    Call("GET", "/run/{run}"),
    Call("GET", "/run/{run}?queue_position=true"),
    Call("GET", "/run/{run}/stream"),
    Call("POST", "/run/{cancelled}/cancel"),
    Call("POST", "/run/deployment/queue", {"deployment_id": "{deployment}"}),
    Call("POST", "/run/deployment/sync", {"deployment_id": "{deployment}"}),
    Call("POST", "/run/deployment/stream", {"deployment_id": "{deployment}"}),
    Call("GET", "/deployment/{deployment}"),
    Call("GET", "/workflow/{workflow}"),
    Call("GET", "/machine/{machine}"),
    Call("POST", "/deployment", {"workflow_id": "{workflow}", "version_id": "{version}", "machine_id": "{machine}"}),
    Call("GET", "/deployments", stranger=200),
    Call("GET", "/deployments?environment=production", stranger=200),
    Call("GET", "/workflows", stranger=200),
    Call("GET", "/machines", stranger=200),
    Call("POST", "/workflow", {"name": "a new one"}, stranger=200),
    Call("POST", "/file/upload", {"type": "image/png", "file_size": 3}, stranger=200),
]


@pytest.fixture
async def things(owner: Talker) -> dict[str, str]:
    """What belongs to the owner, by the words that stand for it in `CALLS`."""
    deployment = await owner.deploy(ECHO, name="the owner's deployment")
    whole = await owner.get(f"/deployment/{deployment}")
    run = await owner.queue(deployment, {"text": PRIVATE})
    await owner.end_of(run)
    cancelled = await owner.queue(await owner.deploy(sleep(60)))
    await owner.post(f"/run/{cancelled}/cancel", {})
    version, machine = whole["workflow_version_id"], whole["machine_id"]
    ids = {"deployment": deployment, "workflow": whole["workflow_id"], "version": version, "machine": machine}
    return {**ids, "run": run, "cancelled": cancelled}


def _fill(template: Any, things: dict[str, str]) -> Any:
    match template:
        case str():
            return template.format(**things)
        case dict():
            return {name: _fill(value, things) for name, value in template.items()}
        case _:
            return template


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
async def test_a_thing_is_its_owners_alone(call: Call, people: dict[str, Talker], things: dict[str, str]):
    for prefix in PREFIXES:
        for who, status in (("guest", 401), ("stranger", call.stranger), ("owner", 200)):
            path, body = prefix + call.path.format(**things), _fill(call.body, things)
            answer = await people[who].ask(call.method, path, json=body)
            assert answer.status_code == status, (who, prefix, answer.text)
            if who != "owner":
                assert PRIVATE not in answer.text
                assert "the owner's deployment" not in answer.text
            if who == "guest":
                assert answer.json() == {"detail": "Invalid or missing token", "code": "unauthorized"}
                assert answer.headers["WWW-Authenticate"] == "Bearer"
            if status == 404:
                assert answer.json()["code"] == "not_found"


@pytest.mark.parametrize("call", CALLS, ids=lambda call: f"{call.method} {call.path}")
async def test_what_is_not_there_and_what_is_somebody_elses_look_the_same(
    call: Call, stranger: Talker, things: dict[str, str]
):
    if call.stranger == 200:
        return
    nothing = dict.fromkeys(things, str(uuid4()))
    foreign = await stranger.ask(call.method, call.path.format(**things), json=_fill(call.body, things))
    absent = await stranger.ask(call.method, call.path.format(**nothing), json=_fill(call.body, nothing))
    assert foreign.status_code == absent.status_code == 404
    assert _without_ids(foreign, things) == _without_ids(absent, nothing)


def _without_ids(answer: httpx.Response, things: dict[str, str]) -> str:
    text = answer.text
    for an_id in things.values():
        text = text.replace(an_id, "ID")
    return text


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("who", ["owner", "stranger", "guest"])
async def test_health_and_signed_urls_need_no_key(people: dict[str, Talker], who: str, prefix: str):
    url = await people["owner"].upload(png())
    health = await people[who].ask("GET", f"{prefix}/health")
    assert health.json()["status"] == "ok"
    picture = await people[who].ask("GET", prefix + local(url).removeprefix("/api"))
    assert (picture.status_code, picture.content) == (200, png())


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


@pytest.mark.parametrize("where", ["/deployments?key={key}", "/deployments?cd_token={key}", "/{key}/deployments"])
async def test_a_key_in_a_url_opens_nothing_and_does_not_come_back(platform, tmp_path, where: str):
    async with talkers(platform.url, None, secrets=[str(tmp_path)]) as (guest,):
        answer = await guest.ask("GET", where.format(key=platform.owner.api_key))
    assert answer.status_code in (401, 404)


@pytest.mark.parametrize("who", ["owner", "stranger", "guest"])
@pytest.mark.parametrize(
    "path", ["/", "/api", "/api/", "/nothing", "/api/run", "/deployments/", "/api/api/deployments"]
)
async def test_an_unknown_path_is_404_and_says_so_in_json(people: dict[str, Talker], who: str, path: str):
    answer = await people[who].ask("GET", path)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"] == f"There is no GET {path}"


async def test_a_wrong_method_is_405_in_json(owner: Talker):
    answer = await owner.ask("DELETE", "/deployments")
    assert (answer.status_code, answer.json()["detail"]) == (405, "Method Not Allowed")


async def test_one_owner_with_two_keys_has_one_set_of_things(platform, owner: Talker):
    _, second = await platform.parts.store.keys.create("a second key", owner=platform.owner.owner)
    async with talkers(platform.url, second, secrets=owner.secrets) as (same_person,):
        assert await same_person.get("/deployments") == await owner.get("/deployments")
