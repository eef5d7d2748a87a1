"""Runs: submit them, follow them to their end, cancel them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

from pydantic import ValidationError

from ..errors import ApiError, ConnectionFailed, InvalidInput
from ..events import RunEvent, decode
from ..models import CancelResult, Deployment, InputValue, Run, RunOutput, RunQueued, RunRequest
from .following import Following, OnEvent, end
from .platform import Platform, Sleep, checked_id
from .resources import Machines

CLASSIC = "classic"
"""The type of the hosted platform's machines that it cannot stream from."""


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
    ) -> Run:
        """Run a deployment and wait for the end: the successful run with its outputs.

        `on_event` is called for every event as it comes; when it raises, the run is cancelled. So it is when the caller
        is cancelled. `deadline` seconds end only the waiting: the run is left alone.

        Raises RunFailed, RunCancelled, RunTimedOut, RunDeadlineExceeded, RunLost; ApiError when the platform refuses
        the run; ConnectionFailed. It is never submitted twice.
        """
        following = Following(
            self._platform,
            run_request(deployment.id, inputs),
            is_queued=await self._is_classic(deployment),
            on_event=on_event,
            sleep=self._sleep,
            clock=self._clock,
        )
        task = asyncio.ensure_future(following.to_end())
        try:
            await asyncio.wait({task}, timeout=deadline)
            if task.done():
                return task.result()
            raise following.deadline_exceeded(deadline or 0)
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError) or error is following.refusal:
                await _uninterrupted(following.withdraw(task), timeout=self._platform.timeouts.cancel)
            raise
        finally:
            await end(task)

    async def queue(self, deployment_id: str, inputs: Mapping[str, InputValue]) -> str:
        """Submit a run and return its id at once."""
        body = run_request(deployment_id, inputs)
        return (await self._platform.post("/run/deployment/queue", RunQueued, json=body)).run_id

    async def sync(self, deployment_id: str, inputs: Mapping[str, InputValue]) -> list[RunOutput]:
        """Submit a run and wait for its outputs. A failed run gives what it had put out before: prefer `execute`."""
        body = run_request(deployment_id, inputs)
        read = self._platform.timeouts.sync
        return await self._platform.post("/run/deployment/sync", list[RunOutput], json=body, read=read)

    async def stream(self, deployment_id: str, inputs: Mapping[str, InputValue]) -> AsyncGenerator[RunEvent, None]:
        """Submit a run and tell its events. To be closed by the caller; the hosted platform then cancels the run."""
        body = run_request(deployment_id, inputs)
        async with self._platform.stream("POST", "/run/deployment/stream", json=body) as messages:
            async for message in messages:
                yield decode(message.name, message.data)

    async def get(self, run_id: str, *, queue_position: bool = True) -> Run:
        """A run as it is now. Raises NotFound."""
        params = {"queue_position": "true"} if queue_position else {}
        return await self._platform.get(f"/run/{checked_id(run_id)}", Run, params=params)

    async def cancel(self, run_id: str) -> CancelResult:
        """Cancel one run. Raises NotFound, also for runs that the hosted platform cannot cancel."""
        return await self._platform.post(f"/run/{checked_id(run_id)}/cancel", CancelResult)

    async def _is_classic(self, deployment: Deployment) -> bool:
        """Whether the run must be queued and polled, because the platform cannot stream from its machine."""
        if self._platform.is_outpost:
            return False
        kind = deployment.machine.type if deployment.machine else None
        if kind is None and deployment.machine_id:
            with suppress(ApiError, ConnectionFailed):
                kind = (await self._machines.get(deployment.machine_id)).type
        return kind == CLASSIC


def run_request(deployment_id: str, inputs: Mapping[str, InputValue]) -> dict[str, Any]:
    """The body of a submission. Raises InvalidInput for a value that the platform cannot take."""
    try:
        request = RunRequest(deployment_id=checked_id(deployment_id), inputs=dict(inputs))
    except ValidationError as error:
        location = error.errors(include_input=False, include_url=False)[0]["loc"]
        input_id = str(location[1]) if len(location) > 1 else None
        raise InvalidInput(
            f"The input {input_id!r} is not a text, number, boolean or list, and nothing else can be sent",
            input_id=input_id,
        ) from None
    return request.model_dump()


async def _uninterrupted(work: Coroutine[Any, Any, None], *, timeout: float) -> None:
    """Do something to its end or its time, also when the caller is cancelled once more."""
    loop = asyncio.get_running_loop()
    task = asyncio.ensure_future(work)
    until = loop.time() + timeout
    while not task.done() and (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):  # the caller of this raises one anyway
            await asyncio.wait({task}, timeout=left)
    await end(task)
