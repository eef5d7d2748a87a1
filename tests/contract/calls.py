"""Which call of the client asks for what was recorded: one row for each method and path."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from comfyui_outpost.api.client import Client
from comfyui_outpost.api.models import (
    Asset,
    CancelResult,
    Deployment,
    Machine,
    Run,
    RunOutput,
    Workflow,
    WorkflowCreated,
    WorkflowVersion,
)
from comfyui_outpost.tests.contract.replay import Exchange

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
BYTES = b"\x89PNG" + bytes(1000)
LIMIT = 1 << 20


class Ask(NamedTuple):
    """What a row's call gets."""

    client: Client
    exchange: Exchange
    base_url: str
    """Of the server that replays."""

    @property
    def last(self) -> str:
        """The last part of the path."""
        return self.exchange.path.rpartition("/")[2]

    @property
    def before_last(self) -> str:
        return self.exchange.path.split("/")[-2]

    def text(self, name: str, default: str = "x") -> str:
        """A field of the recorded body that is a text, or else the default."""
        value = self.exchange.body.get(name)
        return value if isinstance(value, str) else default

    def count(self, name: str) -> Any:
        """A number in the recorded query, where it is one."""
        value = self.exchange.query.get(name, "")
        return {name: int(value)} if value.lstrip("-").isdecimal() else {}


class Row(NamedTuple):
    method: str
    path: str
    """A pattern for the recorded path."""
    call: Callable[[Ask], Awaitable[Any]]
    gives: Any
    """The type of the result: a record, or a list of records as `[Record]`."""
    asks: str | None = None
    """A pattern for what the client asks for, where that is another path."""


def _workflows(ask: Ask) -> Awaitable[Any]:
    counts = {**ask.count("limit"), **ask.count("offset")}
    return ask.client.workflows.list(ask.exchange.query.get("search"), **counts)


def _version(ask: Ask) -> Awaitable[Any]:
    graphs = {
        name: value if isinstance(value := ask.exchange.body.get(name), dict) else {}
        for name in ("workflow", "workflow_api")
    }
    machine_id = ask.exchange.body.get("machine_id")
    return ask.client.workflows.add_version(ask.before_last, **graphs, machine_id=machine_id)


def _update_workflow(ask: Ask) -> Awaitable[Any]:
    known = ("name", "description", "pinned", "cover_image", "selected_machine_id")
    body = ask.exchange.body
    # What is null there is no change on the hosted platform, and the client does not send it.
    changes = {name: body[name] for name in known if body.get(name) is not None}
    return ask.client.workflows.update(ask.last, **changes)


def _deploy(ask: Ask) -> Awaitable[Any]:
    ids = {name: ask.text(name, ID) for name in ("workflow_id", "workflow_version_id", "machine_id")}
    return ask.client.deployments.create(**ids, environment=ask.text("environment", "production"))


def _submission(ask: Ask) -> dict[str, Any]:
    inputs, webhook = ask.exchange.body.get("inputs"), ask.exchange.body.get("webhook")
    return {
        "deployment_id": ask.text("deployment_id", ID),
        "inputs": inputs if isinstance(inputs, dict) else {},
        "webhook": webhook if isinstance(webhook, str) else None,
    }


def _upload(ask: Ask) -> Awaitable[Any]:
    form = ask.exchange.body.get("multipart") or {"file": {"filename": "in.png", "part_content_type": "image/png"}}
    part = next(iter(form.values()))
    return ask.client.files.upload(BYTES, content_type=part["part_content_type"], name=part["filename"])


def _upload_asset(ask: Ask) -> Awaitable[Any]:
    form = ask.exchange.body.get("multipart") or {"file": {"filename": "in.png", "part_content_type": "image/png"}}
    part, folder = form["file"], ask.exchange.query.get("parent_path", "")
    return ask.client.assets.upload(
        BYTES, content_type=part["part_content_type"], name=part["filename"], parent_path=folder
    )


def _upload_large(ask: Ask) -> Awaitable[Any]:
    query = ask.exchange.query
    return ask.client.assets.upload_large(
        BYTES,
        content_type=query.get("type", "image/png"),
        name=query.get("file_name", "big.png"),
        parent_path=query.get("parent_path", ""),
    )


def _custom(ask: Ask) -> Awaitable[Any]:
    return ask.client.machines.create_custom(
        ask.text("name"), ask.text("endpoint", "http://machine.example"), auth_token=ask.exchange.body.get("auth_token")
    )


def _serverless(ask: Ask) -> Awaitable[Any]:
    version = ask.exchange.body.get("comfyui_version")
    return ask.client.machines.create_serverless(ask.text("name"), gpu=ask.text("gpu", "T4"), comfyui_version=version)


def _delete_machine(ask: Ask) -> Awaitable[Any]:
    return ask.client.machines.delete(ask.last, force=ask.exchange.query.get("force") == "true")


def _machines(ask: Ask) -> Awaitable[Any]:
    return ask.client.machines.list(ask.exchange.query.get("search"))


NOTHING = type(None)
ROWS = [
    Row("GET", "/run", lambda ask: ask.client.runs.get(ask.exchange.query["run_id"]), Run, asks="/run/.+"),
    Row("GET", "/run/[^/]+", lambda ask: ask.client.runs.get(ask.last), Run),
    Row("POST", "/run/deployment/queue", lambda ask: ask.client.runs.queue(**_submission(ask)), str),
    Row("POST", "/run/deployment/sync", lambda ask: ask.client.runs.sync(**_submission(ask)), [RunOutput]),
    Row("POST", "/run/[^/]+/cancel", lambda ask: ask.client.runs.cancel(ask.before_last), CancelResult),
    Row("GET", "/workflow/[^/]+/runs", lambda ask: ask.client.runs.list(workflow_id=ask.before_last), [Run]),
    Row("GET", "/workflows", _workflows, [Workflow]),
    Row(
        "POST",
        "/workflow",
        lambda ask: ask.client.workflows.create(
            ask.text("name"), {}, workflow_api={}, machine_id=ask.exchange.body.get("machine_id")
        ),
        WorkflowCreated,
    ),
    Row("GET", "/workflow/[^/]+", lambda ask: ask.client.workflows.get(ask.last), Workflow),
    Row("PATCH", "/workflow/[^/]+", _update_workflow, Workflow),
    Row("DELETE", "/workflow/[^/]+", lambda ask: ask.client.workflows.delete(ask.last), NOTHING),
    Row("POST", "/workflow/[^/]+/clone", lambda ask: ask.client.workflows.clone(ask.before_last), Workflow),
    Row("POST", "/workflow/[^/]+/version", _version, WorkflowVersion),
    Row(
        "GET",
        "/workflow/[^/]+/versions",
        lambda ask: ask.client.workflows.versions(ask.before_last, include_graphs=True),
        [WorkflowVersion],
    ),
    Row(
        "GET",
        "/workflow-version/[^/]+",
        lambda ask: ask.client.workflows.version_by_id(ask.last),
        WorkflowVersion,
    ),
    Row(
        "GET",
        "/workflow/[^/]+/deployments",
        lambda ask: ask.client.deployments.list(),
        [Deployment],
        asks="/deployments",
    ),
    Row("GET", "/deployment/[^/]+", lambda ask: ask.client.deployments.get(ask.last), Deployment),
    Row("POST", "/deployment", _deploy, Deployment),
    Row("DELETE", "/deployment/[^/]+", lambda ask: ask.client.deployments.delete(ask.last), NOTHING),
    Row(
        "POST",
        "/deployment/[^/]+/deactivate",
        lambda ask: ask.client.deployments.deactivate(ask.before_last),
        Deployment,
    ),
    Row("GET", "/machines", _machines, [Machine]),
    Row("GET", "/machine/[^/]+", lambda ask: ask.client.machines.get(ask.last), Machine),
    Row("DELETE", "/machine/[^/]+", _delete_machine, NOTHING),
    Row("POST", "/machine/create", lambda ask: ask.client.machines.create(ask.text("name"), "comfyui"), Machine),
    Row("POST", "/machine/custom", _custom, Machine),
    Row("POST", "/machine/serverless", _serverless, Machine),
    Row("POST", "/file/upload", _upload, object),
    Row("GET", "/assets", lambda ask: ask.client.assets.list(ask.exchange.query.get("path", "")), [Asset]),
    Row("GET", "/assets/presigned-url", _upload_large, Asset),
    Row("GET", "/assets/[^/]+", lambda ask: ask.client.assets.get(ask.last), Asset),
    Row("DELETE", "/assets/[^/]+", lambda ask: ask.client.assets.delete(ask.last), NOTHING),
    Row("POST", "/assets/upload", _upload_asset, Asset),
    Row("POST", "/assets/register", _upload_large, Asset),
]
STORE_ROWS = [
    Row(
        "GET",
        ".+",
        lambda ask: ask.client.files.download(ask.base_url + ask.exchange.path, max_bytes=LIMIT),
        bytes,
    ),
    Row("PUT", ".+", _upload_large, Asset),
]


def row_for(exchange: Exchange) -> Row:
    """How the client asks for this; LookupError when nobody has said so."""
    for row in STORE_ROWS if exchange.is_with_store else ROWS:
        if row.method == exchange.method and re.fullmatch(row.path, exchange.path):
            return row
    raise LookupError(f"No row says how the client asks for {exchange.method} {exchange.path}")
