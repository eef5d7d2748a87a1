"""The work on runs: who has claimed which, how they come to their end, and what becomes of those that were left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...events import ExecutionFailed, OutputReady, RunEvent
from ...models import Failure, Graph, RunStatus
from .database import Database, Row, fetch, take_turns
from .tables import deployments, machines, run_outputs, runs, workflow_versions
from .transitions import WORKING, advance, write_events

MAX_ATTEMPTS = 3
"""How often a run is begun before it counts as the reason for the server's end."""


@dataclass(frozen=True)
class ClaimedRun:
    """A run that this process may work on while it holds the lease."""

    id: str
    owner_id: str
    machine_id: str
    lease: str
    inputs: dict[str, Any]
    run_timeout: float
    workflow_api: Graph
    webhook: dict[str, Any] | None = None
    """The fields of `Webhook`, if somebody wants to be told."""


@dataclass(frozen=True)
class NewOutput:
    """What a node has put out. `data` is kind to list of texts and of files, which name their object."""

    node_id: str
    node_class: str
    output_id: str | None
    data: dict[str, list[Any]]


class WorkStore:
    """What a server process does with runs. Whatever it changes, it changes only while it holds the run's lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, machine_id: str, *, seconds: float) -> ClaimedRun | None:
        """Take the longest waiting run of a machine for this many seconds; None when no run waits."""
        now, lease = self._database.now(), str(uuid4())
        waiting = (runs.c.machine_id == machine_id) & (runs.c.status == RunStatus.QUEUED.value)
        waiting &= ~runs.c.is_cancel_requested & _deployment_has_room() & _machine_has_room(machine_id)
        first = sa.select(runs.c.id).where(waiting).order_by(runs.c.created_at, runs.c.id).limit(1)
        this = runs.c.id == first.with_for_update(skip_locked=True).scalar_subquery()
        taken = {
            "lease": lease,
            "lease_expires_at": now + timedelta(seconds=seconds),
            "attempts": runs.c.attempts + 1,
        }
        query = sa.select(runs, workflow_versions.c.workflow_api)
        query = query.join(workflow_versions, workflow_versions.c.id == runs.c.workflow_version_id)

        def take(connection: sa.Connection) -> ClaimedRun | None:
            take_turns(connection, "claim")  # or two could each see the last free place
            rows = advance(connection, now, this, to=RunStatus.STARTED, values=taken)
            if not rows:
                return None
            row = fetch(connection, query.where(runs.c.id == rows[0]["id"]))[0]
            return ClaimedRun(**{name: row[name] for name in ClaimedRun.__dataclass_fields__})

        return await self._database.write(take)

    async def renew(self, leases: Sequence[str], *, seconds: float) -> dict[str, bool]:
        """Hold on to leases; the ones that are still held, and whether their run shall be cancelled."""
        until = self._database.now() + timedelta(seconds=seconds)
        change = sa.update(runs).where(runs.c.lease.in_(leases)).values(lease_expires_at=until)
        change = change.returning(runs.c.lease, runs.c.is_cancel_requested)
        rows = await self._database.write(lambda connection: fetch(connection, change))
        return {row["lease"]: row["is_cancel_requested"] for row in rows}

    async def advance(
        self,
        run: ClaimedRun,
        status: RunStatus,
        *,
        failure: Failure | None = None,
        progress: float | None = None,
        live_status: str | None = None,
        events: Sequence[RunEvent] = (),
    ) -> bool:
        """Move a run that this process holds to another status, after logging `events`; False when it is not held."""
        values: dict[str, Any] = {"progress": progress, "live_status": live_status}
        values = {name: value for name, value in values.items() if value is not None}
        if failure:
            values["error"] = failure.model_dump()
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)
        rows = await self._database.write(
            lambda connection: advance(connection, now, held, to=status, values=values, events=events)
        )
        return bool(rows)

    async def add_output(self, run: ClaimedRun, output: NewOutput) -> None:
        """Keep an output of a run that this process holds, and log it."""
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)
        event = OutputReady(run.id, output.node_id, output.data)
        change = sa.update(runs).where(held).values(last_event=runs.c.last_event + 1).returning(runs.c.last_event)

        def add(connection: sa.Connection) -> None:
            number: int | None = connection.execute(change).scalar()
            if number is None:
                return
            write_events(connection, now, run.id, [event], last=number)
            row = {**vars(output), "id": str(uuid4()), "run_id": run.id, "position": number, "created_at": now}
            connection.execute(sa.insert(run_outputs).values(row))

        await self._database.write(add)

    async def recover(self, *, all_of_them: bool = False) -> list[str]:
        """Take up the runs of a server that is gone; the ids of those that wait again.

        A run whose lease has run out is queued again, with its outputs forgotten; it is cancelled if that was asked
        for, and failed if it was begun too often. `all_of_them`: no other server can be at work, so no lease counts.
        """
        now = self._database.now()
        query = sa.select(runs.c.id, runs.c.lease, runs.c.lease_expires_at, runs.c.attempts)
        query = query.where(runs.c.status.in_([status.value for status in WORKING]))
        if not all_of_them:
            query = query.where(runs.c.lease_expires_at < now)
        requeued: list[str] = []
        for row in await self._database.rows(query):
            if await self._recover_one(row) is RunStatus.QUEUED:
                requeued.append(row["id"])
        return requeued

    async def _recover_one(self, row: Row) -> RunStatus | None:
        now, failure = self._database.now(), None
        if row["attempts"] >= MAX_ATTEMPTS:
            message = f"The server stopped {row['attempts']} times while it worked on this run; it is not tried again."
            failure = Failure(message=message)
        # Its server may be alive after all and have renewed the lease in the meantime.
        unchanged = runs.c.lease_expires_at == row["lease_expires_at"]
        orphaned = (runs.c.id == row["id"]) & (runs.c.lease == row["lease"]) & unchanged
        return await self._database.write(
            lambda connection: _hand_back(connection, now, orphaned, attempts=row["attempts"], failure=failure)
        )

    async def release(self, run: ClaimedRun) -> None:
        """Give back a run that this process cannot finish because it is being stopped; it is queued again."""
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)
        fewer = runs.c.attempts - 1
        await self._database.write(lambda connection: _hand_back(connection, now, held, attempts=fewer))


def _hand_back(
    connection: sa.Connection,
    now: datetime,
    which: sa.ColumnElement[bool],
    *,
    attempts: Any,  # a number, or an expression of SQL
    failure: Failure | None = None,
) -> RunStatus | None:
    """Let a run at work wait again, or end it where it cannot: its new status; None when `which` is no run."""
    query = sa.select(runs.c.id, runs.c.is_cancel_requested, machines.c.deleted_at)
    query = query.join(machines, machines.c.id == runs.c.machine_id).where(which).with_for_update(of=runs)
    if not (rows := fetch(connection, query)):
        return None
    row, values, events = rows[0], dict[str, Any](), list[RunEvent]()
    to = RunStatus.CANCELLED if row["is_cancel_requested"] else RunStatus.QUEUED
    if row["deleted_at"]:
        failure = failure or Failure(message="The machine was deleted before the run could begin again")
    if failure and to is RunStatus.QUEUED:
        to, values, events = RunStatus.FAILED, {"error": failure.model_dump()}, [ExecutionFailed(row["id"], failure)]
    if to is RunStatus.QUEUED:
        values = {"attempts": attempts, "is_cancel_requested": False}
        _forget_outputs(connection, row["id"])
    advance(connection, now, runs.c.id == row["id"], to=to, values=values, events=events)
    return to


def _forget_outputs(connection: sa.Connection, run_id: str) -> None:
    connection.execute(sa.delete(run_outputs).where(run_outputs.c.run_id == run_id))


def _deployment_has_room() -> sa.ColumnElement[bool]:
    """Whether the deployment of a run may have one more run at work."""
    others = runs.alias("of_deployment")
    limit = sa.select(deployments.c.concurrency_limit).where(deployments.c.id == runs.c.deployment_id).scalar_subquery()
    return limit.is_(None) | (_at_work(others, others.c.deployment_id == runs.c.deployment_id) < limit)


def _machine_has_room(machine_id: str) -> sa.ColumnElement[bool]:
    """Whether a machine has a free slot, in whatever process its other runs are."""
    others = runs.alias("on_machine")
    limit = sa.select(machines.c.concurrency_limit).where(machines.c.id == machine_id).scalar_subquery()
    return _at_work(others, others.c.machine_id == machine_id) < limit


def _at_work(others: sa.FromClause, which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """How many of some runs are at work."""
    working = others.c.status.in_([status.value for status in WORKING])
    return sa.select(sa.func.count()).select_from(others).where(which, working).scalar_subquery()
