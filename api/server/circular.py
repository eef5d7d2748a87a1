"""Runs that would wait for themselves.

A ComfyUI executes one prompt at a time. A node in it that waits for a run keeps it busy, so a run that only this very
ComfyUI could execute would never begin.
"""

from __future__ import annotations

import asyncio

from ..errors import BadRequest, Conflict
from .call import Call
from .fleet import HeldMachine
from .store.machines import MANAGED

PROMPT_HEADER = "Outpost-Prompt-Id"
"""Of a request for a run: the id that ComfyUI has given to the prompt which waits for the run."""
ANSWER_SECONDS = 5
"""For machines to say whether they are at work on it."""
_MAX_ID = 100


async def waiting_machine(call: Call, machine_id: str) -> str | None:
    """The machine among those which could execute a run that waits for it, if one does.

    Raises Conflict when no other could, and BadRequest for a wrong header.

    It may be known here by another address than it has for itself: the ids of prompts are the same everywhere.
    """
    prompt_id = call.request.headers.get(PROMPT_HEADER)
    if prompt_id is None:
        return None
    if not (1 <= len(prompt_id) <= _MAX_ID and prompt_id.isascii() and prompt_id.isprintable()):
        raise BadRequest(f"An {PROMPT_HEADER} has 1 to {_MAX_ID} printable ASCII characters")
    machines = call.platform.fleet.of(machine_id)
    waits = await asyncio.gather(*(_waits(each, prompt_id) for each in machines))
    if waits and all(waits):
        names = ", ".join(repr(each.name) for each in machines)
        raise Conflict(
            "The run would wait for itself for ever: the ComfyUI that asks for it is the one that has to execute it. "
            f"Put the deployment on another machine than {names}."
        )
    return next((held.id for held, is_waiting in zip(machines, waits, strict=True) if is_waiting), None)


async def _waits(held: HeldMachine, prompt_id: str) -> bool:
    """Whether a machine begins with no run before the prompt has ended."""
    if held.row["type"] == MANAGED and held.row["concurrency_limit"] > 1:
        return False  # another process of its takes the run
    try:
        return await asyncio.wait_for(held.machine.executes(prompt_id), ANSWER_SECONDS)
    except asyncio.TimeoutError:
        return False
