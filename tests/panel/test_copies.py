"""Copies of files that the page looks at: shared, read in parts, few at a time, and always removed."""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import TransferError, Unavailable
from comfyui_outpost.api.panel.files import copies as copying
from comfyui_outpost.api.panel.files import spool
from comfyui_outpost.api.panel.files.copies import Announce, Copies, identity_of, remove_forgotten
from comfyui_outpost.api.panel.files.parts import part_of
from comfyui_outpost.api.panel.files.room import Room
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.serving import served
from comfyui_outpost.tests.panel.conftest import OWN, Page, opened

ASSETS = "/outpost/assets"
VIDEO = b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 8


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where copies are, and nothing else."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


class Source:
    """A file of a platform, which is counted when it is fetched."""

    def __init__(self, size: int = 100) -> None:
        self.size = size
        self.fetched = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()

    async def download(self, path: Path, announce: Announce) -> None:
        self.fetched += 1
        await announce(self.size)
        await self.may_go_on.wait()
        path.write_bytes(bytes(self.size))


@pytest.fixture
async def room() -> AsyncGenerator[Room, None]:
    yield Room(files=2, size=1000, wait=0.2)


@pytest.fixture
async def copies(room: Room) -> AsyncGenerator[Copies, None]:
    made = Copies(room=room, kept_seconds=30)
    yield made
    await made.aclose()


async def left(folder: Path, count: int) -> None:
    """Wait until there are so many copies."""

    async def wait() -> None:
        while len(list(folder.iterdir())) != count:
            await asyncio.sleep(0.005)

    await asyncio.wait_for(wait(), 20)


@pytest.mark.parametrize(
    ("header", "part"),
    [
        ("bytes=0-", range(100)),
        ("bytes=10-19", range(10, 20)),
        ("bytes=90-1000", range(90, 100)),
        ("bytes=-10", range(90, 100)),
        ("bytes=-1000", range(100)),
        ("bytes=100-", range(100, 100)),
        ("bytes=-0", range(100, 100)),
        ("bytes=5-4", None),
        ("bytes=0-1,4-5", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=" + "9" * 40 + "-", None),
        ("", None),
    ],
)
def test_one_range_is_read_as_the_standard_says(header: str, part: range | None):
    assert part_of({"Range": header}, size=100, etag='"a"') == part


def test_a_range_of_what_was_another_file_then_is_none():
    asked = {"Range": "bytes=1-2"}
    assert part_of({**asked, "If-Range": '"a"'}, size=100, etag='"a"') == range(1, 3)
    for other in ('"b"', 'W/"a"', "Sat, 28 Nov 2026 20:00:00 GMT"):
        assert part_of({**asked, "If-Range": other}, size=100, etag='"a"') is None


async def _asked(page: Page, path: str, headers: dict[str, str]) -> tuple[Any, bytes]:
    async with aiohttp.request("GET", page.url + path, headers={**OWN, **headers}) as response:
        return response, await response.read()


async def test_a_video_is_read_from_any_place_and_fetched_once(
    page: Page, platform: Any, temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        made = await client.assets.upload(VIDEO, content_type="video/mp4", name="a.mp4")
    path = f"{ASSETS}/{made.id}/file"

    whole, everything = await _asked(page, path, {})
    etag = whole.headers["ETag"]
    part, middle = await _asked(page, path, {"Range": "bytes=1000-1099", "If-Range": etag})
    other, all_again = await _asked(page, path, {"Range": "bytes=1000-1099", "If-Range": '"another"'})
    beyond, said = await _asked(page, path, {"Range": "bytes=5000-"})

    assert (whole.status, whole.headers["Accept-Ranges"], everything) == (200, "bytes", VIDEO)
    assert (part.status, part.headers["Content-Range"], middle) == (206, "bytes 1000-1099/2060", VIDEO[1000:1100])
    assert (part.headers["Content-Type"], part.headers["ETag"]) == ("video/mp4", etag)
    assert part.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert (other.status, all_again) == (200, VIDEO)
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, "bytes */2060")
    assert b"no_such_range" in said
    assert len(list(temporary.iterdir())) == 1, "one copy for all of them"


async def test_nothing_is_left_of_a_copy_when_the_server_ends(page: Page, platform: Any, temporary: Path):
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        made = await client.assets.upload(VIDEO, content_type="video/mp4", name="a.mp4")
    async with opened(temporary) as other:
        await _asked(other, f"{ASSETS}/{made.id}/file", {})
        assert list(temporary.iterdir())
    assert not list(temporary.iterdir())


async def test_all_who_look_at_a_file_share_one_copy_of_it(copies: Copies):
    source = Source()
    source.may_go_on.clear()

    async def look() -> Path:
        async with copies.lent("a", source.download) as path:
            return path

    looking = [asyncio.create_task(look()) for _ in range(5)]
    await asyncio.sleep(0)
    source.may_go_on.set()
    assert len(set(await asyncio.gather(*looking))) == 1
    assert len({await look(), await look()}) == 1
    assert source.fetched == 1


async def test_a_copy_that_nobody_reads_goes_after_a_while(room: Room, temporary: Path):
    copies = Copies(room=room, kept_seconds=0.01)
    async with copies.lent("a", Source().download) as path:
        await asyncio.sleep(0.05)
        assert path.exists(), "it is being read"
    await left(temporary, 0)
    assert room.taken == 0


async def test_what_nobody_reads_makes_room_at_once(copies: Copies, temporary: Path):
    for name in "abcd":
        async with copies.lent(name, Source(900).download) as path:
            assert path.stat().st_size == 900
    await left(temporary, 1)


@pytest.mark.parametrize("sizes", [(10, 10, 10), (600, 600), (1001,)], ids=["files", "bytes", "one file"])
async def test_who_finds_no_room_in_time_is_told_so_in_words(copies: Copies, sizes: tuple[int, ...], temporary: Path):
    *first, last = sizes
    async with AsyncExitStack() as read:
        for number, size in enumerate(first):
            await read.enter_async_context(copies.lent(f"{number}", Source(size).download))
        with pytest.raises(Unavailable, match="Too many files"):
            await read.enter_async_context(copies.lent("last", Source(last).download))
        await left(temporary, len(first))


async def test_who_waits_for_room_gets_it_when_another_is_done(room: Room):
    copies = Copies(room=room)
    async with copies.lent("a", Source(900).download):
        waiting = asyncio.create_task(copies.lent("b", Source(900).download).__aenter__())
        await asyncio.sleep(0.01)
        assert not waiting.done()
    assert (await waiting).exists()
    await copies.aclose()


@pytest.mark.parametrize(
    ("error", "told"), [(TransferError("it broke off"), TransferError), (OSError(28, "No space left"), Unavailable)]
)
async def test_a_copy_that_fails_is_removed_and_may_be_tried_again(
    copies: Copies, temporary: Path, error: Exception, told: type[Exception]
):
    async def fail(path: Path, announce: Announce) -> None:
        path.write_bytes(b"half of it")
        raise error

    with pytest.raises(told):
        async with copies.lent("a", fail):
            pass
    await left(temporary, 0)
    async with copies.lent("a", Source().download) as path:
        assert path.exists()


async def test_a_copy_that_nobody_waits_for_any_more_is_given_up(copies: Copies, room: Room, temporary: Path):
    source = Source()
    source.may_go_on.clear()
    waiting = asyncio.create_task(copies.lent("a", source.download).__aenter__())
    while not source.fetched:
        await asyncio.sleep(0.005)
    waiting.cancel()
    await asyncio.wait({waiting})
    async with copies.lent("a", Source().download) as path:
        assert path.exists(), "whoever comes then begins anew"
    await copies.aclose()
    await left(temporary, 0)
    assert room.taken == 0


async def test_a_copy_for_browsers_that_are_gone_is_given_up_and_one_that_another_waits_for_goes_on(
    copies: Copies, room: Room, temporary: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(copying, "_PULSE", 0.02)
    sources = {"shared": Source(), "left": Source()}
    for source in sources.values():
        source.may_go_on.clear()
    came, gone = list[str](), list[str]()

    async def handle(request: web.Request) -> web.StreamResponse:
        call: Any = SimpleNamespace(request=request, desk=SimpleNamespace(copies=copies))
        name = request.match_info["name"]
        came.append(name)
        try:
            return await spool.passed_on(call, name, sources[name].download, name="a.png")
        except ConnectionError:
            gone.append(name)
            raise

    async def until(is_so: Callable[[], bool]) -> None:
        while not is_so():
            await asyncio.sleep(0.005)

    async def ask(name: str) -> bytes:
        async with aiohttp.request("GET", f"{url}/{name}") as response:
            return await response.read()

    app = web.Application()
    app.router.add_get("/{name}", handle)
    async with served(app) as url:
        stays, *leaving = (asyncio.create_task(ask(name)) for name in ("shared", "shared", "left", "left"))
        await until(lambda: len(came) == 4 and all(each.fetched for each in sources.values()))
        for each in leaving:
            each.cancel()
        await until(lambda: len(gone) == 3)
        await until(lambda: len(list(temporary.iterdir())) == 1 and room.taken == 100)
        sources["shared"].may_go_on.set()
        assert await stays == bytes(100)
    assert sorted(gone) == ["left", "left", "shared"]
    assert sources["shared"].fetched == 1


@pytest.mark.parametrize("size", [10, 40, 60])
async def test_however_many_ask_at_once_there_is_never_more_than_there_is_room_for(size: int):
    room, had = Room(files=2, size=100, wait=5), list[tuple[int, int]]()

    async def ask() -> None:
        async with room.place() as place:
            await place.take(size)
            had.append((len(room._places), room.taken))
            await asyncio.sleep(0)
            room.changed()  # and all who wait are woken at once, again and again
            await asyncio.sleep(0)
            had.append((len(room._places), room.taken))

    await asyncio.gather(*(ask() for _ in range(10)))
    assert len(had) == 20
    assert max(files for files, _ in had) == 2
    assert max(taken for _, taken in had) == min(2, 100 // size) * size
    assert (room._places, room.taken) == ([], 0)


async def test_many_who_are_woken_at_once_take_no_more_than_became_free():
    room, may_go = Room(files=2, size=100, wait=5), asyncio.Event()
    inside = most = 0

    async def hold() -> None:
        async with room.place() as place:
            await place.take(50)
            await may_go.wait()

    async def ask() -> None:
        nonlocal inside, most
        async with room.place() as place:
            inside += 1
            await place.take(50)
            most = max(most, inside)
            assert len(room._places) <= 2
            assert room.taken <= 100
            await asyncio.sleep(0)
            inside -= 1

    holding = [asyncio.create_task(hold()) for _ in range(2)]
    await asyncio.sleep(0)
    asking = [asyncio.create_task(ask()) for _ in range(10)]
    await asyncio.sleep(0)
    may_go.set()
    await asyncio.gather(*holding, *asking)
    assert most == 2


@pytest.mark.parametrize("turns", range(4))
async def test_who_is_woken_and_gives_up_in_the_same_moment_waits_no_longer(turns: int):
    room = Room(files=1, wait=1)
    async with room.place():
        waiting = asyncio.create_task(room.place().__aenter__())
        await asyncio.sleep(0)
        room.changed()
        for _ in range(turns):
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert waiting.cancelled()


def test_what_a_comfyui_has_left_that_was_killed_is_removed(temporary: Path):
    old, new, theirs = (temporary / name for name in (f"{copying._PREFIX}a", f"{copying._PREFIX}b", "of somebody else"))
    for folder in (old, new, theirs):
        folder.mkdir()
        (folder / "file").touch()
        for each in (folder / "file", folder):
            os.utime(each, (0, 0))
    os.utime(new / "file", (time.time(), time.time()))  # a large one still comes
    remove_forgotten()
    assert {each.name for each in temporary.iterdir()} == {new.name, theirs.name}


def test_another_content_has_another_identity():
    assert identity_of("a", "b") == identity_of("a", "b") != identity_of("ab", None)


async def test_a_file_that_the_page_sends_waits_for_room_too(room: Room, temporary: Path):
    call: Any = SimpleNamespace(desk=SimpleNamespace(room=room))
    with pytest.raises(Unavailable, match="Too many files"):
        async with spool.received(call, size=room.size + 1):
            pass
    assert (room.taken, list(temporary.iterdir())) == (0, [])
