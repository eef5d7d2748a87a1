"""SQLite's engine: transactions that wait share a commit, and each is still all or nothing."""

from __future__ import annotations

import asyncio
import gc
import sqlite3
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from comfyui_outpost.api.server.store.sqlite import SqliteEngine
from sqlalchemy.exc import IntegrityError, OperationalError

WAIT_SECONDS = 20
Work = Callable[[sa.Connection], str]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "db.sqlite"


@pytest.fixture
async def engine(path: Path) -> AsyncGenerator[SqliteEngine, None]:
    engine = SqliteEngine(sa.make_url(f"sqlite:///{path}"))
    await engine.write(lambda connection: connection.exec_driver_sql("CREATE TABLE names (name TEXT PRIMARY KEY)"))
    yield engine
    await engine.dispose()


@pytest.fixture
def commits(engine: SqliteEngine) -> list[None]:
    """Has one entry for each commit from here on."""
    found: list[None] = []
    sa.event.listen(engine._writing, "commit", lambda _: found.append(None))
    return found


def _add(name: str) -> Work:
    def add(connection: sa.Connection) -> str:
        connection.exec_driver_sql("INSERT INTO names VALUES (?)", (name,))
        return name

    return add


def _add_and_fail(name: str) -> Work:
    def add(connection: sa.Connection) -> str:
        _add(name)(connection)
        raise ValueError(f"{name} is not wanted")

    return add


@contextmanager
def _occupied(engine: SqliteEngine) -> Generator[asyncio.Task[str], None, None]:
    """While the block lasts somebody is writing the name `first`, and everybody else waits."""
    gate = threading.Event()

    def write(connection: sa.Connection) -> str:
        assert gate.wait(WAIT_SECONDS)
        return _add("first")(connection)

    writing = asyncio.ensure_future(engine.write(write))
    try:
        yield writing
    finally:
        gate.set()


async def _begin(engine: SqliteEngine, *works: Work) -> list[asyncio.Task[str]]:
    """Everybody has asked for their transaction."""
    tasks = [asyncio.ensure_future(engine.write(work)) for work in works]
    await asyncio.sleep(0)
    return tasks


async def _names(engine: SqliteEngine) -> list[str]:
    query = "SELECT name FROM names ORDER BY rowid"
    return await engine.read(lambda connection: list(connection.exec_driver_sql(query).scalars()))


def _kept(path: Path) -> list[str]:
    """What somebody else finds in the file."""
    with sqlite3.connect(path) as other:
        names = [name for (name,) in other.execute("SELECT name FROM names ORDER BY rowid")]
    other.close()
    return names


async def test_what_waits_shares_one_commit_in_the_order_in_which_it_came(
    engine: SqliteEngine, commits: list[None], path: Path
):
    with _occupied(engine):
        tasks = await _begin(engine, *map(_add, "dbca"))
    assert await asyncio.gather(*tasks) == ["d", "b", "c", "a"]
    assert _kept(path) == ["first", "d", "b", "c", "a"]
    assert len(commits) == 2


async def test_one_that_fails_is_undone_alone_and_told_why(engine: SqliteEngine, path: Path):
    with _occupied(engine):
        tasks = await _begin(engine, _add("a"), _add_and_fail("b"), _add("a"), _add("c"))
    a, b, again, c = await asyncio.gather(*tasks, return_exceptions=True)
    assert (a, c) == ("a", "c")
    assert isinstance(b, ValueError)
    assert isinstance(again, IntegrityError)
    assert _kept(path) == ["first", "a", "c"]


async def test_one_that_fails_by_itself_leaves_nothing(engine: SqliteEngine, path: Path):
    with pytest.raises(ValueError, match="a is not wanted"):
        await engine.write(_add_and_fail("a"))
    assert _kept(path) == []
    assert await engine.write(_add("a")) == "a"


async def test_nobody_is_answered_and_nobody_sees_anything_before_the_commit(engine: SqliteEngine, path: Path):
    is_in, gate = threading.Event(), threading.Event()

    def hold(connection: sa.Connection) -> str:
        is_in.set()
        assert gate.wait(WAIT_SECONDS)
        return "held"

    with _occupied(engine) as first:
        early, last = await _begin(engine, _add("early"), hold)
    await first
    assert await asyncio.to_thread(is_in.wait, WAIT_SECONDS)
    assert await _names(engine) == ["first"]
    assert _kept(path) == ["first"]
    assert not early.done()
    gate.set()
    assert await asyncio.gather(early, last) == ["early", "held"]
    assert _kept(path) == ["first", "early"]


async def test_whoever_has_been_answered_finds_it_in_the_file(engine: SqliteEngine, path: Path):
    async def write(name: str) -> None:
        await engine.write(_add(name))
        assert name in _kept(path)
        assert name in await _names(engine)

    await asyncio.gather(*(write(f"{number}") for number in range(50)))


async def test_a_transaction_that_is_cancelled_while_it_waits_never_happens(engine: SqliteEngine, path: Path):
    with _occupied(engine):
        before, cancelled, after = await _begin(engine, *map(_add, "abc"))
        cancelled.cancel()
        await asyncio.wait({cancelled})
        assert cancelled.cancelled()
    assert await asyncio.gather(before, after) == ["a", "c"]
    assert _kept(path) == ["first", "a", "c"]


async def test_a_transaction_that_is_cancelled_while_it_is_written_happens_before_the_task_ends(
    engine: SqliteEngine, path: Path
):
    with _occupied(engine) as first:
        await asyncio.sleep(0)
        first.cancel()
        await asyncio.sleep(0)
        assert not first.done()
        (other,) = await _begin(engine, _add("other"))
    await asyncio.wait({first})
    assert first.cancelled()
    assert _kept(path)[:1] == ["first"]
    assert await other == "other"


async def test_one_of_many_that_is_cancelled_while_they_are_written_hurts_none_of_them(
    engine: SqliteEngine, path: Path
):
    is_in, gate, problems = threading.Event(), threading.Event(), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, problem: problems.append(problem))

    def hold(connection: sa.Connection) -> str:
        is_in.set()
        assert gate.wait(WAIT_SECONDS)
        return _add("held")(connection)

    with _occupied(engine) as first:
        tasks = await _begin(engine, _add("a"), hold, _add_and_fail("b"), _add("c"))
    await first
    assert await asyncio.to_thread(is_in.wait, WAIT_SECONDS)
    for task in tasks[:3]:
        task.cancel()
    gate.set()
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in ended[:3]] == [asyncio.CancelledError] * 3
    assert ended[3] == "c"
    assert _kept(path) == ["first", "a", "held", "c"]
    del tasks, ended
    gc.collect()
    assert problems == [], "an error of a transaction that nobody waits for any more is no news"


async def test_a_commit_that_fails_is_told_to_everybody_and_keeps_nothing(engine: SqliteEngine, path: Path):
    def break_the_commit(connection: sa.Connection) -> str:
        connection.exec_driver_sql("PRAGMA defer_foreign_keys=ON")
        connection.exec_driver_sql("INSERT INTO pets VALUES ('nobody')")
        return "this far it goes well"

    table = "CREATE TABLE pets (owner TEXT REFERENCES names (name))"
    await engine.write(lambda connection: connection.exec_driver_sql(table))
    with _occupied(engine):
        tasks = await _begin(engine, _add("a"), break_the_commit, _add("b"))
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, IntegrityError)
    assert _kept(path) == ["first"]
    assert await engine.write(_add("a")) == "a"
    assert _kept(path) == ["first", "a"]


async def test_when_sqlite_undoes_all_of_them_everybody_is_told(engine: SqliteEngine, path: Path):
    def run_out_of_disk(connection: sa.Connection) -> str:
        connection.exec_driver_sql("ROLLBACK")  # as SQLite does by itself
        raise OSError("the disk is full")

    with _occupied(engine):
        tasks = await _begin(engine, _add("a"), run_out_of_disk, _add("b"))
    for error in await asyncio.gather(*tasks, return_exceptions=True):
        assert isinstance(error, OSError)
    assert _kept(path) == ["first"]
    assert await engine.write(_add("b")) == "b"
    assert _kept(path) == ["first", "b"]


async def test_a_full_disk_is_told_to_those_whose_rows_are_not_kept_and_nobody_else(engine: SqliteEngine, path: Path):
    def limit(connection: sa.Connection) -> str:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        return "limited"

    with _occupied(engine):
        tasks = await _begin(engine, limit, *(_add(f"{number} {'x' * 1000}") for number in range(20)), _add("short"))
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(each, OperationalError) for each in ended)
    assert _kept(path) == ["first", *(each for each in ended if isinstance(each, str) and each != "limited")]


async def test_a_reader_is_not_held_up_by_whoever_writes(engine: SqliteEngine):
    with _occupied(engine):
        assert await asyncio.wait_for(_names(engine), WAIT_SECONDS) == []


async def test_what_was_answered_survives_because_the_disk_was_asked_each_time(engine: SqliteEngine):
    def pragma(name: str) -> Callable[[sa.Connection], object]:
        return lambda connection: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()

    full = 2
    assert await engine.write(pragma("synchronous")) == full
    assert await engine.read(pragma("journal_mode")) == "wal"
    assert await engine.write(pragma("foreign_keys")) == 1
