"""SQLite for an event loop: each transaction is one piece on a thread, and those that wait share a commit.

An async driver makes several hops to a thread for each statement, which costs ten times what SQLite itself takes. And
only one can write at a time, most of which is waiting for the disk to say that all is safe: whoever comes meanwhile is
written together with all the others who came, and they wait for the disk once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

T = TypeVar("T")

BUSY_SECONDS = 30
READERS = 2
"""Threads, so that a long list does not hold up everybody else. More of them would only wait for one another."""


@dataclass(eq=False)
class _Write:
    """A transaction and how it ended. `done` tells its caller, after the commit and not before."""

    work: Callable[[sa.Connection], Any]
    done: asyncio.Future[Any]
    result: Any = None
    error: Exception | None = None


class SqliteEngine:
    """An SQLite database for one event loop."""

    is_shared = False
    """One server has its folder for itself. `outpost key` may write a row beside it, for which SQLite takes turns."""

    def __init__(self, url: sa.URL) -> None:
        url = url.set(drivername="sqlite")
        self._reading = sa.create_engine(url, hide_parameters=True)
        # One connection that stays, and with it what it has in memory.
        self._writing = sa.create_engine(url, hide_parameters=True, pool_size=1, max_overflow=0)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="outpost-sqlite-read")
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="outpost-sqlite-write")
        self._waiting: list[_Write] = []
        self._is_writing = False
        for engine in (self._reading, self._writing):
            event.listen(engine, "connect", _prepare)
        event.listen(self._writing, "begin", _begin)

    async def read(self, work: Callable[[sa.Connection], T]) -> T:
        def run() -> T:
            with self._reading.connect() as connection:
                return work(connection)

        return await asyncio.get_running_loop().run_in_executor(self._readers, run)

    async def write(self, work: Callable[[sa.Connection], T]) -> T:
        write = _Write(work, asyncio.get_running_loop().create_future())
        self._waiting.append(write)
        if not self._is_writing:
            self._write_waiting()
        try:
            return await asyncio.shield(write.done)
        except asyncio.CancelledError:
            if write in self._waiting:
                self._waiting.remove(write)  # it has not begun, so it never happens
            else:  # the next one must not meet it half done
                write.done.add_done_callback(lambda done: done.exception())  # whose it was is not there any more
                await asyncio.wait({write.done})
            raise

    async def migrate(self, work: Callable[[sa.Connection], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._writer, self._migrate, work)

    async def dispose(self) -> None:
        await asyncio.to_thread(self._close)

    def _write_waiting(self) -> None:
        """Begin with everything that waits; what comes meanwhile is the next round."""
        writes, self._waiting = self._waiting, []
        self._is_writing = bool(writes)
        if writes:
            job = asyncio.get_running_loop().run_in_executor(self._writer, self._commit, writes)
            job.add_done_callback(partial(self._tell, writes))

    def _tell(self, writes: list[_Write], job: asyncio.Future[None]) -> None:
        """Tell everybody how it ended; the disk has the next round in the meantime."""
        try:
            self._write_waiting()
        finally:
            for write in writes:
                if error := job.exception() or write.error:
                    write.done.set_exception(error)
                else:
                    write.done.set_result(write.result)

    def _close(self) -> None:
        for threads, engine in ((self._readers, self._reading), (self._writer, self._writing)):
            threads.shutdown()  # after what it has begun
            engine.dispose()

    def _migrate(self, work: Callable[[sa.Connection], None]) -> None:
        with self._writing.connect() as connection:
            driver: Any = connection.connection.driver_connection
            # To change a table SQLite makes a new one in its place, and for a moment what refers to it refers to
            # nothing. Inside of a transaction it cannot be told so.
            driver.execute("PRAGMA foreign_keys=OFF")
            try:
                with connection.begin():
                    work(connection)
            finally:
                driver.execute("PRAGMA foreign_keys=ON")

    def _commit(self, writes: list[_Write]) -> None:
        with self._writing.begin() as connection:
            if len(writes) == 1:
                writes[0].result = writes[0].work(connection)
                return
            for write in writes:
                _try(connection, write)


def _try(connection: sa.Connection, write: _Write) -> None:
    """Do one of the transactions that share a commit; an error undoes it and none of the others."""
    driver: Any = connection.connection.driver_connection
    driver.execute("SAVEPOINT this")
    try:
        write.result = write.work(connection)
    except Exception as error:
        if not driver.in_transaction:
            raise  # SQLite has undone them all, as it does when the disk is full
        driver.execute("ROLLBACK TO this")
        write.error = error
    driver.execute("RELEASE this")


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
    # Its own `lower` knows the letters of ASCII alone; this one is slower, and taken where there are others.
    connection.create_function("unicode_lower", 1, _lower, deterministic=True)


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()


def _begin(connection: sa.Connection) -> None:
    # Of two transactions that have read and then both want to write one would fail, so each takes its turn at once.
    connection.exec_driver_sql("BEGIN IMMEDIATE")
