"""The database: opening it, bringing it to the newest shape, and its two kinds of transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from ...errors import ConfigurationError, NotFound, quote
from .tables import metadata

MIGRATIONS = Path(__file__).parent.parent / "migrations"
BUSY_SECONDS = 30
_IS_READ = "outpost_is_read"


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(timezone.utc)


class Database:
    """An open database. `now` is the store's only clock."""

    def __init__(self, engine: AsyncEngine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self.now = now

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may work on the same data. SQLite's file is locked by its one server."""
        return self._engine.dialect.name != "sqlite"

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection, None]:
        """A connection for statements that change nothing; each sees the newest data."""
        async with self._engine.connect() as connection:
            yield await connection.execution_options(**{_IS_READ: True})

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection, None]:
        """One transaction: everything in the block happens, or nothing of it."""
        async with self._engine.begin() as connection:
            yield connection

    async def migrate(self) -> None:
        """Bring the tables to the newest shape; creates them in an empty database.

        Raises ConfigurationError when the database cannot be reached.
        """
        try:
            async with self._engine.connect() as connection:
                await connection.run_sync(_upgrade)
                await connection.commit()
        except (DBAPIError, OSError) as error:
            reason = str(error.orig if isinstance(error, DBAPIError) else error)
            raise ConfigurationError(f"The database cannot be used: {quote(reason)}") from error

    async def close(self) -> None:
        await self._engine.dispose()


def open_database(url: str, *, now: Callable[[], datetime] = utc_now) -> Database:
    """Connect lazily to the database at an SQLAlchemy URL with an async driver. ConfigurationError when it is none."""
    try:
        engine = create_async_engine(url)
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        # The URL is not repeated: it may hold a password.
        raise ConfigurationError(
            "The database's URL cannot be used. It looks like postgresql+asyncpg://user:password@host/name, and its "
            f"driver has to be installed ({type(error).__name__})."
        ) from error
    if engine.dialect.name == "sqlite":
        event.listen(engine.sync_engine, "connect", _prepare_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
    return Database(engine, now=now)


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver would begin a transaction only at the first change, too late to see a consistent state.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",  # a run that was accepted survives a power cut
        "foreign_keys=ON",
        f"busy_timeout={BUSY_SECONDS * 1000}",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get(_IS_READ):
        # Of two transactions that have read and then both want to write one would fail, so each takes its turn at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _upgrade(connection: sa.Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    config.attributes["target_metadata"] = metadata
    command.upgrade(config, "head")


Row = dict[str, Any]
"""One row of a result; which columns it has is the query's choice, hence Any."""


async def fetch(database: Database, query: sa.Executable) -> list[Row]:
    """The rows that a query finds."""
    async with database.read() as connection:
        return [dict(row) for row in (await connection.execute(query)).mappings()]


def found(rows: list[Row], message: str) -> Row:
    """The first row; NotFound with the message when there is none."""
    if not rows:
        raise NotFound(message)
    return rows[0]
