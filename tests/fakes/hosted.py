"""The hosted platform, answering what it was recorded to answer. It sends no `Outpost-Version`."""

from __future__ import annotations

import asyncio
import copy
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from . import recordings
from .hosted_library import HostedLibrary
from .hosted_resources import Crash, HostedDeployments, HostedMachines, HostedWorkflows
from .serving import KEY, Log, reset

STREAMED_RUNS = {
    "ok": "6212a6e7-5642-463c-aac8-a2bbee46379a",
    "progress": "18bab16a-be0b-4547-9fd4-d594bb8b87eb",
    "execution_error": "873f5197-1a89-4f5e-9ffc-8d512207fa5c",
    "without_terminal_event": "a940abba-942f-4b6e-888c-785244d8a0aa",
}


class HostedPlatform:
    """Set its attributes to choose the recording that the next run follows."""

    def __init__(self) -> None:
        self.log = Log()
        self.machines = HostedMachines()
        self.workflows = HostedWorkflows(self.machines)
        self.deployments = HostedDeployments(self.machines, self.workflows)
        self.library = HostedLibrary()
        self.deployment, self.machine = self.deployments.deployment, self.machines.machine
        self.stream = recordings.stream("ok")
        self.stays_open = False
        """Whether the stream stays open, and silent, after its last recorded byte."""
        self.breaks_after: int | None = None
        """After how many bytes the stream is reset."""
        self.run = recorded_run("poll trace: serverless", STREAMED_RUNS["ok"])
        self.states: list[dict[str, Any]] = []
        """States of the run that the next polls see before they see `run`."""
        self.runs_of_workflow: list[Any] = []
        self.sync_outputs: list[Any] = recordings.body("post_run_deployment_sync", "ok")
        """The answer of the next synchronous run."""
        self.keys: dict[str, dict[str, Any]] = {}
        self.on_submission: Callable[[], object] = lambda: None
        """Done when a run is submitted, before it begins."""
        self.stream_was_closed = asyncio.Event()
        self.stream_was_sent = asyncio.Event()
        self.loses: list[str] = []
        """The ends of paths whose next answer is lost, one each, although what was asked for is done."""
        self.is_away = False
        """Whether nothing is answered from the next lost answer on."""
        self.came = asyncio.Event()
        """Set when a request comes that has to wait until it `may_answer`."""
        self.may_answer: asyncio.Event | None = None
        """What is to be made or changed waits for it."""
        self.refuses = False
        """Whether a gateway answers, in place of the platform, to what is to be made or changed."""
        self._dropped: set[object] = set()

    @property
    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._as_recorded])
        router = app.router
        for part in (self.library, self.machines, self.workflows, self.deployments):
            app.add_routes(part.routes())
        router.add_get("/api/platform/api-keys", self._keys)
        router.add_delete("/api/platform/api-keys/{id}", self._revoke)
        router.add_get("/api/workflow/{id}/runs", self._workflow_runs)
        router.add_get("/api/deployment/{id}/runs", self._deployment_runs)
        router.add_post("/api/run/deployment/stream", self._stream)
        router.add_post("/api/run/deployment/queue", self._queue)
        router.add_post("/api/run/deployment/sync", self._sync)
        router.add_get("/api/run/{id}", self._run)
        router.add_post("/api/run/{id}/cancel", self._cancel)
        return app

    @web.middleware
    async def _as_recorded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await self.log.take(request)
        is_lost = next((each for each in self.loses if request.path.endswith(each)), None)
        if request.transport in self._dropped or (self.is_away and not is_lost):
            reset(request)
            return web.Response()
        is_store = request.path.startswith("/store/")
        if not is_store and request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "Invalid or missing token"}, status=401)
        if request.method == "POST" and self.refuses:
            return web.Response(status=504)
        try:
            if request.method == "POST" and self.may_answer:
                self.came.set()
                await self.may_answer.wait()
            answer = await handler(request)
            if is_lost:
                self.loses.remove(is_lost)
                reset(request)
            return answer
        except web.HTTPNotFound:
            return web.json_response({"detail": "Not Found"}, status=404)
        except Crash:
            # A text, after which the connection is dead although nothing says so.
            self._dropped.add(request.transport)
            return web.Response(status=500, text="Internal Server Error")

    async def _keys(self, request: web.Request) -> web.Response:
        return web.json_response(list(self.keys.values()))

    async def _revoke(self, request: web.Request) -> web.Response:
        if not self.keys.pop(request.match_info["id"], None):
            return web.json_response({"detail": "API key not found"}, status=404)
        return web.json_response({"message": "API key deleted"})

    async def _workflow_runs(self, request: web.Request) -> web.Response:
        limit, offset = int(request.query["limit"]), int(request.query.get("offset", 0))
        return web.json_response(self.runs_of_workflow[offset:][:limit])

    async def _deployment_runs(self, request: web.Request) -> web.Response:
        status = request.query.get("status")
        rows = [row for row in self.runs_of_workflow if status in (None, row["status"])]
        return web.json_response({"data": rows, "meta": {"limit": 60, "offset": 0}})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
        self.on_submission()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        try:
            await response.write(self.stream[: self.breaks_after])
            self.stream_was_sent.set()
            if self.breaks_after is not None:
                reset(request)
            elif self.stays_open:
                await asyncio.Event().wait()
        except (asyncio.CancelledError, ConnectionResetError):
            self.stream_was_closed.set()
            raise
        return response

    async def _queue(self, request: web.Request) -> web.Response:
        return web.json_response({"run_id": self.run["id"]})

    async def _sync(self, request: web.Request) -> web.Response:
        return web.json_response(self.sync_outputs)

    async def _run(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.run["id"]:
            return web.json_response({"detail": "Run not found"}, status=404)
        run = json.dumps(self.run | (self.states.pop(0) if self.states else {}))
        text = run.replace("https://bucket.example/", f"http://{request.host}/store/")
        return web.Response(text=text, content_type="application/json")

    async def _cancel(self, request: web.Request) -> web.Response:
        detail = recordings.body("post_run_run_id_cancel", "running classic run")
        return web.json_response(detail, status=500)


def recorded_run(case: str, run_id: str | None = None) -> dict[str, Any]:
    """The last state of a run that was followed by polling, with its states before in `snapshots`."""
    found = next(each for each in recordings.cases("get_run_run_id") if each["case"].startswith(case))
    run = copy.deepcopy(found["final"])
    return run | ({"id": run_id} if run_id else {})


def recorded_states(case: str) -> list[dict[str, Any]]:
    """What polling saw of a run before its end."""
    found = next(each for each in recordings.cases("get_run_run_id") if each["case"].startswith(case))
    told = ("status", "live_status", "progress", "queue_position")
    return [{name: state[name] for name in told} | {"outputs": []} for state in found["snapshots"][:-1]]
