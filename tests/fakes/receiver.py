"""A server that takes the messages of webhooks."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from .serving import Log, Seen, served

WAIT_SECONDS = 20


@dataclass(frozen=True)
class Message:
    """A message as it came."""

    path: str
    """With the query."""
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def is_signed_with(self, secret: str) -> bool:
        """Whether the signature is the one that Standard Webhooks asks for."""
        scheme, _, key = secret.partition("_")
        signed = b".".join([self.id.encode(), self.headers["webhook-timestamp"].encode(), self.raw])
        digest = hmac.new(base64.b64decode(key, validate=True), signed, hashlib.sha256).digest()
        return scheme == "whsec" and self.headers["webhook-signature"] == "v1," + base64.b64encode(digest).decode()


@dataclass
class Receiver:
    """Answers each path as `answers` says, and 200 otherwise. Paths that begin with /hold are answered on `release`."""

    url: str = ""
    answers: dict[str, Callable[[web.Request], web.StreamResponse]] = field(default_factory=dict)
    messages: list[Message] = field(default_factory=list)
    under_way: int = 0
    most_at_once: int = 0
    released: asyncio.Event = field(default_factory=asyncio.Event)
    _log: Log = field(default_factory=Log)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [message.body for message in self.messages]

    @property
    def statuses(self) -> list[str]:
        return [body["status"] for body in self.bodies]

    async def until(self, is_enough: Callable[[list[Message]], bool]) -> list[Message]:
        """The messages, once they are enough; they count when they have come, before they are answered."""
        async with self._news:
            await asyncio.wait_for(self._news.wait_for(lambda: is_enough(self.messages)), WAIT_SECONDS)
        return self.messages

    async def count(self, count: int) -> list[Message]:
        """The messages, once there are so many."""
        return await self.until(lambda messages: len(messages) >= count)

    async def told(self, status: str) -> Message:
        """The message that a run has come to a status."""
        messages = await self.until(lambda messages: any(each.body["status"] == status for each in messages))
        return next(each for each in messages if each.body["status"] == status)

    def say(self, path: str, *statuses: int, headers: dict[str, str] | None = None) -> None:
        """Answer a path with each status in turn, and with the last one from then on."""
        left = list(statuses)
        self.answers[path] = lambda _: web.Response(status=left.pop(0) if left[1:] else left[0], headers=headers)

    async def take(self, request: web.Request) -> web.StreamResponse:
        seen: Seen = await self._log.take(request)
        self.under_way += 1
        self.most_at_once = max(self.most_at_once, self.under_way)
        try:
            async with self._news:
                self.messages.append(Message(seen.path, {k.lower(): v for k, v in seen.headers.items()}, seen.body))
                self._news.notify_all()
            if request.path.startswith("/hold"):
                await self.released.wait()
            answer = self.answers.get(request.path)
            return answer(request) if answer else web.Response(text="thanks")
        finally:
            self.under_way -= 1


@asynccontextmanager
async def receiver() -> AsyncGenerator[Receiver, None]:
    """A receiver on a real socket."""
    app, found = web.Application(), Receiver()
    app.router.add_route("*", "/{path:.*}", found.take)
    async with served(app, cancels_handlers=True) as found.url:
        yield found
