"""One desk for each ComfyUI that is found, for all tests. Whoever sits down at one begins with an empty graph."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from comfyui_outpost.tests.comfyui.conftest import INSTALLATIONS
from comfyui_outpost.tests.server.process import Launch

from .desk import Desk, furnish, open_desk, open_platform

BLANK = "about:blank"


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=INSTALLATIONS, ids=lambda found: found.name)
async def shared_desk(
    request: pytest.FixtureRequest, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Desk, None]:
    async with open_desk(request.param, tmp_path_factory.mktemp("desk"), launch=launch) as desk:
        yield desk


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def desk_of_the_file(shared_desk: Desk) -> AsyncGenerator[Desk, None]:
    if shared_desk.page.url == BLANK:
        await shared_desk.open()
    yield shared_desk
    await shared_desk.page.goto(BLANK)  # a page that nobody looks at goes on drawing


@pytest_asyncio.fixture(loop_scope="session")
async def desk(desk_of_the_file: Desk) -> AsyncGenerator[Desk, None]:
    """A desk with an empty graph on it. After the test the console must have had nothing to say about this package."""
    async with _used(desk_of_the_file):
        yield desk_of_the_file


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def panel_desk_of_all(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Desk, None]:
    settings = tmp_path_factory.mktemp("settings") / "connection.json"
    async with furnish(INSTALLATIONS[0], {"OUTPOST_SETTINGS": str(settings)}) as desk:
        desk.settings = settings
        yield desk


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def panel_desk_of_the_file(
    panel_desk_of_all: Desk, launch: Launch, tmp_path_factory: pytest.TempPathFactory
) -> AsyncGenerator[Desk, None]:
    """The desk with a platform of which only this file knows."""
    async with open_platform(tmp_path_factory.mktemp("platform") / "data", launch) as server, server.client() as client:
        await panel_desk_of_all.begin(server, client)
        yield panel_desk_of_all
        await panel_desk_of_all.page.close()


@pytest_asyncio.fixture(loop_scope="session")
async def panel_desk(panel_desk_of_the_file: Desk) -> AsyncGenerator[Desk, None]:
    """A desk on the oldest ComfyUI, for what does not depend on its version. Its connection is in a file."""
    async with _used(panel_desk_of_the_file):
        yield panel_desk_of_the_file


@asynccontextmanager
async def _used(desk: Desk) -> AsyncGenerator[None, None]:
    """Somebody works at a desk that is empty at first, and nothing about this package is said in the console."""
    await desk.clear()
    desk.console.clear()
    desk.expected.clear()
    yield
    assert desk.complaints() == []
