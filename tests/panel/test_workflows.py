"""Workflows on the page: what its routes tell and do, on a platform at work and on the hosted one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page, opened

UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"
LIST = "/outpost/workflows"
EDITOR = {"nodes": [{"id": 1, "type": "EmptyImage"}], "links": [], "extra": {"note": "as it was drawn"}}
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}
KEYS = ("key-of-the-first-deed", "key-of-the-second-deed", "key-of-the-copy")


def graphs(number: int = 0, **more: Any) -> dict[str, Any]:
    """What the page sends to have a graph kept."""
    return {"workflow": EDITOR, "workflow_api": GRAPH, "key": KEYS[number], **more}


@pytest.fixture
def connected(page: Page, platform: Any) -> Page:
    page.connect(platform.url, platform.owner.api_key)
    return page


@pytest.fixture
async def client(platform: Any) -> AsyncIterator[Client]:
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client


@pytest.fixture
async def hosted(page: Page) -> AsyncIterator[tuple[HostedPlatform, str]]:
    """The hosted platform, set up as the page's, with no workflow on it; and its address."""
    server = HostedPlatform()
    server.workflows.rows.clear()
    async with served(server.app) as url:
        page.connect(url, KEY)
        yield server, url


async def _names(page: Page, query: str = "") -> list[str]:
    return [each["name"] for each in (await page.told(LIST + query))["workflows"]]


async def test_a_graph_becomes_a_workflow_and_gets_versions(connected: Page, client: Client):
    made = await connected.done("POST", LIST, graphs(name="Portrait", description="Of people"))
    path = f"{LIST}/{made['id']}"
    added = await connected.done("POST", f"{path}/versions", graphs(1, comment="Softer light"))

    assert (made["version"], added["version"], added["comment"]) == (1, 2, "Softer light")
    told = await connected.told(path)
    assert (told["name"], told["description"], told["pinned"], told["version"]) == ("Portrait", "Of people", False, 2)
    assert set(told) == {"id", "name", "description", "pinned", "version", "created_at", "updated_at"}
    listed = await connected.told(f"{path}/versions")
    assert [(each["version"], each["comment"]) for each in listed["versions"]] == [(2, "Softer light"), (1, "")]
    assert listed["versions"][0]["author"]
    assert listed["more"] is False
    assert "EmptyImage" not in json.dumps([told, listed])
    whole = await connected.told(f"{path}/versions/1")
    assert (whole["workflow"], whole["workflow_api"]) == (EDITOR, GRAPH)
    assert (await client.workflows.version(made["id"], 2)).comment == "Softer light"


async def test_what_takes_longer_than_the_page_waits_is_sent_once_to_a_platform_that_knows_no_keys(
    page: Page, tmp_path: Path
):
    server = HostedPlatform()
    server.may_answer = asyncio.Event()
    settings = tmp_path / "settings" / "connection.json"
    async with served(server.app) as url, opened(settings, patience=0.3) as page:
        page.connect(url, KEY)
        for _ in range(2):
            assert (await page.send("POST", LIST, graphs(name="Mine"))).status == 504
        server.may_answer.set()
        made = await page.done("POST", LIST, graphs(name="Mine"))
        assert len(server.log.named("POST", "/api/workflow")) == 1
        assert made["id"] in server.workflows.rows


async def test_what_is_sent_again_with_the_same_key_is_kept_once(connected: Page, client: Client):
    first, second = [await connected.done("POST", LIST, graphs(name="Portrait")) for _ in range(2)]
    versions = f"{LIST}/{first['id']}/versions"
    added = [await connected.done("POST", versions, graphs(1, comment="Twice")) for _ in range(2)]
    copies = [
        await connected.done("POST", f"{LIST}/{first['id']}/clone", {"name": "Copy", "key": KEYS[2]}) for _ in range(2)
    ]

    assert first == second
    other = await connected.send("POST", LIST, graphs(name="Another graph, and the key of the first"))
    assert (other.status, other.data["code"]) == (409, "conflict")
    assert added[0] == added[1]
    assert copies[0]["id"] == copies[1]["id"]
    assert [each.version for each in await client.workflows.versions(first["id"])] == [2, 1]
    assert sorted(each.name for each in await client.workflows.list("P")) == ["Copy", "Hello Outpost", "Portrait"]


async def test_workflows_are_searched_sorted_and_told_page_by_page(connected: Page, client: Client):
    for name in ("beta", "Alpha", *(f"number {each:03}" for each in range(101))):
        await client.workflows.create(name, EDITOR, workflow_api=GRAPH)
    pinned = (await client.workflows.list("number 050"))[0]
    await client.workflows.update(pinned.id, pinned=True)

    first = await connected.told(f"{LIST}?search=NUMBER")
    rest = await connected.told(f"{LIST}?search=NUMBER&offset=100")

    assert (len(first["workflows"]), first["more"], len(rest["workflows"]), rest["more"]) == (100, True, 1, False)
    assert first["workflows"][0]["id"] == pinned.id
    assert len({each["id"] for each in first["workflows"] + rest["workflows"]}) == 101
    assert first["can_sort"] is True
    assert (await _names(connected, "?sort=name"))[:3] == ["number 050", "Alpha", "beta"]
    assert (await _names(connected, "?sort=created"))[:2] == ["number 050", "number 100"]
    assert await _names(connected, "?search=no%20such%20name") == []


async def test_a_workflow_is_renamed_described_pinned_cloned_and_deleted(connected: Page, client: Client):
    made = await connected.done("POST", LIST, graphs(name="Portrait"))
    path = f"{LIST}/{made['id']}"

    changed = await connected.done("PATCH", path, {"name": "<b>Portrait</b>", "description": "Of people"})
    assert (changed["name"], changed["description"]) == ("<b>Portrait</b>", "Of people")
    assert (await connected.done("PATCH", path, {"pinned": True}))["pinned"] is True
    assert (await connected.done("PATCH", path, {"description": ""}))["description"] == ""
    copy = await connected.done("POST", f"{path}/clone", {"name": "Copy", "key": KEYS[2]})
    assert (await client.workflows.get(copy["id"])).name == "Copy"

    await connected.done("DELETE", path)
    assert (await connected.get(path)).status == 404
    with pytest.raises(NotFound):
        await client.workflows.get(made["id"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "", {"name": "", **graphs()}, 422),
        ("POST", "", {"name": "x" * 201, **graphs()}, 422),
        ("POST", "", {"name": "No graph", "key": KEYS[0]}, 422),
        ("POST", "", {"name": "No key", "workflow": {}, "workflow_api": {}}, 422),
        ("POST", "", {"name": "A key with more", **graphs(), "key": "a\r\nX-Other: 1"}, 422),
        ("PATCH", f"/{UNKNOWN}", {}, 422),
        ("PATCH", f"/{UNKNOWN}", {"name": "There is none"}, 404),
        ("GET", "?sort=size", None, 422),
        ("GET", "?offset=-1", None, 422),
        ("GET", f"/{UNKNOWN}", None, 404),
        ("GET", f"/{UNKNOWN}/versions/1", None, 404),
        ("GET", f"/{UNKNOWN}/versions/0", None, 404),
        ("GET", f"/{UNKNOWN}/versions/%D9%A3", None, 404),
        ("GET", f"/{UNKNOWN}/cover", None, 404),
        ("GET", "/..%2F..%2Fetc%2Fpasswd", None, 422),
        ("DELETE", f"/{UNKNOWN}", None, 404),
    ],
)
async def test_what_makes_no_sense_is_refused_in_a_sentence(
    connected: Page, method: str, path: str, body: Any, status: int
):
    answer = await (connected.get(LIST + path) if method == "GET" else connected.send(method, LIST + path, body))

    assert answer.status == status, answer.body
    assert answer.data["detail"]
    assert b"X-Other" not in answer.body


async def test_a_workflow_of_somebody_else_is_not_there(connected: Page, platform: Any):
    async with Client(Connection(platform.url, platform.stranger.api_key)) as stranger:
        theirs = (await stranger.workflows.list())[0]

    assert theirs.id not in {each["id"] for each in (await connected.told(LIST))["workflows"]}
    for part in ("", "/versions", "/versions/1", "/cover"):
        assert (await connected.get(f"{LIST}/{theirs.id}{part}")).status == 404
    assert (await connected.send("DELETE", f"{LIST}/{theirs.id}")).status == 404


async def test_the_hosted_platform_does_the_same(page: Page, hosted: tuple[HostedPlatform, str]):
    server, _ = hosted
    made = await page.done("POST", LIST, graphs(name="Portrait", description="Of people", comment="First"))
    path = f"{LIST}/{made['id']}"
    await page.done("POST", f"{path}/versions", graphs(comment="Softer light"))

    assert made["version"] == 1
    assert (await page.told(f"{path}/versions"))["versions"][0]["comment"] == "Softer light"
    assert (await page.told(f"{path}/versions/2"))["workflow_api"] == GRAPH
    changed = await page.done("PATCH", path, {"name": "Other", "pinned": True})
    assert (changed["name"], changed["pinned"]) == ("Other", True)
    assert await _names(page, "?sort=name") == ["Other"]
    assert (await page.told(LIST))["can_sort"] is False
    assert "sort=" not in server.log.named("GET", "/api/workflows")[-1].path
    assert (await page.done("POST", f"{path}/clone", {"name": "Copy", "key": KEYS[2]}))["name"] == "Copy"
    await page.done("DELETE", path)
    assert await _names(page) == ["Copy"]
