"""Machines."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...errors import Conflict
from ...models import Machine, MachineQuery
from .database import Database, Row, fetch, found
from .keys import Owner
from .notes import note_thing
from .search import contains
from .tables import deployments, machines, pool_members, runs
from .transitions import abandon

_EXISTS = machines.c.deleted_at.is_(None)
POOL = "pool"
"""The type of a machine that is several."""
MANAGED = "managed"
"""The type of a machine whose ComfyUIs the server starts when a run needs them."""
_NAMED = 5
"""Users of a machine that an error names."""


class MachineStore:
    """Remembers machines; what they do is not its concern."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, owner: Owner, *, name: str, kind: str, slots: int, **settings: Any) -> str:
        """Remember a machine; its id. `settings` are further columns."""
        now, machine_id = self._database.now(), str(uuid4())
        row = {"id": machine_id, "owner_id": owner.id, "name": name, "type": kind, "concurrency_limit": slots}
        insert = sa.insert(machines).values(**row, **settings, created_at=now, updated_at=now)

        def write(connection: sa.Connection) -> None:
            connection.execute(insert)
            note_thing(connection, owner.id, "machine", machine_id, "created")

        await self._database.write(write)
        return machine_id

    async def rows(self) -> list[Row]:
        """Everybody's machines as they are kept, with what only the server itself may know."""
        return await self._database.rows(sa.select(machines).where(_EXISTS).order_by(machines.c.created_at))

    async def add_pool(self, owner: Owner, *, name: str, machine_ids: Sequence[str]) -> str:
        """Remember a pool; its id. Raises NotFound for a machine that is not there, Conflict for one that is a pool."""
        now, pool_id = self._database.now(), str(uuid4())
        row = {"id": pool_id, "owner_id": owner.id, "name": name, "type": POOL, "concurrency_limit": 0}

        def write(connection: sa.Connection) -> None:
            connection.execute(sa.insert(machines).values(**row, created_at=now, updated_at=now))
            _put_into_pool(connection, owner, pool_id, machine_ids)
            note_thing(connection, owner.id, "machine", pool_id, "created")

        await self._database.write(write)
        return pool_id

    async def change(
        self, owner: Owner, machine_id: str, values: Mapping[str, Any], *, machine_ids: Sequence[str] | None = None
    ) -> None:
        """Give a machine other values, and a pool other machines. Raises as `add_pool`."""
        mine = (machines.c.id == machine_id) & (machines.c.owner_id == owner.id) & _EXISTS
        update = sa.update(machines).where(mine).values(**values, updated_at=self._database.now())

        def write(connection: sa.Connection) -> None:
            found(fetch(connection, update.returning(machines.c.id)), f"There is no machine {machine_id}")
            if machine_ids is not None:
                connection.execute(sa.delete(pool_members).where(pool_members.c.pool_id == machine_id))
                _put_into_pool(connection, owner, machine_id, machine_ids)
            note_thing(connection, owner.id, "machine", machine_id, "updated")

        await self._database.write(write)

    async def members(self) -> dict[str, list[str]]:
        """The machines of every pool, by the id of the pool."""
        query = sa.select(pool_members).join(machines, machines.c.id == pool_members.c.machine_id).where(_EXISTS)
        members: dict[str, list[str]] = {}
        for row in await self._database.rows(query.order_by(machines.c.created_at, machines.c.id)):
            members.setdefault(row["pool_id"], []).append(row["machine_id"])
        return members

    async def list(self, owner: Owner, query: MachineQuery = MachineQuery()) -> list[Machine]:  # noqa: B008 (it is immutable)
        """The owner's machines, oldest first."""
        select = sa.select(machines).where(_EXISTS, machines.c.owner_id == owner.id)
        if query.search:
            select = select.where(contains(machines.c.name, query.search))
        select = select.order_by(machines.c.created_at, machines.c.id).limit(query.limit).offset(query.offset)
        rows = await self._database.rows(select)
        members = await self.members() if any(row["type"] == POOL for row in rows) else {}
        return [_machine(row, members) for row in rows]

    async def get(self, owner: Owner, machine_id: str) -> Machine:
        """One of the owner's machines."""
        row = await self.row(owner, machine_id)
        return _machine(row, await self.members() if row["type"] == POOL else {})

    async def row(self, owner: Owner, machine_id: str) -> Row:
        """One of the owner's machines as it is kept, with what only the server itself may know."""
        query = sa.select(machines).where(_EXISTS, machines.c.owner_id == owner.id, machines.c.id == machine_id)
        return found(await self._database.rows(query), f"There is no machine {machine_id}")

    async def delete(self, owner: Owner, machine_id: str, *, force: bool) -> None:
        """Forget a machine. Runs that wait for it fail with the reason; those at work go on.

        Raises Conflict while deployments or pools use it, unless `force`.
        """
        now = self._database.now()
        mine = (machines.c.id == machine_id) & (machines.c.owner_id == owner.id) & _EXISTS

        def write(connection: sa.Connection) -> None:
            change = sa.update(machines).where(mine).values(deleted_at=now).returning(machines.c.id)
            found(fetch(connection, change), f"There is no machine {machine_id}")
            if not force:
                _check_that_nobody_uses(connection, machine_id)
            connection.execute(sa.delete(pool_members).where(pool_members.c.machine_id == machine_id))
            abandon(connection, now, runs.c.machine_id == machine_id, "The machine was deleted before the run began")
            note_thing(connection, owner.id, "machine", machine_id, "deleted")

        await self._database.write(write)


def _put_into_pool(connection: sa.Connection, owner: Owner, pool_id: str, machine_ids: Sequence[str]) -> None:
    wanted = list(dict.fromkeys(machine_ids))
    query = sa.select(machines.c.id, machines.c.name, machines.c.type).with_for_update(read=True)
    query = query.where(_EXISTS, machines.c.owner_id == owner.id, machines.c.id.in_(wanted))
    there = {member["id"]: member for member in fetch(connection, query)}
    for machine_id in wanted:
        member = found([there[machine_id]] if machine_id in there else [], f"There is no machine {machine_id}")
        if member["type"] == POOL:
            raise Conflict(f"{member['name']!r} is a pool itself: name its machines instead")
    connection.execute(sa.insert(pool_members), [{"pool_id": pool_id, "machine_id": each} for each in wanted])


def _check_that_nobody_uses(connection: sa.Connection, machine_id: str) -> None:
    exists = deployments.c.deleted_at.is_(None)
    using = sa.select(deployments.c.name).where(deployments.c.machine_id == machine_id, exists)
    if users := fetch(connection, using.order_by(deployments.c.created_at.desc()).limit(_NAMED + 1)):
        raise Conflict(
            f"Deployments use the machine {machine_id}: {_names(users)}. Put them on another one first, or delete it "
            "with force=true, after which they take no more runs."
        )
    pools = sa.select(machines.c.name).join(pool_members, pool_members.c.pool_id == machines.c.id)
    pools = pools.where(pool_members.c.machine_id == machine_id, _EXISTS)
    if users := fetch(connection, pools.order_by(machines.c.created_at.desc()).limit(_NAMED + 1)):
        raise Conflict(
            f"The machine {machine_id} is in pools: {_names(users)}. Delete it with force=true, which takes it out of "
            "them."
        )


def _names(rows: Sequence[Row]) -> str:
    return ", ".join(repr(row["name"]) for row in rows[:_NAMED]) + (", …" if len(rows) > _NAMED else "")


def _machine(row: Mapping[str, Any], members: Mapping[str, Sequence[str]]) -> Machine:
    # Every kind can say how it is only when it is asked.
    about: dict[str, Any] = {**row, "status": "not-started"}
    if row["type"] == POOL:
        about |= {"machine_ids": members.get(row["id"], ()), "concurrency_limit": None}
    return Machine.model_validate(about)
