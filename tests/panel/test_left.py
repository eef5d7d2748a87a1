"""Uploads whose page is gone: they end, here and on the way to the platform, and leave nothing behind."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.api.panel.files import copies, spool
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import OWN, Page

ASSETS, FILES = "/outpost/assets", "/outpost/files"
SMALL, LARGE = 1000, 9 * 1024 * 1024
"""One goes through the platform itself, and one straight to its store."""


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files are on their way, and nothing else."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(spool, "_PULSE", 0.02)
    return folder


async def until(is_so: Callable[[], object]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


class Stalled:
    """A platform that takes a file, and answers nothing until it may."""

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.sender: web.Request | None = None
        self.may_answer = asyncio.Event()

    @web.middleware
    async def hold(self, request: web.Request, handler: Any) -> web.StreamResponse:
        if (request.content_length or 0) >= SMALL:
            if request.method == "PUT":  # of what nobody reads the end is not noticed either
                async for _ in request.content.iter_any():
                    pass
            self.sender = request
            self.arrived.set()
            await self.may_answer.wait()
        return await handler(request)

    @property
    def is_left(self) -> bool:
        return self.sender is not None and (self.sender.transport is None or self.sender.transport.is_closing())


@pytest.fixture
async def stalled(page: Page) -> AsyncGenerator[Stalled, None]:
    stalled, app = Stalled(), HostedPlatform().app
    app.middlewares.insert(0, stalled.hold)
    async with served(app) as url:
        page.connect(url, KEY)
        yield stalled
        stalled.may_answer.set()


def sending(page: Page, path: str, body: Any, size: int) -> asyncio.Task[int]:
    """What the page sends; cancelled, the page is gone."""

    async def send() -> int:
        url = f"{page.url}{path}?name=a.png&size={size}"
        async with aiohttp.request("POST", url, data=body, headers=OWN) as response:
            return response.status

    return asyncio.create_task(send())


@pytest.mark.parametrize(("path", "size"), [(FILES, SMALL), (ASSETS, SMALL), (ASSETS, LARGE)])
async def test_a_file_is_sent_on_no_more_when_the_page_is_gone(
    page: Page, stalled: Stalled, temporary: Path, path: str, size: int, caplog: pytest.LogCaptureFixture
):
    task = sending(page, path, io.BytesIO(bytes(size)), size)
    await stalled.arrived.wait()
    assert not stalled.is_left
    assert list(temporary.glob(f"{copies._PREFIX}*"))

    task.cancel()
    await until(lambda: stalled.is_left)
    await until(lambda: not list(temporary.iterdir()))
    assert caplog.text == ""


@pytest.mark.parametrize("path", [FILES, ASSETS])
async def test_a_file_is_sent_on_for_as_long_as_the_page_is_there(
    page: Page, stalled: Stalled, path: str, monkeypatch: pytest.MonkeyPatch
):
    looked, is_gone = list[bool](), spool.is_gone

    def look(request: web.Request) -> bool:
        looked.append(is_gone(request))
        return looked[-1]

    monkeypatch.setattr(spool, "is_gone", look)
    task = sending(page, path, bytes(SMALL), SMALL)
    await stalled.arrived.wait()
    await until(lambda: len(looked) > 5)
    assert not any(looked)
    assert not stalled.is_left

    stalled.may_answer.set()
    assert await task == 200


async def test_a_file_of_which_only_a_part_has_come_is_forgotten_when_the_page_is_gone(
    page: Page, stalled: Stalled, temporary: Path, caplog: pytest.LogCaptureFixture
):
    async def body() -> AsyncGenerator[bytes, None]:
        yield b"fo"
        await asyncio.Event().wait()

    task = sending(page, FILES, body(), 4)
    await until(lambda: list(temporary.glob(f"{copies._PREFIX}*")))
    task.cancel()

    await until(lambda: not list(temporary.iterdir()))
    assert not stalled.arrived.is_set()
    assert caplog.text == ""
