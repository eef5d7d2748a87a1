"""Events: what changes for the owner of the key."""

from __future__ import annotations

from aiohttp import web

from ...errors import BadRequest
from ...models import EventQuery
from ..call import Call
from ..endpoint import EVENT_STREAM, Access, Endpoint
from ..streaming import last_event_id, stream


async def follow_events(call: Call, query: EventQuery) -> web.StreamResponse:
    """Follow all that changes: runs, machines, and what is made, changed or deleted, from Last-Event-ID on."""
    after = last_event_id(call.request)
    async with call.platform.newsroom.follow(call.owner, after=after, previews=query.previews) as news:
        return await stream(call, news.next, what="an account")


ENDPOINTS: list[Endpoint] = [
    Endpoint("GET", "/events", follow_events, Access.READ, (BadRequest,), EVENT_STREAM),
]
