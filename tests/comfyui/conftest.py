"""Every test that uses the `installation` fixture runs once for each ComfyUI found on this machine.

A ComfyUI takes seconds to start. So all tests that need no other one share two of each version, on one event loop:
`comfyui`, at which somebody sits, and `stock`, which works for others.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from comfyui_outpost.api.client import Client
from comfyui_outpost.tests.bench.server import Server, serve

from .gateway import Gateway, Traffic, open_gateway
from .installations import CACHE, Installation, find_installations, provide
from .instance import Instance, start
from .lane import Lane
from .process import find_python

REPOSITORY = Path(__file__).resolve().parents[2]
PROBES = Path(__file__).with_name("probe_nodes")
INSTALLATIONS = find_installations(CACHE)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.line("ComfyUI: " + ", ".join(f"{found.version} ({found.folder})" for found in INSTALLATIONS))


@pytest.fixture(scope="session", params=INSTALLATIONS, ids=lambda found: found.name)
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


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A platform in a process of its own, for all the tests that need no empty one."""
    async with serve(tmp_path_factory.mktemp("platform")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def client(server: Server) -> AsyncIterator[Client]:
    async with server.client() as client:
        yield client


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def gateway(server: Server) -> AsyncIterator[Gateway]:
    async with open_gateway(server.connection.base_url) as gateway:
        yield gateway


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def comfyui(
    installation: Installation,
    python: Path,
    gateway: Gateway,
    server: Server,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Instance]:
    environment = {
        "OUTPOST_BASE_URL": gateway.url,
        "OUTPOST_API_KEY": server.connection.api_key,
        "OUTPOST_SETTINGS": str(tmp_path_factory.mktemp("settings") / "connection.json"),
    }
    packages = {"ComfyUI-Outpost": REPOSITORY, "Probe-Nodes": PROBES}
    async with start(installation, python, custom_nodes=packages, environment=environment) as instance:
        yield instance


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stock(installation: Installation, python: Path) -> AsyncIterator[Instance]:
    """A ComfyUI without our nodes, with a small model. Old ones make previews only when an option says so."""
    from .tiny_checkpoint import CHECKPOINT, write_checkpoint  # torch takes seconds, and few tests need a model

    source = (provide(installation).folder / "latent_preview.py").read_text(encoding="utf-8")
    arguments = [] if "def set_preview_method" in source else ["--preview-method", "latent2rgb"]
    async with start(installation, python, custom_nodes={"Probe-Nodes": PROBES}, arguments=arguments) as instance:
        write_checkpoint(instance.workspace / "models" / "checkpoints" / CHECKPOINT)
        yield instance


@pytest.fixture
def lane(comfyui: Instance, client: Client, gateway: Gateway, server: Server) -> Lane:
    gateway.traffic = Traffic()
    return Lane(comfyui, client, gateway, server.connection.api_key)


@pytest.fixture
def has_async_nodes(installation: Installation) -> bool:
    return "async def get_output_data" in (installation.folder / "execution.py").read_text(encoding="utf-8")


@pytest.fixture
def has_progress_text(installation: Installation) -> bool:
    return "def send_progress_text" in (installation.folder / "server.py").read_text(encoding="utf-8")
