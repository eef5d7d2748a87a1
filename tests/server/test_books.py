"""A server that is killed again and again while many people use it: afterwards the books are compared.

Whatever was answered with 200 is there, whole and once. What was asked for and not answered is there, whole and once,
or not at all.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from .graphs import external, node, png
from .process import Launch, Server, started
from .talking import TERMINAL, Talker, local, talkers

CLIENTS = 8
KILLS = 9
LONGEST_SECONDS = 2.5
"""A start without imports takes about a tenth of a second, so that some kills come before it is over."""
MOST_OPEN = 4
"""Runs that a client has going at once; then it waits for one of them."""
GRAPH = {
    "1": external("Text", "text"),
    "2": node("PreviewAny", source=["1", 0], output_id="echo"),
    "3": node("EmptyImage", width=8, height=8),
    "4": node("OutpostSleep", seconds=0.05, image=["3", 0]),
    "5": node("SaveImage", images=["4", 0], output_id="picture"),
}
TOO_OFTEN = "The server stopped 3 times while it worked on this run"


class Killed(Exception):
    """The server was killed before it had answered."""


@dataclass
class Books:
    """What a client has asked for, and what was answered."""

    asked: list[str] = field(default_factory=list)
    """Idempotency keys. A run gets its key as its text, too."""
    runs: dict[str, str] = field(default_factory=dict)
    """Answered runs by their keys."""
    cancelled: set[str] = field(default_factory=set)
    """Runs that were answered to be cancelled."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What was answered to be stored, by the path from which it is read."""
    perhaps: dict[str, bytes] = field(default_factory=dict)
    """What was sent without an answer."""
    workflows: dict[str, str] = field(default_factory=dict)
    """Names by ids."""


@dataclass
class Site:
    """The server, wherever it is at the moment."""

    key: str
    deployment_id: str = ""
    owner: Talker | None = None
    """None while it is down."""
    is_up: asyncio.Event = field(default_factory=asyncio.Event)
    is_over: bool = False

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """An answer of whichever server is there; Killed when it died first."""
        await self.is_up.wait()
        assert self.owner
        try:
            return await self.owner.ask(method, path, **options)
        except httpx.TransportError as error:
            raise Killed from error

    async def post(self, path: str, body: Any, **options: Any) -> Any:
        answer = await self.ask("POST", path, json=body, **options)
        assert answer.status_code == 200, answer.text
        return answer.json()


class Client:
    """Somebody who does one thing after another."""

    def __init__(self, name: str, site: Site, dice: random.Random) -> None:
        self.name = name
        self.books = Books()
        self._site, self._dice = site, dice
        self._open: list[str] = []
        self._deeds: list[Callable[[], Awaitable[None]]] = [
            *(self._queue, self._queue, self._queue_again, self._cancel),
            *(self._upload, self._send_form, self._create),
        ]

    async def work(self) -> None:
        """Use the server until it is over."""
        while not self._site.is_over:
            deed = self._wait if len(self._open) >= MOST_OPEN else self._dice.choice(self._deeds)
            with suppress(Killed):  # what was not answered is not in the books
                await deed()

    async def _queue(self) -> None:
        self.books.asked.append(f"{self.name}-{len(self.books.asked)}-{secrets.token_hex(4)}")
        await self.submit(self.books.asked[-1])

    async def _queue_again(self) -> None:
        if self.books.asked:
            await self.submit(self._dice.choice(self.books.asked[-5:]))

    async def submit(self, key: str) -> None:
        """Ask for the run with this key, perhaps not for the first time."""
        body = {"deployment_id": self._site.deployment_id, "inputs": {"text": key}}
        answer = await self._site.post("/run/deployment/queue", body, headers={"Idempotency-Key": key})
        run_id = answer["run_id"]
        if key not in self.books.runs:
            self._open.append(run_id)
        assert self.books.runs.setdefault(key, run_id) == run_id, "one key has two runs"

    async def _wait(self) -> None:
        run = (await self._site.ask("GET", f"/run/{self._open[0]}")).json()
        if run["status"] in TERMINAL:
            self._open.pop(0)

    async def _cancel(self) -> None:
        if self._open:
            answer = await self._site.ask("POST", f"/run/{self._open[-1]}/cancel")
            assert answer.status_code in (200, 409), answer.text
            if answer.status_code == 200 and answer.json()["message"] == "The run is cancelled":
                self.books.cancelled.add(self._open[-1])

    async def _upload(self) -> None:
        data = png() + secrets.token_bytes(self._dice.randrange(200_000))
        body = {"type": "image/png", "file_size": len(data), "file_name": "a.png"}
        ticket = await self._site.post("/file/upload", body)
        to, path = local(ticket["upload_url"]), local(ticket["download_url"])
        self.books.perhaps[path] = data
        answer = await self._site.ask("PUT", to, content=data, headers={"Content-Type": "image/png"})
        assert answer.status_code == 200, answer.text
        self.books.files[path] = self.books.perhaps.pop(path)

    async def _send_form(self) -> None:
        data = png() + secrets.token_bytes(self._dice.randrange(200_000))
        stored = await self._site.post("/file", None, files={"file": ("a.png", data, "image/png")})
        self.books.files[local(stored["url"])] = data

    async def _create(self) -> None:
        name = f"{self.name}'s {secrets.token_hex(4)}"
        made = await self._site.post("/workflow", {"name": name, "workflow": {}, "workflow_api": GRAPH})
        self.books.workflows[made["workflow_id"]] = name


async def _compare(owner: Talker, site: Site, clients: list[Client]) -> None:
    """Every book of every client against what the server has."""
    for client in clients:
        for key in client.books.asked:
            await client.submit(key)  # which finds what was not answered, or makes up for it
    runs = {run_id: key for client in clients for key, run_id in client.books.runs.items()}
    cancelled = set[str]().union(*(client.books.cancelled for client in clients))
    for run_id, key in runs.items():
        await _compare_run(owner, run_id, key, is_cancelled=run_id in cancelled)
    listed = await _all(owner, f"/deployment/{site.deployment_id}/runs", "data")
    assert sorted(run["id"] for run in listed) == sorted(runs), "a run is there that nobody asked for"
    for client in clients:
        for path, data in client.books.files.items():
            assert (await owner.ask("GET", path)).content == data
        for path, data in client.books.perhaps.items():
            answer = await owner.ask("GET", path)
            assert answer.status_code == 404 or answer.content == data, "half a file is there"
        for workflow_id, name in client.books.workflows.items():
            workflow = await owner.get(f"/workflow/{workflow_id}")
            assert workflow["name"] == name
            assert [version["workflow_api"] for version in workflow["versions"]] == [GRAPH]


async def _compare_run(owner: Talker, run_id: str, key: str, *, is_cancelled: bool) -> None:
    """One run: it has ended once, and has its outputs once."""
    log = [event for event in await owner.follow(run_id) if event.number]
    assert [event.number for event in log] == list(range(1, len(log) + 1))
    run = await owner.get(f"/run/{run_id}")
    assert [event.status for event in log if event.status in TERMINAL] == [run["status"]]
    assert run["status"] == "cancelled" or not is_cancelled, "it was answered to be cancelled"
    if run["status"] == "success":
        outputs = {output["output_id"]: output["data"] for output in run["outputs"]}
        assert sorted(output["output_id"] for output in run["outputs"]) == ["echo", "picture"]
        assert key in str(outputs["echo"])
        (picture,) = outputs["picture"]["images"]
        assert (await owner.ask("GET", local(picture["url"]))).content.startswith(b"\x89PNG")
    elif run["status"] == "failed":
        assert TOO_OFTEN in run["error"]["message"]
    else:
        assert run["status"] == "cancelled"


def _summary(clients: list[Client]) -> str:
    """How much there was to compare, for whoever reads why the test failed."""
    books = [client.books for client in clients]
    unanswered = sum(len(set(each.asked) - set(each.runs)) for each in books)
    return (
        f"{sum(len(each.runs) for each in books)} runs, {unanswered} more without an answer, "
        f"{sum(len(each.cancelled) for each in books)} cancelled, {sum(len(each.files) for each in books)} files, "
        f"{sum(len(each.perhaps) for each in books)} half sent, {sum(len(each.workflows) for each in books)} workflows"
    )


async def _all(owner: Talker, path: str, field_name: str) -> list[Any]:
    found: list[Any] = []
    while page := (await owner.get(f"{path}?limit=1000&offset={len(found)}"))[field_name]:
        found += page
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="there is no such signal")
async def test_nothing_that_was_answered_is_lost_by_kills_at_any_moment(tmp_path: Path, launch: Launch):
    seed = secrets.randbits(32)
    print(f"the seed is {seed}")
    dice = random.Random(seed)
    data = tmp_path / "data"

    async with started(data, launch=launch) as first:
        await first.begin()
        site = Site(str(first.api_key))
        async with talkers(first.url, site.key, secrets=[site.key]) as (owner,):
            site.deployment_id = await owner.deploy(GRAPH)
    clients = [Client(f"client {number}", site, random.Random(dice.random())) for number in range(CLIENTS)]
    working = [asyncio.create_task(client.work()) for client in clients]
    for _ in range(KILLS):
        await _serve_for(dice.uniform(0.02, LONGEST_SECONDS), started(data, launch=launch), site, working)
    async with started(data, launch=launch) as last:
        await last.begin()
        async with talkers(last.url, site.key, secrets=[site.key]) as (owner,):
            site.owner, site.is_over = owner, True
            site.is_up.set()
            await asyncio.gather(*working)
            print(_summary(clients))
            await _compare(owner, site, clients)
        assert await last.end(signal.SIGTERM) == 0
    assert not list((data / "objects").glob(".parts/*")), "half a file lies there"


async def _serve_for(
    seconds: float, starting: AbstractAsyncContextManager[Server], site: Site, working: list[asyncio.Task[None]]
) -> None:
    """A server at which the clients are at work, until it is killed after so many seconds."""
    async with starting as server:
        serving = asyncio.create_task(_serve(server, site))
        done, _ = await asyncio.wait(working, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        is_well = not serving.done()
        site.is_up.clear()
        await server.end(signal.SIGKILL)
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        assert is_well, "".join(server.output)
    for each in done:
        each.result()  # raises where a client has seen what may not be


async def _serve(server: Server, site: Site) -> None:
    await server.begin()
    async with talkers(server.url, site.key, secrets=[site.key]) as (owner,):
        site.owner = owner
        site.is_up.set()
        await asyncio.Event().wait()
