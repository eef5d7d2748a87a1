"""The log of what has changed for the owners of API keys, in the order in which it became visible."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import NamedTuple

import sqlalchemy as sa

from ...account_events import AccountEvent, RunChanged, decode_payload
from .database import Database
from .notes import run_changed
from .tables import account_events, machines, runs
from .transitions import WAITING, WORKING

KEPT = timedelta(days=1)
"""How long a stream can be resumed."""
BATCH = 500
"""Events that are forgotten in one transaction."""
_MOST_WAITING = 1000
"""Runs whose place in the queue is told."""

_COLUMNS = [account_events.c[name] for name in ("number", "owner_id", "name", "payload")]
_SINCE = (
    sa.select(*_COLUMNS)
    .where(account_events.c.number > sa.bindparam("after"))
    .order_by(account_events.c.number)
    .limit(sa.bindparam("limit"))
)
_MINE_SINCE = _SINCE.where(
    account_events.c.owner_id == sa.bindparam("owner_id"), account_events.c.number <= sa.bindparam("until")
)
_BUSY = [status.value for status in (*WAITING, *WORKING)]


class Logged(NamedTuple):
    """An event of somebody's."""

    number: int
    owner_id: str
    event: AccountEvent


class Busy(NamedTuple):
    """How many runs a machine has."""

    waiting: int = 0
    working: int = 0


class Waiting(NamedTuple):
    """A run that waits, with its place in the queue."""

    owner_id: str
    run: RunChanged


class AccountEventStore:
    """What has been noted, for whoever follows it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may write here."""
        return self._database.is_shared

    async def span(self) -> tuple[int, int]:
        """The numbers of the oldest event that is kept, and of the newest; (1, 0) where there was none yet."""
        number = account_events.c.number
        query = sa.select(sa.func.min(number).label("first"), sa.func.max(number).label("last"))
        row = (await self._database.rows(query))[0]
        return row["first"] or 1, row["last"] or 0

    async def since(self, after: int, *, limit: int) -> list[Logged]:
        """Everybody's events with a greater number, the oldest first."""
        rows = await self._database.rows(_SINCE, after=after, limit=limit)
        return [Logged(row["number"], row["owner_id"], decode_payload(row["name"], row["payload"])) for row in rows]

    async def mine_since(self, owner_id: str, after: int, *, until: int, limit: int) -> list[Logged]:
        """Events of one owner with a greater number, up to `until`, the oldest first."""
        rows = await self._database.rows(_MINE_SINCE, owner_id=owner_id, after=after, until=until, limit=limit)
        return [Logged(row["number"], owner_id, decode_payload(row["name"], row["payload"])) for row in rows]

    async def forget_old(self) -> bool:
        """Forget a batch of what is too old for a stream to be resumed from; whether there may be more.

        The newest stays: its number is where we are.
        """
        row, long_ago = account_events.c, self._database.now() - KEPT
        newest = sa.select(sa.func.max(row.number)).scalar_subquery()
        old = (
            sa.select(row.number)
            .where(row.created_at < long_ago, row.number < newest)
            .order_by(row.number)
            .limit(BATCH)
        )
        gone = sa.delete(account_events).where(row.number.in_(old.subquery().select()))
        return await self._database.write(lambda connection: connection.execute(gone).rowcount) == BATCH

    async def waiting(self, machine_ids: Sequence[str]) -> list[Waiting]:
        """The runs that wait for these machines and pools, each with its place in the queue."""
        columns = [column for column in runs.c if column.name != "inputs"]
        query = sa.select(*columns).where(
            runs.c.machine_id.in_(machine_ids), runs.c.status.in_([status.value for status in WAITING])
        )
        rows = await self._database.rows(query.order_by(runs.c.created_at, runs.c.id).limit(_MOST_WAITING))
        counted: dict[str, int] = {}
        found: list[Waiting] = []
        for row in rows:
            place = counted.get(row["machine_id"], 0)
            counted[row["machine_id"]] = place + 1
            found.append(Waiting(row["owner_id"], run_changed(row, queue_position=place)))
        return found

    async def busy(self, machine_ids: Sequence[str]) -> dict[str, Busy]:
        """How many runs wait for these machines and pools, and are at work on them."""
        count = sa.func.count().label("count")
        query = sa.select(runs.c.machine_id, runs.c.status, count).group_by(runs.c.machine_id, runs.c.status)
        query = query.where(runs.c.machine_id.in_(machine_ids), runs.c.status.in_(_BUSY))
        found = {each: Busy() for each in machine_ids}
        for row in await self._database.rows(query) if machine_ids else ():
            before, is_waiting = found[row["machine_id"]], row["status"] in [each.value for each in WAITING]
            added = Busy(row["count"], 0) if is_waiting else Busy(0, row["count"])
            found[row["machine_id"]] = Busy(before.waiting + added.waiting, before.working + added.working)
        return found

    async def waited_for_by(self, owner_id: str) -> list[str]:
        """The machines and pools that an owner's runs wait for."""
        waiting = runs.c.status.in_([status.value for status in WAITING])
        query = sa.select(runs.c.machine_id).where(runs.c.owner_id == owner_id, waiting).distinct()
        return [row["machine_id"] for row in await self._database.rows(query)]

    async def owners(self, machine_ids: Sequence[str]) -> dict[str, str]:
        """Whose these machines are, as far as they are there."""
        query = sa.select(machines.c.id, machines.c.owner_id)
        query = query.where(machines.c.id.in_(machine_ids), machines.c.deleted_at.is_(None))
        return {row["id"]: row["owner_id"] for row in await self._database.rows(query)}
