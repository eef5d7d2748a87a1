"""ComfyUI's server as far as our part of its page sees it: a real one, with our routes on it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.panel import attach
from comfyui_outpost.api.panel.covers import BLANK
from comfyui_outpost.api.settings import Connection, save_connection
from comfyui_outpost.tests.fakes.serving import served
from yarl import URL

OWN = {"Outpost-Page": "1"}
"""What the page sends with each request."""
_SECRETS = re.compile(rb"outpost_[\w-]{20,}|key-that-nobody|[?&](s|X-Amz-Signature)=|Traceback|/store/|/objects/")


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Any
    body: bytes

    @property
    def data(self) -> Any:
        return json.loads(self.body)


class Page:
    """ComfyUI's page. No answer that it gets may hold a key, a signature or the address of an object."""

    def __init__(self, session: aiohttp.ClientSession, url: str, settings: Path) -> None:
        self._session = session
        self.url = url
        self._settings = settings

    def connect(self, base_url: str, api_key: str) -> None:
        """Set another platform up, as `outpost connect` does."""
        save_connection(Connection(base_url, api_key), self._settings)

    async def get(
        self, path: str, headers: dict[str, str] = OWN, *, method: str = "GET", body: bytes | None = None
    ) -> Answer:
        url = URL(self.url + path, encoded=True)
        async with self._session.request(method, url, headers=headers, data=body) as response:
            answer = Answer(response.status, response.headers, await response.read())
        assert not _SECRETS.search(answer.body), answer.body
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        is_picture = answer.headers["Content-Type"].startswith("image/")
        kept = "private, max-age=10" if answer.body == BLANK else "private, max-age=300"
        assert answer.headers["Cache-Control"] == (kept if is_picture else "no-store")
        return answer

    async def send(self, method: str, path: str, body: Any = None) -> Answer:
        """Let a route do something, with a body of JSON."""
        headers = {**OWN, "Content-Type": "application/json"}
        return await self.get(path, headers, method=method, body=json.dumps(body or {}).encode())

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON that a route answers to a deed that has to succeed."""
        answer = await self.send(method, path, body)
        assert answer.status == 200, answer.body
        return answer.data

    async def told(self, path: str) -> Any:
        """The JSON of an answer that has to be good."""
        answer = await self.get(path)
        assert answer.status == 200, answer.body
        return answer.data


@asynccontextmanager
async def opened(settings: Path, **options: Any) -> AsyncGenerator[Page, None]:
    """A page of a ComfyUI that keeps its connection in this file."""
    routes = web.RouteTableDef()
    panel = attach(routes, **options)
    assert panel
    app = web.Application()
    app.add_routes(routes)
    async with served(app) as url, aiohttp.ClientSession() as session:
        yield Page(session, url, settings)
        await panel.aclose()


@pytest.fixture
async def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Page, None]:
    """A page of a ComfyUI on which no platform is set up yet."""
    settings = tmp_path / "settings" / "connection.json"
    monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
    for name in ("OUTPOST_BASE_URL", "OUTPOST_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    async with opened(settings) as page:
        yield page


@pytest.fixture
def connected(platform: Any, page: Page) -> Page:
    """A page of a ComfyUI that is connected with a platform at work."""
    page.connect(platform.url, platform.owner.api_key)
    return page


@pytest.fixture
async def client(platform: Any) -> AsyncGenerator[Client, None]:
    """The client of that platform's owner."""
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client
