"""Runs as their owners see them: to be asked for, read, listed and cancelled."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict
from ...events import Accepted, Payload, StatusChanged
from ...models import Run, RunQuery, RunRequest, RunStatus
from .database import Database, Row, fetch, found
from .deployments import RunnableDeployment, check_runnable
from .keys import Owner
from .notes import note, run_changed
from .tables import deployments, run_events, run_outputs, runs, webhook_deliveries
from .transitions import WAITING, WORKING, advance, write_events

_INSERT = sa.insert(runs)
# What only the dispatcher and idempotency need is not read for everybody who looks at a list.
_INNER = (
    *("owner_id", "run_timeout", "queue_timeout", "queue_expires_at", "preview_images", "temporary_files"),
    *("idempotency_key", "request_hash", "is_cancel_requested", "attempts", "last_event", "lost_on", "comes_from"),
)
_SHOWN = [column for column in runs.c if column.name not in (*_INNER, "lease", "lease_expires_at")]


def _with_environment(columns: Iterable[sa.Column[Any]]) -> sa.Select[Any]:
    query = sa.select(*columns, deployments.c.environment)
    return query.outerjoin(deployments, deployments.c.id == runs.c.deployment_id)


_THIS = _with_environment(_SHOWN).where(
    runs.c.id == sa.bindparam("run_id"), runs.c.owner_id == sa.bindparam("owner_id")
)
_NEWEST_FIRST = (
    # Without the inputs, which can be megabytes.
    _with_environment(column for column in _SHOWN if column.name != "inputs")
    .where(runs.c.owner_id == sa.bindparam("owner_id"))
    .order_by(runs.c.created_at.desc(), runs.c.id.desc())
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("offset"))
)
_OUTPUTS = sa.select(run_outputs).where(run_outputs.c.run_id == sa.bindparam("run_id")).order_by(run_outputs.c.position)
_EVENTS = (
    sa.select(run_events.c.number, run_events.c.payload)
    .where(run_events.c.run_id == sa.bindparam("run_id"), run_events.c.number > sa.bindparam("after"))
    .order_by(run_events.c.number)
)

_NEW: Row = {"progress": 0.0, **dict.fromkeys(("live_status", "started_at", "ended_at", "error"))}
"""What is not said of a run that has just been accepted."""


@dataclass(frozen=True)
class Webhook:
    """Whom to tell of a run, and as whom."""

    url: str
    is_intermediate: bool
    """Whether to tell its progress, too."""
    key_id: str
    """The API key that asked for the run; its webhook secret signs."""
    base_url: str
    """Under this come the URLs of outputs."""


@dataclass(frozen=True)
class Limits:
    """How long runs may take whose deployments do not say it, in seconds."""

    queue_seconds: float
    run_seconds: float


class RunStore:
    """Everything is scoped to an owner; what belongs to somebody else is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        owner: Owner,
        deployment: RunnableDeployment,
        *,
        request: RunRequest,
        inputs: Mapping[str, Any],
        limits: Limits,
        key: str | None = None,
        webhook: Webhook | None = None,
        comes_from: str | None = None,
    ) -> str:
        """Accept a run, with the checked `inputs` of its request; its id. `limits` count where the deployment has none,
        and `comes_from` is a machine that waits for the run, and cannot execute it.

        The same idempotency `key` gives the same run, and Conflict for another request. Raises what `runnable` does.
        """
        now, run_id = self._database.now(), str(uuid4())
        events = [Accepted(run_id), StatusChanged(run_id, RunStatus.QUEUED)]
        row: Row = {"id": run_id, "last_event": len(events), "inputs": inputs, "comes_from": comes_from}
        row |= _of_deployment(owner, deployment, limits, now) | _of_request(request, key, webhook)

        def add(connection: sa.Connection) -> None:
            check_runnable(connection, owner, deployment.id)
            connection.execute(_INSERT, row)
            write_events(connection, now, run_id, events, last=len(events))
            note(connection, owner.id, run_changed({**_NEW, **row}))

        try:
            await self._database.write(add)
            return run_id
        except IntegrityError as error:
            if key and (same := await self.find_by_key(owner, request, key)):
                return same
            raise Conflict("The deployment is being changed at this moment; try again") from error

    async def find_by_key(self, owner: Owner, request: RunRequest, key: str) -> str | None:
        """The run that was asked for with this idempotency key, if there is one; Conflict when by another request."""
        query = sa.select(runs.c.id, runs.c.request_hash)
        query = query.where(runs.c.owner_id == owner.id, runs.c.idempotency_key == key)
        rows = await self._database.rows(query)
        if rows and rows[0]["request_hash"] != _request_hash(request):
            other = rows[0]["id"]
            raise Conflict(f"The idempotency key belongs to run {other}, which was asked for with another request")
        return rows[0]["id"] if rows else None

    async def get(self, owner: Owner, run_id: str, *, with_queue_position: bool = False) -> Run:
        """A run without its outputs. NotFound when it is somebody else's."""
        rows = await self._database.rows(_THIS, run_id=run_id, owner_id=owner.id)
        row = found(rows, f"There is no run {run_id}")
        more: Row = {"queue_position": await self._queue_position(row)} if with_queue_position else {}
        if row["webhook"]:
            more["webhook_status"] = await self._webhook_status(run_id)
        return _run(row | more)

    async def list(self, owner: Owner, query: RunQuery) -> list[Run]:
        """Runs without their inputs and outputs, newest first."""
        select = _NEWEST_FIRST
        for name in ("workflow_id", "deployment_id", "status"):
            if (value := getattr(query, name)) is not None:
                select = select.where(runs.c[name] == value)
        rows = await self._database.rows(select, owner_id=owner.id, limit=query.limit, offset=query.offset)
        return [_run(row) for row in rows]

    async def outputs(self, run_id: str) -> list[Row]:
        """The outputs of a run in the order in which they came; their files name an `object` in place of a `url`."""
        return await self._database.rows(_OUTPUTS, run_id=run_id)

    async def _webhook_status(self, run_id: str) -> str:
        newest = sa.select(webhook_deliveries).where(webhook_deliveries.c.run_id == run_id)
        rows = await self._database.rows(newest.order_by(webhook_deliveries.c.created_at.desc()).limit(1))
        if not rows or rows[0]["next_attempt_at"]:
            return "pending"
        return "delivered" if rows[0]["delivered_at"] else "failed"

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
        return [
            (row["number"], row["payload"]) for row in await self._database.rows(_EVENTS, run_id=run_id, after=after)
        ]

    async def last_event(self, run_id: str) -> int:
        """The number of the newest event in the log of a run."""
        rows = await self._database.rows(sa.select(runs.c.last_event).where(runs.c.id == run_id))
        return found(rows, f"There is no run {run_id}")["last_event"]

    async def request_cancel(self, run_id: str) -> None:
        """Cancel a run that waits, and ask whoever works on it to stop it otherwise."""
        now = self._database.now()
        this = runs.c.id == run_id

        def cancel(connection: sa.Connection) -> None:
            # Nobody may claim it or give it back between the look and the change.
            [row] = fetch(connection, sa.select(runs.c.status).where(this).with_for_update())
            if RunStatus(row["status"]) in WAITING:
                advance(connection, now, this, to=RunStatus.CANCELLED)
            elif RunStatus(row["status"]) in WORKING:
                connection.execute(sa.update(runs).where(this).values(is_cancel_requested=True))

        await self._database.write(cancel)


def _of_deployment(owner: Owner, deployment: RunnableDeployment, limits: Limits, now: datetime) -> Row:
    queue_timeout = deployment.queue_timeout or limits.queue_seconds
    return {
        "owner_id": owner.id,
        "deployment_id": deployment.id,
        "workflow_id": deployment.workflow_id,
        "workflow_version_id": deployment.workflow_version_id,
        "machine_id": deployment.machine_id,
        "run_timeout": deployment.run_timeout or limits.run_seconds,
        "queue_timeout": queue_timeout,
        "status": RunStatus.QUEUED.value,
        **dict.fromkeys(("created_at", "updated_at", "queued_at"), now),
        "queue_expires_at": now + timedelta(seconds=queue_timeout),
    }


def _of_request(request: RunRequest, key: str | None, webhook: Webhook | None) -> Row:
    return {
        "idempotency_key": key,
        "request_hash": _request_hash(request) if key else None,
        "webhook": asdict(webhook) if webhook else None,
        "preview_images": request.preview_images,
        "temporary_files": request.temporary_files,
    }


def _run(row: Row) -> Run:
    """A run from its row."""
    return Run.model_validate(
        {
            **row,
            "webhook": None,  # its query may hold a secret
            "webhook_intermediate_status": bool(row["webhook"] and row["webhook"]["is_intermediate"]),
            "workflow_inputs": row.get("inputs"),
            "duration": _seconds(row["created_at"], row["ended_at"]),
            "run_duration": _seconds(row["running_at"] or row["started_at"], row["ended_at"]),
            "cold_start_duration": _seconds(row["started_at"], row["running_at"]),
        }
    )


def _seconds(start: datetime | None, end: datetime | None) -> float | None:
    return (end - start).total_seconds() if start and end else None


def _request_hash(request: RunRequest) -> str:
    text = json.dumps(request.model_dump(mode="json"), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
