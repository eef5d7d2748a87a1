"""What a platform of the tests keeps its things in: SQLite and a folder, or PostgreSQL and a bucket."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from .bucket import BucketServer

POSTGRES_VARIABLE = "OUTPOST_TEST_POSTGRES"
NO_POSTGRES = (
    f"needs a PostgreSQL server in which databases can be made: set {POSTGRES_VARIABLE} to its URL, such as "
    "postgresql+asyncpg://user@127.0.0.1:5432/postgres"
)


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
    """PostgreSQL and a bucket. Each test has a database and a bucket of its own."""

    url: str
    """Of a database from which others can be made."""
    buckets: BucketServer
    numbers: Iterator[int]

    @classmethod
    def of_environment(cls, buckets: BucketServer) -> Remote:
        return cls(os.environ[POSTGRES_VARIABLE], buckets, count())

    @property
    def settings(self) -> dict[str, Any]:
        return {"database_url": self._database_url(_TEMPLATE)}

    async def make_template(self) -> None:
        await self._execute(f"DROP DATABASE IF EXISTS {_TEMPLATE} WITH (FORCE)", f"CREATE DATABASE {_TEMPLATE}")

    @asynccontextmanager
    async def copied(self, template: Path, *, to: Path) -> AsyncGenerator[dict[str, Any], None]:
        shutil.copytree(template, to)
        async with self._database(f"TEMPLATE {_TEMPLATE}") as settings:
            yield settings

    @asynccontextmanager
    async def empty(self) -> AsyncGenerator[dict[str, Any], None]:
        async with self._database("") as settings:
            yield settings

    @asynccontextmanager
    async def _database(self, made_from: str) -> AsyncGenerator[dict[str, Any], None]:
        name = f"outpost_test_{os.getpid()}_{next(self.numbers)}"
        await self._execute(f"CREATE DATABASE {name} {made_from}")
        try:
            objects_url, environ = self.buckets.new_bucket()
            with patch.dict(os.environ, environ):
                yield {"database_url": self._database_url(name), "objects_url": objects_url}
        finally:
            await self._execute(f"DROP DATABASE {name} WITH (FORCE)")

    def _database_url(self, name: str) -> str:
        return sa.make_url(self.url).set(database=name).render_as_string(hide_password=False)

    async def _execute(self, *statements: str) -> None:
        engine = create_async_engine(self.url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        try:
            async with engine.connect() as connection:
                for statement in statements:
                    await connection.execute(sa.text(statement))
        finally:
            await engine.dispose()


_TEMPLATE = f"outpost_template_{os.getpid()}"
