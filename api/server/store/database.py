"""The database: opening it, bringing it to the newest shape, and its two kinds of transaction."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ArgumentError, DBAPIError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ...errors import ConfigurationError, NotFound, quote
from .sqlite import SqliteEngine
from .tables import metadata

MIGRATIONS = Path(__file__).parent.parent / "migrations"


def utc_now() -> datetime:
    """The present moment."""
    return datetime.now(timezone.utc)


class Connection(Protocol):
    """What the store does with a database, whichever it is."""

    async def execute(self, statement: sa.Executable, parameters: Any = None, /) -> sa.Result[Any]: ...


class Engine(Protocol):
    """A kind of database."""

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may work on the same data."""
        ...

    def read(self) -> AbstractAsyncContextManager[Connection]: ...

    def write(self) -> AbstractAsyncContextManager[Connection]: ...

    async def run_sync(self, work: Callable[[sa.Connection], None]) -> None: ...

    async def dispose(self) -> None: ...


class SharedEngine:
    """A database server, by its async driver."""

    is_shared = True

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[Connection, None]:
        async with self._engine.connect() as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[Connection, None]:
        async with self._engine.begin() as connection:
            yield connection

    async def run_sync(self, work: Callable[[sa.Connection], None]) -> None:
        async with self._engine.begin() as connection:
            await connection.run_sync(work)

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

    def read(self) -> AbstractAsyncContextManager[Connection]:
        """A connection for statements that change nothing; each sees the newest data."""
        return self._engine.read()

    def write(self) -> AbstractAsyncContextManager[Connection]:
        """One transaction: everything in the block happens, or nothing of it."""
        return self._engine.write()

    async def migrate(self) -> None:
        """Bring the tables to the newest shape; creates them in an empty database.

        Raises ConfigurationError when the database cannot be reached.
        """
        try:
            await self._engine.run_sync(_upgrade)
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
        engine = SqliteEngine(parsed) if is_sqlite else SharedEngine(create_async_engine(parsed))
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        # The URL is not repeated: it may hold a password.
        raise ConfigurationError(
            "The database's URL cannot be used. It looks like postgresql+asyncpg://user:password@host/name, and its "
            f"driver has to be installed ({type(error).__name__})."
        ) from error
    return Database(engine, now=now)


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
