"""A recorded exchange, and a server that answers what was recorded."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, urlsplit

from aiohttp import web
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.serving import Log

STORE = "https://bucket.example"


@dataclass(frozen=True)
class Exchange:
    """A request as it was sent once, and the answer to it."""

    name: str
    """Of the file, without its ending."""
    case: str
    request: Mapping[str, Any]
    status: int
    content_type: str
    answer: Any

    @classmethod
    def read(cls, name: str, recorded: Mapping[str, Any]) -> Exchange:
        response = recorded["response"]
        kind = response["headers"].get("content-type", "application/json").partition(";")[0]
        return cls(name, recorded["case"], recorded["request"], response["status"], kind, response["body"])

    @classmethod
    def found(cls, name: str, case: str) -> Exchange:
        """The first one of a file whose case begins like this."""
        return cls.read(name, recordings.exchange(name, case))

    @property
    def method(self) -> str:
        return self.request["method"]

    @property
    def is_with_store(self) -> bool:
        return self.request["url"].startswith(STORE)

    @property
    def path(self) -> str:
        return urlsplit(self.request["url"]).path.removeprefix("/api")

    @property
    def query(self) -> dict[str, str]:
        values = parse_qs(urlsplit(self.request["url"]).query, keep_blank_values=True)
        return {name: value[0] for name, value in values.items()}

    @cached_property
    def body(self) -> Mapping[str, Any]:
        """What was sent; nothing where it was no JSON object."""
        body = self.request.get("body")
        return body if isinstance(body, dict) else {}

    def __str__(self) -> str:
        return f"{self.name}: {self.case[:70]}"


@dataclass(frozen=True)
class Then:
    """What else the client asks for to do what it was told, and the answer to that."""

    path: str
    status: int
    body: Any
    method: str = "GET"

    @classmethod
    def recorded(cls, path: str, name: str, case: str, *, method: str = "GET", **changes: Any) -> Then:
        """As it was recorded, but for some fields."""
        exchange = Exchange.found(name, case)
        body = exchange.answer | changes if changes else exchange.answer
        return cls(path, exchange.status, body, method)


@dataclass
class Replay:
    """Answers one exchange to whoever asks for `path`, and `then` what is read in addition; all else is unknown."""

    exchange: Exchange
    method: str
    path: str
    """A pattern."""
    then: tuple[Then, ...] = ()
    log: Log = field(default_factory=Log)
    base_url: str = ""
    """Where it is reached: in the answers it takes the place of the store, too."""

    @property
    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    @property
    def asked(self) -> list[str]:
        """What was asked for, but for what the client asks to find out whom it speaks to."""
        found = [f"{each.method} {each.path.partition('?')[0].removeprefix('/api')}" for each in self.log.requests]
        return [each for each in found if each != "GET /health"]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        await self.log.take(request)
        path = request.path.removeprefix("/api")
        if request.method == self.method and re.fullmatch(self.path, path):
            return self._answer(self.exchange.status, self.exchange.answer, content_type=self.exchange.content_type)
        for then in self.then:
            if (request.method, path) == (then.method, then.path):
                kind = "text/plain" if isinstance(then.body, str) else "application/json"
                return self._answer(then.status, then.body, content_type=kind)
        return self._answer(404, {"detail": "Not Found"}, content_type="application/json")

    def _answer(self, status: int, body: Any, *, content_type: str) -> web.Response:
        data = recordings.encoded(body).replace(STORE.encode(), self.base_url.encode())
        return web.Response(status=status, body=data, content_type=content_type)
