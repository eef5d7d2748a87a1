"""Every test that uses the `installation` fixture runs once for each ComfyUI found on this machine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from comfyui_outpost.api.client import Client
from comfyui_outpost.tests.bench.server import Server, serve

from .installations import Installation, find_installations
from .process import find_python

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLATIONS = find_installations(REPOSITORY / ".cache" / "comfyui")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.line("ComfyUI: " + ", ".join(f"{found.version} ({found.folder})" for found in INSTALLATIONS))


@pytest.fixture(scope="module", params=INSTALLATIONS, ids=lambda found: found.name)
def installation(request: pytest.FixtureRequest) -> Installation:
    return request.param


@pytest.fixture(scope="session")
def oldest_installation() -> Installation:
    """The ComfyUI that is there on every machine."""
    return INSTALLATIONS[0]


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that ComfyUI runs in, which is not the one that runs the tests."""
    return find_python(REPOSITORY)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A platform in a process of its own, for all the tests of a module."""
    async with serve(tmp_path_factory.mktemp("platform")) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client
