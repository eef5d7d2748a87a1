"""People who talk to the platform, and a log that is read after every test."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.tests.fakes.backings import NO_POSTGRES, POSTGRES_VARIABLE, Backing, Local, Remote
from comfyui_outpost.tests.fakes.platforms import RunningPlatform

from .shared import Elsewhere, SharedPlatform, elsewhere
from .talking import SIGNED, Talker, talkers

StartPlatform = Callable[..., AbstractAsyncContextManager[RunningPlatform]]

LOGGERS = ("outpost", "aiohttp", "asyncio")


@pytest.fixture(scope="session")
def remote(request: pytest.FixtureRequest) -> Generator[Remote, None, None]:
    if not os.environ.get(POSTGRES_VARIABLE):
        pytest.skip(NO_POSTGRES)
    remote = Remote.of_environment(request.getfixturevalue("buckets"))
    yield remote
    asyncio.run(remote.drop_all())


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "shared_platform: tests have one platform, which each sees as two newcomers")
    config.addinivalue_line("markers", "own_platform: looks into the platform, or changes it for all, and has its own")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Every test of the server runs with SQLite and a folder, and most with PostgreSQL and a bucket as well."""
    if "backing" in metafunc.fixturenames and metafunc.definition.get_closest_marker("one_backing") is None:
        metafunc.parametrize("backing", ["local", "remote"], indirect=True)


@pytest.fixture
def backing(request: pytest.FixtureRequest) -> Backing:
    return request.getfixturevalue("remote") if getattr(request, "param", "local") == "remote" else Local()


@pytest.fixture(scope="module")
def shared_settings() -> dict[str, Any]:
    """Settings of the platform that the tests of a file share. A file may have its own."""
    return {}


@pytest.fixture(scope="module")
def platforms_elsewhere(
    shared_settings: dict[str, Any], furnished_for, tmp_path_factory: pytest.TempPathFactory
) -> Generator[Any, None, None]:
    """Gives the platform that the tests of a file share, of each kind of backing."""
    with ExitStack() as stack:

        @cache
        def start(backing: Backing) -> Elsewhere:
            folder = tmp_path_factory.mktemp("shared") / "platform"
            return stack.enter_context(elsewhere(folder, backing, furnished_for, **shared_settings))

        yield start


@pytest.fixture
async def platform(
    request: pytest.FixtureRequest,
    start_platform: StartPlatform,
    platforms_elsewhere: Any,
    shared_settings: dict[str, Any],
    backing: Backing,
) -> AsyncGenerator[RunningPlatform | SharedPlatform, None]:
    """A platform at work with the settings that a new user gets: the file's, or one of this test's own."""
    marked = request.node.get_closest_marker
    if marked("shared_platform") and not marked("own_platform"):
        shared = await asyncio.to_thread(platforms_elsewhere, backing)
        yield (newcomers := await shared.seen_by_newcomers())
        if "health" in shared_settings:  # machines are asked often
            await shared.part_with(newcomers)
    else:
        async with start_platform() as running:
            yield running


@pytest.fixture
async def people(platform, tmp_path: Path) -> AsyncGenerator[dict[str, Talker], None]:
    """The owner, a stranger with a key of their own, and a guest without one."""
    owner, stranger = platform.owner.api_key, platform.stranger.api_key
    async with talkers(
        platform.url, owner, stranger, None, secrets=[owner, stranger, str(tmp_path), str(platform.folder)]
    ) as found:
        yield dict(zip(("owner", "stranger", "guest"), found, strict=True))


@pytest.fixture
def owner(people: dict[str, Talker]) -> Talker:
    return people["owner"]


@pytest.fixture
def stranger(people: dict[str, Talker]) -> Talker:
    return people["stranger"]


@pytest.fixture
def guest(people: dict[str, Talker]) -> Talker:
    return people["guest"]


@pytest.fixture
def as_owner(start_platform, tmp_path: Path) -> Callable[..., AbstractAsyncContextManager[Talker]]:
    """Starts a platform with other settings; gives its owner: `async with as_owner(max_file_bytes=10) as owner`."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncGenerator[Talker, None]:
        async with start_platform(**settings) as platform:
            key = platform.owner.api_key
            async with talkers(platform.url, key, secrets=[key, str(tmp_path)]) as (owner,):
                yield owner

    return start


@pytest.fixture
def allowed() -> list[str]:
    """Parts of warnings that may be in the log."""
    return []


@pytest.fixture
def allow_log(allowed: list[str]) -> Callable[[str], None]:
    """Takes a part of a warning that may be in the log."""
    return allowed.append


@pytest.fixture(autouse=True)
def expect_log(caplog: pytest.LogCaptureFixture, allowed: list[str]) -> Generator[Callable[[str], None], None, None]:
    """Takes a part of a warning that has to be in the log.

    No test leaves any other warning there, and none leaves a key or a signed URL.
    """
    expected: list[str] = []
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    yield expected.append
    formatter = logging.Formatter("%(name)s %(levelname)s %(message)s")
    records = [record for record in caplog.get_records("call") if record.name.partition(".")[0] in LOGGERS]
    for record in records:
        text = formatter.format(record)
        assert "outpost_" not in text.replace("comfyui_outpost", ""), "a key is in the log"
        assert not SIGNED.search(text), "a signed URL is in the log"
        if record.levelno >= logging.WARNING:
            assert any(part in text for part in (*expected, *allowed)), text
    logged = "\n".join(record.getMessage() for record in records)
    for part in expected:
        assert part in logged, f"the log lacks {part!r}"
