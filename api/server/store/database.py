"""The database: opening it, bringing it to the newest shape, and its two kinds of access.

What the store does is plain SQLAlchemy on a plain connection; an engine runs it where it does not block the event loop.
So a transaction is one piece: it happens to its end, or not at all, also when the task that asked for it is cancelled.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Protocol, TypeVar

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, InvalidRequestError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from ...errors import ConfigurationError, NotFound, Unavailable, quote
from .notes import take_notes, write_notes
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

    async def migrate(self, work: Work[None]) -> None: ...

    async def dispose(self) -> None: ...


class SharedEngine:
    """A database server, by its async driver."""

    is_shared = True

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def read(self, work: Work[T]) -> T:
        with _being_there():
            async with self._engine.connect() as connection:
                return await connection.run_sync(work)

    async def write(self, work: Work[T]) -> T:
        with _being_there():
            async with self._engine.begin() as connection:
                return await connection.run_sync(work)

    async def migrate(self, work: Work[None]) -> None:
        await self.write(work)

    async def dispose(self) -> None:
        await self._engine.dispose()


class Database:
    """An open database. `now` is the store's only clock."""

    def __init__(self, engine: Engine, *, now: Callable[[], datetime] = utc_now) -> None:
        self._engine = engine
        self.now = now
        self.on_news: Callable[[], None] = lambda: None
        """Called on the event loop after a transaction that has told something, also when its caller has gone."""

    @property
    def is_shared(self) -> bool:
        """Whether other server processes may work on the same data."""
        return self._engine.is_shared

    async def read(self, work: Work[T]) -> T:
        """Do something that changes nothing; it sees the newest data."""
        return await self._engine.read(work)

    async def write(self, work: Work[T]) -> T:
        """Do something in one transaction: all of it happens, or nothing. What it has noted is told afterwards."""
        has_told = False

        def whole(connection: sa.Connection) -> T:
            nonlocal has_told
            take_notes(connection)  # of one that was undone
            result = work(connection)
            if notes := take_notes(connection):
                take_turns(connection, "account events")
                write_notes(connection, self.now(), notes)
                has_told = True
            return result

        try:
            return await self._engine.write(whole)
        finally:
            if has_told:
                self.on_news()

    async def rows(self, query: sa.Executable, **parameters: Any) -> list[Row]:
        """The rows that a query finds. Hot queries are made once, with `sa.bindparam`, and get their values here."""
        return await self.read(lambda connection: fetch(connection, query, **parameters))

    async def migrate(self) -> None:
        """Bring the tables to the newest shape; creates them in an empty database.

        Raises ConfigurationError when the database cannot be reached.
        """
        try:
            await self._engine.migrate(_upgrade)
        except (DBAPIError, OSError, Unavailable) as error:
            cause = error.__cause__ if isinstance(error, Unavailable) else error
            reason = str(cause.orig if isinstance(cause, DBAPIError) else cause)
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
        engine = SqliteEngine(parsed) if is_sqlite else SharedEngine(_shared_engine(parsed))
    except (ArgumentError, InvalidRequestError, ModuleNotFoundError) as error:
        # The URL is not repeated: it may hold a password.
        raise ConfigurationError(
            "The database's URL cannot be used. It looks like postgresql+asyncpg://user:password@host/name, and its "
            f"driver has to be installed ({type(error).__name__})."
        ) from error
    return Database(engine, now=now)


def _shared_engine(url: sa.URL) -> AsyncEngine:
    # Before each use a connection is tried: those that the database has dropped are made anew.
    return create_async_engine(url, hide_parameters=True, pool_pre_ping=True)


@contextmanager
def _being_there() -> Generator[None, None, None]:
    """Unavailable for a database that is away; other errors stay what they are."""
    try:
        yield
    except DBAPIError as error:
        if error.connection_invalidated or isinstance(error, InterfaceError):
            raise Unavailable("The database is not there at the moment; try again") from error
        raise
    except OSError as error:
        raise Unavailable("The database is not there at the moment; try again") from error


def take_turns(connection: sa.Connection, what: str) -> None:
    """Wait until nobody else is in a transaction about `what`, and keep others waiting until the end of this one.

    SQLite has only one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        number = int.from_bytes(hashlib.sha256(what.encode()).digest()[:8], "big", signed=True)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(number)))


def fetch(connection: sa.Connection, query: sa.Executable, **parameters: Any) -> list[Row]:
    """The rows that a query finds, inside of a transaction."""
    result = connection.execute(query, parameters or None)
    names = list(result.keys())
    return [dict(zip(names, row, strict=True)) for row in result.all()]


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
