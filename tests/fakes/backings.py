"""What a platform of the tests keeps its things in: SQLite and a folder, or PostgreSQL and a bucket."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Generator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import sqlalchemy as sa
from asyncpg.exceptions import PostgresError
from comfyui_outpost.api.server.store.tables import metadata
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from .bucket import BucketServer

POSTGRES_VARIABLE = "OUTPOST_TEST_POSTGRES"
NO_POSTGRES = (
    f"needs a PostgreSQL server in which databases can be made: set {POSTGRES_VARIABLE} to its URL, such as "
    "postgresql+asyncpg://user@127.0.0.1:5432/postgres"
)

SQLITE_NAME = "outpost.sqlite"
"""What a platform calls its database in its folder."""


@event.listens_for(sa.Engine, "begin")
def _leave_the_disk_behind(connection: sa.Connection) -> None:
    """What a platform of this process keeps need not outlive a power cut. To see to that takes SQLite longer at every
    commit than all else that it does. What is called otherwise is left alone."""
    if Path(connection.engine.url.database or "").name == SQLITE_NAME:
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA synchronous=OFF")


class Backing(Protocol):
    """A kind of place. `template` is the data folder of a platform that has been furnished in it."""

    @property
    def settings(self) -> dict[str, Any]:
        """What `ServerConfig` needs besides the folder to make the template."""
        ...

    @asynccontextmanager
    async def copied(self, template: Path, *, to: Path) -> AsyncGenerator[dict[str, Any], None]:
        """A copy of the template for one test, and what `ServerConfig` needs besides the folder to use it."""
        yield {}

    @asynccontextmanager
    async def empty(self) -> AsyncGenerator[dict[str, Any], None]:
        """Nothing yet, for a test of a first start."""
        yield {}


@dataclass(frozen=True)
class Local:
    """SQLite and a folder, as everybody has them who starts a server. One is like the other."""

    @property
    def settings(self) -> dict[str, Any]:
        return {}

    @asynccontextmanager
    async def copied(self, template: Path, *, to: Path) -> AsyncGenerator[dict[str, Any], None]:
        shutil.copytree(template, to)
        yield {}

    @asynccontextmanager
    async def empty(self) -> AsyncGenerator[dict[str, Any], None]:
        yield {}


@dataclass(frozen=True)
class Remote:
    """PostgreSQL and a bucket. Each test has a database and a bucket of its own.

    A database takes half a second to make, so one whose test has ended is given to another, with what the template has
    in it and nothing else.
    """

    url: str
    """Of a database from which others can be made."""
    buckets: BucketServer
    numbers: Iterator[int]
    used: list[str] = field(default_factory=list, compare=False)
    """Databases that were copies of the template, and are nobody's now."""

    @classmethod
    def of_environment(cls, buckets: BucketServer) -> Remote:
        return cls(os.environ[POSTGRES_VARIABLE], buckets, count())

    @property
    def settings(self) -> dict[str, Any]:
        return {"database_url": self._database_url(_TEMPLATE)}

    async def make_template(self) -> None:
        await self._execute(f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)", f"CREATE DATABASE {_TEMPLATE}")

    async def keep_template(self) -> None:
        """Keep what the template has in it now, so that every copy can be brought back to it."""
        async with self._connected(_TEMPLATE) as connection:
            await _execute_all(connection, _KEEP)

    async def drop_all(self) -> None:
        """Leave nothing of what was made."""
        names = [*self.used, _TEMPLATE]
        self.used.clear()
        await self._execute(*(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)" for name in names))

    @asynccontextmanager
    async def copied(self, template: Path, *, to: Path) -> AsyncGenerator[dict[str, Any], None]:
        shutil.copytree(template, to)
        name = await self._used_again() or await self._made(f"TEMPLATE {_TEMPLATE}")
        try:
            with self._with_bucket(name) as settings:
                yield settings
        finally:
            self.used.append(name)

    @asynccontextmanager
    async def empty(self) -> AsyncGenerator[dict[str, Any], None]:
        name = await self._made("")
        try:
            with self._with_bucket(name) as settings:
                yield settings
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    @contextmanager
    def _with_bucket(self, name: str) -> Generator[dict[str, Any], None, None]:
        objects_url, environ = self.buckets.new_bucket()
        with patch.dict(os.environ, environ):
            yield {"database_url": self._database_url(name), "objects_url": objects_url}

    async def _used_again(self) -> str | None:
        """A database that was used, as the template is; None if there is none."""
        while self.used:
            name = self.used.pop()
            try:
                async with self._connected(name) as connection:
                    await _execute_all(connection, _RESTORE)
            except PostgresError:  # its test has taken its tables to pieces
                await self._execute(f"DROP DATABASE {name} WITH (FORCE)")
            else:
                return name
        return None

    async def _made(self, made_from: str) -> str:
        name = f"outpost_test_{os.getpid()}_{next(self.numbers)}"
        async with self._connected() as connection:
            version = int(await connection.scalar(sa.text("SHOW server_version_num")))
            # Newer ones log what they copy if nobody says otherwise, which takes twice as long.
            strategy = "STRATEGY FILE_COPY" if version >= _HAS_STRATEGIES else ""
            await connection.execute(sa.text(f"CREATE DATABASE {name} {made_from} {strategy}"))
        return name

    def _database_url(self, name: str) -> str:
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    async def _execute(self, *statements: str) -> None:
        async with self._connected() as connection:
            for statement in statements:
                await connection.execute(sa.text(statement))

    @asynccontextmanager
    async def _connected(self, name: str | None = None) -> AsyncGenerator[AsyncConnection, None]:
        url = self._database_url(name) if name else self.url
        engine = create_async_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        try:
            async with engine.connect() as connection:
                yield connection
        finally:
            await engine.dispose()


async def _execute_all(connection: AsyncConnection, statements: list[str]) -> None:
    """Many statements in one transaction and one message."""
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    await driver.execute(";".join(["BEGIN", *statements, "COMMIT"]))


_HAS_STRATEGIES = 150_000
"""The first version of PostgreSQL that lets one choose how a database is copied."""

_TEMPLATE = f"outpost_template_{os.getpid()}"

_TABLES = [table.name for table in metadata.sorted_tables]

_SEQUENCE = "account_events_number_seq"

_KEEP = [
    "CREATE SCHEMA kept",
    *(f"CREATE TABLE kept.{table} AS TABLE {table}" for table in _TABLES),
    f"CREATE TABLE kept.{_SEQUENCE} AS SELECT last_value, is_called FROM {_SEQUENCE}",
]

_RESTORE = [
    # A server that was killed may have a transaction that has not been given up yet.
    f"LOCK TABLE {', '.join(_TABLES)} IN SHARE MODE",
    *(f"DELETE FROM {table}" for table in reversed(_TABLES)),
    *(f"INSERT INTO {table} TABLE kept.{table}" for table in _TABLES),
    f"SELECT setval('{_SEQUENCE}', last_value, is_called) FROM kept.{_SEQUENCE}",
]
"""In an order in which no row is without those that it names."""
