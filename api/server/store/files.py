"""Files that were announced or uploaded."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from .database import Database, fetch, found
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
    created_at: datetime
    stored_at: datetime | None = None


_COLUMNS = [files.c[name] for name in FileRow.__dataclass_fields__]


class FileStore:
    """Remembers files; their bytes are objects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def announce(self, row: FileRow) -> None:
        """Remember a file whose bytes are still to come."""
        await self._database.write(lambda connection: connection.execute(sa.insert(files).values(vars(row))))

    async def mark_stored(self, object_key: str, *, size: int) -> bool:
        """The bytes of a file have arrived. False when there is no such file."""
        change = sa.update(files).where(files.c.object_key == object_key)
        change = change.values(size=size, stored_at=self._database.now()).returning(files.c.id)
        return bool(await self._database.write(lambda connection: fetch(connection, change)))

    async def forget(self, file_id: str) -> None:
        """A file was announced, and its bytes will not come."""
        this = sa.delete(files).where(files.c.id == file_id, files.c.stored_at.is_(None))
        await self._database.write(lambda connection: connection.execute(this))

    async def find(self, owner: Owner, object_key: str) -> FileRow | None:
        """The owner's file behind an object key, else None."""
        query = sa.select(*_COLUMNS).where(files.c.object_key == object_key, files.c.owner_id == owner.id)
        rows = await self._database.rows(query)
        return FileRow(**rows[0]) if rows else None

    async def get(self, owner: Owner, file_id: str) -> FileRow:
        """One of the owner's files whose bytes have arrived."""
        this = (files.c.id == file_id) & (files.c.owner_id == owner.id) & files.c.stored_at.is_not(None)
        rows = await self._database.rows(sa.select(*_COLUMNS).where(this))
        return FileRow(**found(rows, f"There is no file {file_id[:80]!r}"))

    async def rename(self, owner: Owner, file_id: str, name: str) -> FileRow:
        """Call a file something else. Its URLs go on working."""
        change = sa.update(files).where(files.c.id == file_id, files.c.owner_id == owner.id)
        change = change.where(files.c.stored_at.is_not(None)).values(name=name).returning(*_COLUMNS)
        rows = await self._database.write(lambda connection: fetch(connection, change))
        return FileRow(**found(rows, f"There is no file {file_id[:80]!r}"))
