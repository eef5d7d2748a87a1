"""Requests that may be sent twice: their idempotency key, and what they say."""

from __future__ import annotations

import asyncio
import hashlib
import json

from aiohttp import web

from ..errors import BadRequest
from ..models import Record
from .call import Call
from .store.once import Once

HEADER = "Idempotency-Key"


def key_of(request: web.Request) -> str | None:
    """The idempotency key of a request; None without one. Raises BadRequest."""
    key = request.headers.get(HEADER)
    if key is not None and not (8 <= len(key) <= 200 and key.isascii() and key.isprintable()):
        raise BadRequest(f"An {HEADER} has 8 to 200 printable ASCII characters")
    return key or None


async def once_of(call: Call, body: Record) -> Once | None:
    """What makes a request the same as another one; None without a key. Raises BadRequest."""
    if (key := key_of(call.request)) is None:
        return None
    path = call.request.path.removeprefix("/api")
    # A graph may have megabytes, in which the server would do nothing else.
    return Once(key, await asyncio.to_thread(hash_of, body, f"{call.request.method} {path}"))


def hash_of(body: Record, endpoint: str = "") -> str:
    """The same for two requests that say the same, however their JSON is written."""
    text = endpoint + json.dumps(body.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
