"""Runs, as lists show them, and the lists themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from ...client import Client
from ...client.history import newest_first
from ...errors import NotSupported, OutpostError
from ...models import Run, RunStatus, write_timestamp
from ..live.names import Names

ACTIVE = tuple(status for status in RunStatus if not status.is_terminal)
GROUPS: dict[str, tuple[RunStatus, ...]] = {
    "": (),
    "active": ACTIVE,
    "failed": (RunStatus.FAILED, RunStatus.TIMEOUT),
    "done": (RunStatus.SUCCESS,),
    "cancelled": (RunStatus.CANCELLED,),
}
"""The filters of the list. Without a status it holds all runs."""
_LONGEST = 300
_ASKED = 5
"""Deployments with waiting runs of which one is asked why it waits."""
_RECENT = 100
"""Runs that are listed of all workflows where a platform lists only those of one."""


def row_of(run: Run, names: Names, *, is_ours: bool) -> dict[str, Any]:
    """A run without its inputs and outputs. `is_ours`: it was started by this panel."""
    name, environment = names.deployment(run.deployment_id)
    return {
        "id": run.id,
        "status": run.status.value,
        "progress": 1.0 if run.status is RunStatus.SUCCESS else min(1.0, max(0.0, run.progress)),
        "doing": run.live_status[:_LONGEST] if run.live_status and not run.status.is_terminal else None,
        "queue_position": run.queue_position,
        "deployment_id": run.deployment_id,
        "workflow_id": run.workflow_id,
        "name": name,
        "environment": environment,
        "machine": names.machine(run.machine_id),
        "machine_id": run.machine_id,
        "created_at": _time(run.created_at),
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at),
        "error": run.error.message.strip()[:_LONGEST] if run.error else None,
        "is_ours": is_ours,
    }


def _time(time: datetime | None) -> str | None:
    return write_timestamp(time) if time else None


async def listed(
    client: Client,
    *,
    statuses: Sequence[RunStatus],
    deployment_id: str | None,
    workflow_id: str | None,
    limit: int,
    offset: int,
) -> list[Run]:
    """A page of runs, the newest first. Raises OutpostError."""
    ids = {"deployment_id": deployment_id, "workflow_id": workflow_id}

    async def page(status: RunStatus | None, *, size: int, start: int) -> list[Run]:
        return await client.runs.list(**ids, status=status, limit=size, offset=start)

    try:
        if len(statuses) <= 1:
            return await page(statuses[0] if statuses else None, size=limit, start=offset)
        pages = await asyncio.gather(*(page(status, size=offset + limit, start=0) for status in statuses))
        found = [run for each in pages for run in each]
    except NotSupported:
        found = [run for run in await client.runs.recent(limit=_RECENT) if not statuses or run.status in statuses]
    return newest_first(found)[offset:][:limit]


async def with_reasons(client: Client, runs: Sequence[Run]) -> list[Run]:
    """Runs of a list, those that wait with the reason why: a server of this package tells it of single runs only."""
    waiting = {run.deployment_id: run.id for run in runs if _is_silent(run)}
    asked = list(waiting.items())[:_ASKED] if waiting and await client.is_outpost() else []
    told: dict[str | None, str] = {}

    async def ask(deployment_id: str | None, run_id: str) -> None:
        with suppress(OutpostError):  # it may be gone, and the list is not lost for that
            if reason := (await client.runs.get(run_id, queue_position=False)).live_status:
                told[deployment_id] = reason

    await asyncio.gather(*(ask(*each) for each in asked))
    reasons = [told.get(run.deployment_id) if _is_silent(run) else None for run in runs]
    return [
        run.model_copy(update={"live_status": reason}) if reason else run
        for run, reason in zip(runs, reasons, strict=True)
    ]


def _is_silent(run: Run) -> bool:
    return run.status is RunStatus.QUEUED and not run.live_status
