"""A server that stops: whoever follows something hears that it is over, and is not waited for."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx
import pytest

from .graphs import sleep
from .talking import TERMINAL, talkers


@asynccontextmanager
async def heard(http: httpx.AsyncClient, method: str, path: str, body: object = None) -> AsyncGenerator[list[str]]:
    """What a stream has said. Its beginning is there in the block, and its rest after it; HTTPError if it broke off."""
    async with http.stream(method, path, json=body) as response:
        parts = response.aiter_text()
        told = [await anext(parts)]
        yield told
        told += [part async for part in parts]


@pytest.mark.one_backing
async def test_a_stop_ends_every_stream_and_does_not_wait_for_who_is_watching(start_platform):
    async with AsyncExitStack() as watching:
        async with start_platform() as platform:
            key = platform.owner.api_key
            [owner] = await watching.enter_async_context(talkers(platform.url, key, secrets=[key]))
            body = {"deployment_id": await owner.deploy(sleep(60)), "inputs": {}}
            run_id = await owner.queue(body["deployment_id"])
            await owner.until(run_id, "running")
            streams = [
                await watching.enter_async_context(heard(owner.http, *what))
                for what in (
                    ("GET", "/events"),
                    ("GET", f"/run/{run_id}/stream"),
                    ("POST", "/run/deployment/stream", body),
                )
            ]
            told_before = [len(each) for each in streams]
        assert told_before == [1, 1, 1]
    for told in streams:
        assert not [status for status in TERMINAL if f'"{status}"' in "".join(told)], "the run has not ended"
