"""Machines: list and read."""

from __future__ import annotations

from aiohttp import web

from ..call import Call, Endpoint, Handler, reply


async def list_machines(call: Call) -> web.Response:
    return reply(await call.platform.store.machines.list(call.owner))


async def get_machine(call: Call) -> web.Response:
    return reply(await call.platform.store.machines.get(call.owner, call.id("machine_id")))


ENDPOINTS: list[Endpoint[Handler]] = [
    Endpoint("GET", "/machines", list_machines),
    Endpoint("GET", "/machine/{machine_id}", get_machine),
]
