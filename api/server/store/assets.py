"""Assets: the files that people keep, in folders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict, InvalidInput, NotFound
from ...models import AssetQuery
from .database import Database, fetch, found, take_turns
from .keys import Owner
from .notes import note_thing
from .search import contains
from .tables import assets

_MAX_CHARACTERS = 1000
"""As many as `FolderPath` takes: what lies deeper could not be listed."""
_MAX_BYTES = 1600
"""As UTF-8. PostgreSQL's index of a folder takes 2700 for a path, a name and an owner."""


@dataclass(frozen=True)
class AssetRow:
    """A file or folder that belongs to an owner. `stored_at` is None until the bytes of a file have arrived."""

    id: str
    owner_id: str
    name: str
    is_folder: bool
    parent_path: str
    path: str
    created_at: datetime
    updated_at: datetime
    mime_type: str | None = None
    file_size: int | None = None
    object_key: str | None = None
    stored_at: datetime | None = None


_COLUMNS = [assets.c[name] for name in AssetRow.__dataclass_fields__]


class AssetStore:
    """Remembers assets; their bytes are objects."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: AssetRow) -> None:
        """Remember a folder, or a file. The folder that it is in has to be there.

        Raises Conflict when there is something at its path, InvalidInput for a path that is too long.
        """
        try:
            await self._database.write(lambda connection: _insert(connection, row))
        except IntegrityError as error:
            raise Conflict(f"There is something at {row.path!r} already") from error

    async def mark_stored(self, owner: Owner, asset_id: str, *, size: int) -> AssetRow:
        """The bytes of a file have arrived; from now on it is seen."""
        now = self._database.now()
        change = sa.update(assets).where(assets.c.id == asset_id, assets.c.owner_id == owner.id, ~assets.c.is_folder)
        change = change.values(file_size=size, stored_at=now, updated_at=now).returning(*_COLUMNS)

        def write(connection: sa.Connection) -> AssetRow:
            row = AssetRow(**found(fetch(connection, change), f"There is no asset {asset_id[:80]!r}"))
            note_thing(connection, owner.id, "asset", asset_id, "created")
            return row

        return await self._database.write(write)

    async def is_announced(self, object_key: str) -> bool:
        """Whether there is an asset behind an object key."""
        return bool(await self._database.rows(sa.select(assets.c.id).where(assets.c.object_key == object_key)))

    async def announced(self, owner: Owner, asset_id: str) -> AssetRow:
        """One of the owner's files, whether its bytes have arrived or not."""
        return await self._one(owner, assets.c.id == asset_id, asset_id)

    async def get(self, owner: Owner, asset_id: str) -> AssetRow:
        """One of the owner's assets."""
        return await self._one(owner, (assets.c.id == asset_id) & assets.c.stored_at.is_not(None), asset_id)

    async def find(self, owner: Owner, object_key: str) -> AssetRow | None:
        """The owner's file behind an object key, if its bytes have arrived."""
        this = (assets.c.object_key == object_key) & assets.c.stored_at.is_not(None)
        try:
            return await self._one(owner, this, object_key)
        except NotFound:
            return None

    async def list(self, owner: Owner, query: AssetQuery) -> list[AssetRow]:
        """What is in a folder: the folders first, then by name."""
        select = sa.select(*_COLUMNS).where(assets.c.owner_id == owner.id, assets.c.parent_path == query.path)
        select = select.where(assets.c.stored_at.is_not(None))
        select = select.order_by(assets.c.is_folder.desc(), assets.c.name, assets.c.id)
        rows = await self._database.rows(select.limit(query.limit).offset(query.offset))
        return [AssetRow(**row) for row in rows]

    async def search(self, owner: Owner, words: str, *, limit: int) -> list[AssetRow]:
        """Assets in all folders whose name has these words, the newest first."""
        select = sa.select(*_COLUMNS).where(assets.c.owner_id == owner.id, assets.c.stored_at.is_not(None))
        select = select.where(contains(assets.c.name, words))
        rows = await self._database.rows(select.order_by(assets.c.created_at.desc(), assets.c.id).limit(limit))
        return [AssetRow(**row) for row in rows]

    async def change(self, owner: Owner, asset_id: str, *, name: str | None, parent_path: str | None) -> AssetRow:
        """Call an asset something else, or move it into another folder, with everything in it.

        Raises Conflict when there is something in its new place; InvalidInput for a folder that goes into itself, or
        where a path would be too long.
        """
        now = self._database.now()

        def write(connection: sa.Connection) -> AssetRow:
            _take_turns(connection, owner)
            row = _read(connection, owner, assets.c.id == asset_id, asset_id)
            parent = row.parent_path if parent_path is None else parent_path
            last = (name or row.name) if row.is_folder else row.path.rsplit("/", 1)[-1]
            path = f"{parent}/{last}".lstrip("/")
            if row.is_folder and f"{path}/".startswith(f"{row.path}/") and path != row.path:
                raise InvalidInput(f"The folder {row.path!r} cannot be moved into itself", input_id="path")
            _check_folder(connection, owner, parent)
            if path != row.path:
                _check_lengths(connection, owner, row, to=path, input_id="name" if parent_path is None else "path")
            values = {"name": name or row.name, "parent_path": parent, "path": path, "updated_at": now}
            connection.execute(sa.update(assets).where(assets.c.id == asset_id).values(values))
            if row.is_folder and path != row.path:
                _move_inside(connection, owner, row.path, to=path)
            note_thing(connection, owner.id, "asset", asset_id, "updated")
            return _read(connection, owner, assets.c.id == asset_id, asset_id)

        try:
            return await self._database.write(write)
        except IntegrityError as error:
            raise Conflict("There is something else in that place already") from error

    async def delete(self, owner: Owner, asset_id: str) -> list[str]:
        """Forget an asset, a folder with everything in it; the keys of the objects that nobody needs any more."""

        def write(connection: sa.Connection) -> list[str]:
            _take_turns(connection, owner)
            row = _read(connection, owner, assets.c.id == asset_id, asset_id)
            these = (assets.c.owner_id == owner.id) & ((assets.c.id == asset_id) | _inside(row.path, row.is_folder))
            gone = fetch(connection, sa.delete(assets).where(these).returning(assets.c.object_key))
            note_thing(connection, owner.id, "asset", asset_id, "deleted")
            return [each["object_key"] for each in gone if each["object_key"]]

        return await self._database.write(write)

    async def _one(self, owner: Owner, this: sa.ColumnElement[bool], name: str) -> AssetRow:
        return await self._database.read(lambda connection: _read(connection, owner, this, name))


def _read(connection: sa.Connection, owner: Owner, this: sa.ColumnElement[bool], name: str) -> AssetRow:
    rows = fetch(connection, sa.select(*_COLUMNS).where(assets.c.owner_id == owner.id, this))
    return AssetRow(**found(rows, f"There is no asset {name[:80]!r}"))


def _insert(connection: sa.Connection, row: AssetRow) -> None:
    owner = Owner(row.owner_id)
    _take_turns(connection, owner)
    _check_folder(connection, owner, row.parent_path)
    _check_length(row.path)
    connection.execute(sa.insert(assets).values(vars(row)))
    if row.stored_at:
        note_thing(connection, owner.id, "asset", row.id, "created")


def _take_turns(connection: sa.Connection, owner: Owner) -> None:
    """What is seen of an owner's folders has to be so until the transaction that relies on it ends."""
    take_turns(connection, f"the assets of {owner.id}")


def _check_folder(connection: sa.Connection, owner: Owner, path: str) -> None:
    this: Mapping[str, Any] = {"owner_id": owner.id, "path": path, "is_folder": True}
    query = sa.select(assets.c.id).where(*(assets.c[name] == value for name, value in this.items()))
    if path and not fetch(connection, query):
        raise NotFound(f"There is no folder {path[:200]!r}. Make it first.")


def _check_lengths(connection: sa.Connection, owner: Owner, row: AssetRow, *, to: str, input_id: str) -> None:
    """The paths of an asset, and of what is in it, after a move."""
    query = sa.select(assets.c.path).where(assets.c.owner_id == owner.id, _inside(row.path, row.is_folder))
    inside = [each["path"] for each in fetch(connection, query)]
    for path in sorted((row.path, *inside), key=len, reverse=True):
        _check_length(to + path.removeprefix(row.path), input_id=input_id)


def _check_length(path: str, *, input_id: str | None = None) -> None:
    may = f"it may have {_MAX_CHARACTERS} characters, and {_MAX_BYTES} bytes as UTF-8"
    if len(path) > _MAX_CHARACTERS:
        raise InvalidInput(f"The path would have {len(path)} characters; {may}", input_id=input_id)
    if (size := len(path.encode())) > _MAX_BYTES:
        raise InvalidInput(f"The path would have {size} bytes as UTF-8; {may}", input_id=input_id)


def _inside(path: str, is_folder: bool) -> sa.ColumnElement[bool]:
    """What lies in a folder, at any depth."""
    # Not LIKE: SQLite's takes capitals for small letters, and there may be folders of both names.
    start = f"{path}/"
    return sa.func.substr(assets.c.path, 1, len(start)) == start if is_folder else sa.false()


def _move_inside(connection: sa.Connection, owner: Owner, path: str, *, to: str) -> None:
    rest = len(path) + 1
    moved = {name: sa.literal(to) + sa.func.substr(assets.c[name], rest) for name in ("path", "parent_path")}
    inside = (assets.c.owner_id == owner.id) & _inside(path, True)
    connection.execute(sa.update(assets).where(inside).values(moved))
