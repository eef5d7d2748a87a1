"""What the tests share: a platform at work on a real socket, with two people on it who know nothing of each other."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager
from functools import cache, partial
from pathlib import Path

import pytest
from aiohttp import web_app
from comfyui_outpost.tests.fakes.backings import Backing, Local
from comfyui_outpost.tests.fakes.bucket import BucketServer, InBucket, InFolder, Place, bucket_server
from comfyui_outpost.tests.fakes.platforms import Furnished, RunningPlatform, furnish, platform_in
from comfyui_outpost.tests.server.forks import forks
from comfyui_outpost.tests.server.process import Launch

FIRST = ("browser", "comfyui", "cli", "server")
"""Folders with tests that take long, for all processes to be at work until the end."""

SHARED = ("panel_desk_of_all", "shared_desk", "comfyui", "stock")
"""Fixtures that take long to make. All tests with the same one run in one process, which makes it once."""


def pytest_configure(config: pytest.Config) -> None:
    # A shell has what it starts in the background ignore Ctrl-C, and every program that tests start would, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    config.addinivalue_line("markers", "one_backing: its subject ends before the store, or is the same in front of any")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One process has all tests of a file, or all that share something; for each ComfyUI where there are several."""
    items.sort(key=_place)
    for item in items:
        item.add_marker(pytest.mark.xdist_group("-".join((_shared_by(item), *_comfyui_of(item)))))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish(session: pytest.Session) -> None:
    if session.config.getoption("loadgroup", False):
        assert all("@" in item.nodeid for item in session.items), "pytest-xdist does not group the tests"
    # Thousands of tests and what they import stay until the end: no collection of garbage need look at them again.
    gc.collect()
    gc.freeze()


def pytest_runtest_logfinish() -> None:
    # aiohttp remembers how the last thousand requests were handled, and with them whole platforms that have ended.
    # Python would look through hundreds of thousands of their objects again and again.
    if remembered := getattr(web_app, "_cached_build_middleware", None):
        remembered.cache_clear()


def _place(item: pytest.Item) -> int:
    folder = item.path.parent.name
    return FIRST.index(folder) if folder in FIRST else len(FIRST)


def _shared_by(item: pytest.Item) -> str:
    needed = getattr(item, "fixturenames", ())
    is_own = item.path.stem == "test_external_nodes"  # its ComfyUI has other packages of nodes in it
    found = [] if is_own else [name for name in SHARED if name in needed]
    return found[0] if found else f"{item.path.stem}-{item.path.parent.name}"


def _comfyui_of(item: pytest.Item) -> list[str]:
    given = getattr(item, "callspec", None)
    return [given.params[name].name for name in ("installation", "shared_desk") if given and name in given.params]


StartPlatform = Callable[..., AbstractAsyncContextManager[RunningPlatform]]


@pytest.fixture
def backing() -> Backing:
    """What a platform keeps its things in. The tests of the server run with each kind."""
    return Local()


@pytest.fixture(scope="session")
def furnished_for(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Backing], Furnished]:
    """Made once for each kind of backing and copied for every test: a first start takes longer than most tests."""

    @cache
    def furnish_once(kind: type[Backing], backing: Backing) -> Furnished:
        return asyncio.run(furnish(tmp_path_factory.mktemp(kind.__name__) / "platform", backing))

    return lambda backing: furnish_once(type(backing), backing)


@pytest.fixture
def start_platform(furnished_for: Callable[[Backing], Furnished], backing: Backing, tmp_path: Path) -> StartPlatform:
    """Starts a platform in a folder of this test: `async with start_platform(keep_alive_seconds=0.1) as platform`.

    Takes the settings of `ServerConfig`, and `machines`: implementations by machine type in place of the built-in one,
    or `kinds`, which make them.
    """
    return partial(platform_in, tmp_path / "platform", backing, furnished_for)


@pytest.fixture
async def platform(start_platform: StartPlatform) -> AsyncGenerator[RunningPlatform, None]:
    """A platform at work with the settings that a new user gets."""
    async with start_platform() as running:
        yield running


@pytest.fixture(scope="session")
def launch() -> Generator[Launch, None, None]:
    """Begins servers in processes of their own that need not import anything, for tests that begin many."""
    with forks() as found:
        yield found.launch


@pytest.fixture(scope="session")
def buckets() -> Generator[BucketServer, None, None]:
    """A store that speaks S3."""
    with bucket_server() as server:
        yield server


@pytest.fixture(params=["folder", "bucket"])
def kept_in(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Where the objects of a test lie. The test runs once for each place."""
    if request.param == "folder":
        return InFolder(tmp_path / "platform" / "objects")
    server: BucketServer = request.getfixturevalue("buckets")
    url, environ = server.new_bucket()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return InBucket(server, url)
