"""The bytes of objects, in a folder and in a bucket: there whole or not at all."""

from __future__ import annotations

import asyncio
import gc
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from comfyui_outpost.api.errors import BadRequest, ConfigurationError, Conflict, NotFound, TooLarge, Unavailable
from comfyui_outpost.api.server.objects import Objects, open_objects
from comfyui_outpost.tests.fakes.bucket import SECRET, BucketServer, InBucket, Place
from comfyui_outpost.tests.fakes.flaky_bucket import FlakyBucket, flaky_bucket

MEBIBYTE = 1024 * 1024
SEVERAL_PARTS = 20
"""Mebibytes that make several parts of an upload."""


@pytest.fixture
async def objects(kept_in: Place, tmp_path: Path) -> Objects:
    return await open_objects(kept_in.url, folder=tmp_path / "platform" / "objects", secret=bytes(32))


@pytest.fixture
async def flaky(buckets: BucketServer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[FlakyBucket]:
    """A bucket that can be made to refuse."""
    url, environ = buckets.new_bucket()
    async with flaky_bucket(InBucket(buckets, url), endpoint=environ["AWS_ENDPOINT_URL"]) as flaky:
        for name, value in (environ | {"AWS_ENDPOINT_URL": flaky.address}).items():
            monkeypatch.setenv(name, value)
        yield flaky


async def mebibytes(count: int, *, then: BaseException | None = None) -> AsyncIterator[bytes]:
    """So many different mebibytes, and an end or a failure."""
    for number in range(count):
        yield bytes([number]) * MEBIBYTE
    if then:
        raise then


async def pieces(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def content(objects: Objects, key: str) -> bytes:
    return b"".join([chunk async for chunk in objects.read(key)])


class TestKeeping:
    @pytest.mark.parametrize("key", ["a", "files/img_1/cat.png", "files/猫/あ.b-c_d..e", "runs/x/1-2-x.y.z"])
    async def test_what_was_put_is_read_found_and_listed_under_its_key(self, objects, kept_in: Place, key: str):
        assert await objects.put(key, pieces(b"12", b"", b"3"), size=3) == 3
        assert await content(objects, key) == b"123"
        stored = await objects.find(key)
        assert (stored.key, stored.size, await objects.size(key)) == (key, 3, 3)
        assert stored.etag
        assert kept_in.keys() == [key]
        assert kept_in.unfinished() == []

    @pytest.mark.parametrize("size", [0, 1, MEBIBYTE, 8 * MEBIBYTE - 1, 8 * MEBIBYTE, 8 * MEBIBYTE + 1])
    async def test_every_size_comes_back_bit_for_bit(self, objects, kept_in: Place, size: int):
        data = bytes(range(251)) * (size // 251) + bytes(size % 251)
        split = [data[start : start + 300_001] for start in range(0, size, 300_001)]
        assert await objects.put("a/x", pieces(*split), size=size) == size
        assert await content(objects, "a/x") == data
        assert kept_in.unfinished() == []

    async def test_a_part_of_an_object_is_read_alone(self, objects):
        await objects.put("a/x", mebibytes(6))
        stored = await objects.find("a/x")
        for start, stop in [(0, 0), (0, 1), (MEBIBYTE - 1, MEBIBYTE + 1), (MEBIBYTE, 6 * MEBIBYTE), (10, 10)]:
            found = b"".join([piece async for piece in objects.read_part(stored, start=start, stop=stop)])
            wanted = b"".join([bytes([number]) * MEBIBYTE for number in range(6)])[start:stop]
            assert found == wanted

    async def test_an_object_that_never_came_is_not_found(self, objects):
        await objects.put("a/x", pieces(b"1"))
        for key in ("a/y", "a", "a/x/y", "b"):
            with pytest.raises(NotFound, match="never uploaded"):
                await objects.size(key)
            with pytest.raises(NotFound, match="never uploaded"):
                await content(objects, key)

    async def test_a_deleted_object_is_gone_and_deleting_it_again_changes_nothing(self, objects, kept_in: Place):
        for key in ("a/x", "a/y"):
            await objects.put(key, pieces(b"1"))
        for _ in range(2):
            await objects.delete("a/x")
        assert kept_in.keys() == ["a/y"]
        with pytest.raises(NotFound):
            await content(objects, "a/x")

    @pytest.mark.parametrize(
        "key", ["", "/", "..", "../x", "a/../../x", "/etc/passwd", "a//b", "a/", "./a", "a\0", "?"]
    )
    async def test_what_is_no_key_is_no_object_whatever_is_asked(self, objects, kept_in: Place, key: str):
        for asked in (objects.find(key), content(objects, key), objects.put(key, pieces(b"1")), objects.delete(key)):
            with pytest.raises(NotFound):
                await asked
        assert kept_in.keys() == []


class TestFailing:
    async def test_too_many_or_too_few_bytes_leave_nothing(self, objects, kept_in: Place):
        with pytest.raises(BadRequest, match="2 bytes arrived of the 3"):
            await objects.put("a/x", pieces(b"1", b"2"), size=3)
        with pytest.raises(TooLarge, match="more than the 3 bytes"):
            await objects.put("a/x", pieces(b"12", b"34"), size=3)
        with pytest.raises(TooLarge, match="more than the 3 bytes"):
            await objects.put("a/x", pieces(b"1234"), max_size=3)
        with pytest.raises(BadRequest):
            await objects.put("a/x", mebibytes(SEVERAL_PARTS), size=SEVERAL_PARTS * MEBIBYTE + 1)
        with pytest.raises(TooLarge):
            await objects.put("a/x", mebibytes(SEVERAL_PARTS), size=SEVERAL_PARTS * MEBIBYTE - 1)
        assert kept_in.keys() == kept_in.unfinished() == []

    @pytest.mark.parametrize("count", [0, 2, SEVERAL_PARTS])
    async def test_a_client_that_breaks_off_is_the_error_and_leaves_nothing(self, objects, kept_in: Place, count: int):
        broken = ConnectionResetError("the client went away")
        with pytest.raises(ConnectionResetError) as caught:
            await objects.put("a/x", mebibytes(count, then=broken))
        assert caught.value is broken
        assert kept_in.keys() == kept_in.unfinished() == []

    async def test_a_failed_upload_leaves_the_old_object_alone(self, objects, kept_in: Place):
        await objects.put("a/x", pieces(b"old"))
        for count in (2, SEVERAL_PARTS):
            with pytest.raises(BadRequest):
                await objects.put("a/x", mebibytes(count), size=count * MEBIBYTE + 1)
        assert await content(objects, "a/x") == b"old"
        assert kept_in.unfinished() == []

    @pytest.mark.parametrize("moment", [0, 1, 7, 8, 9, 16, SEVERAL_PARTS - 1, SEVERAL_PARTS])
    async def test_a_cancelled_upload_leaves_nothing_whenever_that_happens(self, objects, kept_in: Place, moment: int):
        async def cancelling() -> AsyncIterator[bytes]:
            async for chunk in mebibytes(moment):
                yield chunk
            task = asyncio.current_task()
            assert task
            task.cancel()
            async for chunk in mebibytes(SEVERAL_PARTS - moment):
                yield chunk

        storing = asyncio.create_task(objects.put("a/x", cancelling()))
        await asyncio.wait({storing})
        assert storing.cancelled()
        await _everything_settled()
        assert kept_in.keys() == kept_in.unfinished() == []

    async def test_an_upload_that_is_cancelled_while_it_waits_for_bytes_leaves_nothing(self, objects, kept_in: Place):
        arrived, never = asyncio.Event(), asyncio.Event()

        async def stalling() -> AsyncIterator[bytes]:
            async for chunk in mebibytes(SEVERAL_PARTS):
                yield chunk
            arrived.set()
            await never.wait()

        storing = asyncio.create_task(objects.put("a/x", stalling()))
        await asyncio.wait_for(arrived.wait(), 20)
        assert kept_in.keys() == []
        assert len(kept_in.unfinished()) == 1
        storing.cancel()
        await asyncio.wait({storing})
        assert storing.cancelled()
        assert kept_in.keys() == kept_in.unfinished() == []

    async def test_small_uploads_that_are_cancelled_early_leave_no_part(self, objects, kept_in: Place):
        for ticks in range(40):
            storing = asyncio.create_task(objects.put(f"a/{ticks}", pieces(b"x" * 2_000_000, b"y")))
            for _ in range(ticks):
                await asyncio.sleep(0)
            storing.cancel()
            await asyncio.wait({storing})
        await _everything_settled()
        assert kept_in.unfinished() == []


async def _everything_settled() -> None:
    gc.collect()  # a file that nobody closes warns now
    await asyncio.get_running_loop().shutdown_default_executor()


class TestBucket:
    """What only a bucket can do wrong."""

    async def test_an_object_that_was_replaced_while_it_is_read_is_no_mixture(self, buckets, monkeypatch):
        objects = await _in(buckets, monkeypatch)
        await objects.put("a/x", mebibytes(6))
        reading = objects.read("a/x")
        first = await anext(reading)
        assert set(first) == {0, 1, 2, 3}
        await objects.put("a/x", pieces(bytes(6 * MEBIBYTE)))
        with pytest.raises(Conflict, match="was replaced"):
            await anext(reading)

    async def test_a_part_that_the_bucket_refuses_is_unavailable_and_leaves_nothing(
        self, flaky: FlakyBucket, caplog: pytest.LogCaptureFixture
    ):
        objects = await open_objects(flaky.url, folder=Path(), secret=bytes(32))
        for number in (1, 2, 3):
            flaky.refuse(f"partNumber={number}")
            with pytest.raises(Unavailable, match="Try again later"):
                await objects.put("a/x", mebibytes(SEVERAL_PARTS))
            assert flaky.keys() == flaky.unfinished() == []
        # The store of the tests has a log, too, in which it may complain about what it was not given whole.
        said = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("outpost"))
        assert "the bucket failed to" in said
        assert "AccessDenied" in said
        assert SECRET not in said
        assert "127.0.0.1" not in said

    @pytest.mark.parametrize("what", ["uploadId", "uploads"])
    async def test_an_upload_that_the_bucket_does_not_begin_or_finish_leaves_nothing(
        self, flaky: FlakyBucket, what: str
    ):
        objects = await open_objects(flaky.url, folder=Path(), secret=bytes(32))
        flaky.refuse(what, method="POST")
        with pytest.raises(Unavailable):
            await objects.put("a/x", mebibytes(SEVERAL_PARTS))
        assert flaky.keys() == flaky.unfinished() == []

    async def test_a_broken_upload_that_cannot_be_cleaned_up_is_told(
        self, flaky: FlakyBucket, caplog: pytest.LogCaptureFixture
    ):
        objects = await open_objects(flaky.url, folder=Path(), secret=bytes(32))
        flaky.refuse("uploadId", method="DELETE")
        with pytest.raises(BadRequest):
            await objects.put("a/x", mebibytes(SEVERAL_PARTS), size=SEVERAL_PARTS * MEBIBYTE + 1)
        assert "parts of a broken upload may be left" in caplog.text

    async def test_a_bucket_that_refuses_everything_is_unavailable_for_everything(self, flaky: FlakyBucket):
        objects = await open_objects(flaky.url, folder=Path(), secret=bytes(32))
        await objects.put("a/x", pieces(b"1"))
        stored = await objects.find("a/x")
        flaky.refuse("")
        part = objects.read_part(stored, start=0, stop=1)
        for asked in (objects.find("a/x"), anext(part), objects.put("a/y", pieces(b"1")), objects.delete("a/x")):
            with pytest.raises(Unavailable) as caught:
                await asked
            assert "127.0.0.1" not in str(caught.value)
        flaky.refuse(None)
        assert await content(objects, "a/x") == b"1"
        assert flaky.keys() == ["a/x"]

    async def test_a_large_upload_takes_little_memory(self, buckets, monkeypatch):
        url, environ = buckets.new_bucket()
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        command = [sys.executable, "-c", MEASURED_UPLOAD, url, "200"]
        process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        out, _ = await process.communicate()
        assert process.returncode == 0
        size, grown = map(int, out.split())
        assert size == 200 * MEBIBYTE
        assert 0 < grown < 64 * MEBIBYTE


MEASURED_UPLOAD = """
import asyncio, os, sys
from pathlib import Path
import psutil
from comfyui_outpost.api.server.objects import open_objects

memory = psutil.Process().memory_info
peak = 0

async def chunks(count):
    global peak
    for _ in range(count * 4):
        yield bytes(256 * 1024)
        peak = max(peak, memory().rss)

async def main(url, count):
    objects = await open_objects(url, folder=Path(), secret=bytes(32))
    before = memory().rss
    await objects.put("a/x", chunks(count))
    print(await objects.size("a/x"), peak - before)

asyncio.run(main(sys.argv[1], int(sys.argv[2])))
sys.stdout.flush()
os._exit(0)  # threads of the library may still be at work, and the end of an interpreter then aborts now and then
"""


async def _in(buckets: BucketServer, monkeypatch: pytest.MonkeyPatch) -> Objects:
    url, environ = buckets.new_bucket()
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return await open_objects(url, folder=Path(), secret=bytes(32))


class TestOpening:
    """A bucket that cannot be used is one sentence at the start."""

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "s3:",
            "s3://",
            "s3://x",
            "S3://UPPER/x",
            "s3://key:secret-key@bucket/x",
            "s3://bucket/../x",
            "s3://bucket?endpoint=http://x",
            "s3://bucket/x#y",
            "gs://bucket",
            "https://bucket.s3.amazonaws.com",
            "file:///etc",
            "[",
        ],
    )
    async def test_what_is_no_url_of_a_bucket_is_told_without_repeating_it(self, url: str, tmp_path: Path):
        with pytest.raises(ConfigurationError, match="a URL such as s3://bucket/prefix") as caught:
            await open_objects(url, folder=tmp_path, secret=bytes(32))
        assert "secret-key" not in str(caught.value)

    async def test_a_bucket_that_does_not_exist_is_named(self, buckets: BucketServer, monkeypatch):
        await _in(buckets, monkeypatch)
        with pytest.raises(ConfigurationError, match="The bucket none-such cannot be used: it answers NoSuchBucket"):
            await open_objects("s3://none-such/x", folder=Path(), secret=bytes(32))

    async def test_an_address_where_nothing_listens_is_told_and_no_secret_is(self, buckets, monkeypatch):
        await _in(buckets, monkeypatch)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://user:password@127.0.0.1:9")
        with pytest.raises(
            ConfigurationError, match=r"it does not answer\. Check its name, AWS_ENDPOINT_URL"
        ) as caught:
            await open_objects("s3://bucket/x", folder=Path(), secret=bytes(32))
        for secret in (SECRET, "password", "an-access-key"):
            assert secret not in str(caught.value)
            assert secret not in str(caught.value.__cause__)

    async def test_credentials_that_may_not_write_are_told(self, flaky: FlakyBucket):
        flaky.refuse("", method="PUT")
        with pytest.raises(ConfigurationError, match="it answers AccessDenied"):
            await open_objects(flaky.url, folder=Path(), secret=bytes(32))

    async def test_a_bucket_that_never_answers_is_not_waited_for_for_ever(self, monkeypatch):
        from comfyui_outpost.api.server.objects.bucket import open_bucket

        with socket.create_server(("127.0.0.1", 0)) as silent:
            monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "an-access-key")
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
            with pytest.raises(ConfigurationError, match="it does not answer"):
                await open_bucket("s3://bucket/x", check_seconds=0.1)

    async def test_an_opened_bucket_has_nothing_in_it(self, buckets: BucketServer, flaky: FlakyBucket):
        await open_objects(flaky.url, folder=Path(), secret=bytes(32))
        assert flaky.keys() == flaky.unfinished() == []

    async def test_without_obstore_the_extra_is_named(self, monkeypatch, tmp_path: Path):
        monkeypatch.delitem(sys.modules, "comfyui_outpost.api.server.objects.bucket", raising=False)
        monkeypatch.setitem(sys.modules, "obstore", None)
        with pytest.raises(ConfigurationError, match=r"obstore.*pip install comfyui-outpost\[s3\]"):
            await open_objects("s3://bucket/x", folder=tmp_path, secret=bytes(32))
        assert await (await open_objects(None, folder=tmp_path, secret=bytes(32))).put("a", pieces(b"1")) == 1
