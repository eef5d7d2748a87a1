import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from comfyui_outpost.api.client import Client, Timeouts
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.client.world import Meeting, meet
from comfyui_outpost.tests.fakes.backings import Backing, Local
from comfyui_outpost.tests.fakes.flaky import Flaky
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.outpost import FakeOutpost
from comfyui_outpost.tests.fakes.platforms import Furnished
from comfyui_outpost.tests.fakes.serving import KEY, FakeTime, served
from comfyui_outpost.tests.fakes.storage import SIGNATURE, FakeStorage
from comfyui_outpost.tests.nodes.sites import Site
from comfyui_outpost.tests.server.shared import WAIT_SECONDS, Elsewhere, elsewhere


@pytest.fixture
def time() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


@pytest.fixture
def connect(stack: AsyncExitStack, time: FakeTime) -> Callable[..., Any]:
    """A client for a base URL, on the test's own time."""

    async def connect(base_url: str, **options: Any) -> Client:
        options = {"sleep": time.sleep, "clock": time.clock, "timeouts": Timeouts(), **options}
        return await stack.enter_async_context(Client(Connection(base_url, KEY), **options))

    return connect


@pytest.fixture
async def storage(stack: AsyncExitStack) -> FakeStorage:
    storage = FakeStorage()
    storage.base_url = await stack.enter_async_context(served(storage.app))
    return storage


@pytest.fixture
def flaky(stack: AsyncExitStack, connect: Callable[..., Any]) -> Callable[..., Any]:
    """A server that plays the given acts, and a client for it."""

    async def start(*acts: Any, **options: Any) -> tuple[Flaky, Client]:
        server = Flaky(*acts)
        return server, await connect(await stack.enter_async_context(served(server.app)), **options)

    return start


@pytest.fixture
def outpost(stack: AsyncExitStack, connect: Callable[..., Any], storage: FakeStorage) -> Callable[..., Any]:
    """A server of this package whose streams play the given acts, and a client that has heard of it."""

    async def start(*acts: Any, is_known: bool = True, **options: Any) -> tuple[FakeOutpost, Client]:
        server = FakeOutpost(*acts)
        server.storage = storage
        client = await connect(await stack.enter_async_context(served(server.app)), **options)
        if is_known:
            await client.deployments.get(DEPLOYMENT_ID)
        return server, client

    return start


@pytest.fixture
def hosted(stack: AsyncExitStack, connect: Callable[..., Any]) -> Callable[..., Any]:
    """The hosted platform, and a client for it."""

    async def start(**options: Any) -> tuple[HostedPlatform, Client]:
        server = HostedPlatform()
        return server, await connect(
            await stack.enter_async_context(served(server.app, cancels_handlers=True)), **options
        )

    return start


@pytest.fixture(scope="module")
def site_elsewhere(
    furnished_for: Callable[[Backing], Furnished], tmp_path_factory: pytest.TempPathFactory
) -> Generator[tuple[Elsewhere, Site], None, None]:
    """The platform that the tests of a file share, on a socket at which every request is seen."""
    with elsewhere(tmp_path_factory.mktemp("shared") / "platform", Local(), furnished_for) as found:
        site = Site(found.parts)
        asyncio.run_coroutine_threadsafe(site.open(), found.loop).result(WAIT_SECONDS)
        try:
            yield found, site
        finally:
            asyncio.run_coroutine_threadsafe(site.kill(), found.loop).result(WAIT_SECONDS)


@pytest.fixture
async def meeting(site_elsewhere: tuple[Elsewhere, Site], stack: AsyncExitStack) -> Meeting:
    """Two people with clients on a server of this package; the first has one of each kind."""
    found, site = site_elsewhere
    return await meet(await found.seen_by_newcomers(), site, stack)


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Any:
    """In every test: neither the key nor a signature is in a log record that a user can get to see."""
    caplog.set_level("DEBUG", logger="outpost")
    caplog.set_level("DEBUG", logger="httpx")
    yield
    for record in caplog.records:
        if not record.name.startswith("httpcore"):
            assert KEY not in record.getMessage()
            assert SIGNATURE not in record.getMessage()


DEPLOYMENT_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be002"
