"""SQLite for an event loop: every statement is one hop to a thread.

The async driver makes several hops for each statement, which costs ten times what SQLite itself takes. Whoever writes
waits here for its turn, because SQLite's own waiting sleeps in steps of up to 0.1 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

T = TypeVar("T")

BUSY_SECONDS = 30
THREADS = 4
_IS_READ = "outpost_is_read"


class SqliteConnection:
    """One connection, used by one task; its statements are executed on a thread, one after the other."""

    def __init__(self, engine: sa.Engine, threads: ThreadPoolExecutor, *, is_read: bool) -> None:
        self._engine = engine
        self._threads = threads
        self._is_read = is_read
        self._opened: sa.Connection | None = None

    async def execute(self, statement: sa.Executable, parameters: Any = None) -> sa.Result[Any]:
        """Execute a statement; its rows are in memory afterwards."""
        return await self._on_thread(lambda: self._execute(statement, parameters))

    async def commit(self) -> None:
        if opened := self._opened:
            await self._on_thread(opened.commit)

    def close(self) -> None:
        """Give the connection back; what was not committed has not happened. Nothing here waits for the disk."""
        if opened := self._opened:
            opened.close()

    def _execute(self, statement: sa.Executable, parameters: Any) -> sa.Result[Any]:
        if self._opened is None:
            self._opened = self._engine.connect().execution_options(**{_IS_READ: self._is_read})
        result = self._opened.execute(statement, parameters)
        return result.freeze()() if result.returns_rows else result

    async def _on_thread(self, work: Callable[[], T]) -> T:
        """Do something on a thread, to its end even when the task is cancelled: a connection has one user at a time."""
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait({job})
            raise


class SqliteEngine:
    """An SQLite database for one event loop."""

    is_shared = False
    """Its file is locked by its one server."""

    def __init__(self, url: sa.URL) -> None:
        self._engine = sa.create_engine(url.set(drivername="sqlite"))
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outpost-sqlite")
        self._turn = asyncio.Lock()
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[SqliteConnection, None]:
        connection = SqliteConnection(self._engine, self._threads, is_read=True)
        try:
            yield connection
        finally:
            connection.close()

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[SqliteConnection, None]:
        async with self._turn:
            connection = SqliteConnection(self._engine, self._threads, is_read=False)
            try:
                yield connection
                await connection.commit()
            finally:
                connection.close()

    async def run_sync(self, work: Callable[[sa.Connection], None]) -> None:
        """Do something with a plain connection, in one transaction."""

        def run() -> None:
            with self._engine.begin() as connection:
                work(connection)

        await asyncio.get_running_loop().run_in_executor(self._threads, run)

    async def dispose(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._engine.dispose)
        self._threads.shutdown()


def _prepare(connection: Any, _record: Any) -> None:
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


def _begin(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get(_IS_READ):
        # Of two transactions that have read and then both want to write one would fail, so each takes its turn at once.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
