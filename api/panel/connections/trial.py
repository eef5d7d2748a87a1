"""The button that tries a connection the whole way: a real upload, a real run, a real download."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from aiohttp import web

from ...client import Client, Timeouts
from ...connection import Connection
from ...errors import OutpostError
from ...models import Record
from ...models.records import Id
from ..call import Call
from ..discretion import without_places
from ..live.lines import told_in_lines
from .answers import connection_of

_TIMEOUTS = Timeouts(connect=5.0, read=20.0, transfer=20.0)


class Trial(Record):
    """What is to be tried."""

    deployment_id: Id | None = None
    """To be run, although that may cost money. Without it only what costs nothing is run."""


async def test_connection(call: Call) -> web.StreamResponse:
    """Lines `{name, state, text}` for each step; the last one is `the end`, and says how everything is.

    Where nothing can be run for free the run is `skipped`, with `choices` of deployments.
    """
    body = await call.body(Trial)
    return await told_in_lines(call, _tried(await connection_of(call), body.deployment_id))


async def _tried(connection: Connection, deployment_id: str | None) -> AsyncGenerator[dict[str, Any], None]:
    from ...doctor import steps

    async with Client(connection, timeouts=_TIMEOUTS) as client:
        async for step in steps(client, deployment_id=deployment_id):
            line: dict[str, Any] = {"name": step.name, "state": step.state, "text": without_places(step.text)}
            if step.state == "skipped":
                line["choices"] = await _choices(client)
            yield line


async def _choices(client: Client) -> list[dict[str, str]]:
    from ...forms import name_of

    try:
        found = await client.deployments.list()
    except OutpostError:
        return []
    named = [{"id": each.id, "name": name_of(each), "environment": each.environment or ""} for each in found]
    return sorted(named, key=lambda each: (each["name"].casefold(), each["environment"]))
