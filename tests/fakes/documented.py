"""A small API with an OpenAPI document, and the page that shows it, behind a proxy that adds a path."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.fakes.serving import Log, served

PAGE = Path(__file__).resolve().parents[2] / "api" / "server" / "doc"
PREFIX = "/behind/a/proxy/api"
TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SEED = 18446744073709551615
"""More digits than a number of JavaScript holds."""
RUN_ID = "11111111-2222-3333-4444-555555555555"


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _json(schema: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"content": {"application/json": {"schema": schema, **more}}}


def _answers(schema: dict[str, Any], *errors: str) -> dict[str, Any]:
    problems = {each: {"description": f"Error {each}", **_json(_ref("Problem"))} for each in errors}
    return {"200": {"description": "What was asked for", **_json(schema)}, **problems}


def _operation(tag: str, summary: str, **more: Any) -> dict[str, Any]:
    return {"tags": [tag], "summary": summary, **more}


SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object",
        "properties": {
            "detail": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}]},
            "code": {"type": "string", "description": "Stable, for programs"},
        },
        "required": ["detail", "code"],
    },
    "RunStatus": {"type": "string", "enum": ["queued", "running", "success", "failed"]},
    "RunRequest": {
        "type": "object",
        "properties": {
            "deployment_id": {"type": "string", "format": "uuid"},
            "inputs": {"type": "object", "additionalProperties": True, "default": {}, "description": "By `input_id`"},
            "webhook": {"anyOf": [{"type": "string", "format": "uri"}, {"type": "null"}], "default": None},
        },
        "required": ["deployment_id"],
    },
    "Run": {
        "type": "object",
        "description": "One execution of a deployment.",
        "properties": {
            "id": {"type": "string", "format": "uuid"},
            "status": {**_ref("RunStatus"), "description": "Where it is"},
            "progress": {"type": "number", "minimum": 0, "maximum": 1, "default": 0},
            "outputs": {"type": "array", "items": _ref("Output")},
            "parent": {"anyOf": [_ref("Run"), {"type": "null"}]},
        },
        "required": ["id", "status"],
    },
    "Output": {
        "type": "object",
        "properties": {"output_id": {"type": "string"}, "url": {"type": "string", "format": "uri"}},
    },
}


def document() -> dict[str, Any]:
    """An OpenAPI document with what the real one has: references, limits, forms, streams, no key for some."""
    limit = {"type": "integer", "minimum": 0, "maximum": 1000, "default": 100}
    run_id = {"name": "run_id", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
    form = {"type": "object", "properties": {"file": {"type": "string", "format": "binary"}}, "required": ["file"]}
    form["properties"]["folder"] = {"type": "string", "description": "Where it goes"}
    return {
        "openapi": "3.1.0",
        "info": {"title": "Example API", "version": "1.2.3", "description": "Runs `deployments` on machines."},
        "security": [{"key": []}],
        "tags": [{"name": "runs", "description": "Start, follow and cancel."}, {"name": "files"}, {"name": "server"}],
        "paths": {
            "/run/deployment/queue": {
                "post": _operation(
                    "runs",
                    "Queue a run",
                    description="Accepts a run and answers at once.\n\n- It is kept.\n- It is executed once.",
                    parameters=[
                        {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "minLength": 8}}
                    ],
                    requestBody={"required": True, **_json(_ref("RunRequest"))},
                    responses=_answers(_ref("Run"), "401", "404", "422"),
                )
            },
            "/run/{run_id}": {
                "parameters": [run_id],
                "get": _operation(
                    "runs",
                    "Read a run",
                    parameters=[{"name": "queue_position", "in": "query", "schema": {"type": "boolean"}}],
                    responses=_answers(_ref("Run"), "404"),
                ),
            },
            "/runs": {
                "get": _operation(
                    "runs",
                    "List runs",
                    parameters=[
                        {"name": "limit", "in": "query", "schema": limit, "description": "How many at most"},
                        {"name": "status", "in": "query", "schema": _ref("RunStatus")},
                    ],
                    responses=_answers({"type": "array", "items": _ref("Run")}),
                )
            },
            "/run/{run_id}/stream": {
                "parameters": [run_id],
                "get": _operation(
                    "runs",
                    "Follow a run",
                    responses={"200": {"description": "Events", "content": {"text/event-stream": {}}}},
                ),
            },
            "/file/upload": {
                "post": _operation(
                    "files",
                    "Upload a file",
                    requestBody={"required": True, "content": {"multipart/form-data": {"schema": form}}},
                    responses=_answers({"type": "object"}),
                )
            },
            "/file/{name}": {
                "get": _operation(
                    "files",
                    "Read a picture",
                    parameters=[{"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}],
                    responses={"200": {"description": "The picture", "content": {"image/png": {}}}},
                )
            },
            "/health": {"get": _operation("server", "Is it well?", security=[], responses=_answers({}))},
        },
        "components": {"schemas": SCHEMAS, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
    }


@dataclass
class DocumentedApi:
    """The API at work."""

    url: str = ""
    """Where its page is."""
    log: Log = field(default_factory=Log)
    key: str = "key-that-nobody-may-see"
    streams_closed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody has left a stream."""

    def is_allowed(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.key}"


@asynccontextmanager
async def documented_api(described: dict[str, Any]) -> AsyncIterator[DocumentedApi]:
    """The API with a page for this document, on a real socket."""
    api = DocumentedApi()
    app = web.Application()

    async def page(request: web.Request) -> web.Response:
        path = PAGE / request.match_info.get("file", "index.html")
        return web.Response(
            body=path.read_bytes(),
            content_type=TYPES[path.suffix],
            charset="utf-8",
            headers={"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"},
        )

    async def openapi(request: web.Request) -> web.Response:
        return web.json_response(described)

    app.router.add_get(f"{PREFIX}/doc", page)
    app.router.add_get(PREFIX + "/doc/{file}", page)
    app.router.add_get(f"{PREFIX}/openapi.json", openapi)
    app.router.add_route("*", PREFIX + "/{rest:.*}", partial(_answer, api))
    async with served(app, cancels_handlers=True) as origin:
        api.url = f"{origin}{PREFIX}/doc"
        yield api


async def _answer(api: DocumentedApi, request: web.Request) -> web.StreamResponse:
    await api.log.take(request)
    rest = request.match_info["rest"]
    if rest == "health":
        return web.json_response({"ok": True})
    if not api.is_allowed(request) and "signature" not in request.query:
        return web.json_response({"detail": "Invalid or missing token", "code": "unauthorized"}, status=401)
    if rest.endswith("/stream"):
        return await _stream(api, request)
    if rest == "file/picture.png":
        return web.Response(body=contact_sheet.made_up_picture(), content_type="image/png")
    run = {"id": RUN_ID, "status": "success", "seed": SEED, "log": "<b>x</b>" * 100}
    picture = f"{request.scheme}://{request.host}{PREFIX}/file/picture.png?signature=0"
    return web.Response(text=json.dumps({**run, "outputs": [{"url": picture}]}), content_type="application/json")


async def _stream(api: DocumentedApi, request: web.Request) -> web.StreamResponse:
    """Two events, and then nothing for as long as somebody listens."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    try:
        for number, status in enumerate(("queued", "running"), start=1):
            event = json.dumps({"event": "status", "data": {"status": status}})
            await response.write(f"id: {number}\nevent: event_update\ndata: {event}\n\n".encode())
        await asyncio.Event().wait()
    finally:
        api.streams_closed.set()
    return response
