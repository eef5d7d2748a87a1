"""URLs of a platform that lead into this computer's network, to which a platform of the internet has no way."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client.border import Border
from comfyui_outpost.api.client.http import Body
from comfyui_outpost.api.client.transfers import Transfers
from comfyui_outpost.tests.client.test_foreign import Names
from comfyui_outpost.tests.fakes.flaky import Flaky, text
from comfyui_outpost.tests.fakes.serving import served

PUBLIC = "http://platform.example/api"
INSIDE = "http://platform.lan/api"
LIMIT = 1000
NAMES = {
    "platform_example": [["93.184.216.34"]],
    "platform_lan": [["192.168.1.5"]],
    "both_lan": [["10.0.0.1", "1.1.1.1"]],
}
Open = Callable[..., Any]


@pytest.fixture
async def store(stack: AsyncExitStack) -> tuple[Flaky, str, int]:
    """A server on this computer, its base URL and port."""
    server = Flaky(text("INTERNAL"))
    url = await stack.enter_async_context(served(server.app))
    return server, url, int(url.rpartition(":")[2])


@pytest.fixture
def transfers(connect: Callable[..., Any]) -> Open:
    """Transfers of a platform, and the names that are looked up for them."""

    async def open_(base_url: str, **options: Any) -> tuple[Transfers, Names]:
        client, names = await connect(base_url), Names(**NAMES)
        border = Border(base_url, look_up=names, **options)
        return Transfers(client.files._platform, wire=client._wire, border=border), names

    return open_


async def refused(awaitable: Any) -> str:
    with pytest.raises(errors.TransferError, match="OUTPOST_ALLOW_PRIVATE_ADDRESSES=1") as caught:
        await awaitable
    return str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1", "2130706433"])
async def test_a_public_platform_cannot_have_something_inside_read_or_written(
    transfers: Open, store: Any, tmp_path: Path, host: str
):
    server, _, port = store
    moved, _ = await transfers(PUBLIC)
    url = f"http://{host}:{port}/x?secret=1"

    for attempt in (
        moved.get(url, max_bytes=LIMIT),
        moved.get_to(url, tmp_path / "file", max_bytes=LIMIT),
        moved.put(url, Body.of(b"x"), headers={}),
    ):
        assert "secret" not in await refused(attempt)

    assert server.log.requests == []
    assert list(tmp_path.iterdir()) == []


async def test_a_public_store_cannot_redirect_inside(transfers: Open, store: Any, stack: AsyncExitStack):
    inside, _, port = store
    public = Flaky(text("", 302, headers={"Location": f"http://127.0.0.2:{port}/x"}))
    url = await stack.enter_async_context(served(public.app))
    moved, names = await transfers(PUBLIC, is_public=lambda address: address in ("127.0.0.1", "93.184.216.34"))

    assert "127.0.0.2" in await refused(moved.get(url, max_bytes=LIMIT))

    assert len(public.log.requests) == 1
    assert inside.log.requests == []
    assert names.asked == ["platform.example"], "only where a refusal depends on it"


async def test_the_platforms_own_origin_is_open_and_nothing_is_looked_up_for_it(transfers: Open, store: Any):
    _, url, _ = store
    moved, names = await transfers(f"{url}/api")

    assert await moved.get(f"{url}/objects/x", max_bytes=LIMIT) == b"INTERNAL"
    await moved.put(f"{url}/objects/x", Body.of(b"x"), headers={})

    assert names.asked == []


async def test_a_platform_inside_may_have_its_store_inside_and_is_looked_up_once(transfers: Open, store: Any):
    _, url, port = store
    moved, names = await transfers(INSIDE)

    for _ in range(3):
        assert await moved.get(f"{url}/x", max_bytes=LIMIT) == b"INTERNAL"
    assert await moved.get(f"http://localhost:{port}/x", max_bytes=LIMIT) == b"INTERNAL"

    assert names.asked == ["platform.lan"]


@pytest.mark.parametrize("base_url", ["http://both.lan/api", "http://unknown.example/api"])
async def test_a_platform_counts_as_inside_only_when_all_its_addresses_are(transfers: Open, store: Any, base_url: str):
    moved, _ = await transfers(base_url)
    await refused(moved.get(f"{store[1]}/x", max_bytes=LIMIT))


async def test_the_user_can_allow_it(transfers: Open, store: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPOST_ALLOW_PRIVATE_ADDRESSES", "1")
    moved, _ = await transfers(PUBLIC)
    assert await moved.get(f"{store[1]}/x", max_bytes=LIMIT) == b"INTERNAL"


async def test_behind_a_proxy_names_are_looked_at_once_and_the_proxy_is_asked(
    transfers: Open, store: Any, monkeypatch: pytest.MonkeyPatch
):
    server, url, _ = store
    monkeypatch.setenv("http_proxy", url)
    moved, names = await transfers(PUBLIC)

    for host in ("platform.example:81", "platform.example:81", "only-the-proxy-knows.example"):
        assert await moved.get(f"http://{host}/x", max_bytes=LIMIT) == b"INTERNAL"
    for host in ("platform.lan", "10.0.0.1"):
        await refused(moved.get(f"http://{host}/x", max_bytes=LIMIT))

    assert len(server.log.requests) == 3
    assert names.asked.count("only-the-proxy-knows.example") == 1
