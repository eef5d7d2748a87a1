"""Speaking HTTP to a platform as somebody, with an eye on what must never be in an answer."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator, AsyncIterator, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

SIGNED = re.compile(r"[?&]s=[\w-]{20,}")
"""The signature of a URL: whoever has it can read the file."""
_OF_A_TRACEBACK = re.compile(r'Traceback \(most recent call|File "|site-packages|\.py:\d|object at 0x')
WAIT_SECONDS = 20
TERMINAL = {"success", "failed", "timeout", "cancelled"}


@dataclass(frozen=True)
class Event:
    """One server-sent event."""

    number: int | None
    data: dict[str, Any]

    @property
    def name(self) -> str | None:
        return self.data.get("event")

    @property
    def status(self) -> str | None:
        """The run's new status, when that is what the event tells."""
        return self.data["data"]["status"] if self.name == "status" else None


class Talker:
    """Somebody's conversation with a platform. Every answer is searched for `secrets`: keys and local paths."""

    def __init__(self, http: httpx.AsyncClient, secrets: Collection[str]) -> None:
        self.http = http
        self.secrets = secrets

    async def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Any request; the answer has been looked at."""
        response = await self.http.request(method, path, **options)
        check_answer(response, self.secrets)
        return response

    async def ask_first(self, method: str, path: str) -> httpx.Response:
        """As `ask`, of an answer that may be a stream without an end: then it is its first event."""
        async with self.http.stream(method, path) as response:
            if response.headers["content-type"].startswith("text/event-stream"):
                first = await anext(response.aiter_text())
                response = httpx.Response(response.status_code, headers=response.headers, text=first)
            await response.aread()
        check_answer(response, self.secrets)
        check_text(response.text, self.secrets)
        return response

    async def get(self, path: str, **options: Any) -> Any:
        """The JSON behind a path, which has to be there."""
        response = await self.ask("GET", path, **options)
        assert response.status_code == 200, response.text
        return response.json()

    async def post(self, path: str, body: Any, **options: Any) -> Any:
        """The JSON that answers a body, which has to be accepted."""
        response = await self.ask("POST", path, json=body, **options)
        assert response.status_code == 200, response.text
        return response.json()

    async def patch(self, path: str, body: Any) -> Any:
        """The JSON that answers a change, which has to be accepted."""
        response = await self.ask("PATCH", path, json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def delete(self, path: str) -> None:
        """Delete something, which has to be there."""
        response = await self.ask("DELETE", path)
        assert response.status_code == 200, response.text

    async def send(self, path: str, data: bytes, *, name: str = "picture.png", kind: str = "image/png") -> Any:
        """The JSON that answers a file in a form, which has to be accepted."""
        return await self.post(path, None, files={"file": (name, data, kind)})

    async def refused(self, status: int, method: str, path: str, body: Any = None) -> str:
        """What is said about a request that has to be refused with this status; of wrong fields with their paths."""
        response = await self.ask(method, path, json=body)
        assert response.status_code == status, response.text
        detail = response.json()["detail"]
        if isinstance(detail, str):
            return detail
        return "; ".join(f"{'.'.join(each['loc'])}: {each['msg']}" for each in detail)

    async def deploy(self, graph: Any, **options: Any) -> str:
        """A new deployment of a graph on this person's machine; its id."""
        made = await self.post("/workflow", {"name": "a test's graph", "workflow_json": {}, "workflow_api": graph})
        machine = (await self.get("/machines"))[0]
        wanted = {"workflow_id": made["workflow_id"], "workflow_version_id": made["workflow_version_id"]}
        return (await self.post("/deployment", {**wanted, "machine_id": machine["id"], **options}))["id"]

    async def queue(self, deployment_id: str, inputs: Any = None, **options: Any) -> str:
        """Queue a run; its id."""
        body = {"deployment_id": deployment_id, "inputs": inputs or {}}
        return (await self.post("/run/deployment/queue", body, **options))["run_id"]

    async def run(self, graph: Any, inputs: Any = None, **options: Any) -> Any:
        """Deploy a graph and run it to its end; the run."""
        return await self.end_of(await self.queue(await self.deploy(graph, **options), inputs))

    async def end_of(self, run_id: str) -> Any:
        """A run after it has ended, by following its stream."""
        await self.follow(run_id)
        return await self.get(f"/run/{run_id}")

    async def until(self, run_id: str, *statuses: str) -> Any:
        """A run once it has one of these statuses."""
        async with self.stream("GET", f"/run/{run_id}/stream") as events:
            async for event in events:
                if event.status in statuses:
                    return await self.get(f"/run/{run_id}")
        raise AssertionError(f"the run ended without being {statuses}")

    async def follow(self, run_id: str, *, after: int | None = None) -> list[Event]:
        """Every event of a run's stream, to the end of the stream."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        async with self.stream("GET", f"/run/{run_id}/stream", headers=headers) as events:
            return [event async for event in events]

    @asynccontextmanager
    async def stream(self, method: str, path: str, **options: Any) -> AsyncGenerator[AsyncIterator[Event], None]:
        """The events of a stream as they come."""
        async with self.http.stream(method, path, **options) as response:
            assert response.status_code == 200, await response.aread()
            assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
            yield self._events(response)

    async def _events(self, response: httpx.Response) -> AsyncIterator[Event]:
        number, data = None, None
        async for line in response.aiter_lines():
            check_text(line, self.secrets)
            field, _, value = line.partition(": ")
            if field == "id":
                number = int(value)
            elif field == "data":
                data = json.loads(value)
            elif not line and data is not None:
                yield Event(number, data)
                number, data = None, None

    async def upload(self, data: bytes, *, name: str = "picture.png", kind: str = "image/png") -> str:
        """Announce a file and send its bytes; the URL to read it from."""
        ticket = await self.announce(data, name=name, kind=kind)
        answer = await self.ask("PUT", ticket["upload_url"], content=data, headers={"Content-Type": kind})
        assert answer.status_code == 200, answer.text
        return ticket["download_url"]

    async def announce(self, data: bytes, *, name: str = "picture.png", kind: str = "image/png") -> Any:
        """Announce a file; the ticket."""
        return await self.post("/file/upload", {"type": kind, "file_size": len(data), "file_name": name})


@asynccontextmanager
async def talkers(url: str, *keys: str | None, secrets: Collection[str]) -> AsyncGenerator[list[Talker], None]:
    """A talker for each key; None is a guest without one."""
    async with AsyncExitStack() as stack:
        found: list[Talker] = []
        for key in keys:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            # Everything here is http, and reading the certificates takes longer than most tests.
            http = httpx.AsyncClient(base_url=url, headers=headers, timeout=WAIT_SECONDS, trust_env=False, verify=False)
            found.append(Talker(await stack.enter_async_context(http), secrets))
        yield found


def check_answer(response: httpx.Response, secrets: Collection[str]) -> None:
    """An answer tells nothing that it must not, and an error has the shape that every error has."""
    assert response.headers["Outpost-Version"]
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    kind = response.headers.get("content-type", "")
    if response.status_code >= 400 and response.status_code != 416:
        assert kind.startswith("application/json"), (response.status_code, response.text)
        body = response.json()
        assert set(body) - {"run_id"} == {"detail", "code"}, body
        assert body["detail"], body
        assert body["code"], body
        assert len(response.text) < 2000, f"an error of {len(response.text)} characters"
        assert not SIGNED.search(response.text), response.text
    if kind.startswith("application/json"):
        check_text(response.text, secrets)
        json.loads(response.text, parse_constant=_not_json)
        assert SIGNED.search(response.headers.get("location", "")) is None


def check_text(text: str, secrets: Collection[str]) -> None:
    """A text tells no secret and nothing of the server's inside."""
    for secret in secrets:
        assert secret not in text, text
    assert not _OF_A_TRACEBACK.search(text), text


def local(url: str) -> str:
    """The path and query of a URL."""
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def _not_json(constant: str) -> Any:
    raise AssertionError(f"{constant} is not JSON, and browsers refuse it")
