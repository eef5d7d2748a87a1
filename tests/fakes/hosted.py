"""The hosted platform, answering what it was recorded to answer. It sends no `Outpost-Version`."""

from __future__ import annotations

import asyncio
import copy
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from aiohttp import web

from . import recordings
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
        self.deployment: dict[str, Any] = recordings.body("get_deployment_deployment_id", "ok")
        self.machine: dict[str, Any] = recordings.body("get_machine_machine_id", "ok")
        self.machine["type"] = "comfy-deploy-serverless"
        self.stream = recordings.stream("ok")
        self.stays_open = False
        """Whether the stream stays open, and silent, after its last recorded byte."""
        self.breaks_after: int | None = None
        """After how many bytes the stream is reset."""
        self.run = recorded_run("poll trace: serverless", STREAMED_RUNS["ok"])
        self.states: list[dict[str, Any]] = []
        """States of the run that the next polls see before they see `run`."""
        self.runs_of_workflow: list[Any] = []
        self.stream_was_closed = asyncio.Event()
        self.stream_was_sent = asyncio.Event()
        self._dropped: set[object] = set()

    @property
    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._as_recorded])
        router = app.router
        router.add_get("/api/deployment/{id}", self._deployment)
        router.add_get("/api/deployments", self._deployments)
        router.add_post("/api/deployment", self._create_deployment)
        router.add_get("/api/machine/{id}", self._machine)
        router.add_get("/api/machines", self._machines)
        router.add_post("/api/workflow", self._create_workflow)
        router.add_get("/api/workflow/{id}", self._workflow)
        router.add_get("/api/workflow/{id}/runs", self._workflow_runs)
        router.add_post("/api/file/upload", self._upload)
        router.add_post("/api/run/deployment/stream", self._stream)
        router.add_post("/api/run/deployment/queue", self._queue)
        router.add_post("/api/run/deployment/sync", self._sync)
        router.add_get("/api/run/{id}", self._run)
        router.add_post("/api/run/{id}/cancel", self._cancel)
        return app

    @web.middleware
    async def _as_recorded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        await self.log.take(request)
        if request.transport in self._dropped:
            reset(request)
            return web.Response()
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"detail": "Invalid or missing token"}, status=401)
        return await handler(request)

    def crash(self, request: web.Request) -> web.Response:
        """An unhandled error: a text, after which the connection is dead although nothing says so."""
        self._dropped.add(request.transport)
        return web.Response(status=500, text="Internal Server Error")

    async def _deployment(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.deployment["id"]:
            return web.json_response({"detail": "Internal server error"}, status=500)
        return web.json_response(self.deployment)

    async def _deployments(self, request: web.Request) -> web.Response:
        other = recordings.body("get_deployment_deployment_id", "input_types of many")
        is_fluid = request.query.get("is_fluid") == "true"
        return web.json_response([other] if is_fluid else [self.deployment])

    async def _create_deployment(self, request: web.Request) -> web.Response:
        wanted = {"workflow_version_id", "workflow_id", "environment"}
        if not wanted <= set(await request.json()):
            return web.json_response(recordings.body("post_deployment", "the documented"), status=422)
        return web.json_response(recordings.body("post_deployment", "ok"))

    async def _machine(self, request: web.Request) -> web.Response:
        return web.json_response(self.machine)

    async def _machines(self, request: web.Request) -> web.Response:
        if request.query.get("limit") == "-1":
            return self.crash(request)
        return web.json_response(recordings.body("get_machines", "default"))

    async def _create_workflow(self, request: web.Request) -> web.Response:
        body = await request.json()
        if not isinstance(body["workflow_json"], str) or not isinstance(body["workflow_api"], str):
            return web.json_response({"detail": []}, status=422)
        return web.json_response({"workflow_id": self.deployment["workflow_id"], "machine_id": None})

    async def _workflow(self, request: web.Request) -> web.Response:
        return web.json_response(recordings.body("get_workflow_workflow_id", "ok"))

    async def _workflow_runs(self, request: web.Request) -> web.Response:
        return web.json_response(self.runs_of_workflow)

    async def _upload(self, request: web.Request) -> web.Response:
        if not request.content_type.startswith("multipart/"):
            return web.json_response(recordings.body("post_file_upload", "the documented"), status=422)
        head = f"Content-Type: {request.headers['Content-Type']}\r\n\r\n".encode()
        form = BytesParser(policy=HTTP).parsebytes(head + await request.read())
        [part] = form.iter_parts()
        assert part.get_param("name", header="Content-Disposition") == "file"
        name = part.get_filename() or ""
        if name.endswith(".txt"):
            return web.json_response({"detail": "Unsupported file type"}, status=400)
        self.uploaded = part.get_payload(decode=True)
        return web.json_response({**recordings.body("post_file_upload", "multipart"), "file_name": name})

    async def _stream(self, request: web.Request) -> web.StreamResponse:
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
        return web.json_response(recordings.body("post_run_deployment_sync", "ok"))

    async def _run(self, request: web.Request) -> web.Response:
        if request.match_info["id"] != self.run["id"]:
            return web.json_response({"detail": "Run not found"}, status=404)
        return web.json_response(self.run | (self.states.pop(0) if self.states else {}))

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
