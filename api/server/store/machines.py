"""Machines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...errors import Conflict
from ...models import Machine, MachineQuery
from .database import Database, Row, fetch, found
from .keys import Owner
from .search import contains
from .tables import deployments, machines, runs
from .transitions import abandon

_EXISTS = machines.c.deleted_at.is_(None)


class MachineStore:
    """Remembers machines; what they do is not its concern."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, owner: Owner, *, name: str, kind: str, slots: int, **settings: Any) -> str:
        """Remember a machine; its id. `settings` are further columns."""
        now, machine_id = self._database.now(), str(uuid4())
        row = {"id": machine_id, "owner_id": owner.id, "name": name, "type": kind, "concurrency_limit": slots}
        insert = sa.insert(machines).values(**row, **settings, created_at=now, updated_at=now)
        await self._database.write(lambda connection: connection.execute(insert))
        return machine_id

    async def rows(self) -> list[Row]:
        """Everybody's machines as they are kept, with what only the server itself may know."""
        return await self._database.rows(sa.select(machines).where(_EXISTS).order_by(machines.c.created_at))

    async def list(self, owner: Owner, query: MachineQuery = MachineQuery()) -> list[Machine]:  # noqa: B008 (it is immutable)
        """The owner's machines, oldest first."""
        select = sa.select(machines).where(_EXISTS, machines.c.owner_id == owner.id)
        if query.search:
            select = select.where(contains(machines.c.name, query.search))
        select = select.order_by(machines.c.created_at, machines.c.id).limit(query.limit).offset(query.offset)
        return [_machine(row) for row in await self._database.rows(select)]

    async def get(self, owner: Owner, machine_id: str) -> Machine:
        """One of the owner's machines."""
        return _machine(await self.row(owner, machine_id))

    async def row(self, owner: Owner, machine_id: str) -> Row:
        """One of the owner's machines as it is kept, with what only the server itself may know."""
        query = sa.select(machines).where(_EXISTS, machines.c.owner_id == owner.id, machines.c.id == machine_id)
        return found(await self._database.rows(query), f"There is no machine {machine_id}")

    async def delete(self, owner: Owner, machine_id: str, *, force: bool) -> None:
        """Forget a machine. Runs that wait for it fail with the reason; those at work go on.

        Raises Conflict while deployments use it, unless `force`.
        """
        now = self._database.now()
        mine = (machines.c.id == machine_id) & (machines.c.owner_id == owner.id) & _EXISTS
        using = sa.select(deployments.c.name).where(
            deployments.c.machine_id == machine_id, deployments.c.deleted_at.is_(None)
        )

        def write(connection: sa.Connection) -> None:
            change = sa.update(machines).where(mine).values(deleted_at=now).returning(machines.c.id)
            found(fetch(connection, change), f"There is no machine {machine_id}")
            if not force and (users := fetch(connection, using.limit(6))):
                names = ", ".join(repr(row["name"]) for row in users[:5]) + (", …" if len(users) > 5 else "")
                raise Conflict(
                    f"Deployments use the machine {machine_id}: {names}. Put them on another one first, or delete it "
                    "with force=true, after which they take no more runs."
                )
            abandon(connection, now, runs.c.machine_id == machine_id, "The machine was deleted before the run began")

        await self._database.write(write)


def _machine(row: Mapping[str, Any]) -> Machine:
    # Of the kinds that this server knows, every one can say how it is only when it is asked.
    return Machine.model_validate({**row, "status": "not-started"})
