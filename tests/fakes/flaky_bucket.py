"""A bucket behind a proxy that refuses what a test wants refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from aiohttp import web

from .bucket import InBucket
from .serving import served

_DENIED = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_OF_ONE_CONNECTION = {"transfer-encoding", "connection", "content-length", "host"}


@dataclass
class FlakyBucket:
    """Passes every request on to a bucket but those that are refused."""

    bucket: InBucket
    endpoint: str
    """Where the real store listens."""
    address: str = ""
    """Where the proxy listens."""
    _refused: list[tuple[str, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return self.bucket.url

    def keys(self) -> list[str]:
        return self.bucket.keys()

    def unfinished(self) -> list[str]:
        return self.bucket.unfinished()

    def refuse(self, query: str | None, *, method: str | None = None) -> None:
        """From now on refuse requests with this in their query, or none with None."""
        self._refused = [] if query is None else [(query, method)]

    async def answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        for query, method in self._refused:
            if query in request.query_string and method in (None, request.method):
                return web.Response(status=403, text=_DENIED)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        async with httpx.AsyncClient(trust_env=False, verify=False, timeout=20) as client:
            url = f"{self.endpoint}{request.raw_path}"
            answer = await client.request(request.method, url, headers=headers, content=body)
        kept = {name: value for name, value in answer.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        if request.method == "HEAD":
            kept["Content-Length"] = answer.headers["content-length"]
        return web.Response(status=answer.status_code, headers=kept, body=answer.content)


@asynccontextmanager
async def flaky_bucket(bucket: InBucket, *, endpoint: str) -> AsyncIterator[FlakyBucket]:
    """A proxy in front of a bucket until the block ends."""
    flaky = FlakyBucket(bucket, endpoint)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", flaky.answer)
    async with served(app) as flaky.address:
        yield flaky
