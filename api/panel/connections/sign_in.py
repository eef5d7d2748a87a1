"""Signing in through the browser, where the platform offers it: its page makes a key, and this server fetches it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from ...connection import DEFAULT_BASE_URL, Connection, normalised
from ...connections import Book, Saved, name_for, new_id
from ...errors import ConnectionFailed, NotFound, NotSupported
from ...models import Record
from ...shapes import is_object
from ..call import Call, Line
from .answers import changed

_WAIT = 25.0
"""Seconds that one question of the page waits for the answer; it asks again."""
_PAUSE = 1.0
_MAX_BYTES = 64 * 1024
_ANSWER = "/platform/comfyui/auth-response"


class Wish(Record):
    """Where to sign in."""

    base_url: Line = DEFAULT_BASE_URL


async def begin_sign_in(call: Call) -> dict[str, Any]:
    """The page to open in the browser, and the id to ask with. Raises NotSupported where the platform has no such."""
    base_url = normalised((await call.body(Wish)).base_url)
    sign_in_id = call.desk.sign_ins.begin(base_url)
    try:
        await _ask(base_url, sign_in_id)
    except BaseException:
        call.desk.sign_ins.end(sign_in_id)
        raise
    return {"sign_in_id": sign_in_id, "url": f"{_page_of(base_url)}/auth/request/{sign_in_id}"}


async def finish_sign_in(call: Call) -> dict[str, Any]:
    """Wait a while for the key, and keep it. `is_done` says whether it has come; else the page asks again."""
    sign_in_id = call.id("sign_in_id")
    sign_in = call.desk.sign_ins.find(sign_in_id)
    deadline = time.monotonic() + _WAIT
    while (key := await _ask_calmly(sign_in.base_url, sign_in_id)) is None:
        if time.monotonic() + _PAUSE > deadline:
            return {"is_done": False}
        await asyncio.sleep(_PAUSE)
    call.desk.sign_ins.end(sign_in_id)
    connection = Connection(sign_in.base_url, key)
    return {"is_done": True, **await changed(call, lambda book: _with(book, connection))}


def _with(book: Book, connection: Connection) -> Book:
    """Who signs in again has a new key for the same platform."""
    name = f"{name_for(connection.base_url)}, signed in"
    former = next((each for each in book.entries if each.name == name), None)
    saved = Saved(former.id if former else new_id(), name, connection)
    return book.having(saved).using(saved.id)


async def _ask_calmly(base_url: str, sign_in_id: str) -> str | None:
    """The same, where a question that fails is asked again: somebody is signing in meanwhile."""
    try:
        return await _ask(base_url, sign_in_id)
    except ConnectionFailed:
        return None


async def _ask(base_url: str, sign_in_id: str) -> str | None:
    """The key, if somebody has signed in. Nothing but the id is sent.

    Raises NotSupported, NotFound, ConnectionFailed.
    """
    url = f"{base_url if base_url.endswith('/api') else base_url + '/api'}{_ANSWER}"
    timeout = aiohttp.ClientTimeout(total=15, connect=5)
    try:
        async with aiohttp.ClientSession(timeout=timeout, trust_env=True) as session:
            query = {"request_id": sign_in_id}
            async with session.get(url, params=query, allow_redirects=False) as response:
                status, data = response.status, await _json(response)
    except (aiohttp.ClientError, asyncio.TimeoutError) as error:
        raise ConnectionFailed(f"{base_url} does not answer.") from error
    if status == 200 and isinstance(key := data.get("api_key"), str):
        return key
    if status == 410:
        raise NotFound("The sign-in was too long ago. Begin again.", status=404)
    if status == 404 and "request" in str(data.get("detail", "")).lower():
        return None
    raise NotSupported(f"{base_url} does not let one sign in through the browser. Give it a key that you made there.")


async def _json(response: aiohttp.ClientResponse) -> dict[str, Any]:
    try:
        data: Any = json.loads(await response.content.read(_MAX_BYTES))
    except ValueError:
        return {}
    return data if is_object(data) else {}


def _page_of(base_url: str) -> str:
    """Where people see the platform: `app.example.com` where its API is `api.example.com`, else the same place."""
    parts = urlsplit(base_url)
    host = parts.netloc
    return f"{parts.scheme}://{'app.' + host[4:] if host.startswith('api.') else host}"
