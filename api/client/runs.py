"""Runs: submit them, follow them to their end, cancel them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import uuid4

from pydantic import ValidationError

from ..errors import ApiError, Conflict, ConnectionFailed, InvalidInput, NotFound, OutpostError, RunError, RunLost
from ..events import RunEvent, decode
from ..models import CancelResult, Deployment, InputValue, Run, RunOutput, RunQueued, RunRequest, RunStatus
from .following import POLL_FACTOR, Following, OnEvent, cancel, end, lost
from .history import RunFilter, failure_of, list_runs, recent_runs
from .machines import Machines
from .outcome import error_of
from .platform import Platform, Sleep, checked_id

CLASSIC = "classic"
"""The type of the hosted platform's machines that it cannot stream from."""

# Inside of the class `list` is its method.
RunList = list[Run]
OutputList = list[RunOutput]


def ignore(event: RunEvent) -> None:
    """For callers who only want the end of a run."""


class Runs:
    """Executions of deployments."""

    def __init__(
        self, platform: Platform, *, machines: Machines, sleep: Sleep, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._platform = platform
        self._machines = machines
        self._sleep = sleep
        self._clock = clock

    async def execute(
        self,
        deployment: Deployment,
        inputs: Mapping[str, InputValue],
        *,
        on_event: OnEvent = ignore,
        deadline: float | None = None,
        prompt_id: str | None = None,
        preview_images: bool = False,
        temporary_files: bool = False,
    ) -> Run:
        """Run a deployment and wait for the end: the successful run with its outputs.

        `on_event` is called for every event as it comes; when it raises, the run is cancelled. So it is when the caller
        is cancelled. `deadline` seconds end only the waiting: the run is left alone.

        With `preview_images` it is also called with the pictures that samplers show while they work; the hosted
        platform has none. With `temporary_files` what preview nodes show becomes an output, too; NotSupported there.

        A node in a ComfyUI gives the `prompt_id` that it is executed for: the run is refused with Conflict if only that
        ComfyUI could execute it, which a server of this package finds out.

        Raises RunFailed, RunCancelled, RunTimedOut, RunDeadlineExceeded, RunLost; ApiError when the platform refuses
        the run; ConnectionFailed. It is never submitted twice.
        """
        body = run_request(deployment.id, inputs)
        body |= await self._wishes(preview_images=preview_images, temporary_files=temporary_files)
        following = Following(
            self._platform,
            body,
            is_queued=await self._is_classic(deployment),
            prompt_id=prompt_id,
            on_event=on_event,
            sleep=self._sleep,
            clock=self._clock,
        )
        return await self._to_end(following, deadline=deadline)

    async def queue(
        self,
        deployment_id: str,
        inputs: Mapping[str, InputValue],
        *,
        webhook: str | None = None,
        webhook_intermediate_status: bool = False,
        preview_images: bool = False,
        temporary_files: bool = False,
        idempotency_key: str | None = None,
    ) -> str:
        """Submit a run and return its id at once.

        The platform tells every change of the run's status to the URL `webhook`, and its progress too if that is
        wanted. Previews go to whoever follows the run; they and temporary files are as in `execute`.

        It is never submitted twice: when the answer is lost, a server of this package tells the id to whoever asks
        again with the same key. Elsewhere, or when it does not answer, RunLost is raised. With the `idempotency_key` of
        an earlier call a server of this package gives the run of that call.
        """
        body = run_request(deployment_id, inputs, webhook=webhook, is_progress_told=webhook_intermediate_status)
        body |= await self._wishes(preview_images=preview_images, temporary_files=temporary_files)
        key = idempotency_key or str(uuid4())
        was_known = self._platform.is_outpost is not None
        try:
            return await self._queued(body, key)
        except ConnectionFailed as error:
            if not error.was_sent:
                raise
            if was_known or not await self._heeds_keys():
                raise lost(str(error)) from error
        try:
            return await self._queued(body, key)
        except ConnectionFailed as error:
            raise lost(str(error)) from error

    async def _queued(self, body: Mapping[str, Any], key: str) -> str:  # what is in the body is the caller's
        """The id of a run; where the platform heeds keys it has been asked for repeatedly."""
        return (await self._platform.post("/run/deployment/queue", RunQueued, json=body, idempotency_key=key)).run_id

    async def _heeds_keys(self) -> bool:
        with suppress(ApiError, ConnectionFailed):
            return await self._platform.knows_outpost()
        return False

    async def follow(
        self, run_id: str, *, on_event: OnEvent = ignore, deadline: float | None = None, cancels: bool = False
    ) -> Run:
        """Wait for the end of a run that was submitted before, by whomever: the successful run with its outputs.

        `on_event` is called for every event, also for those that were before, where the platform still has them. With
        `cancels` the run is cancelled when the caller is, or when `on_event` raises. Raises as `execute`.
        """
        following = Following(
            self._platform,
            {},
            is_queued=False,
            prompt_id=None,
            on_event=on_event,
            sleep=self._sleep,
            clock=self._clock,
            run_id=checked_id(run_id),
        )
        return await self._to_end(following, deadline=deadline, cancels=cancels)

    async def sync(
        self,
        deployment_id: str,
        inputs: Mapping[str, InputValue],
        *,
        webhook: str | None = None,
        webhook_intermediate_status: bool = False,
        temporary_files: bool = False,
    ) -> OutputList:
        """Submit a run and wait for its outputs. Prefer `execute`, which survives a connection that breaks.

        Raises RunFailed, RunCancelled, RunTimedOut; RunLost when the platform does not tell how it ended; ApiError when
        the platform refuses the run; ConnectionFailed.
        """
        body = run_request(deployment_id, inputs, webhook=webhook, is_progress_told=webhook_intermediate_status)
        body |= await self._wishes(temporary_files=temporary_files)
        read = self._platform.timeouts.sync
        try:
            outputs = await self._platform.post("/run/deployment/sync", OutputList, json=body, read=read)
        except ApiError as error:
            if not error.run_id:
                raise
            raise await self._end_of(error.run_id) or error from error
        if not self._platform.is_outpost:
            # The hosted platform answers the outputs of a failed run as if nothing had happened.
            await self._check_success(outputs)
        return outputs

    async def stream(
        self,
        deployment_id: str,
        inputs: Mapping[str, InputValue],
        *,
        webhook: str | None = None,
        webhook_intermediate_status: bool = False,
        preview_images: bool = False,
        temporary_files: bool = False,
    ) -> AsyncGenerator[RunEvent, None]:
        """Submit a run and tell its events. To be closed by the caller; the hosted platform then cancels the run."""
        body = run_request(deployment_id, inputs, webhook=webhook, is_progress_told=webhook_intermediate_status)
        body |= await self._wishes(preview_images=preview_images, temporary_files=temporary_files)
        async with self._platform.stream("POST", "/run/deployment/stream", json=body) as messages:
            async for message in messages:
                yield decode(message.name, message.data)

    async def list(
        self,
        *,
        workflow_id: str | None = None,
        deployment_id: str | None = None,
        status: RunStatus | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> RunList:
        """Runs, newest first: of one workflow, of one deployment, with one status, or any of these together.

        Only the hosted platform tells their outputs here; `get` always does.
        Raises NotSupported on the hosted platform when neither a workflow nor a deployment is named.
        """
        wanted = RunFilter(
            checked_id(workflow_id) if workflow_id else None,
            checked_id(deployment_id) if deployment_id else None,
            status,
        )
        return await list_runs(self._platform, wanted, limit=limit, offset=offset)

    async def recent(self, *, limit: int = 100) -> RunList:
        """The newest runs of all workflows, newest first.

        The hosted platform has no such list: there they are those of the ten workflows that come first in its list.
        """
        return await recent_runs(self._platform, limit=limit)

    async def get(self, run_id: str, *, queue_position: bool = True) -> Run:
        """A run as it is now. Raises NotFound."""
        params = {"queue_position": queue_position or None}
        return await self._platform.get(f"/run/{checked_id(run_id)}", Run, params=params)

    async def explained(self, run: Run) -> Run:
        """The run with why it failed, as far as the platform tells it anywhere: the hosted one does so in lists."""
        if run.status is not RunStatus.FAILED:
            return run
        return run.model_copy(update={"error": await failure_of(self._platform, run)})

    async def cancel(self, run_id: str) -> CancelResult:
        """Cancel one run; again is no error, so it is tried again where the platform fails. Raises NotFound.

        Raises Conflict when it has ended otherwise, and for runs that the hosted platform cannot cancel.
        """
        run_id = checked_id(run_id)
        try:
            return await cancel(self._platform, run_id)
        except NotFound as error:
            if self._platform.is_outpost:
                raise
            # The hosted platform says so of every run that it did not start on a serverless machine by a queue.
            return _not_cancelled(await self.get(run_id, queue_position=False), error)

    async def _wishes(self, *, preview_images: bool = False, temporary_files: bool = False) -> dict[str, bool]:
        """What a submission says of these, and only to a server of this package."""
        wishes: dict[str, bool] = {}
        if temporary_files:
            instead = "Use a node that saves its files."
            await self._platform.require_outpost("keep what preview nodes show", instead=instead)
            wishes["temporary_files"] = True
        if preview_images and await self._platform.knows_outpost():
            wishes["preview_images"] = True
        return wishes

    async def _to_end(self, following: Following, *, deadline: float | None, cancels: bool = True) -> Run:
        """The run that is followed. With `cancels` it is cancelled when the caller is, or does not want it any more."""
        task = asyncio.ensure_future(following.to_end())
        try:
            await asyncio.wait({task}, timeout=deadline)
            if task.done():
                return task.result()
            raise following.deadline_exceeded(deadline or 0)
        except BaseException as error:
            if cancels and (not isinstance(error, OutpostError) or error is following.refusal):
                await _uninterrupted(following.withdraw(task), timeout=self._platform.timeouts.cancel)
            raise
        finally:
            await end(task)

    async def _check_success(self, outputs: Sequence[RunOutput]) -> None:
        """Raise the error that the end of a synchronous run is, if it is one."""
        run_id = next((output.run_id for output in outputs if output.run_id), None)
        if run_id is None:
            raise RunLost(
                "The platform answered neither an output nor which run it was, as it does when a run fails. "
                "Look at its list of runs, or execute the deployment, which tells more.",
                run_id=None,
            )
        if error := await self._end_of(run_id):
            raise error

    async def _end_of(self, run_id: str) -> RunError | None:
        """The error that the end of a run is; None for success. The record of the end may come a little later."""
        timeouts = self._platform.timeouts
        until, delay = self._clock() + timeouts.settle, timeouts.poll_first
        while not (run := await self.get(run_id, queue_position=False)).status.is_terminal:
            if self._clock() >= until:
                return RunLost(
                    f"The platform answered outputs of run {run_id} and does not record that it ended. "
                    "Give its workflow a node that saves an output at its end.",
                    run_id=run_id,
                )
            await self._sleep(delay)
            delay = min(delay * POLL_FACTOR, timeouts.poll_last)
        return error_of(run, (await self.explained(run)).error)

    async def _is_classic(self, deployment: Deployment) -> bool:
        """Whether the run must be queued and polled, because the platform cannot stream from its machine."""
        if self._platform.is_outpost:
            return False
        kind = deployment.machine.type if deployment.machine else None
        if kind is None and deployment.machine_id:
            with suppress(ApiError, ConnectionFailed):
                kind = (await self._machines.get(deployment.machine_id)).type
        return kind == CLASSIC


def run_request(
    deployment_id: str, inputs: Mapping[str, InputValue], *, webhook: str | None = None, is_progress_told: bool = False
) -> dict[str, Any]:
    """The body of a submission. Raises InvalidInput for a value that the platform cannot take."""
    try:
        request = RunRequest(deployment_id=checked_id(deployment_id), inputs=dict(inputs), webhook=webhook)
    except ValidationError as error:
        raise _unsendable(error) from None
    body = {"deployment_id": request.deployment_id, "inputs": request.inputs}
    if webhook:
        # The API's documentation calls it webhook_url and the hosted platform webhook, which ignores the other name.
        body |= {"webhook": webhook, "webhook_url": webhook, "webhook_intermediate_status": is_progress_told}
    return body


def _unsendable(error: ValidationError) -> InvalidInput:
    location = error.errors(include_input=False, include_url=False)[0]["loc"]
    if location[0] != "inputs":
        return InvalidInput("The webhook is not an http:// or https:// URL", input_id="webhook")
    input_id = str(location[1]) if len(location) > 1 else None
    return InvalidInput(
        f"The input {input_id!r} is not a text, number, boolean or list, and nothing else can be sent",
        input_id=input_id,
    )


def _not_cancelled(run: Run, error: NotFound) -> CancelResult:
    """What it means that the hosted platform does not find a run to cancel that is there."""
    if run.status is RunStatus.CANCELLED:
        return CancelResult(message="The run is cancelled")
    if run.status.is_terminal:
        raise Conflict(f"Run {run.id} has already ended with the status {run.status.value}") from error
    raise Conflict(
        f"Run {run.id} goes on: the platform cancels only what was queued on one of its serverless machines. ({error})"
    ) from error


async def _uninterrupted(work: Coroutine[Any, Any, None], *, timeout: float) -> None:
    """Do something to its end or its time, also when the caller is cancelled once more."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    until = loop.time() + timeout
    while not task.done() and (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):  # the caller of this raises one anyway
            await asyncio.wait({task}, timeout=left)
    await end(task)
