"""Runs: their status, their log of events, their outputs, and who is working on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict, NotFound
from ...events import Accepted, OutputReady, Payload, RunEvent, StatusChanged, encode
from ...models import Deployment, Failure, Graph, Run, RunRequest, RunStatus
from .database import Database, Row, fetch, found
from .keys import Owner
from .tables import run_events, run_outputs, runs, workflow_versions

MAX_ATTEMPTS = 3
"""How often a run is begun before it counts as the reason for the server's end."""

WAITING = (RunStatus.NOT_STARTED, RunStatus.QUEUED)
WORKING = (RunStatus.STARTED, RunStatus.RUNNING, RunStatus.UPLOADING)


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


@dataclass(frozen=True)
class NewOutput:
    """What a node has put out. `data` is kind to list of texts and of files, which name their object."""

    node_id: str
    node_class: str
    output_id: str | None
    data: dict[str, list[Any]]


class RunStore:
    """Every change of a status goes through `_advance`, which writes it and its event in one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, owner: Owner, deployment: Deployment, *, request: RunRequest, run_timeout: float, key: str | None = None
    ) -> str:
        """Accept a run; its id. The same idempotency `key` gives the same run, and Conflict for another request."""
        now, run_id = self._database.now(), str(uuid4())
        row = {
            "id": run_id,
            "owner_id": owner.id,
            "deployment_id": deployment.id,
            "workflow_id": deployment.workflow_id,
            "workflow_version_id": deployment.workflow_version_id,
            "machine_id": deployment.machine_id,
            "inputs": request.inputs,
            "run_timeout": deployment.run_timeout or run_timeout,
            "status": RunStatus.QUEUED.value,
            "idempotency_key": key,
            "request_hash": _request_hash(request),
        }
        times = {"created_at": now, "updated_at": now, "queued_at": now}
        events = [Accepted(run_id), StatusChanged(run_id, RunStatus.QUEUED)]

        def add(connection: sa.Connection) -> None:
            connection.execute(sa.insert(runs).values(**row, **times, last_event=len(events)))
            _write_events(connection, now, run_id, events, last=len(events))

        try:
            await self._database.write(add)
        except IntegrityError as error:
            if key is None:
                raise NotFound("The deployment is being changed; try again") from error
            return await self._same_run(owner, request, key)
        return run_id

    async def _same_run(self, owner: Owner, request: RunRequest, key: str) -> str:
        query = sa.select(runs.c.id, runs.c.request_hash)
        query = query.where(runs.c.owner_id == owner.id, runs.c.idempotency_key == key)
        row = found(await self._database.rows(query), "The deployment is being changed; try again")
        if row["request_hash"] != _request_hash(request):
            raise Conflict(f"The idempotency key belongs to run {row['id']}, which was asked for with another request")
        return row["id"]

    async def get(self, owner: Owner, run_id: str, *, with_queue_position: bool = False) -> Run:
        """A run without its outputs. NotFound when it is somebody else's."""
        query = sa.select(runs).where(runs.c.id == run_id, runs.c.owner_id == owner.id)
        row = found(await self._database.rows(query), f"There is no run {run_id}")
        position = await self._queue_position(row) if with_queue_position else None
        fields = {**row, "workflow_inputs": row["inputs"], "queue_position": position}
        return Run.model_validate(fields)

    async def outputs(self, run_id: str) -> list[Row]:
        """The outputs of a run in the order in which they came; their files name an `object` in place of a `url`."""
        query = sa.select(run_outputs).where(run_outputs.c.run_id == run_id).order_by(run_outputs.c.position)
        return await self._database.rows(query)

    async def _queue_position(self, row: Row) -> int | None:
        if RunStatus(row["status"]) not in WAITING:
            return None
        earlier = sa.tuple_(runs.c.created_at, runs.c.id) < sa.tuple_(
            sa.literal(row["created_at"], runs.c.created_at.type), row["id"]
        )
        waiting = runs.c.status.in_([status.value for status in WAITING])
        query = sa.select(sa.func.count().label("count")).where(
            runs.c.machine_id == row["machine_id"], waiting, earlier
        )
        return (await self._database.rows(query))[0]["count"]

    async def events(self, run_id: str, *, after: int) -> list[tuple[int, Payload]]:
        """The logged events of a run whose number is greater than `after`."""
        query = sa.select(run_events.c.number, run_events.c.payload)
        query = query.where(run_events.c.run_id == run_id, run_events.c.number > after).order_by(run_events.c.number)
        return [(row["number"], row["payload"]) for row in await self._database.rows(query)]

    async def last_event(self, run_id: str) -> int:
        """The number of the newest event in the log of a run."""
        rows = await self._database.rows(sa.select(runs.c.last_event).where(runs.c.id == run_id))
        return found(rows, f"There is no run {run_id}")["last_event"]

    async def claim(self, machine_id: str, *, seconds: float) -> ClaimedRun | None:
        """Take the longest waiting run of a machine for this many seconds; None when no run waits."""
        now, lease = self._database.now(), str(uuid4())
        waiting = (runs.c.machine_id == machine_id) & (runs.c.status == RunStatus.QUEUED.value)
        waiting &= ~runs.c.is_cancel_requested
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
            rows = _advance(connection, now, this, to=RunStatus.STARTED, values=taken)
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
            lambda connection: _advance(connection, now, held, to=status, values=values, events=events)
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
            _write_events(connection, now, run.id, [event], last=number)
            row = {**vars(output), "id": str(uuid4()), "run_id": run.id, "position": number, "created_at": now}
            connection.execute(sa.insert(run_outputs).values(row))

        await self._database.write(add)

    async def request_cancel(self, run_id: str) -> None:
        """Cancel a run that waits, and ask whoever works on it to stop it otherwise."""
        now = self._database.now()
        waits = (runs.c.id == run_id) & runs.c.status.in_([status.value for status in WAITING])
        works = (runs.c.id == run_id) & runs.c.status.in_([status.value for status in WORKING])

        def cancel(connection: sa.Connection) -> None:
            if not _advance(connection, now, waits, to=RunStatus.CANCELLED):
                connection.execute(sa.update(runs).where(works).values(is_cancel_requested=True))

        await self._database.write(cancel)

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
        now, status, values = self._database.now(), RunStatus.QUEUED, dict[str, Any]()
        if row["attempts"] >= MAX_ATTEMPTS:
            status = RunStatus.FAILED
            message = f"The server stopped {row['attempts']} times while it worked on this run; it is not tried again."
            values["error"] = Failure(message=message).model_dump()
        # Its server may be alive after all and have renewed the lease in the meantime.
        unchanged = runs.c.lease_expires_at == row["lease_expires_at"]
        orphaned = (runs.c.id == row["id"]) & (runs.c.lease == row["lease"]) & unchanged

        def take_over(connection: sa.Connection) -> RunStatus | None:
            if _advance(connection, now, orphaned & runs.c.is_cancel_requested, to=RunStatus.CANCELLED):
                return RunStatus.CANCELLED
            rows = _advance(connection, now, orphaned, to=status, values=values)
            if rows and status is RunStatus.QUEUED:
                _forget_outputs(connection, row["id"])
            return status if rows else None

        return await self._database.write(take_over)

    async def release(self, run: ClaimedRun) -> None:
        """Give back a run that this process cannot finish because it is being stopped; it is queued again."""
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)

        def give_back(connection: sa.Connection) -> None:
            if _advance(connection, now, held & runs.c.is_cancel_requested, to=RunStatus.CANCELLED):
                return
            if _advance(connection, now, held, to=RunStatus.QUEUED, values={"attempts": runs.c.attempts - 1}):
                _forget_outputs(connection, run.id)

        await self._database.write(give_back)


def _forget_outputs(connection: sa.Connection, run_id: str) -> None:
    connection.execute(sa.delete(run_outputs).where(run_outputs.c.run_id == run_id))


def _advance(
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
    change = sa.update(runs).where(where, is_allowed).values(changed).returning(runs.c.id, runs.c.last_event)
    rows = fetch(connection, change)
    for row in rows:
        logged = [*events, StatusChanged(row["id"], to)]
        _write_events(connection, now, row["id"], logged, last=row["last_event"])
    return rows


def _stamps(status: RunStatus, now: datetime) -> dict[str, Any]:
    """What a status means for the other columns."""
    no_lease = {"lease": None, "lease_expires_at": None}
    if status.is_terminal:
        return {**no_lease, "ended_at": now} | ({"progress": 1.0} if status is RunStatus.SUCCESS else {})
    if status is RunStatus.QUEUED:
        return {**no_lease, "queued_at": now, "started_at": None, "progress": 0.0, "live_status": None}
    return {"started_at": now} if status is RunStatus.STARTED else {}


def _write_events(
    connection: sa.Connection, now: datetime, run_id: str, events: Sequence[RunEvent], *, last: int
) -> None:
    """Write events whose numbers end with `last`, which the run's row has counted already."""
    rows = [
        {"run_id": run_id, "number": number, "payload": encode(event)[1], "created_at": now}
        for number, event in enumerate(events, start=last - len(events) + 1)
    ]
    connection.execute(sa.insert(run_events), rows)


def _request_hash(request: RunRequest) -> str:
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
