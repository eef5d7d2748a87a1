"""Files that were announced or uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from .database import Database
from .keys import Owner
from .tables import files


@dataclass(frozen=True)
class FileRow:
    """A file that belongs to an owner. `stored_at` is None until its bytes have arrived."""

    id: str
    owner_id: str
    name: str
    content_type: str
    size: int
    object_key: str
    stored_at: datetime | None = None


class FileStore:
    """Remembers files; their bytes are objects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, row: FileRow) -> None:
        """Remember a file whose bytes are still to come."""
        values = {**vars(row), "created_at": self._database.now()}
        await self._database.write(lambda connection: connection.execute(sa.insert(files).values(values)))

    async def mark_stored(self, object_key: str, *, size: int) -> None:
        """The bytes of a file have arrived."""
        change = sa.update(files).where(files.c.object_key == object_key)
        change = change.values(size=size, stored_at=self._database.now())
        await self._database.write(lambda connection: connection.execute(change))

    async def find(self, owner: Owner, object_key: str) -> FileRow | None:
        """The owner's file behind an object key, else None."""
        columns = [files.c[name] for name in FileRow.__dataclass_fields__]
        query = sa.select(*columns).where(files.c.object_key == object_key, files.c.owner_id == owner.id)
        rows = await self._database.rows(query)
        return FileRow(**rows[0]) if rows else None
