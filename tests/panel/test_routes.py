"""What the page's routes answer: on a platform at work, on the hosted one, and when something is wrong."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.panel import deployments
from comfyui_outpost.api.panel.routes import Panel
from comfyui_outpost.api.panel.table import Route
from comfyui_outpost.tests.fakes.flaky import Flaky, answer, break_off, text
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import OWN, Page, opened

UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"
JPEG = b"\xff\xd8\xff\xe0 not read here"
LIST, ASSETS = "/outpost/deployments", "/outpost/assets?path=&query="


async def _deploy(client: Client, platform: Any, workflow: str, graph: Any, **more: Any) -> str:
    made = await client.workflows.create(workflow, {"nodes": []}, workflow_api=graph)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=platform.owner.machine_id,
        check_machine=False,
        **more,
    )
    return deployment.id


GRAPH = {
    "1": {
        "class_type": "ComfyUIDeployExternalImage",
        "inputs": {"input_id": "image", "default_value_url": "https://x.example/a?s=" + "z" * 30},
    },
    "2": {"class_type": "HiddenNode", "inputs": {"secret": "in the graph"}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "output_id": "same"}},
}


async def test_deployments_are_told_by_name_without_their_graphs(connected: Page, client: Client, platform: Any):
    second = await _deploy(client, platform, "beta", GRAPH, environment="staging", name="alpha")
    first = await _deploy(client, platform, "Alpha", GRAPH)
    await client.deployments.deactivate(first)

    told = (await connected.told(LIST))["deployments"]

    assert [(each["name"], each["environment"], each["is_active"]) for each in told[:2]] == [
        ("Alpha", "production", False),
        ("alpha", "staging", True),
    ]
    assert [each["id"] for each in told] == [first, second, platform.owner.deployment_id]
    assert told[0]["machine"] == "built-in"
    assert told[0]["workflow"] == "Alpha"
    assert "in the graph" not in str(told)
    assert platform.stranger.deployment_id not in {each["id"] for each in told}


async def test_a_form_tells_what_a_deployment_takes_and_gives_and_not_how(
    connected: Page, client: Client, platform: Any
):
    deployment_id = await _deploy(client, platform, "Same", GRAPH)

    told = await connected.told(f"{LIST}/{deployment_id}")

    assert set(told) == {"id", "name", "environment", "is_active", "inputs", "outputs", "deployment"}
    assert [(each["input_id"], each["is_required"], each["widget"]) for each in told["inputs"]] == [
        ("image", False, None)
    ]
    assert [(each["name"], each["socket"]) for each in told["outputs"]] == [("same", "IMAGE")]
    assert "in the graph" not in str(told)
    assert await connected.told(f"{LIST}/{deployment_id.upper()}") == told


async def test_a_deployment_that_was_deleted_is_gone(connected: Page, client: Client, platform: Any):
    deployment_id = await _deploy(client, platform, "Same", GRAPH)
    await connected.told(f"{LIST}/{deployment_id}")
    await client.deployments.delete(deployment_id)

    answer = await connected.get(f"{LIST}/{deployment_id}")

    assert (answer.status, answer.data["code"]) == (404, "not_found")
    assert deployment_id not in str(await connected.told(LIST))


# Path, status, and what the answer says.
BAD = [
    (f"{LIST}/{UNKNOWN}", 404, "no deployment"),
    (f"{LIST}/abc", 422, "not an id"),
    (f"{LIST}/..", 404, None),
    (f"{LIST}/%2e%2e", 404, None),
    (f"{LIST}/..%2Fmachines", 422, "not an id"),
    (f"{LIST}/{UNKNOWN}%2F..%2F..%2Fmachines", 422, "not an id"),
    (f"{LIST}/{UNKNOWN}%3Fx=1", 422, "not an id"),
    (f"{LIST}/%00", 422, "not an id"),
    (f"{LIST}/http:%2F%2Fevil.example", 422, "not an id"),
    (f"{LIST}/{'a' * 5000}", 422, "not an id"),
    ("/outpost/assets/img_unknown/thumbnail", 404, "no asset"),
    ("/outpost/assets/..%2F..%2Fhealth/thumbnail", 422, "not an id"),
    ("/outpost/assets/http:%2F%2Fevil.example/thumbnail", 422, "not an id"),
    ("/outpost/assets/a.b/thumbnail", 422, "not an id"),
    (f"/outpost/assets?path={'a' * 1001}", 422, "1000 characters"),
    ("/outpost/assets?path=a%00b", 422, "without control characters"),
    ("/outpost/assets?query=a%0ab", 422, "without control characters"),
    ("/outpost/assets?query=a%7Fb", 422, "without control characters"),
]


@pytest.mark.parametrize(("path", "status", "words"), BAD)
async def test_what_is_no_identifier_goes_nowhere(connected: Page, path: str, status: int, words: str | None):
    if words is None:  # none of our routes
        async with connected._session.get(connected.url + path) as response:
            assert response.status in (403, status)
        return
    answer = await connected.get(path)
    assert (answer.status, words in answer.data["detail"]) == (status, True), answer.data
    assert len(answer.data["detail"]) < 400


async def test_the_library_is_told_folder_by_folder(connected: Page, client: Client):
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # one sign of several characters
    await client.assets.create_folder(family)
    await client.assets.upload(JPEG, content_type="image/jpeg", name="b.jpg", parent_path=family)
    await client.assets.upload(b"{}", content_type="application/json", name="C.json")
    await client.assets.upload(JPEG, content_type="image/jpeg", name="a.jpg")

    top = await connected.told(ASSETS)
    inner = await connected.told(f"/outpost/assets?path=/{quote(family)}/&query=")
    found = await connected.told("/outpost/assets?path=&query=.JPG")
    nothing = await connected.told("/outpost/assets?path=not/there")

    assert [(each["name"], each["is_folder"], each["kind"]) for each in top["assets"]] == [
        (family, True, None),
        ("a.jpg", False, "image"),
        ("C.json", False, "file"),
    ]
    assert [(each["name"], each["size"]) for each in inner["assets"]] == [("b.jpg", len(JPEG))]
    assert [each["name"] for each in found["assets"]] == ["a.jpg", "b.jpg"]
    assert (nothing["assets"], nothing["path"]) == ([], "not/there")
    assert set(top["assets"][0]) == {"id", "name", "path", "is_folder", "kind", "size", "updated_at"}


async def test_the_hosted_platform_is_told_the_same_way(page: Page):
    server = HostedPlatform()
    root = {"id": "folder_root", "name": "", "path": "", "is_folder": True}
    refs = {"id": "folder_refs", "name": "refs", "path": "refs", "is_folder": True}
    server.library.assets = {each["id"]: each for each in (root, refs)}
    async with served(server.app) as url:
        page.connect(url, KEY)

        listed = (await page.told(LIST))["deployments"]
        forms = [await page.told(f"{LIST}/{each['id']}") for each in listed]
        unknown = await page.get(f"{LIST}/{UNKNOWN}")
        assets = (await page.told(ASSETS))["assets"]

    assert {each["id"] for each in listed} == set(server.deployments.rows)
    assert all(each["is_active"] for each in listed)
    assert all(form["inputs"] for form in forms)
    assert (unknown.status, unknown.data["code"]) == (404, "not_found")
    assert [each["name"] for each in assets] == ["refs"]


# What the platform does, the status that the page gets, its code, and words of the reason.
FAILURES: list[tuple[str, list[Any], int, str, str]] = [
    ("the key is refused", [answer({"detail": "Invalid or expired token"}, 401)], 502, "unauthorized", "expired"),
    ("the key is repeated", [answer({"detail": f"Who is {KEY}?"}, 401)], 502, "unauthorized", "Who is …?"),
    ("a proxy wants a log-in", [text("no", 407)], 502, "api_error", "407"),
    ("the key may not", [answer({"detail": "not with this key"}, 403)], 403, "forbidden", "not with this key"),
    (
        "too many requests",
        [answer({"detail": "slow"}, 429, headers={"Retry-After": "99"})],
        429,
        "rate_limited",
        "slow",
    ),
    ("it fails", [text("Internal Server Error", 500)], 500, "server_error", "Internal Server Error"),
    (
        "it redirects",
        [answer({}, 302, headers={"Location": "https://x.example/?X-Amz-Signature=1"})],
        503,
        "configuration",
        "redirects",
    ),
    (
        "it answers a page",
        [text("<html>Traceback</html>", 200, content_type="text/html")],
        502,
        "server_error",
        "not JSON",
    ),
    ("it answers something else", [answer({"rows": []})], 502, "server_error", "is not JSON"),
    (
        "it answers rows of something else",
        [answer([{"id": "../../x", "url": "/store/?s=1"}])],
        502,
        "server_error",
        "not what it should",
    ),
    (
        "it answers too deep a thing",
        [text("[" * 100_000, content_type="application/json")],
        502,
        "server_error",
        "not JSON",
    ),
    (
        "its storage is told",
        [answer({"error": "see https://x.example/a?X-Amz-Signature=secret"}, 400)],
        400,
        "bad_request",
        "?…",
    ),
]


@pytest.mark.parametrize(("name", "acts", "status", "code", "words"), FAILURES, ids=[each[0] for each in FAILURES])
async def test_what_is_wrong_with_a_platform_is_told(
    page: Page, name: str, acts: list[Any], status: int, code: str, words: str, caplog: pytest.LogCaptureFixture
):
    async with served(Flaky(*acts).app) as url:
        page.connect(url, KEY)
        told = await page.get(LIST)

    assert (told.status, told.data["code"]) == (status, code), told.data
    assert words in told.data["detail"]
    assert KEY not in caplog.text


async def test_a_platform_that_went_away_is_named(page: Page):
    async with served(Flaky(break_off).app) as url:
        page.connect(url, KEY)

    answer = await page.get(LIST)

    assert (answer.status, answer.data["code"]) == (502, "connection_failed")
    assert url in answer.data["detail"]


async def test_a_platform_that_never_answers_is_not_waited_for_forever(page: Page, tmp_path: Path):
    left = asyncio.Event()

    async def never(request: Any) -> Any:
        await left.wait()
        return await answer([])(request)

    async with served(Flaky(never).app) as url, opened(tmp_path / "settings" / "connection.json", patience=0.1) as page:
        page.connect(url, KEY)
        told = await page.get(LIST)
        left.set()

    assert (told.status, told.data["code"]) == (504, "unavailable")
    assert "did not answer in 0.1 seconds" in told.data["detail"]


async def test_a_fault_of_our_own_is_one_sentence_and_its_reason_is_in_the_log(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    async def broken(call: Any) -> Any:
        raise ZeroDivisionError("a reason")

    monkeypatch.setattr(deployments, "list_deployments", broken)
    app = web.Application()
    app.router.add_get(LIST, Panel().handler(Route("GET", "/deployments", "deployments.list_deployments")))
    async with served(app) as url, aiohttp.request("GET", url + LIST, headers=OWN) as response:
        told = await response.text()

    assert response.status == 500
    assert "ComfyUI's log has the reason" in told
    assert "reason" not in told.replace("has the reason", "")
    assert "a reason" in caplog.text


async def test_without_a_platform_the_page_is_told_how_to_set_one_up(page: Page, tmp_path: Path):
    for path in (LIST, f"{LIST}/{UNKNOWN}", ASSETS, "/outpost/assets/img_1/thumbnail"):
        answer = await page.get(path)
        assert (answer.status, answer.data["code"]) == (503, "no_connection")
        assert "outpost connect" in answer.data["detail"]


async def test_a_platform_with_another_key_is_asked_with_that_one(page: Page, platform: Any):
    page.connect(platform.url, "outpost-" + "x" * 30)
    assert (await page.get(LIST)).status == 502

    page.connect(platform.url, platform.stranger.api_key)
    told = (await page.told(LIST))["deployments"]

    assert [each["id"] for each in told] == [platform.stranger.deployment_id]


async def test_a_client_is_kept_and_closed_when_another_platform_is_set_up_and_nobody_waits_for_it(page: Page):
    came, may_answer = asyncio.Event(), asyncio.Event()

    async def slow(request: Any) -> Any:
        came.set()
        await may_answer.wait()
        return await answer([])(request)

    first, second = Flaky(answer([]), answer([]), slow), Flaky(answer([]))
    async with served(first.app) as first_url, served(second.app) as second_url:
        page.connect(first_url, KEY)
        await page.told(LIST)  # asks twice: for deployments on machines of either kind
        assert len(set(map(id, first.transports))) == 1
        waiting = asyncio.create_task(page.told(LIST))
        await came.wait()

        page.connect(second_url, KEY)
        await page.told(LIST)
        assert not any(transport.is_closing() for transport in first.transports)

        may_answer.set()
        assert await waiting == {"deployments": []}
        await asyncio.wait_for(_all_closed(first.transports), 20)
        assert not any(transport.is_closing() for transport in second.transports)


async def _all_closed(transports: list[Any]) -> None:
    while not all(transport.is_closing() for transport in transports):
        await asyncio.sleep(0)
