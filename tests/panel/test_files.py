"""Files that the page sends to be the inputs of runs."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import UnsupportedMedia
from comfyui_outpost.api.panel.files import copies, spool
from comfyui_outpost.api.panel.files.bringing import bring
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page

FILES = "/outpost/files"


async def test_a_file_of_another_size_than_was_said_is_refused(page: Page, platform: Any):
    page.connect(platform.url, platform.owner.api_key)
    for size in (3, 5):
        assert (await page.get(f"{FILES}?name=a.png&size={size}", method="POST", body=b"four")).status == 400


async def test_a_file_that_is_too_large_is_refused_with_the_limit(page: Page, platform: Any):
    page.connect(platform.url, platform.owner.api_key)
    answer = await page.get(f"{FILES}?name=a.png&size={spool.MAX_UPLOAD + 1}", method="POST", body=b"x")
    assert answer.status == 413
    assert str(spool.MAX_UPLOAD) in answer.data["detail"]


@pytest.mark.parametrize("name", ["", "../a.png", "a/b.png", "a%00b.png"])
async def test_a_name_that_is_a_path_is_refused(page: Page, platform: Any, name: str):
    page.connect(platform.url, platform.owner.api_key)
    assert (await page.get(f"{FILES}?name={name}&size=1", method="POST", body=b"x")).status == 422


async def test_the_hosted_platform_takes_a_file_and_its_address_stays_here(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        answer = await page.get(f"{FILES}?name=a.png&size=4", method="POST", body=b"four")
        assert answer.status == 200
        assert server.library.uploaded == b"four"
        assert set(answer.data) == {"file_id", "name", "kind", "size"}
        run = {"deployment_id": server.deployment["id"], "key": "a-deed-of-the-page"}
        await page.done("POST", "/outpost/runs", {**run, "files": {"image": answer.data["file_id"]}})
        assert b"/store/inputs/" in server.log.submissions()[-1].body


async def test_a_file_goes_where_the_page_was_connected_when_it_began_to_send_it(
    page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    meant, other = HostedPlatform(), HostedPlatform()
    async with served(meant.app) as url, served(other.app) as other_url:
        page.connect(url, KEY)

        async def body() -> AsyncGenerator[bytes, None]:
            yield b"fo"
            while not list(tmp_path.glob(f"{copies._PREFIX}*")):
                await asyncio.sleep(0.005)
            page.connect(other_url, KEY)
            yield b"ur"

        answer = await page.get(f"{FILES}?name=a.png&size=4", method="POST", body=body())
    assert answer.status == 200
    assert (meant.library.uploaded, other.library.uploaded) == (b"four", b"")


async def content(path: Path) -> None:
    path.write_bytes(b"a picture")


async def test_what_was_brought_in_half_is_brought_again(tmp_path: Path):
    found = tmp_path / await bring(content, name="a.png", kind=None, input_folder=tmp_path)
    found.write_bytes(b"a pic")
    assert tmp_path / await bring(content, name="a.png", kind=None, input_folder=tmp_path) == found
    assert found.read_bytes() == b"a picture"

    before = found.stat().st_ino
    await bring(content, name="a.png", kind=None, input_folder=tmp_path)
    assert found.stat().st_ino == before, "what is whole stays"


async def test_what_is_brought_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    synced = list[int]()

    def fsync(number: int) -> None:
        assert not list(tmp_path.glob("*.png"))
        synced.append(os.fstat(number).st_size)

    monkeypatch.setattr(os, "fsync", fsync)
    await bring(content, name="a.png", kind=None, input_folder=tmp_path)
    assert synced == [len(b"a picture")]


async def test_what_was_left_halfway_by_a_comfyui_that_was_killed_is_removed(tmp_path: Path):
    arriving, old = ".outpost-arriving-", 2 * 24 * 3600
    for name, age in ((f"{arriving}old", old), (f"{arriving}new", 3600), ("of-somebody", old), ("outpost", old)):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "file").touch()
        for each in (tmp_path / name / "file", tmp_path / name):
            os.utime(each, (time.time() - age, time.time() - age))
    found = await bring(content, name="a.png", kind=None, input_folder=tmp_path)
    assert {each.name for each in tmp_path.iterdir()} == {f"{arriving}new", "of-somebody", "outpost", found}


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("a b/c.png", "a_b_c.png"),
        ("..\\..\\x.PNG", "x.png"),
        ("%2e%2e%2fx.png", "2e_2e_2fx.png"),
        ("猫.png", "猫.png"),
        ("\U00020000" * 60 + ".png", "\U00020000" * 30 + ".png"),
        ("x" * 300 + ".mp4", "x" * 60 + ".mp4"),
    ],
)
async def test_what_is_brought_has_a_safe_name_beside_the_other_files(tmp_path: Path, name: str, kept: str):
    server = HostedPlatform()
    server.library.objects["inputs/x.png"] = b"a picture"
    async with served(server.app) as url, Client(Connection(url, KEY)) as client:
        download = partial(client.files.download_to, f"{url}/store/inputs/x.png", max_bytes=1000)
        found = await bring(download, name=name, kind=None, input_folder=tmp_path)
    mark, _, rest = found.partition("_")
    assert (mark[:8], rest) == ("outpost-", kept)
    assert (tmp_path / found).read_bytes() == b"a picture"
    assert [each.name for each in tmp_path.iterdir()] == [found]


@pytest.mark.parametrize("name", ["a.html", "a.py", "a", "a.safetensors", "a.svg", ".png"])
async def test_what_no_load_node_reads_is_not_brought(tmp_path: Path, name: str):
    async def download(path: Path) -> None:
        raise AssertionError("it should have been refused before")

    with pytest.raises(UnsupportedMedia):
        await bring(download, name=name, kind=None, input_folder=tmp_path)
    assert not list(tmp_path.iterdir())
