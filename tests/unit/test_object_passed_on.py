"""A bucket that fails while one of its objects is sent to a client."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
from comfyui_outpost.tests.fakes.bucket import BucketServer, InBucket
from comfyui_outpost.tests.fakes.flaky_bucket import flaky_bucket

SIZE = 30_000_000


async def zeros() -> AsyncIterator[bytes]:
    for _ in range(SIZE // 1_000_000):
        yield bytes(1_000_000)


async def test_an_object_that_breaks_off_in_the_bucket_is_never_taken_for_a_whole_one(
    buckets: BucketServer, start_platform, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    url, environ = buckets.new_bucket()
    async with flaky_bucket(InBucket(buckets, url), endpoint=environ["AWS_ENDPOINT_URL"]) as flaky:
        for name, value in (environ | {"AWS_ENDPOINT_URL": flaky.address}).items():
            monkeypatch.setenv(name, value)
        async with start_platform(objects_url=url) as platform, httpx.AsyncClient(trust_env=False) as client:
            objects, origin = platform.parts.objects, f"{platform.url}/api"
            await objects.put("a/x", zeros())
            signed = objects.sign(origin, method="GET", key="a/x", content_type="a/b", seconds=60)
            with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
                async with client.stream("GET", signed) as answer:
                    assert (answer.status_code, answer.headers["Content-Length"]) == (200, str(SIZE))
                    flaky.refuse("")
                    async for chunk in answer.aiter_bytes():
                        assert not any(chunk), "nothing else comes in the place of the bytes"

            refused = await client.get(signed)
            assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
            assert flaky.address not in refused.text
            flaky.refuse(None)
            assert (await client.get(signed)).content == bytes(SIZE)
    assert "the bucket failed to read an object: it answers AccessDenied" in caplog.text
    assert "Traceback" not in caplog.text
