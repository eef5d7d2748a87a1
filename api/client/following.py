"""One run, from its submission to its end: by the stream, and by polling where there is none or it breaks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from typing import Any
from uuid import uuid4

from ..errors import (
    ApiError,
    ConnectionFailed,
    NotFound,
    OutpostError,
    RateLimited,
    RunDeadlineExceeded,
    RunLost,
    ServerError,
)
from ..events import Accepted, RunEvent, decode
from ..models import CancelResult, Run, RunQueued, RunStatus
from .history import failure_of
from .http import Message
from .outcome import Heard, error_of, failed, settled
from .platform import Platform, Sleep

log = logging.getLogger("outpost.runs")

OnEvent = Callable[[RunEvent], None]

PROMPT_HEADER = "Outpost-Prompt-Id"
"""Tells a server of this package which prompt of a ComfyUI waits for the run."""
MAX_SUBMISSIONS = 3
"""Of the same run with the same idempotency key, to a server of this package."""
MAX_RESUMES = 2
"""In a row that bring no new event."""
MAX_CANCELS = 3
"""Of the same run, while the platform fails."""
POLL_FACTOR = 1.5


class Following:
    """One run of a deployment, submitted once whatever happens to the connection; one with a `run_id` was before."""

    def __init__(
        self,
        platform: Platform,
        request: Mapping[str, Any],  # the body of the submission
        *,
        is_queued: bool,
        prompt_id: str | None,
        on_event: OnEvent,
        sleep: Sleep,
        clock: Callable[[], float],
        run_id: str | None = None,
    ) -> None:
        self._platform = platform
        self._timeouts = platform.timeouts
        self._request = request
        self._is_queued = is_queued
        self._prompt_id = prompt_id
        self._on_event = on_event
        self._sleep = sleep
        self._clock = clock
        self._heard = Heard()
        self._last_event_id = ""
        self._identified: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._is_streaming = False
        self.refusal: BaseException | None = None
        """What `on_event` raised, if it did."""
        if run_id:
            self._identify(run_id)

    async def to_end(self) -> Run:
        """The successful run with its outputs; raises RunError, ApiError, ConnectionFailed."""
        if self._heard.run_id:
            await self._platform.knows_outpost()
            await self._resume()
        elif self._is_queued:
            await self._queue()
        else:
            await self._submit()
            await self._resume()
        if not self._heard.run_id:
            raise failed(None, self._heard.failure) if self._heard.failure else lost("its id was never told")
        return await self._poll(self._heard.run_id)

    async def withdraw(self, following: asyncio.Task[Run]) -> None:
        """Cancel exactly this run. `following` is the task in `to_end`, to be ended by the caller afterwards."""
        if not self._heard.run_id and (self._is_queued or self._platform.is_outpost is not False):
            await asyncio.wait(
                {following, self._identified},
                timeout=self._timeouts.identify,
                return_when=asyncio.FIRST_COMPLETED,
            )
        run_id = self._heard.run_id
        if not self._platform.is_outpost and (self._is_streaming or not (run_id or self._is_queued)):
            return  # Closing its stream is what cancels a run on the hosted platform.
        if not run_id:
            log.warning("a run was given up before its id was known; it may go on")
            return
        try:
            await cancel(self._platform, run_id)
            log.info("cancelled run %s", run_id)
        except OutpostError as error:
            log.warning("run %s goes on, because it could not be cancelled: %s", run_id, error)

    def deadline_exceeded(self, deadline: float) -> RunDeadlineExceeded:
        """The error for a caller who does not want to wait any longer."""
        name = f"Run {self._heard.run_id}" if self._heard.run_id else "The run, whose id is not known yet,"
        fate = "It was left alone and may still be going on."
        if self._is_streaming and not self._platform.is_outpost:
            fate = "The platform may cancel it now, because nobody follows it any more."
        return RunDeadlineExceeded(f"{name} did not end within {deadline:g} s. {fate}", run_id=self._heard.run_id)

    async def _queue(self) -> None:
        try:
            queued = await self._platform.post("/run/deployment/queue", RunQueued, json=self._request)
        except ConnectionFailed as error:
            raise (lost(str(error)) if error.was_sent else error) from error
        self._identify(queued.run_id)

    async def _submit(self) -> None:
        """Submit the run and follow its stream until it ends, well or not, with the run's id known if it was told."""
        key = str(uuid4())
        for attempt in range(1, MAX_SUBMISSIONS + 1):
            try:
                await self._follow("POST", "/run/deployment/stream", idempotency_key=key)
            except ConnectionFailed as error:
                if not error.was_sent and attempt == 1:
                    raise
                is_last = attempt == MAX_SUBMISSIONS or not self._platform.is_outpost
                if not self._heard.run_id and is_last:
                    raise lost(str(error)) from error
            if self._heard.run_id or not self._platform.is_outpost:
                return
            await self._platform.pause(attempt)

    async def _resume(self) -> None:
        """Take up a stream that broke, where it broke. Only servers of this package can do that."""
        repeats = 0
        while self._platform.is_outpost and self._heard.run_id and not self._heard.is_over and repeats < MAX_RESUMES:
            reached = self._last_event_id
            try:
                await self._follow("GET", f"/run/{self._heard.run_id}/stream")
            except (ConnectionFailed, ServerError) as error:
                log.debug("the stream of run %s broke again: %s", self._heard.run_id, error)
            except ApiError:
                return
            repeats = repeats + 1 if self._last_event_id == reached else 0
            if repeats:
                await self._platform.pause(repeats)

    async def _follow(self, method: str, path: str, *, idempotency_key: str | None = None) -> None:
        """Hear one stream, until the platform says that the run is over or the stream ends."""
        headers = {"Last-Event-ID": self._last_event_id} if self._last_event_id else {}
        body = self._request if method == "POST" else None
        if body and self._prompt_id and await self._platform.knows_outpost():
            headers[PROMPT_HEADER] = self._prompt_id
        self._is_streaming = True
        try:
            async with self._platform.stream(
                method, path, json=body, headers=headers, idempotency_key=idempotency_key
            ) as messages:
                if not self._platform.is_outpost:
                    messages = self._attended(messages)
                async with aclosing(messages):
                    async for message in messages:
                        self._last_event_id = message.id or self._last_event_id
                        self._hear(decode(message.name, message.data))
                        if self._heard.is_over:
                            return
        finally:
            self._is_streaming = False

    async def _attended(self, messages: AsyncGenerator[Message, None]) -> AsyncGenerator[Message, None]:
        """The messages of a stream that may be silent for long, or for ever after the run has ended.

        The hosted platform sends no keep-alives and cancels a run whose stream is closed. So the stream stays open in
        silence, and now and then the run itself is looked at.
        """
        while True:
            coming = asyncio.ensure_future(anext(messages))
            try:
                while not (await asyncio.wait({coming}, timeout=self._timeouts.silence))[0]:
                    if await self._has_ended():
                        return
                yield coming.result()
            except StopAsyncIteration:
                return
            finally:
                await end(coming)

    async def _has_ended(self) -> bool:
        if not self._heard.run_id:
            return False
        try:
            run = await self._platform.get(f"/run/{self._heard.run_id}", Run)
        except (ApiError, ConnectionFailed) as error:
            log.debug("run %s could not be looked at: %s", self._heard.run_id, error)
            return False
        return run.status.is_terminal

    async def _poll(self, run_id: str) -> Run:
        """Read the run until it has ended. A platform that does not answer for a while does not end it."""
        delay = self._timeouts.poll_first
        failing_since: float | None = None
        done_since: float | None = None
        while True:
            try:
                run = await self._read(run_id)
            except (ConnectionFailed, ServerError, RateLimited) as error:
                failing_since = self._clock() if failing_since is None else failing_since
                if self._clock() - failing_since >= self._timeouts.unreachable:
                    raise self._unreachable(run_id, error) from error
            else:
                failing_since = None
                if run.status.is_terminal:
                    return await self._conclude(run)
                if self._heard.machine_word and not self._platform.is_outpost:
                    done_since = self._clock() if done_since is None else done_since
                    if self._clock() - done_since >= self._timeouts.settle:
                        return _unwrap(settled(run, self._heard))
            await self._sleep(delay)
            delay = min(delay * POLL_FACTOR, self._timeouts.poll_last)

    async def _read(self, run_id: str) -> Run:
        try:
            run = await self._platform.get(f"/run/{run_id}", Run)
        except (ServerError, RateLimited):
            raise
        except NotFound as error:
            raise lost("the platform does not know it any more", run_id=run_id) from error
        except ApiError as error:
            raise lost(f"it cannot be read any more: {error}", run_id=run_id) from error
        for event in self._heard.news(run):
            self._hear(event)
        return run

    async def _conclude(self, run: Run) -> Run:
        failure = run.error or self._heard.failure
        if run.status is RunStatus.FAILED and not failure:
            failure = await failure_of(self._platform, run)
        return _unwrap(error_of(run, failure) or run)

    def _hear(self, event: RunEvent) -> None:
        if isinstance(event, Accepted) and self._heard.is_accepted:
            return  # A stream that is taken up again begins with it again.
        self._heard.take(event)
        if self._heard.run_id:
            self._identify(self._heard.run_id)
        try:
            self._on_event(event)
        except BaseException as error:
            self.refusal = error
            raise

    def _identify(self, run_id: str) -> None:
        self._heard.run_id = run_id
        if not self._identified.done():
            self._identified.set_result(None)

    def _unreachable(self, run_id: str, error: OutpostError) -> ConnectionFailed:
        minutes = self._timeouts.unreachable / 60
        return ConnectionFailed(
            f"Run {run_id} may still be going on, but the platform has not answered for {minutes:g} minutes: {error}",
            was_sent=True,
        )


def _unwrap(end: Run | OutpostError) -> Run:
    if isinstance(end, OutpostError):
        raise end
    return end


def lost(why: str, *, run_id: str | None = None) -> RunLost:
    """The error for a run that nothing more is heard of."""
    name = f"Run {run_id}" if run_id else "The run"
    return RunLost(
        f"{name} is lost: {why}. It may still be going on and was not submitted again. "
        "Look at the platform's list of runs before you start it anew.",
        run_id=run_id,
    )


async def cancel(platform: Platform, run_id: str) -> CancelResult:
    """Cancel a run. To say so again does nothing twice, so a platform that fails is asked again."""
    for attempt in range(1, MAX_CANCELS):
        try:
            return await platform.post(f"/run/{run_id}/cancel", CancelResult)
        except (ConnectionFailed, ServerError) as error:
            if isinstance(error, ConnectionFailed) and not error.was_sent:
                raise  # that has been tried again already
            log.debug("run %s was not cancelled at the first try: %s", run_id, error)
        await platform.pause(attempt)
    return await platform.post(f"/run/{run_id}/cancel", CancelResult)


async def end(task: asyncio.Future[Any]) -> None:
    """Cancel a task and wait until it has ended; what it raised is of no interest any more."""
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()
