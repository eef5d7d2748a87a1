"""How a run comes from one status to the next: the one place where that is written, inside of a transaction."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...events import ExecutionFailed, RunEvent, StatusChanged, encode
from ...models import Failure, RunStatus
from .database import Row, fetch
from .notes import note, run_changed
from .tables import run_events, runs, webhook_deliveries

WAITING = (RunStatus.NOT_STARTED, RunStatus.QUEUED)
WORKING = (RunStatus.STARTED, RunStatus.RUNNING, RunStatus.UPLOADING)

_INSERT_EVENT = sa.insert(run_events)
_TOLD = [
    *(runs.c[name] for name in ("id", "owner_id", "status", "progress", "live_status", "error", "deployment_id")),
    *(runs.c[name] for name in ("workflow_id", "workflow_version_id", "machine_id", "last_event", "webhook")),
    *(runs.c[name] for name in ("created_at", "started_at", "ended_at")),
]


def advance(
    connection: sa.Connection,
    now: datetime,
    where: sa.ColumnElement[bool],
    *,
    to: RunStatus,
    values: dict[str, Any] | None = None,
    events: Sequence[RunEvent] = (),
) -> list[Row]:
    """Change the status of the runs that `where` selects and that may come to it; those runs.

    The one place where a status changes. The row and its events are one transaction of the caller's.
    """
    is_allowed = runs.c.status.in_([status.value for status in to.predecessors])
    changed = {"status": to.value, "updated_at": now, **_stamps(to, now), **(values or {})}
    changed["last_event"] = runs.c.last_event + len(events) + 1
    change = sa.update(runs).where(where, is_allowed).values(changed)
    rows = fetch(connection, change.returning(*_TOLD))
    for row in rows:
        logged = [*events, StatusChanged(row["id"], to)]
        write_events(connection, now, row["id"], logged, last=row["last_event"])
        note(connection, row["owner_id"], run_changed(row))
        if row["webhook"]:
            _announce(connection, now, row["id"], to)
    return rows


def abandon(connection: sa.Connection, now: datetime, which: sa.ColumnElement[bool], reason: str) -> None:
    """Fail the waiting runs that `which` selects, because what they wait for is gone."""
    waiting = which & runs.c.status.in_([status.value for status in WAITING])
    failure = Failure(message=reason)
    for row in fetch(connection, sa.select(runs.c.id).where(waiting)):
        this, events = waiting & (runs.c.id == row["id"]), [ExecutionFailed(row["id"], failure)]
        advance(connection, now, this, to=RunStatus.FAILED, values={"error": failure.model_dump()}, events=events)


def _announce(connection: sa.Connection, now: datetime, run_id: str, status: RunStatus) -> None:
    """Tell the run's webhook of its new status, at some time from now on, whatever happens to this process."""
    row = {"id": str(uuid4()), "run_id": run_id, "status": status.value, "created_at": now, "next_attempt_at": now}
    connection.execute(sa.insert(webhook_deliveries), row)


def _stamps(status: RunStatus, now: datetime) -> dict[str, Any]:
    """What a status means for the other columns."""
    no_lease = {"lease": None, "lease_expires_at": None}
    if status.is_terminal:
        ended = {**no_lease, "queue_expires_at": None, "live_status": None, "ended_at": now}
        return ended | ({"progress": 1.0} if status is RunStatus.SUCCESS else {})
    if status is RunStatus.QUEUED:
        anew = dict.fromkeys(("started_at", "running_at", "live_status"))
        return {**no_lease, **anew, "queued_at": now, "progress": 0.0}
    if status is RunStatus.RUNNING:
        return {"running_at": now, "queue_expires_at": None}
    return {"started_at": now} if status is RunStatus.STARTED else {}


def write_events(
    connection: sa.Connection, now: datetime, run_id: str, events: Sequence[RunEvent], *, last: int
) -> None:
    """Write events whose numbers end with `last`, which the run's row has counted already."""
    rows = [
        {"run_id": run_id, "number": number, "payload": encode(event)[1], "created_at": now}
        for number, event in enumerate(events, start=last - len(events) + 1)
    ]
    connection.execute(_INSERT_EVENT, rows)
