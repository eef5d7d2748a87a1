"""Requests that are sent twice with one idempotency key are done once."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from comfyui_outpost.api.server.pruning import Pruning
from comfyui_outpost.api.server.store import once, open_store

from .clock import Clock
from .graphs import ECHO
from .talking import Talker

pytestmark = pytest.mark.shared_platform

KEY = {"Idempotency-Key": "the key of this deed"}


@pytest.fixture
async def things(owner: Talker) -> dict[str, str]:
    """What the requests are about."""
    made = await owner.post("/workflow", {"name": "mine", "workflow": {}, "workflow_api": ECHO})
    machine_id = (await owner.get("/machines"))[0]["id"]
    return {"workflow_id": made["workflow_id"], "version_id": made["workflow_version_id"], "machine_id": machine_id}


REQUESTS: dict[str, tuple[str, Any, Any]] = {
    "workflow": ("/workflow", {"name": "new", "workflow": {}}, {"name": "other", "workflow": {}}),
    "version": ("/workflow/{workflow_id}/version", {"workflow_api": ECHO}, {"workflow_api": ECHO, "comment": "other"}),
    "clone": ("/workflow/{workflow_id}/clone", {"name": "copy"}, {"name": "other"}),
    "deployment": (
        "/deployment",
        {"workflow_id": "{workflow_id}", "version_id": "{version_id}", "machine_id": "{machine_id}"},
        {
            "workflow_id": "{workflow_id}",
            "version_id": "{version_id}",
            "machine_id": "{machine_id}",
            "environment": "staging",
        },
    ),
}
LISTS = {
    "workflow": "/workflows",
    "version": "/workflow/{workflow_id}/versions",
    "clone": "/workflows",
    "deployment": "/deployments",
}


def filled(template: Any, things: dict[str, str]) -> Any:
    return {name: value.format(**things) if isinstance(value, str) else value for name, value in template.items()}


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_repetition_is_answered_the_same_and_makes_nothing(owner: Talker, things: dict[str, str], kind: str):
    path, body, other = REQUESTS[kind]
    path, body, other = path.format(**things), filled(body, things), filled(other, things)
    first = await owner.post(path, body, headers=KEY)
    before = await owner.get(LISTS[kind].format(**things))
    again = await owner.post(f"/api{path}", dict(reversed(body.items())), headers=KEY)
    assert again == first
    assert await owner.get(LISTS[kind].format(**things)) == before
    answer = await owner.ask("POST", path, json=other, headers=KEY)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert await owner.get(LISTS[kind].format(**things)) == before


async def test_the_key_of_one_request_is_none_for_another_endpoint(owner: Talker, things: dict[str, str]):
    await owner.post(f"/workflow/{things['workflow_id']}/clone", {}, headers=KEY)
    answer = await owner.ask("POST", "/workflow", json={"name": "new", "workflow": {}}, headers=KEY)
    assert answer.status_code == 409


async def test_somebody_elses_key_is_another_one(owner: Talker, stranger: Talker):
    body = {"name": "new", "workflow": {}}
    mine = await owner.post("/workflow", body, headers=KEY)
    theirs = await stranger.post("/workflow", body, headers=KEY)
    assert mine["workflow_id"] != theirs["workflow_id"]


async def test_many_at_once_make_one(owner: Talker):
    body = {"name": "only one", "workflow": {}, "workflow_api": ECHO}
    answers = await asyncio.gather(*(owner.post("/workflow", body, headers=KEY) for _ in range(10)))
    assert len({each["workflow_id"] for each in answers}) == 1
    assert [each["name"] for each in await owner.get("/workflows?search=only")] == ["only one"]


async def test_what_was_refused_may_be_sent_again_with_its_key(owner: Talker, things: dict[str, str]):
    body = {**things, "environment": "staging", "machine_id": things["workflow_id"]}
    assert (await owner.ask("POST", "/deployment", json=body, headers=KEY)).status_code == 404
    made = await owner.post("/deployment", {**things, "environment": "staging"}, headers=KEY)
    assert made["environment"] == "staging"


@pytest.mark.one_backing
@pytest.mark.parametrize("key", ["short", "x" * 201, "ключ ключ ключ"])
async def test_a_key_that_is_none_is_refused(owner: Talker, key: str):
    answer = await owner.ask(
        "POST", "/workflow", json={"name": "new", "workflow": {}}, headers={"Idempotency-Key": key.encode()}
    )
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")


@pytest.mark.own_platform
async def test_what_is_old_is_forgotten_in_batches_and_what_is_new_stays(
    owner: Talker, platform: Any, monkeypatch: pytest.MonkeyPatch
):
    clock = platform.parts.store.database.now = Clock()
    monkeypatch.setattr(once, "BATCH", 2)
    body = {"name": "new", "workflow": {}}
    old = [await owner.post("/workflow", body, headers={"Idempotency-Key": f"old deed {each}"}) for each in range(3)]
    clock.pass_seconds(once.KEPT.total_seconds() - 1)
    new = await owner.post("/workflow", body, headers=KEY)
    forget = platform.parts.store.once.forget_old

    assert await forget() is False, "it is recognised for as long as is promised"
    assert await owner.post("/workflow", body, headers={"Idempotency-Key": "old deed 0"}) == old[0]
    clock.pass_seconds(2)
    assert [await forget() for _ in range(2)] == [True, False]

    assert await owner.post("/workflow", body, headers={"Idempotency-Key": "old deed 0"}) != old[0]
    assert await owner.post("/workflow", body, headers=KEY) == new


async def test_what_is_old_is_found_by_an_index(tmp_path: Path):
    store = await open_store(f"sqlite:///{tmp_path / 'db.sqlite'}")
    seen: list[tuple[str, Any]] = []

    def see(*called: Any) -> None:
        seen.append(called[2:4])

    sa.event.listen(sa.Engine, "before_cursor_execute", see)
    try:
        await store.once.forget_old()
    finally:
        sa.event.remove(sa.Engine, "before_cursor_execute", see)
        await store.database.close()
    [(statement, values)] = [each for each in seen if each[0].startswith("DELETE")]
    with closing(sqlite3.connect(tmp_path / "db.sqlite")) as connection:
        plan = " / ".join(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", values))
    assert "(created_at<?)" in plan
    assert "SCAN answered_requests" not in plan
    assert "TEMP B-TREE" not in plan


async def test_forgetting_goes_on_after_a_failure(expect_log: Callable[[str], None]):
    expect_log("what is old could not be forgotten")
    steps = chain([True, ConnectionError("the database is away")], repeat(False))
    done = asyncio.Event()

    async def forget() -> bool:
        step = next(steps)
        if isinstance(step, Exception):
            raise step
        if not step:
            done.set()
        return step

    pruning = Pruning(forget, seconds=0)
    await pruning.start()
    await asyncio.wait_for(done.wait(), 20)
    await pruning.stop()
