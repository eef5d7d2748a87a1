"""Runs, as the page is told of them and starts them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Literal

from aiohttp import web
from pydantic import Field

from ...client import Client
from ...errors import InvalidInput, NotFound
from ...models import InputValue, Record
from ...models.records import Id
from ..call import MAX_GRAPHS, Call
from ..covers import shown
from ..routes import picture
from ..workflows.answers import Key
from .contents import inputs_shown, outputs_shown
from .rows import GROUPS, listed, with_reasons
from .starts import with_files

_PAGE = 60

_FileId = Annotated[str, Field(max_length=200)]
_Files = dict[str, _FileId | Annotated[list[_FileId], Field(max_length=1000)]]


class ListQuery(Record):
    """Which runs to list, newest first."""

    status: Literal["", "active", "failed", "done", "cancelled"] = ""
    deployment_id: Id | None = None
    workflow_id: Id | None = None
    offset: int = Field(default=0, ge=0, le=100_000)


class NewRun(Record):
    """What the form of a deployment sends: values, and what was chosen for inputs that take files."""

    deployment_id: Id
    inputs: dict[str, InputValue] = Field(default_factory=dict[str, InputValue])
    files: _Files = Field(default_factory=dict[str, "str | list[str]"])
    assets: _Files = Field(default_factory=dict[str, "str | list[str]"])
    key: Key


class Repetition(Record):
    """The same once more."""

    key: Key


async def list_runs(call: Call) -> dict[str, Any]:
    """A page of the runs. Raises OutpostError."""
    query = call.query(ListQuery)
    async with call.client() as client:
        found = await listed(
            client,
            statuses=GROUPS[query.status],
            deployment_id=query.deployment_id,
            workflow_id=query.workflow_id,
            limit=_PAGE,
            offset=query.offset,
        )
        rows = await call.desk.watcher.listed(client, await with_reasons(client, found))
    return {"runs": rows, "more": len(found) >= _PAGE}


async def get_run(call: Call) -> dict[str, Any]:
    """One run with what went into it, what came out, and why it failed. Raises OutpostError."""
    async with call.client() as client:
        run = await client.runs.explained(await client.runs.get(call.id("run_id")))
        [row] = await call.desk.watcher.rows(client, [run])
    error = run.error
    return {
        **row,
        "error": error.message.strip() if error else None,
        "error_node": {"id": error.node_id, "class": error.node_class} if error and error.node_id else None,
        "error_type": error.exception_type if error else None,
        "inputs": inputs_shown(run),
        "outputs": outputs_shown(run),
        "gpu": run.gpu,
    }


async def start_run(call: Call) -> dict[str, Any]:
    """Start a run; a repetition with the same key starts none. Raises OutpostError, InvalidInput for a value."""
    body = await call.body(NewRun, max_bytes=MAX_GRAPHS)

    async def start(client: Client) -> tuple[str, str]:
        values = await with_files(client, body.inputs, files=body.files, assets=body.assets, sent=call.desk.sent_files)
        queued = client.runs.queue(body.deployment_id, values, preview_images=True, idempotency_key=body.key)
        return await queued, body.deployment_id

    return await _started(call, body.key, start)


async def repeat_run(call: Call) -> dict[str, Any]:
    """Start the same deployment with the same inputs. Raises OutpostError."""
    body, run_id = await call.body(Repetition), call.id("run_id")

    async def start(client: Client) -> tuple[str, str]:
        run = await client.runs.get(run_id, queue_position=False)
        if not run.deployment_id:
            raise NotFound(f"The run {run.id} belongs to no deployment any more, so it cannot be repeated.")
        inputs = run.workflow_inputs or {}
        queued = client.runs.queue(run.deployment_id, inputs, preview_images=True, idempotency_key=body.key)
        return await queued, run.deployment_id

    return await _started(call, body.key, start)


async def _started(call: Call, key: str, start: Callable[[Client], Awaitable[tuple[str, str]]]) -> dict[str, Any]:
    """Do it once for this key, on the platform that is chosen now; the row of the run that it started."""
    async with call.client() as chosen:
        connection_id = chosen.connection.id

        async def once() -> tuple[str, str]:
            # It may outlive this request, so it holds the client itself.
            async with call.client() as client:
                if client.connection.id != connection_id:
                    raise InvalidInput("Another connection was chosen meanwhile, so nothing was started.")
                return await start(client)

        run_id, deployment_id = await call.desk.starts.once(chosen, key, once())
        return await call.desk.watcher.started(chosen, run_id, deployment_id=deployment_id)


async def cancel_run(call: Call) -> dict[str, Any]:
    """Cancel one run. Raises OutpostError; Conflict for one that has ended, or that the platform cannot cancel."""
    run_id = call.id("run_id")
    async with call.client() as client:
        await client.runs.cancel(run_id)
        run = await client.runs.get(run_id)
        if run.status.is_terminal:
            await call.desk.watcher.tell(client, [run])
        [row] = await call.desk.watcher.rows(client, [run])
    return row


async def get_graph(call: Call) -> dict[str, Any]:
    """The graph that a run executes, and the values that it was given. Raises OutpostError, NotFound."""
    async with call.client() as client:
        run = await client.runs.get(call.id("run_id"), queue_position=False)
        version_id = run.workflow_version_id
        if not version_id and run.deployment_id:
            version_id = (await client.deployments.get(run.deployment_id)).workflow_version_id
        if not version_id:
            raise NotFound(f"The platform does not tell which graph the run {run.id} executes.")
        version = await client.workflows.version_by_id(version_id)
        await call.desk.watcher.names.learn(client, [run])
    return {
        "workflow": version.workflow,
        "workflow_api": version.workflow_api,
        "workflow_id": version.workflow_id,
        "version": version.version,
        "name": call.desk.watcher.names.deployment(run.deployment_id)[0],
        "inputs": inputs_shown(run),
    }


async def show_preview(call: Call) -> web.Response:
    """What a sampler has shown last. Raises NotFound."""
    preview = call.desk.watcher.previews.of(call.id("run_id"))
    if preview is None:
        raise NotFound("There is no preview of this run.")
    return picture(preview.data, preview.content_type)


async def show_cover(call: Call) -> web.Response:
    """A small picture of what a run has made; one of a single pixel where there is none. Raises OutpostError."""
    async with call.client() as client:
        return shown(await call.desk.covers.of_run(client, call.id("run_id")))
