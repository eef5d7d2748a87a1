"""The library: bringing files there, moving and renaming them, and having them back, on both kinds of platform."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from urllib.parse import urlencode

import aiohttp
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.panel import assets
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import OWN, Page

ASSETS = "/outpost/assets"
PNG = b"\x89PNG\r\n\x1a\n not read here"
HTML = b"<script>fetch('/outpost/connections')</script>"


@pytest.fixture
async def library(page: Page, platform: Any) -> AsyncGenerator[Client, None]:
    """The library of the platform that the page is connected with."""
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client


async def _upload(page: Page, data: bytes, name: str, path: str = "", size: int | None = None) -> Any:
    asked = urlencode({"path": path, "name": name, "size": len(data) if size is None else size})
    return await page.get(f"{ASSETS}?{asked}", method="POST", body=data)


async def _file(page: Page, asset_id: str, query: str = "") -> tuple[Any, bytes]:
    async with aiohttp.request("GET", f"{page.url}{ASSETS}/{asset_id}/file{query}", headers=OWN) as response:
        return response, await response.read()


@pytest.mark.parametrize("is_large", [False, True])
async def test_a_file_comes_into_a_folder_as_it_is_and_back(
    page: Page, library: Client, is_large: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(assets, "_LARGE", 1 if is_large else 1 << 30)
    await page.done("POST", f"{ASSETS}/folders", {"path": "", "name": "Über refs"})
    data = PNG + bytes(range(256)) * 3000

    made = (await _upload(page, data, "猫 1.png", "Über refs")).data

    assert (made["name"], made["kind"], made["size"], made["is_folder"]) == ("猫 1.png", "image", len(data), False)
    [kept] = await library.assets.list("Über refs")
    assert (kept.id, kept.mime_type) == (made["id"], "image/png")
    response, whole = await _file(page, made["id"])
    assert whole == data
    assert response.headers["Content-Disposition"] == "inline; filename*=UTF-8''%E7%8C%AB%201.png"
    assert response.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"


@pytest.mark.parametrize("name", ["a.html", "a.svg", "a.xhtml", "a.pdf", "a.js", "a", "a.xml", "a.bin"])
async def test_what_could_hold_a_script_is_saved_and_never_shown(page: Page, library: Client, name: str):
    made = await library.assets.upload(HTML, content_type="application/octet-stream", name=name)

    response, whole = await _file(page, made.id)

    assert whole == HTML
    assert response.headers["Content-Type"] == "application/octet-stream"
    assert response.headers["Content-Disposition"].startswith("attachment;")
    assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_picture_is_saved_when_that_is_wanted(page: Page, library: Client):
    made = await library.assets.upload(PNG, content_type="image/png", name="a.png")

    response, _ = await _file(page, made.id, "?save=true")

    assert response.headers["Content-Disposition"] == "attachment; filename*=UTF-8''a.png"
    assert response.headers["Content-Type"] == "application/octet-stream"


async def test_what_is_too_large_to_be_looked_at_can_be_saved(
    page: Page, library: Client, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(assets, "MAX_SHOWN", len(PNG) - 1)
    made = await library.assets.upload(PNG, content_type="image/png", name="a.png")

    shown, why = await _file(page, made.id)
    saved, whole = await _file(page, made.id, "?save=true")

    assert (shown.status, b"Save it" in why) == (413, True)
    assert (saved.status, whole) == (200, PNG)


# Name, folder, size that is said, status, and what the answer says.
BAD = [
    ("../a.png", "", None, 422, "name"),
    ("a/b.png", "", None, 422, "name"),
    ("a\\b.png", "", None, 422, "name"),
    ("", "", None, 422, "name"),
    ("a\nb.png", "", None, 422, "name"),
    ("a.png", "x\x00y", None, 422, "path"),
    ("a.png", "not/there", None, 404, "not/there"),
    ("a.png", "", -1, 422, "size"),
    ("a.png", "", 3, 400, "sent more"),
    ("a.png", "", 9, 400, "sent 4"),
    ("a.png", "", 1 << 50, 413, "A file may have"),
]


@pytest.mark.parametrize(("name", "path", "size", "status", "words"), BAD)
async def test_what_cannot_be_kept_is_refused_and_nothing_is_left(
    page: Page, library: Client, name: str, path: str, size: int | None, status: int, words: str
):
    answer = await _upload(page, b"data", name, path, size)

    assert (answer.status, words in answer.data["detail"]) == (status, True), answer.data
    assert await library.assets.list() == []


async def test_a_file_never_comes_to_another_platform_than_it_was_meant_for(page: Page, library: Client):
    path = f"{ASSETS}?{urlencode({'name': 'a.png', 'size': len(PNG)})}"

    other = await page.get(path, {**OWN, "Outpost-Connection": "another-one"}, method="POST", body=PNG)
    assert (other.status, "Another connection" in other.data["detail"]) == (409, True)
    assert await library.assets.list() == []

    right = await page.get(path, {**OWN, "Outpost-Connection": library.connection.id}, method="POST", body=PNG)
    assert (right.status, right.data["name"]) == (200, "a.png")


async def test_assets_are_renamed_moved_and_deleted(page: Page, library: Client):
    refs = await page.done("POST", f"{ASSETS}/folders", {"name": "refs"})
    hands = await page.done("POST", f"{ASSETS}/folders", {"name": "hands", "path": "refs"})
    made = (await _upload(page, b"{}", "a.json")).data

    await page.done("PATCH", f"{ASSETS}/{made['id']}", {"name": "b.json"})
    moved = await page.done("PATCH", f"{ASSETS}/{made['id']}", {"path": "refs/hands"})
    into_itself = await page.send("PATCH", f"{ASSETS}/{refs['id']}", {"path": "refs/hands"})
    nothing = await page.send("PATCH", f"{ASSETS}/{made['id']}", {})
    twice = await page.send("POST", f"{ASSETS}/folders", {"name": "refs"})

    assert (moved["name"], moved["path"].startswith("refs/hands/")) == ("b.json", True)
    assert [each.name for each in await library.assets.list("refs/hands")] == ["b.json"]
    assert [each.status for each in (into_itself, nothing, twice)] == [422, 422, 409]
    await page.done("DELETE", f"{ASSETS}/{refs['id']}")
    assert await library.assets.list() == []
    gone = await page.send("DELETE", f"{ASSETS}/{hands['id']}")
    assert (gone.status, gone.data["code"]) == (404, "not_found")


async def test_a_folder_is_no_file(page: Page, library: Client):
    folder = await library.assets.create_folder("refs")
    answer = await page.get(f"{ASSETS}/{folder.id}/file")
    assert (answer.status, answer.data["code"]) == (404, "not_found")


async def test_the_hosted_platform_takes_files_and_says_what_it_cannot(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        made = (await _upload(page, PNG, "a.png")).data
        await page.done("POST", f"{ASSETS}/folders", {"name": "refs"})
        await page.done("PATCH", f"{ASSETS}/{made['id']}", {"path": "refs"})
        renamed = await page.send("PATCH", f"{ASSETS}/{made['id']}", {"name": "b.png"})
        refused = await _upload(page, b"text", "a.txt")
        listed = await page.told(f"{ASSETS}?path=refs")
        await page.done("DELETE", f"{ASSETS}/{made['id']}")

    assert [each["name"] for each in listed["assets"]] == ["a.png"]
    assert (renamed.status, renamed.data["code"]) == (501, "not_supported")
    assert "Upload it under the other name" in renamed.data["detail"]
    assert refused.status == 400
    assert made["id"] not in server.library.assets
