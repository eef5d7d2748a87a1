"""The database: opening it, bringing it to the newest shape, and its two kinds of access.

What the store does is plain SQLAlchemy on a plain connection; an engine runs it where it does not block the event loop.
So a transaction is one piece: it happens to its end, or not at all, also when the task that asked for it is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ...errors import ConfigurationError, NotFound, quote
from .sqlite import SqliteEngine
from .tables import metadata

T = TypeVar("T")
Work = Callable[[sa.Connection], T]
Row = dict[str, Any]
"""One row of a result; which columns it has is the query's choice, hence Any."""

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(timezone.utc)


class Engine(Protocol):
    """A kind of database."""

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may work on the same data."""
        ...

    async def read(self, work: Work[T]) -> T: ...

    async def write(self, work: Work[T]) -> T: ...

    async def dispose(self) -> None: ...


class SharedEngine:
    """A database server, by its async driver."""

    is_shared = True

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, work: Work[T]) -> T:
        async with self._engine.connect() as connection:
            return await connection.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        async with self._engine.begin() as connection:
            return await connection.run_sync(work)

    async def dispose(self) -> None:
        await self._engine.dispose()


class Database:
    """An open database. `now` is the store's only clock."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self.now = now

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may work on the same data."""
        return self._engine.is_shared

    async def read(self, work: Work[T]) -> T:
        """Do something that changes nothing; it sees the newest data."""
        return await self._engine.read(work)

    async def write(self, work: Work[T]) -> T:
        """Do something in one transaction: all of it happens, or nothing."""
        return await self._engine.write(work)

    async def rows(self, query: sa.Executable) -> list[Row]:
        """The rows that a query finds."""
        return await self.read(lambda connection: fetch(connection, query))

    async def migrate(self) -> None:
        """Bring the tables to the newest shape; creates them in an empty database.

        Raises ConfigurationError when the database cannot be reached.
        """
        try:
            await self._engine.write(_upgrade)
        except (DBAPIError, OSError) as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error)
            raise ConfigurationError(f"The database cannot be used: {quote(reason)}") from error

    async def close(self) -> None:
        await self._engine.dispose()


def open_database(url: str, *, now: Callable[[], datetime] = utc_now) -> Database:
    """Connect lazily to the database at an SQLAlchemy URL: SQLite, or one with an async driver.

    Raises ConfigurationError when it is none.
    """
    try:
        parsed = sa.make_url(url)
        is_sqlite = parsed.get_backend_name() == "sqlite"
        engine = SqliteEngine(parsed) if is_sqlite else SharedEngine(create_async_engine(parsed, hide_parameters=True))
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        # The URL is not repeated: it may hold a password.
        raise ConfigurationError(
            "The database's URL cannot be used. It looks like postgresql+asyncpg://user:password@host/name, and its "
            f"driver has to be installed ({type(error).__name__})."
        ) from error
    return Database(engine, now=now)


def fetch(connection: sa.Connection, query: sa.Executable) -> list[Row]:
    """The rows that a query finds, inside of a transaction."""
    return [dict(row) for row in connection.execute(query).mappings()]


def found(rows: list[Row], message: str) -> Row:
    """The first row; NotFound with the message when there is none."""
    if not rows:
        raise NotFound(message)
    return rows[0]


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["target_metadata"] = metadata
    command.upgrade(config, "head")
