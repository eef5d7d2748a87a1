"""Somebody with a graph: a host, a client, and the real platform on a socket that can be watched."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from comfyui_outpost.api.client import Client, ContentCache
from comfyui_outpost.api.models import Run
from comfyui_outpost.api.server.store.tables import runs
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes.execution import run_deployment
from comfyui_outpost.nodes.results import RunResult
from comfyui_outpost.tests.nodes import comfyui_modules
from comfyui_outpost.tests.nodes.hosts import FakeHost
from comfyui_outpost.tests.nodes.sites import Site

SECRETS = re.compile(r"outpost_[\w-]{20,}|[?&]s=[\w-]{20,}|Traceback \(most recent|File \"|tensor\.invalid")
"""A key, a signature, the text of a traceback, and what stands for a tensor while inputs are checked."""


class Workplace:
    """A host, a client and a platform; runs on it are started with `run`, and every error is looked at."""

    def __init__(self, site: Site, client: Client, platform: Any, folder: Path) -> None:
        self.site, self.client, self.platform = site, client, platform
        self.host = FakeHost(folder / "files")
        self._folder = folder

    async def deploy(self, graph: Any, *, run_timeout: float | None = None) -> str:
        """A new deployment of a graph; its id."""
        store, owner = self.platform.parts.store, self.platform.owner
        created = await store.workflows.create(
            owner.owner, name="a graph", description=None, workflow={}, workflow_api=graph
        )
        deployment = await store.deployments.put(
            owner.owner,
            workflow_id=created.workflow_id,
            workflow_version_id=created.workflow_version_id,
            machine_id=owner.machine_id,
            environment="production",
            name=None,
            run_timeout=run_timeout,
        )
        return deployment.id

    async def run(self, graph: Any, *, deadline: float | None = None, **inputs: Any) -> RunResult:
        """Deploy a graph, if it is not the id of a deployment, and run it."""
        deployment_id, earlier = graph if isinstance(graph, str) else await self.deploy(graph), len(self.host.shares)
        try:
            return await run_deployment(
                self.client, self.host, deployment_id=deployment_id, inputs=inputs, deadline=deadline
            )
        except Exception as error:
            self.check(error)
            raise
        finally:
            shares = self.host.shares[earlier:]
            assert shares == sorted(shares), "progress went back"
            assert all(0 <= share <= 1 for share in shares)

    def check(self, error: BaseException | None) -> None:
        """An error, and whatever is behind it, tells no secret."""
        while error:
            for text in (str(error), repr(error)):
                assert not SECRETS.search(text), text
                assert str(self._folder) not in text, text
            error = error.__cause__ or error.__context__

    async def runs(self) -> list[Run]:
        """Every run that the platform has, oldest first."""
        found = await self.platform.parts.store.database.rows(sa.select(runs).order_by(runs.c.created_at))
        return [Run.model_validate(row) for row in found]


Open = Callable[..., Any]


@pytest.fixture
def open_workplace(start_platform: Any, tmp_path: Path) -> Open:
    """Opens a workplace: `async with open_workplace(builtin_slots=1) as place`; `client` has options of the client."""

    @asynccontextmanager
    async def open_(*, client: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[Workplace]:
        async with AsyncExitStack() as stack:
            platform = await stack.enter_async_context(start_platform(**settings))
            site = Site(platform.parts)
            await site.open()
            stack.push_async_callback(site.kill)
            connection = Connection(site.url, platform.owner.api_key)
            options = {"contents": ContentCache(), **(client or {})}
            place = Workplace(site, await stack.enter_async_context(Client(connection, **options)), platform, tmp_path)
            yield place
            assert not any(SECRETS.search(text) for text in place.host.texts)

    return open_


@pytest.fixture
async def place(open_workplace: Open) -> AsyncGenerator[Workplace, None]:
    """A workplace with the settings that a new user gets."""
    async with open_workplace() as place:
        yield place


@pytest.fixture
def comfyui_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The modules of ComfyUI; the folder that has ComfyUI's own folders."""
    comfyui_modules.install(monkeypatch, tmp_path / "comfyui")
    return tmp_path / "comfyui"


@pytest.fixture
def inside_comfyui(monkeypatch: pytest.MonkeyPatch, place: Workplace, comfyui_folder: Path) -> Path:
    """The modules of ComfyUI, and a connection in the environment; the folder that has ComfyUI's own folders."""
    monkeypatch.setenv("OUTPOST_BASE_URL", place.site.url)
    monkeypatch.setenv("OUTPOST_API_KEY", place.platform.owner.api_key)
    return comfyui_folder


@pytest.fixture(autouse=True)
def nothing_secret_is_logged(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> Generator[None, None, None]:
    """In every test: no key, no signature, no local path and no traceback is in the log."""
    caplog.set_level("DEBUG", logger="outpost")
    yield
    for record in caplog.get_records("call"):
        if record.name.startswith("outpost"):
            text = f"{record.getMessage()} {record.exc_info or ''}"
            assert not SECRETS.search(text), text
            assert str(tmp_path) not in text, text
