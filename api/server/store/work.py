"""The work on runs: who has claimed which, how they come to their end, and what becomes of those that were left."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...events import ExecutionFailed, OutputReady, RunEvent
from ...models import Failure, Graph, RunStatus
from .database import Database, Row, fetch, found, take_turns
from .tables import deployments, machines, run_outputs, runs, workflow_versions
from .transitions import WORKING, advance, write_events

OF_A_SORT = 20
"""Waiting runs of one deployment that are looked at: their values differ, and with them what they need."""
MAX_ATTEMPTS = 3
"""How often a run is begun before it counts as the reason for the server's end."""

_PLACE = sa.func.coalesce(runs.c.pool_id, runs.c.machine_id)
"""What a run was meant for: a machine or a pool."""
_WAITS = (runs.c.status == RunStatus.QUEUED.value) & ~runs.c.is_cancel_requested
_MAY_EXPIRE = (runs.c.queue_expires_at.is_not(None), runs.c.status == RunStatus.QUEUED.value)


@dataclass(frozen=True)
class ClaimedRun:
    """A run that this process may work on while it holds the lease."""

    id: str
    owner_id: str
    deployment_id: str
    workflow_id: str
    workflow_version_id: str
    machine_id: str
    lease: str
    inputs: dict[str, Any]
    run_timeout: float
    workflow_api: Graph
    queue_timeout: float
    queue_expires_at: datetime | None
    """Until when its execution has to begin."""
    created_at: datetime
    started_at: datetime | None
    queued_at: datetime
    """Later than its creation when it was begun before."""
    attempts: int
    """How often it was begun, this time included."""
    pool_id: str | None = None
    """The pool that it was meant for, if it was one."""
    lost_on: str | None = None
    """The machine that died in the middle of it, if one has."""
    comes_from: str | None = None
    """The machine that waits for it, if one does."""
    retry_elsewhere: bool = False
    preview_images: bool = False
    temporary_files: bool = False
    webhook: dict[str, Any] | None = None
    """The fields of `Webhook`, if somebody wants to be told."""


@dataclass(frozen=True)
class WaitingRun:
    """A run that could begin now, if a machine took it."""

    id: str
    machine_id: str
    """The machine or pool that it waits for."""
    workflow_version_id: str
    pool_id: str | None
    """The pool that it was meant for, of a run that has been at work and waits for its machine."""
    lost_on: str | None
    """The machine that died in the middle of it, if one has."""
    comes_from: str | None
    """The machine that waits for it, if one does: it comes from a node in a graph that is executed there."""
    inputs: dict[str, Any]
    check_machine: bool
    """Whether all that its graph asks for has to be among what a machine tells of."""
    retry_elsewhere: bool
    """Whether another machine may take it when its own, which may have begun with it, is gone."""


@dataclass(frozen=True)
class NewOutput:
    """What a node has put out. `data` is kind to list of texts and of files, which name their object."""

    node_id: str
    node_class: str
    output_id: str | None
    data: dict[str, list[Any]]


_WAITING = sa.select(
    *(runs.c[name] for name in ("id", "machine_id", "workflow_version_id", "pool_id", "lost_on", "comes_from")),
    *(runs.c.inputs, deployments.c.check_machine, deployments.c.retry_elsewhere),
).join(deployments, deployments.c.id == runs.c.deployment_id)
"""Every field of a WaitingRun."""
_CLAIMED = (
    sa.select(runs, workflow_versions.c.workflow_api, deployments.c.retry_elsewhere)
    .join(workflow_versions, workflow_versions.c.id == runs.c.workflow_version_id)
    .join(deployments, deployments.c.id == runs.c.deployment_id)
)
"""Every field of a ClaimedRun."""

# Made once: an alias has every column anew, which takes longer than the query.
_ON_MACHINE, _OF_DEPLOYMENT, _OF_RUN = (
    runs.alias("on_machine"),
    runs.alias("of_deployment"),
    deployments.alias("of_run"),
)
_WAITED_FOR = sa.select(machines.c.id).where(
    machines.c.id.in_(sa.bindparam("machine_ids", expanding=True)),
    sa.exists().where(runs.c.machine_id == machines.c.id, _WAITS),
)


class WorkStore:
    """What a server process does with runs. Whatever it changes, it changes only while it holds the run's lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def claim(self, machine_id: str, *, seconds: float, run_id: str | None = None) -> ClaimedRun | None:
        """Take a run for a machine for this many seconds: `run_id`, or the one that has waited longest for just this
        machine. None when there is none, or no room for it.
        """
        now, lease = self._database.now(), str(uuid4())
        which = runs.c.id == run_id if run_id else runs.c.machine_id == machine_id
        waiting = which & _WAITS & _deployment_has_room() & _machine_has_room(machine_id)
        first = sa.select(runs.c.id).where(waiting).order_by(runs.c.created_at, runs.c.id).limit(1)
        this = runs.c.id == first.with_for_update(skip_locked=True).scalar_subquery()
        taken = {
            "lease": lease,
            "lease_expires_at": now + timedelta(seconds=seconds),
            "attempts": runs.c.attempts + 1,
            "machine_id": machine_id,
            "pool_id": sa.case((runs.c.machine_id == machine_id, runs.c.pool_id), else_=_PLACE),
        }

        def take(connection: sa.Connection) -> ClaimedRun | None:
            take_turns(connection, "claim")  # or two could each see the last free place
            rows = advance(connection, now, this, to=RunStatus.STARTED, values=taken)
            if not rows:
                return None
            row = fetch(connection, _CLAIMED.where(runs.c.id == rows[0]["id"]))[0]
            return ClaimedRun(**{name: row[name] for name in ClaimedRun.__dataclass_fields__})

        return await self._database.write(take)

    async def waited_for(self, machine_ids: Sequence[str]) -> set[str]:
        """Those of these machines that a run waits for. To look costs less than a claim in vain, which is a write."""
        rows = await self._database.rows(_WAITED_FOR, machine_ids=list(machine_ids)) if machine_ids else []
        return {row["id"] for row in rows}

    async def first_waiting(self, places: Sequence[str]) -> list[WaitingRun]:
        """Of those who wait for these machines and pools the first few of every sort, the longest waiting first.

        Runs of one sort are of one deployment and version, and must not go to the same machines.
        """
        names = ("machine_id", "pool_id", "deployment_id", "workflow_version_id", "lost_on", "comes_from")
        sort = [runs.c[name] for name in names]
        order = (runs.c.created_at, runs.c.id)
        place = sa.func.row_number().over(partition_by=sort, order_by=order).label("place")
        here = runs.c.machine_id.in_(places) | runs.c.pool_id.in_(places)
        waiting = sa.select(runs.c.id, place).where(here, _WAITS).subquery()
        query = _WAITING.join(waiting, waiting.c.id == runs.c.id).where(
            waiting.c.place <= OF_A_SORT, _deployment_has_room()
        )
        return [WaitingRun(**row) for row in await self._database.rows(query.order_by(*order))]

    async def waiting(self, run_ids: Sequence[str]) -> list[WaitingRun]:
        """Those of these runs that wait for a machine."""
        query = _WAITING.where(runs.c.id.in_(run_ids), _WAITS) if run_ids else None
        return [] if query is None else [WaitingRun(**row) for row in await self._database.rows(query)]

    async def graph(self, version_id: str) -> Graph:
        """The executable graph of a workflow version."""
        query = sa.select(workflow_versions.c.workflow_api).where(workflow_versions.c.id == version_id)
        return found(await self._database.rows(query), f"There is no version {version_id}")["workflow_api"] or {}

    async def next_expiry(self) -> float | None:
        """Seconds until the first run has waited for too long; None when none waits."""
        query = sa.select(sa.func.min(runs.c.queue_expires_at).label("first")).where(*_MAY_EXPIRE)
        first: datetime | None = (await self._database.rows(query))[0]["first"]
        return (first - self._database.now()).total_seconds() if first else None

    async def expire(self, trouble: Callable[[WaitingRun], str | None]) -> list[str]:
        """End the runs that have waited for too long; their ids. `trouble` says why no machine takes a run."""
        now = self._database.now()
        query = _WAITING.add_columns(runs.c.queue_timeout).where(*_MAY_EXPIRE, runs.c.queue_expires_at < now)
        ended: list[str] = []
        for row in await self._database.rows(query):
            failure = waited_too_long(row.pop("queue_timeout"), trouble(WaitingRun(**row)))
            values, events = {"error": failure.model_dump()}, [ExecutionFailed(row["id"], failure)]
            still = sa.and_(runs.c.id == row["id"], runs.c.queue_expires_at < now, *_MAY_EXPIRE)
            if await self._database.write(partial(_end, now=now, where=still, values=values, events=events)):
                ended.append(row["id"])
        return ended

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
        for, and failed if it was begun too often. It stays with its machine, which may be at work on it still.
        `all_of_them`: no other server can be at work, so no lease counts.
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
        """Give back a run that this process cannot finish because it is being stopped; it waits for its machine."""
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)
        fewer = runs.c.attempts - 1
        await self._database.write(lambda connection: _hand_back(connection, now, held, attempts=fewer))

    async def hand_back(self, run: ClaimedRun, *, lost_on: str | None) -> None:
        """Give back a run whose machine has gone; it waits again, for any machine of its pool.

        `lost_on` is the machine when that may have begun with it, so that another one takes it.
        """
        now, held = self._database.now(), (runs.c.id == run.id) & (runs.c.lease == run.lease)
        free = {"machine_id": _PLACE, "pool_id": None, **({"lost_on": lost_on} if lost_on else {})}
        await self._database.write(
            lambda connection: _hand_back(connection, now, held, attempts=runs.c.attempts, values=free)
        )


def waited_too_long(seconds: float, reason: str | None) -> Failure:
    """Why a run ends that no machine has begun with in time."""
    because = f": {reason}" if reason else ": its machine had no free place"
    return Failure(message=f"The run waited longer than its queue time-out of {seconds:g} seconds{because}")


def _hand_back(
    connection: sa.Connection,
    now: datetime,
    which: sa.ColumnElement[bool],
    *,
    attempts: Any,  # a number, or an expression of SQL
    failure: Failure | None = None,
    values: Mapping[str, Any] | None = None,
) -> RunStatus | None:
    """Let a run at work wait again, or end it where it cannot: its new status; None when `which` is no run."""
    place: Any = (values or {}).get("machine_id", runs.c.machine_id)
    query = sa.select(runs.c.id, runs.c.is_cancel_requested, runs.c.queue_timeout, machines.c.deleted_at)
    query = query.join(machines, machines.c.id == place).where(which).with_for_update(of=runs)
    if not (rows := fetch(connection, query)):
        return None
    row, more, events = rows[0], dict[str, Any](values or {}), list[RunEvent]()
    to = RunStatus.CANCELLED if row["is_cancel_requested"] else RunStatus.QUEUED
    if row["deleted_at"]:
        failure = failure or Failure(message="The machine was deleted before the run could begin again")
    if failure and to is RunStatus.QUEUED:
        to, events = RunStatus.FAILED, [ExecutionFailed(row["id"], failure)]
        more["error"] = failure.model_dump()
    if to is RunStatus.QUEUED:
        anew = sa.literal(now + timedelta(seconds=row["queue_timeout"]), runs.c.queue_expires_at.type)
        more |= {"attempts": attempts, "queue_expires_at": sa.func.coalesce(runs.c.queue_expires_at, anew)}
        _forget_outputs(connection, row["id"])
    advance(connection, now, runs.c.id == row["id"], to=to, values=more, events=events)
    return to


def _end(
    connection: sa.Connection,
    *,
    now: datetime,
    where: sa.ColumnElement[bool],
    values: dict[str, Any],
    events: Sequence[RunEvent],
) -> list[Row]:
    return advance(connection, now, where, to=RunStatus.TIMEOUT, values=values, events=events)


def _forget_outputs(connection: sa.Connection, run_id: str) -> None:
    connection.execute(sa.delete(run_outputs).where(run_outputs.c.run_id == run_id))


def _deployment_has_room() -> sa.ColumnElement[bool]:
    """Whether the deployment of a run may have one more run at work."""
    limit = sa.select(_OF_RUN.c.concurrency_limit).where(_OF_RUN.c.id == runs.c.deployment_id).scalar_subquery()
    of_the_same = _OF_DEPLOYMENT.c.deployment_id == runs.c.deployment_id
    return limit.is_(None) | (_at_work(_OF_DEPLOYMENT, of_the_same) < limit)


def _machine_has_room(machine_id: str) -> sa.ColumnElement[bool]:
    """Whether a machine has a free slot, in whatever process its other runs are."""
    exists = (machines.c.id == machine_id) & machines.c.deleted_at.is_(None)
    limit = sa.select(machines.c.concurrency_limit).where(exists).scalar_subquery()
    return _at_work(_ON_MACHINE, _ON_MACHINE.c.machine_id == machine_id) < limit


def _at_work(others: sa.FromClause, which: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    """How many of some runs are at work."""
    working = others.c.status.in_([status.value for status in WORKING])
    return sa.select(sa.func.count()).select_from(others).where(which, working).scalar_subquery()
