"""The content cache: between callers, threads and event loops."""

import asyncio
import threading
from datetime import datetime, timedelta, timezone

import pytest
from comfyui_outpost.api.client.contents import ContentCache, Uploaded, UploadForm

NOW = datetime(2026, 1, 1, tzinfo=timezone.utc)


def stored(name: str = "one", *, expires_at: datetime | None = None) -> Uploaded:
    return Uploaded(f"http://store/{name}?signature", name, 3, expires_at)


class Uploads:
    """Counts them, and holds them until they may go on."""

    def __init__(self, *, may_go_on: bool = True) -> None:
        self.count = 0
        self.started = asyncio.Event()
        self.may_go_on = asyncio.Event()
        if may_go_on:
            self.may_go_on.set()

    async def __call__(self) -> Uploaded:
        self.count += 1
        self.started.set()
        await self.may_go_on.wait()
        return stored(str(self.count))


async def test_the_same_content_is_uploaded_once_for_each_connection():
    cache, upload = ContentCache(), Uploads()

    first = await cache.once("here", "abc", upload=upload)
    again = await cache.once("here", "abc", upload=upload)
    elsewhere = await cache.once("there", "abc", upload=upload)

    assert first == again != elsewhere
    assert upload.count == 2


async def test_callers_at_the_same_time_wait_for_one_upload():
    cache, upload = ContentCache(), Uploads(may_go_on=False)
    callers = [asyncio.create_task(cache.once("here", "abc", upload=upload)) for _ in range(5)]
    await upload.started.wait()
    upload.may_go_on.set()

    assert len({each.url for each in await asyncio.gather(*callers)}) == 1
    assert upload.count == 1


async def test_a_failure_is_not_kept_and_a_waiting_caller_tries_itself():
    cache, upload, may_fail = ContentCache(), Uploads(), asyncio.Event()

    async def fail() -> Uploaded:
        await may_fail.wait()
        raise OSError("gone")

    first = asyncio.create_task(cache.once("here", "abc", upload=fail))
    await asyncio.sleep(0)
    second = asyncio.create_task(cache.once("here", "abc", upload=upload))
    await asyncio.sleep(0)
    may_fail.set()

    with pytest.raises(OSError, match="gone"):
        await first
    assert (await second).file_id == "1"


async def test_a_cancelled_caller_does_not_hang_or_fail_the_others():
    cache, held, upload = ContentCache(), Uploads(may_go_on=False), Uploads()
    first = asyncio.create_task(cache.once("here", "abc", upload=held))
    await held.started.wait()
    waiting = [asyncio.create_task(cache.once("here", "abc", upload=upload)) for _ in range(3)]
    await asyncio.sleep(0)

    waiting.pop().cancel()
    first.cancel()

    assert {each.file_id for each in await asyncio.gather(*waiting)} == {"1"}
    assert upload.count == 1
    assert first.cancelled() or await asyncio.wait({first})


def test_the_cache_is_shared_between_event_loops_in_threads():
    cache, lock, counts = ContentCache(), threading.Lock(), []
    barrier = threading.Barrier(8)
    found: list[Uploaded] = []

    async def upload() -> Uploaded:
        with lock:
            counts.append(1)
        await asyncio.to_thread(lambda: None)
        return stored()

    def prompt() -> None:
        barrier.wait(5)
        file = asyncio.run(cache.once("here", "abc", upload=upload))
        with lock:
            found.append(file)

    threads = [threading.Thread(target=prompt) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)

    assert len(counts) == 1
    assert found == [stored()] * 8


@pytest.mark.parametrize(
    ("expires_in", "age", "uploads"),
    [
        (timedelta(hours=1), timedelta(minutes=49), 1),
        (timedelta(hours=1), timedelta(minutes=51), 2),
        (timedelta(minutes=5), timedelta(0), 2),
        (None, timedelta(hours=23), 1),
        (None, timedelta(hours=24), 2),
    ],
)
async def test_a_url_is_handed_out_only_while_it_works_for_long_enough(expires_in, age, uploads):
    now = NOW
    cache, count = ContentCache(now=lambda: now), 0

    async def upload() -> Uploaded:
        nonlocal count
        count += 1
        return stored(expires_at=now + expires_in if expires_in else None)

    await cache.once("here", "abc", upload=upload)
    now += age
    await cache.once("here", "abc", upload=upload)

    assert count == uploads


async def test_a_url_that_does_not_work_is_forgotten():
    cache, upload = ContentCache(), Uploads()
    file = await cache.once("here", "abc", upload=upload)

    cache.forget("there", file.url)
    assert await cache.once("here", "abc", upload=upload) == file
    cache.forget("here", file.url)
    assert await cache.once("here", "abc", upload=upload) != file


async def test_the_least_used_content_is_forgotten_first():
    cache, upload = ContentCache(size=2), Uploads()
    for digest in ("a", "b", "a", "c", "a"):
        await cache.once("here", digest, upload=upload)
    assert upload.count == 3

    await cache.once("here", "b", upload=upload)
    assert upload.count == 4


def test_how_a_platform_takes_files_is_remembered_for_each_connection():
    cache = ContentCache()
    cache.learn_form("here", UploadForm.MULTIPART)

    assert cache.form("here") is UploadForm.MULTIPART
    assert cache.form("there") is None


def test_a_stored_file_does_not_show_its_signature():
    assert "signature" not in repr(stored())
