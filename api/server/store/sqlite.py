"""SQLite for an event loop: each transaction is one hop to a thread.

An async driver makes several hops for each statement, which costs ten times what SQLite itself takes. Whoever writes
waits here for its turn, because SQLite's own waiting sleeps in steps of up to 0.1 s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

T = TypeVar("T")

BUSY_SECONDS = 30
THREADS = 4
_IS_READ = "outpost_is_read"


class SqliteEngine:
    """An SQLite database for one event loop."""

    is_shared = False
    """Its file is locked by its one server."""

    def __init__(self, url: sa.URL) -> None:
        self._engine = sa.create_engine(url.set(drivername="sqlite"), hide_parameters=True)
        self._reading = self._engine.execution_options(**{_IS_READ: True})
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="outpost-sqlite")
        self._turn = asyncio.Lock()
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._reading.connect() as connection:
                return work(connection)

        return await self._on_thread(run)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._engine.begin() as connection:
                return work(connection)

        async with self._turn:
            return await self._on_thread(run)

    async def dispose(self) -> None:
        await self._on_thread(self._engine.dispose)
        self._threads.shutdown()

    async def _on_thread(self, work: Callable[[], T]) -> T:
        """Do something to its end, also when the task is cancelled: the next one must not meet it half done."""
        job = asyncio.get_running_loop().run_in_executor(self._threads, work)
        try:
            return await asyncio.shield(job)
        except asyncio.CancelledError:
            await asyncio.wait({job})
            raise


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
