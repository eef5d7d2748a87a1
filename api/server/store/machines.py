"""Machines."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa

from ...errors import NotFound
from ...models import Machine
from .database import Database
from .keys import Owner
from .tables import machines


class MachineStore:
    """Remembers machines; what they do is not its concern."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, owner: Owner, *, name: str, kind: str, slots: int) -> str:
        """Remember a machine; its id."""
        now, machine_id = self._database.now(), str(uuid4())
        row = {"id": machine_id, "owner_id": owner.id, "name": name, "type": kind, "concurrency_limit": slots}
        insert = sa.insert(machines).values(**row, created_at=now, updated_at=now)
        await self._database.write(lambda connection: connection.execute(insert))
        return machine_id

    async def list(self, owner: Owner | None = None) -> list[Machine]:
        """The owner's machines, or everybody's when None, oldest first."""
        query = sa.select(machines).where(machines.c.deleted_at.is_(None))
        if owner:
            query = query.where(machines.c.owner_id == owner.id)
        rows = await self._database.rows(query.order_by(machines.c.created_at, machines.c.id))
        return [Machine.model_validate(row) for row in rows]

    async def get(self, owner: Owner, machine_id: str) -> Machine:
        """One of the owner's machines."""
        for machine in await self.list(owner):
            if machine.id == machine_id:
                return machine
        raise NotFound(f"There is no machine {machine_id}")
