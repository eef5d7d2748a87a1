"""What changes for the owner of the key, as it happens, over a connection that may break."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

from ..account_events import AccountEvent, StreamBegun, StreamBroken, decode
from ..errors import ConnectionFailed, NotFound, NotSupported, RateLimited, ServerError
from .platform import Platform

_PATH = "/events"
_INSTEAD = "Ask for the lists now and then: client.runs.recent, client.machines.list."
_MOST_ATTEMPTS = 6
"""After so many failures in a row the pause between two attempts grows no more."""


async def listen(
    platform: Platform, *, previews: bool, last_event_id: str | None
) -> AsyncGenerator[AccountEvent, None]:
    """The events of `Client.events`."""
    failures = 0
    while True:
        reason = "The platform has ended the stream"
        try:
            # Asked inside, so that a platform which is away at first is waited for as well.
            await platform.require_outpost("tell what changes", instead=_INSTEAD)
            headers = {"Last-Event-ID": last_event_id} if last_event_id else {}
            path = f"{_PATH}?previews=true" if previews else _PATH
            async with platform.stream("GET", path, headers=headers) as messages, aclosing(messages):
                async for message in messages:
                    last_event_id = message.id or last_event_id
                    event = decode(message.name, message.data)
                    failures = 0 if isinstance(event, StreamBegun) else failures
                    yield event
        except NotFound as error:
            raise NotSupported(f"{platform.connection.origin} is too old to tell what changes. {_INSTEAD}") from error
        except (ConnectionFailed, ServerError, RateLimited) as error:
            reason = str(error)
        failures = min(failures + 1, _MOST_ATTEMPTS)
        yield StreamBroken(reason)
        await platform.pause(failures)
