"""API keys: made with a scope and an end, listed without their secrets, and revoked at once."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from comfyui_outpost.api.server.store import Store

from .graphs import ECHO
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

KEYS = "/platform/api-keys"


async def test_both_secrets_of_a_key_are_told_once_and_never_again(platform, owner: Talker):
    made = await owner.post(KEYS, {"name": "for the studio 🙂"})
    assert made["key"].startswith("outpost_")
    assert made["webhook_secret"].startswith("whsec_")
    assert made.items() >= {"scope": "full", "expires_at": None, "revoked_at": None}.items()
    listed = await owner.get(KEYS)
    assert listed[0] == {name: value for name, value in made.items() if name not in ("key", "webhook_secret")}
    for secret in (made["key"], made["webhook_secret"], "key_hash", "whsec_"):
        assert secret not in json.dumps(listed)
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        assert await other.get(KEYS) == listed, "a key is its owner's"


async def test_they_are_listed_newest_first_and_revoked_ones_too(owner: Talker, stranger: Talker):
    made = [(await owner.post(KEYS, {"name": name}))["id"] for name in "abc"]
    await owner.delete(f"{KEYS}/{made[1]}")
    listed = await owner.get(KEYS)
    assert [each["id"] for each in listed][:3] == made[::-1]
    assert [each["revoked_at"] is not None for each in listed][:3] == [False, True, False]
    assert not {each["id"] for each in await stranger.get(KEYS)} & set(made)


async def test_a_key_that_is_revoked_stays_so_and_opens_nothing(platform, owner: Talker):
    made = await owner.post(KEYS, {"name": "soon revoked"})
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        run_id = await other.queue(await other.deploy(ECHO))
        await owner.delete(f"{KEYS}/{made['id']}")
        (first,) = [each for each in await owner.get(KEYS) if each["id"] == made["id"]]
        await owner.delete(f"{KEYS}/{made['id']}")
        assert first in await owner.get(KEYS), "the second time changes nothing"
        for path in ("/workflows", f"/run/{run_id}", KEYS):
            await other.refused(401, "GET", path)
    assert (await owner.end_of(run_id))["status"] == "success", "what it began goes on"


async def test_a_key_may_revoke_itself(platform, owner: Talker):
    made = await owner.post(KEYS, {"name": "its own end"})
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        await other.delete(f"{KEYS}/{made['id']}")
        await other.refused(401, "GET", KEYS)


@pytest.mark.own_platform
async def test_a_key_ends_when_its_time_has_come(platform, owner: Talker, monkeypatch: pytest.MonkeyPatch):
    store: Store = platform.parts.store
    made = await owner.post(KEYS, {"name": "for an hour", "expires_in": 3600})
    end = datetime.fromisoformat(made["expires_at"].replace("Z", "+00:00"))
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        await other.get(KEYS)
        for seconds, status in ((-1, 200), (0, 401), (1, 401)):
            monkeypatch.setattr(store.database, "now", lambda by=seconds: end + timedelta(seconds=by))
            assert (await other.ask("GET", KEYS)).status_code == status


@pytest.mark.parametrize("scope", ["run", "read"])
async def test_a_limited_key_makes_no_other_key(platform, owner: Talker, scope: str):
    made = await owner.post(KEYS, {"name": "limited", "scope": scope})
    assert made["scope"] == scope
    before = await owner.get(KEYS)
    async with talkers(platform.url, made["key"], secrets=owner.secrets) as (other,):
        await other.refused(403, "POST", KEYS, {"name": "more", "scope": "full"})
        await other.refused(403, "DELETE", f"{KEYS}/{made['id']}")
        await other.refused(403, "GET", KEYS)
    assert await owner.get(KEYS) == before


@pytest.mark.one_backing
@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({}, "body.name"),
        ({"name": ""}, "body.name"),
        ({"name": "two\nlines"}, "body.name"),
        ({"name": "a", "scope": "admin"}, "body.scope"),
        ({"name": "a", "expires_in": 0}, "body.expires_in"),
        ({"name": "a", "expires_in": -1}, "body.expires_in"),
        ({"name": "a", "expires_in": 1e12}, "body.expires_in"),
        ({"name": "a", "expires_in": "soon"}, "body.expires_in"),
    ],
    ids=str,
)
async def test_a_key_that_cannot_be_is_refused(owner: Talker, body, where: str):
    assert where in await owner.refused(422, "POST", KEYS, body)


async def test_a_key_that_never_was_is_not_there(owner: Talker):
    for key_id in (str(uuid4()), "x", "🙂", "%00", "x" * 3000):
        assert "no key" in await owner.refused(404, "DELETE", f"{KEYS}/{key_id}")
