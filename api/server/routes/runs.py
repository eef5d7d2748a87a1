"""Runs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from aiohttp import web

from ...errors import BadRequest, Conflict, Unprocessable
from ...events import OutputReady, RunEvent
from ...models import (
    CancelResult,
    Id,
    Run,
    RunOutput,
    RunQuery,
    RunQueued,
    RunRequest,
    RunsAnswer,
    RunShown,
    RunsMeta,
    RunsOfOne,
    RunStatus,
)
from ..call import Call
from ..dispatcher import WAITING
from ..endpoint import EVENT_STREAM, RUN_BYTES, Access, Endpoint
from ..streaming import last_event_id, stream
from ..submission import submit

CANCEL_SECONDS = 10
"""How long an answer to a cancellation waits for the machine to have stopped."""


async def queue_run(call: Call, body: RunRequest) -> RunQueued:
    """Ask for a run. It will be executed, also if the server is restarted."""
    return RunQueued(run_id=await submit(call, body))


async def sync_run(call: Call, body: RunRequest) -> list[RunOutput]:
    """Ask for a run and wait for its outputs. A run without success is an error that names the run."""
    run_id = await submit(call, body)
    async with call.platform.feed.follow(run_id) as tail:
        await tail.end()
    run = await call.platform.store.runs.get(call.owner, run_id)
    if run.status is not RunStatus.SUCCESS:
        reason = f": {run.error}" if run.error else ""
        raise Unprocessable(f"Run {run.id} ended with the status {run.status.value}{reason}", run_id=run.id)
    return await call.platform.rendering.outputs(run_id, base_url=call.base_url)


async def stream_run(call: Call, body: RunRequest) -> web.StreamResponse:
    """Ask for a run and follow it. The run goes on when the stream is closed."""
    return await _stream(call, await submit(call, body), after=0)


async def follow_run(call: Call, run_id: Id) -> web.StreamResponse:
    """Follow a run that is already there, from the header Last-Event-ID on."""
    runs, after = call.platform.store.runs, last_event_id(call.request) or 0
    run, newest = await runs.get(call.owner, run_id), await runs.last_event(run_id)
    if after > newest:
        raise BadRequest(f"Last-Event-ID is {after} and the last event of this stream has the id {newest}")
    # Whoever has read it to its end and asks again is told the end again, instead of waiting for more.
    return await _stream(call, run_id, after=min(after, newest - 1) if run.status.is_terminal else after)


async def get_run(call: Call, run_id: Id, query: RunShown) -> Run:
    """Read a run, with its outputs, its progress, or why it failed."""
    platform = call.platform
    run = await platform.store.runs.get(call.owner, run_id, with_queue_position=query.queue_position)
    outputs = await platform.rendering.outputs(run_id, base_url=call.base_url)
    now: dict[str, Any] = {}
    if run.status is RunStatus.QUEUED and (trouble := await platform.dispatcher.why_waiting(run_id)):
        now["live_status"] = WAITING.format(trouble=trouble)
    return _as_it_is_now(call, run).model_copy(update={"outputs": outputs, **now})


async def list_runs(call: Call, query: RunQuery) -> list[Run]:
    """List runs without their inputs and outputs, newest first."""
    return await _list(call, query)


async def list_runs_of_workflow(call: Call, workflow_id: Id, query: RunsOfOne) -> list[Run]:
    """List the runs of a workflow without their inputs and outputs, newest first."""
    await call.platform.store.workflows.get(call.owner, workflow_id)
    return await _list(call, RunQuery(workflow_id=workflow_id, **query.model_dump()))


async def list_runs_of_deployment(call: Call, deployment_id: Id, query: RunsOfOne) -> RunsAnswer:
    """List the runs of a deployment without their inputs and outputs, newest first."""
    await call.platform.store.deployments.check(call.owner, deployment_id)
    wanted = RunQuery(deployment_id=deployment_id, **query.model_dump())
    meta = RunsMeta(limit=query.limit, offset=query.offset)
    return RunsAnswer(data=await _list(call, wanted), meta=meta)


async def cancel_run(call: Call, run_id: Id) -> CancelResult:
    """Cancel a run, whether it waits or is at work. Doing so again changes nothing."""
    platform = call.platform
    await platform.store.runs.get(call.owner, run_id)
    await platform.store.runs.request_cancel(run_id)
    platform.feed.wake(run_id)
    platform.webhooks.wake()
    await platform.dispatcher.cancel(run_id, seconds=CANCEL_SECONDS)
    run = await platform.store.runs.get(call.owner, run_id)
    if run.status.is_terminal and run.status is not RunStatus.CANCELLED:
        raise Conflict(f"The run has already ended with the status {run.status.value}")
    is_over = run.status is RunStatus.CANCELLED
    return CancelResult(message="The run is cancelled" if is_over else "The machine is stopping the run")


async def _list(call: Call, query: RunQuery) -> list[Run]:
    return [_as_it_is_now(call, run) for run in await call.platform.store.runs.list(call.owner, query)]


def _as_it_is_now(call: Call, run: Run) -> Run:
    """A run with what the machine is doing at this moment, if this process works on it."""
    live = None if run.status.is_terminal else call.platform.feed.live(run.id)
    return run.model_copy(update={"progress": live.progress, "live_status": live.text}) if live else run


async def _stream(call: Call, run_id: str, *, after: int) -> web.StreamResponse:
    """Send the log of a run from event `after` on, and its progress in between, until its terminal status."""

    def show(event: RunEvent) -> RunEvent:
        if not isinstance(event, OutputReady):
            return event
        return replace(event, output=call.platform.rendering.with_urls(event.output, base_url=call.base_url))

    async with call.platform.feed.follow(run_id) as tail:
        news = tail.stream(show, base_url=call.base_url, after=after)
        call.platform.dispatcher.tell_why_they_wait()
        return await stream(call, news.next, what=f"run {run_id}")


ENDPOINTS: list[Endpoint] = [
    Endpoint(
        "POST",
        "/run/deployment/queue",
        queue_run,
        Access.RUN,
        (BadRequest, Conflict),
        max_body_bytes=RUN_BYTES,
        is_once=True,
        may_miss=True,
    ),
    Endpoint(
        "POST",
        "/run/deployment/sync",
        sync_run,
        Access.RUN,
        (BadRequest, Conflict),
        max_body_bytes=RUN_BYTES,
        is_once=True,
        may_miss=True,
    ),
    Endpoint(
        "POST",
        "/run/deployment/stream",
        stream_run,
        Access.RUN,
        (BadRequest, Conflict),
        EVENT_STREAM,
        max_body_bytes=RUN_BYTES,
        is_once=True,
        may_miss=True,
    ),
    Endpoint("GET", "/run/{run_id}", get_run, Access.READ_OR_RUN),
    Endpoint("GET", "/run/{run_id}/stream", follow_run, Access.READ_OR_RUN, (BadRequest,), EVENT_STREAM),
    Endpoint("POST", "/run/{run_id}/cancel", cancel_run, Access.RUN, (Conflict,)),
    Endpoint("GET", "/runs", list_runs, Access.READ),
    Endpoint("GET", "/workflow/{workflow_id}/runs", list_runs_of_workflow, Access.READ),
    Endpoint("GET", "/deployment/{deployment_id}/runs", list_runs_of_deployment, Access.READ),
]
