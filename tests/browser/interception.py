"""Answers some requests of a page in place of its server, and leaves everything else to the browser.

Playwright's own routes see every request of a page and turn the browser's cache off: ComfyUI's page, which is some
hundreds of files, takes twice as long to load then.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

from playwright.async_api import CDPSession, Error, Page


@dataclass(frozen=True)
class Asked:
    """A request of the page. The names of headers are in small letters."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Reply:
    """What the page is told."""

    data: Any
    """As JSON."""
    status: int = 200


@asynccontextmanager
async def replied(page: Page, pattern: str, reply: Callable[[Asked], Reply | None]) -> AsyncGenerator[None, None]:
    """During the block `reply` answers the requests for addresses like the pattern. Those it has None for go on."""

    async def answer(session: CDPSession, paused: dict[str, Any]) -> None:
        request = paused["request"]
        headers = {name.lower(): value for name, value in request["headers"].items()}
        told = reply(Asked(request["url"], headers))
        if told is None:
            await session.send("Fetch.continueRequest", {"requestId": paused["requestId"]})
            return
        body = base64.b64encode(json.dumps(told.data).encode()).decode()
        kind = [{"name": "Content-Type", "value": "application/json"}]
        facts = {"responseCode": told.status, "responseHeaders": kind, "body": body}
        await session.send("Fetch.fulfillRequest", {"requestId": paused["requestId"], **facts})

    async with _paused(page, {"urlPattern": pattern}, answer):
        yield


@asynccontextmanager
async def with_header(page: Page, url: str, name: str, value: str) -> AsyncGenerator[None, None]:
    """During the block what comes from an address has a header more."""

    async def answer(session: CDPSession, paused: dict[str, Any]) -> None:
        headers = [*paused["responseHeaders"], {"name": name, "value": value}]
        facts = {"responseCode": paused["responseStatusCode"], "responseHeaders": headers}
        await session.send("Fetch.continueResponse", {"requestId": paused["requestId"], **facts})

    async with _paused(page, {"urlPattern": url, "requestStage": "Response"}, answer):
        yield


@asynccontextmanager
async def _paused(
    page: Page, pattern: Mapping[str, str], answer: Callable[[CDPSession, dict[str, Any]], Any]
) -> AsyncGenerator[None, None]:
    """During the block requests wait for an answer. What goes wrong with one is raised at the end."""
    session = await page.context.new_cdp_session(page)
    answers: list[asyncio.Task[None]] = []

    async def survive(paused: dict[str, Any]) -> None:
        with suppress(Error):  # the page has left meanwhile, and its request with it
            await answer(session, paused)

    session.on("Fetch.requestPaused", lambda paused: answers.append(asyncio.create_task(survive(paused))))
    await session.send("Fetch.enable", {"patterns": [dict(pattern)]})
    try:
        yield
    finally:
        await session.detach()
        outcomes = await asyncio.gather(*answers, return_exceptions=True)
    for outcome in outcomes:
        if outcome:
            raise outcome
