"""Runs: queue, run synchronously, stream, read, follow, cancel."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aiohttp import web

from ...errors import BadRequest, Conflict, InvalidInput, Unprocessable
from ...events import OutputReady, StatusChanged, decode_payload, to_sse
from ...inputs import check_inputs, inputs_of
from ...models import CancelResult, Run, RunOutput, RunQueued, RunRequest, RunStatus
from ...shapes import is_array, is_object
from ..call import Call, Endpoint, Handler, reply, unprocessable
from ..feed import Subscription
from ..ownership import readable_key

CANCEL_SECONDS = 10
"""How long an answer to a cancellation waits for the machine to have stopped."""


async def queue_run(call: Call) -> web.Response:
    return reply(RunQueued(run_id=await _submit(call)))


async def sync_run(call: Call) -> web.Response:
    """Held open until the run has ended. A run without success is an error that names the run."""
    run_id = await _submit(call)
    with call.platform.feed.subscribe(run_id) as subscription:
        while not (run := await _read(call, run_id)).status.is_terminal:
            await subscription.wait(seconds=call.platform.config.keep_alive_seconds)
            subscription.take()
    if run.status is not RunStatus.SUCCESS:
        reason = f": {run.error}" if run.error else ""
        raise Unprocessable(f"Run {run.id} ended with the status {run.status.value}{reason}")
    return reply(run.outputs)


async def stream_run(call: Call) -> web.StreamResponse:
    return await _stream(call, await _submit(call), after=0)


async def follow_run(call: Call) -> web.StreamResponse:
    """The stream of a run that is already there, from `Last-Event-ID` on."""
    run_id, last = call.id("run_id"), call.request.headers.get("Last-Event-ID", "0")
    if not last.isdecimal() or len(last) > 9:
        raise BadRequest("Last-Event-ID has to be the id of an event of this stream")
    runs, after = call.platform.store.runs, int(last)
    run, newest = await runs.get(call.owner, run_id), await runs.last_event(run_id)
    if after > newest:
        raise BadRequest(f"Last-Event-ID is {after} and the last event of this stream has the id {newest}")
    # Whoever has read it to its end and asks again is told the end again, instead of waiting for more.
    return await _stream(call, run_id, after=min(after, newest - 1) if run.status.is_terminal else after)


async def get_run(call: Call) -> web.Response:
    return reply(await _read(call, call.id("run_id"), with_queue_position=call.query_bool("queue_position")))


async def cancel_run(call: Call) -> web.Response:
    run_id, platform = call.id("run_id"), call.platform
    await platform.store.runs.get(call.owner, run_id)
    await platform.store.runs.request_cancel(run_id)
    platform.feed.wake(run_id)
    await platform.dispatcher.cancel(run_id, seconds=CANCEL_SECONDS)
    run = await platform.store.runs.get(call.owner, run_id)
    if run.status.is_terminal and run.status is not RunStatus.CANCELLED:
        raise Conflict(f"The run has already ended with the status {run.status.value}")
    is_over = run.status is RunStatus.CANCELLED
    return reply(CancelResult(message="The run is cancelled" if is_over else "The machine is stopping the run"))


async def _submit(call: Call) -> str:
    """Accept a run from the request's body; its id."""
    request = await call.body(RunRequest)
    key = call.request.headers.get("Idempotency-Key")
    if key is not None and not (8 <= len(key) <= 200 and key.isascii()):
        raise BadRequest("An Idempotency-Key has 8 to 200 ASCII characters")
    platform = call.platform
    deployment = await platform.store.deployments.get(call.owner, request.deployment_id)
    graph = deployment.version and deployment.version.workflow_api
    if not graph:
        raise Conflict("The deployment's workflow version has no workflow_api, so there is nothing to execute")
    try:
        inputs = check_inputs(inputs_of(graph), request.inputs)
        await _check_files(call, inputs)
    except InvalidInput as error:
        raise unprocessable(f"body.inputs.{error.input_id}", str(error)) from error
    checked = request.model_copy(update={"inputs": inputs})
    run_id = await platform.store.runs.create(
        call.owner, deployment, request=checked, run_timeout=platform.config.run_seconds, key=key
    )
    platform.dispatcher.wake()
    return run_id


async def _check_files(call: Call, inputs: Mapping[str, Any]) -> None:
    """An input that names a file of this platform must name one of the caller's that has arrived."""
    platform = call.platform
    for input_id, value in inputs.items():
        for url in _urls(value):
            if platform.objects.key_of(url) is None:
                continue  # a URL of somebody else's, or no URL at all: the machine's business
            try:
                await readable_key(platform.store, platform.objects, owner=call.owner, url=url)
            except InvalidInput as error:
                raise InvalidInput(f"The input {input_id!r} cannot be used: {error}", input_id=input_id) from error


def _urls(value: Any) -> list[str]:
    """The texts of an input that may be URLs: itself, or those in the JSON array that a batch travels as."""
    if not isinstance(value, str):
        return []
    try:
        batch: Any = json.loads(value) if value.startswith("[") else None
    except (ValueError, RecursionError):
        batch = None
    return [each for each in batch if isinstance(each, str)] if is_array(batch) else [value]


async def _read(call: Call, run_id: str, *, with_queue_position: bool = False) -> Run:
    """A run as its owner sees it: with signed URLs, and with the progress of this moment."""
    store = call.platform.store.runs
    run = await store.get(call.owner, run_id, with_queue_position=with_queue_position)
    rows = await store.outputs(run_id)
    outputs = [
        RunOutput.model_validate(
            {**row, "data": _with_urls(call, row["data"]), "node_meta": {k: row[k] for k in ("node_id", "node_class")}}
        )
        for row in rows
    ]
    live = None if run.status.is_terminal else call.platform.feed.live(run_id)
    now = {"progress": live.progress, "live_status": live.text} if live else {}
    return run.model_copy(update={"outputs": outputs, **now})


def _with_urls(call: Call, data: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Outputs whose files have a signed URL in place of their object."""
    return {kind: [_with_url(call, item) for item in items] for kind, items in data.items()}


def _with_url(call: Call, item: Any) -> Any:
    if not is_object(item) or "object" not in item:
        return item
    fields = {**item}
    url = call.platform.objects.sign(
        call.base_url,
        method="GET",
        key=fields.pop("object"),
        content_type=fields["content_type"],
        seconds=call.platform.config.url_seconds,
    )
    return {**fields, "url": url, "is_public": False}


async def _stream(call: Call, run_id: str, *, after: int) -> web.StreamResponse:
    """Send the log of a run from event `after` on, and its progress in between, until its terminal status."""
    response = web.StreamResponse(headers={"X-Accel-Buffering": "no", "Cache-Control": "no-cache"})
    response.content_type, response.charset = "text/event-stream", "utf-8"
    keep_alive = call.platform.config.keep_alive_seconds
    with call.platform.feed.subscribe(run_id) as subscription:
        await response.prepare(call.request)
        try:
            while not (after := await _send_news(call, run_id, response, subscription, after=after)) < 0:
                if not await subscription.wait(seconds=keep_alive):
                    await response.write(b": the run goes on\n\n")
            await response.write_eof()
        except (ConnectionResetError, asyncio.CancelledError):
            pass  # the client is gone; the run goes on
    return response


async def _send_news(
    call: Call, run_id: str, response: web.StreamResponse, subscription: Subscription, *, after: int
) -> int:
    """Send what is new; the number of the last logged event that was sent, or -1 when it was the run's end."""
    has_logged, progress = subscription.take()
    logged = await call.platform.store.runs.events(run_id, after=after) if has_logged else []
    for number, payload in logged:
        event = decode_payload(payload)
        if isinstance(event, OutputReady):
            event = replace(event, output=_with_urls(call, event.output))
        await response.write(to_sse(event, number=number))
        after = number
        if isinstance(event, StatusChanged) and event.status.is_terminal:
            return -1
    if progress:
        await response.write(b"".join(to_sse(event) for event in progress))
    return after


ENDPOINTS: list[Endpoint[Handler]] = [
    Endpoint("POST", "/run/deployment/queue", queue_run),
    Endpoint("POST", "/run/deployment/sync", sync_run),
    Endpoint("POST", "/run/deployment/stream", stream_run),
    Endpoint("GET", "/run/{run_id}", get_run),
    Endpoint("GET", "/run/{run_id}/stream", follow_run),
    Endpoint("POST", "/run/{run_id}/cancel", cancel_run),
]
