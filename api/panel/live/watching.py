"""Watches the chosen platform for all pages together, for as long as there is one that listens."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import fields
from datetime import datetime, timezone
from typing import Any
from urllib.parse import urlsplit

from ...account_events import (
    AccountEvent,
    MachineChanged,
    PreviewShown,
    RunChanged,
    StreamBegun,
    StreamBroken,
    ThingChanged,
)
from ...client import Client
from ...errors import ConfigurationError, NotSupported, OutpostError
from ...models import Run, RunStatus
from ..clients import Clients
from ..discretion import without_places
from ..runs.rows import row_of
from .bulletin import Bulletin
from .names import Names
from .polling import Pace, looked_after, poll
from .previews import Previews

log = logging.getLogger("outpost.panel")

_LOOK = 3.0
"""Seconds between two looks at which connection is chosen: another program may choose one."""
_CAUGHT_UP = 100
"""Runs among which those at work are looked for when events may have been missed."""
_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before a platform that does not answer is asked again."""
PACE = Pace()
_OURS = 1000
"""Runs of this panel's that are remembered."""
KINDS = ("workflow", "deployment", "run", "machine", "asset")


class Watcher:
    """Tells the bulletin what happens. One for each panel."""

    def __init__(self, clients: Clients) -> None:
        self.bulletin = Bulletin()
        self.names = Names()
        self.previews = Previews()
        self._clients = clients
        self._ours: dict[str, None] = {}
        self._expected: asyncio.Queue[Run] | None = None
        """Where a platform is asked for news: the runs that were started here."""
        self._poke = asyncio.Event()
        self._listeners = 0
        self._watching: asyncio.Task[None] | None = None
        self._known: str | None = None
        """Which connection the bulletin is about."""

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Bulletin, None]:
        """What a page is told, until the block ends."""
        self._listeners += 1
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._watch())
            self._watching.add_done_callback(_log_failure)
        try:
            yield self.bulletin
        finally:
            self._listeners -= 1
            if not self._listeners:
                await self.aclose()

    async def aclose(self) -> None:
        """Watch no more. What happens from now on is missed, and pages that come back are told so."""
        watching, self._watching = self._watching, None
        if watching:
            # Before there is anything to wait for: a page that comes meanwhile begins anew.
            self._choose(None)
            self.bulletin.forget()
            watching.cancel()
            await asyncio.wait({watching})

    @property
    def is_watching(self) -> bool:
        """Whether there is still somebody who tells."""
        return self._watching is not None and not self._watching.done()

    def look(self) -> None:
        """Another connection may have been chosen."""
        self._poke.set()

    async def started(self, client: Client, run_id: str, *, deployment_id: str) -> dict[str, Any]:
        """A run was started here: it is told to every page at once. Nothing of this fails: the run is under way."""
        self._ours[run_id] = None
        while len(self._ours) > _OURS:
            del self._ours[next(iter(self._ours))]
        try:
            run = await client.runs.get(run_id)
        except OutpostError as error:
            log.info("the run %s is not told of yet: %s", run_id, error)
            now = datetime.now(timezone.utc)
            run = Run(id=run_id, status=RunStatus.NOT_STARTED, deployment_id=deployment_id, created_at=now)
        [row] = await self.rows(client, [run])
        if client.connection.id == self._known:
            if self._expected:
                self._expected.put_nowait(run)
            # The platform itself may have told more by now, and did not say whose run it is.
            told = self.bulletin.told("run", run.id)
            self._tell_run({**told, "is_ours": True} if told else row)
        return row

    async def rows(self, client: Client, runs: Iterable[Run]) -> list[dict[str, Any]]:
        """Runs, as lists show them."""
        runs = list(runs)
        await self.names.learn(client, runs)
        return [self._row_of(run) for run in runs]

    def _row_of(self, run: Run) -> dict[str, Any]:
        preview = self.previews.of(run.id)
        row = row_of(run, self.names, is_ours=run.id in self._ours)
        return {**row, "preview": preview.number if preview else None}

    async def listed(self, client: Client, runs: Iterable[Run]) -> list[dict[str, Any]]:
        """Runs, as lists show them, as far as they have come by what was told of them: lists of a platform lag."""
        rows = await self.rows(client, runs)
        for row in rows:
            told = self.bulletin.told("run", row["id"])
            if told and told["status"] == row["status"]:
                row |= {name: told[name] for name in ("progress", "doing", "queue_position") if told[name] is not None}
        return rows

    async def tell(self, client: Client, runs: Iterable[Run]) -> None:
        """Tell pages how runs are, if that is news."""
        for row in await self.rows(client, runs):
            self._tell_run(row)

    def tell_changed(self, kind: str, thing_id: str | None = None) -> None:
        """Something is new, different or gone, and lists with it are read again."""
        if kind in ("deployment", "machine", "workflow"):
            self.names.expire()
        self.bulletin.tell("changed", f"{kind} {thing_id or ''}", {"kind": kind, "id": thing_id})

    def _tell_run(self, row: dict[str, Any]) -> None:
        told = self.bulletin.told("run", row["id"])
        is_over = told and RunStatus(told["status"]).is_terminal and not RunStatus(row["status"]).is_terminal
        if self._watching and told != row and not is_over:
            self.bulletin.tell("run", row["id"], row)

    async def _watch(self) -> None:
        failures = 0
        while True:
            self._poke.clear()
            wait = _LOOK
            try:
                async with self._clients.open() as client:
                    self._choose(client.connection.id)
                    await client.health()
                    self._tell_well(client)
                    failures = 0
                    await self._follow(client)
                continue  # another connection was chosen
            except ConfigurationError as error:
                self._choose(None)
                self._tell_connection("none", message=without_places(error))
            except OutpostError as error:
                log.info("the platform cannot be watched: %s", error)
                self._tell_connection("away", message=without_places(error))
                wait = _PAUSES[min(failures, len(_PAUSES) - 1)]
                failures += 1
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._poke.wait(), wait)

    def _choose(self, connection_id: str | None) -> None:
        """What was told of another platform counts no more."""
        former, self._known = self._known, connection_id
        if former not in (None, connection_id):
            self.names.expire()
            self.previews.clear()
            self.bulletin.forget()

    def _tell_well(self, client: Client) -> None:
        """The platform answers. What was missed while it did not is read again."""
        told = self.bulletin.told("connection", "")
        self._tell_connection("well", name=_place_of(client))
        if told and told["state"] == "away" and told["id"] == self._known:
            for kind in KINDS:
                self.tell_changed(kind)

    def _tell_connection(self, state: str, **more: str) -> None:
        data = {"state": state, "id": self._known, **more}
        if self.bulletin.told("connection", "") != data:
            self.bulletin.tell("connection", "", data)

    async def _follow(self, client: Client) -> None:
        """Follow one platform until another connection is chosen. Raises OutpostError when it is away."""

        following = asyncio.ensure_future(self._listen_or_poll(client))
        looking = asyncio.ensure_future(self._until_another(client))
        try:
            await asyncio.wait({following, looking}, return_when=asyncio.FIRST_COMPLETED)
            (following if following.done() else looking).result()
        finally:
            for task in (following, looking):
                task.cancel()
            await asyncio.wait({following, looking})

    async def _listen_or_poll(self, client: Client) -> None:
        async def tell(runs: Iterable[Run]) -> None:
            await self.tell(client, runs)

        try:
            async with aclosing(client.events(previews=True)) as events:
                async for event in events:
                    await self._heard(client, event)
        except NotSupported:
            self._expected = asyncio.Queue()
            try:
                await poll(client, tell, self._expected, pace=PACE)
            finally:
                self._expected = None

    async def _heard(self, client: Client, event: AccountEvent) -> None:
        """Tell pages what a platform tells by itself."""
        match event:
            case StreamBegun(is_resumed):
                self._tell_connection("well", name=_place_of(client))
                if not is_resumed:
                    await self._catch_up(client)
            case StreamBroken(reason):
                self._tell_connection("away", message=without_places(reason))
            case RunChanged():
                await self.tell(client, [_run_of(event)])
            case PreviewShown(run_id, content_type, data):
                if number := self.previews.keep(run_id, content_type, data):
                    self.bulletin.tell("preview", run_id, {"run_id": run_id, "number": number})
            case MachineChanged(machine_id):
                names = {"id": "machine_id", "reason": "status_reason"}
                shown = ("id", "status", "reason", "queue", "processes")
                told = {name: getattr(event, names.get(name, name)) for name in shown}
                self.bulletin.tell("machine", machine_id, told)
            case ThingChanged(kind, thing_id, deed) if kind != "run" or deed == "deleted":
                self.tell_changed(kind, thing_id)
            case _:
                pass

    async def _catch_up(self, client: Client) -> None:
        """Events may have been missed: tell which runs are at work, and let the lists be read again."""
        runs = await client.runs.recent(limit=_CAUGHT_UP)
        news = [run for run in runs if not run.status.is_terminal or self.bulletin.told("run", run.id)]
        active = [each.data for each in self.bulletin.all("run") if not RunStatus(each.data["status"]).is_terminal]
        older = {each["id"] for each in active} - {run.id for run in runs}
        await self.tell(client, [*news, *await looked_after(client, older)])
        for kind in KINDS:
            self.tell_changed(kind)

    async def _until_another(self, client: Client) -> None:
        while True:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._poke.wait(), _LOOK)
            self._poke.clear()
            async with self._clients.open() as current:
                if current is not client:
                    return


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("the platform is not watched any more", exc_info=error)


def _place_of(client: Client) -> str:
    return urlsplit(client.connection.base_url).netloc


def _run_of(event: RunChanged) -> Run:
    told = {each.name: getattr(event, each.name) for each in fields(event)}
    return Run(id=told.pop("run_id"), **told)
