"""The flow of one run inside a graph: tensors are uploaded, a deployment runs, its outputs come back as tensors.

Knows nothing of ComfyUI: whoever executes a node is a `Host`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..api.errors import NotFound, OutpostError, RunCancelled, RunFailed, RunTimedOut, Unprocessable
from ..api.events import RunEvent
from ..api.models import Deployment, Run, RunOutput
from ..api.outputs import OutputKind, declared_outputs
from . import sending
from .cancelling import cancel_run
from .open_runs import Fate
from .outputs import Outputs
from .previews import Previews
from .progress import RunProgress, node_titles
from .queue_watch import QueueWatch
from .results import RunResult
from .stopwatch import Stopwatch
from .waiting import interruptible

if TYPE_CHECKING:
    from PIL import Image

    from ..api.client import Client
    from .open_runs import OpenRuns

log = logging.getLogger("outpost.runs")

SUBMISSION_SECONDS = 3.0
"""How long the id of a run that is not wanted any more is waited for, so that it can be cancelled."""

FINAL = (RunFailed, RunCancelled, RunTimedOut, NotFound)
"""After these a run has nothing to give any more: what has submitted it has to submit another one."""

OnEvent = Callable[[RunEvent], None]


class Host(Protocol):
    """Whoever executes a node, and shows how it goes. Nothing here blocks."""

    @property
    def prompt_id(self) -> str | None:
        """The prompt that ComfyUI executes the node for; None where that is not known, or there is no ComfyUI."""
        ...

    @property
    def folder(self) -> Path:
        """Where files that a run has put out may be kept as long as the host lives. It need not exist."""
        ...

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1. Never raises."""
        ...

    def text(self, text: str) -> None:
        """Show a line on the node. Never raises."""
        ...

    def preview(self, picture: Image.Image) -> None:
        """Show a picture, in place of the one before. Never raises."""
        ...

    def check_interrupted(self) -> None:
        """Raise the host's own exception when its user wants to stop."""
        ...


@dataclass(frozen=True)
class Finished:
    """A run that has succeeded, and of which kind its deployment says that each output is."""

    result: RunResult
    kinds: Mapping[str, OutputKind]


async def run_deployment(
    client: Client, host: Host, *, deployment_id: str, inputs: Mapping[str, Any], deadline: float | None = None
) -> RunResult:
    """Run a deployment on tensors, texts and numbers, and wait for its outputs.

    `inputs` are by input_id; images [B, H, W, C] and masks [B, H, W] are uploaded on the way. `deadline` is in seconds.
    Raises InvalidInput before anything is sent, the RunError of a run without success, and the host's own exception
    after its user wanted to stop; the remote run is cancelled then.
    """
    flow = Flow(client, host, deadline=deadline)
    return (await interruptible(host.check_interrupted, flow.run_by_id(deployment_id, inputs))).result


class Flow:
    """One run for one node. `open_runs` learns of it, so that it is cancelled also when the node cannot do it."""

    def __init__(
        self,
        client: Client,
        host: Host,
        *,
        deadline: float | None = None,
        open_runs: OpenRuns | None = None,
        prompt_id: str | None = None,
    ) -> None:
        self._client = client
        self._host = host
        self._deadline = deadline
        self._open_runs = open_runs
        self._prompt_id = prompt_id or host.prompt_id
        self._stopwatch = Stopwatch()
        self._begun = time.perf_counter()
        self.run_id: str | None = None
        """Of the run, as soon as it is known."""

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.perf_counter() - self._begun

    async def run_by_id(self, deployment_id: str, inputs: Mapping[str, Any]) -> Finished:
        """Run the deployment with this id, and wait for its outputs."""
        self._host.text("reading the deployment")
        return await self.run(await self._client.deployments.get(deployment_id), inputs)

    async def run(self, deployment: Deployment, inputs: Mapping[str, Any]) -> Finished:
        """Run a deployment and wait for its outputs."""
        values = await self._sent(deployment, inputs)

        async def execute(on_event: OnEvent) -> Run:
            return await self._client.runs.execute(
                deployment,
                values,
                on_event=on_event,
                deadline=self._deadline,
                prompt_id=self._prompt_id,
                preview_images=True,
            )

        with _forgetting(self._client, values):
            return await self._finish(deployment, execute)

    async def submit(self, deployment_id: str, inputs: Mapping[str, Any], *, source: str) -> str:
        """Submit a run, and do not wait for it; its id."""
        self._host.text("reading the deployment")
        deployment = await self._client.deployments.get(deployment_id)
        values = await self._sent(deployment, inputs)
        submission = asyncio.ensure_future(self._client.runs.queue(deployment.id, values, preview_images=True))
        try:
            with _forgetting(self._client, values):
                run_id = await asyncio.shield(submission)
        except asyncio.CancelledError:
            await self._take_back(submission, source=source)
            raise
        if self._open_runs:
            self._open_runs.add(run_id, prompt_id=self._prompt_id, source=source)
        log.info("run %s of deployment %s was queued", run_id, deployment.id)
        self._show(1.0, f"run {run_id} is queued")
        return run_id

    async def collect(self, run_id: str, *, cancels: bool, source: str = "") -> Finished:
        """Wait for a run that was submitted before. With `cancels` it is cancelled when its outputs are not wanted."""
        if cancels and self._open_runs:
            self._open_runs.add(run_id, prompt_id=self._prompt_id, source=source, is_attended=True)
        self.run_id = run_id
        with self._accounted(source):
            run = await self._client.runs.get(run_id)
        deployment = await self._deployment_of(run)

        async def follow(on_event: OnEvent) -> Run:
            return await self._client.runs.follow(run.id, on_event=on_event, deadline=self._deadline, cancels=cancels)

        return await self._finish(deployment, follow, is_attended=cancels, source=source)

    async def _sent(self, deployment: Deployment, inputs: Mapping[str, Any]) -> dict[str, Any]:
        self._host.text("uploading")
        return await sending.sent(self._client, deployment, inputs, stopwatch=self._stopwatch, folder=self._host.folder)

    async def _take_back(self, submission: asyncio.Task[str], *, source: str) -> None:
        await asyncio.wait({submission}, timeout=SUBMISSION_SECONDS)
        if not submission.done():
            submission.cancel()
            log.warning("a run was given up before its id was known; it may go on")
        elif not submission.cancelled() and not submission.exception():
            run_id = submission.result()
            if await cancel_run(self._client, run_id) is Fate.UNKNOWN and self._open_runs:
                self._open_runs.add(run_id, prompt_id=self._prompt_id, source=source)

    async def _finish(
        self,
        deployment: Deployment | None,
        follow: Callable[[OnEvent], Awaitable[Run]],
        *,
        is_attended: bool = True,
        source: str = "",
    ) -> Finished:
        outputs = Outputs(self._client, self._stopwatch, folder=self._host.folder)
        try:
            with self._accounted(source):
                run = await self._to_end(deployment, outputs, follow, is_attended=is_attended)
            self._ended()
            self._host.text("downloading the outputs")
            parts = await outputs.parts(run, _in_order(run, deployment))
        except OutpostError as error:
            log.info("%s", error)
            raise
        finally:
            await outputs.close()
        seconds = self._stopwatch.seconds["total"] = self.seconds
        log.info("run %s: %s after %.1f s", run.id, run.status.value, seconds)
        self._show(1.0, f"run {run.id}: {run.status.value}")
        return Finished(RunResult(run, parts, self._stopwatch), kinds_of(deployment))

    async def _to_end(
        self,
        deployment: Deployment | None,
        outputs: Outputs,
        follow: Callable[[OnEvent], Awaitable[Run]],
        *,
        is_attended: bool,
    ) -> Run:
        titles = node_titles(deployment)
        progress = RunProgress(len(titles), show=self._show, clock=time.perf_counter, titles=titles)
        previews = Previews(self._host.preview)
        queue = QueueWatch(self._client, progress.wait_behind)

        def on_event(event: RunEvent) -> None:
            self._identify(event, deployment, is_attended=is_attended)
            for listener in (outputs, progress, previews, queue):
                listener.on_event(event)

        try:
            return await follow(on_event)
        finally:
            await queue.close()
            await previews.close()
            self._stopwatch.seconds.update(progress.seconds)

    def _identify(self, event: RunEvent, deployment: Deployment | None, *, is_attended: bool) -> None:
        run_id: str | None = getattr(event, "run_id", None)
        if self.run_id or not run_id:
            return
        self.run_id = run_id
        log.info("run %s of deployment %s was submitted", run_id, deployment.id if deployment else "")
        if self._open_runs and is_attended:
            self._open_runs.add(run_id, prompt_id=self._prompt_id, is_attended=True)

    @contextmanager
    def _accounted(self, source: str) -> Generator[None, None, None]:
        """Open runs learn how the run ends, if it does not end well; where that is not known it stays among them."""
        try:
            yield
        except FINAL:
            if self._open_runs and source:
                self._open_runs.note_failure(source)
            self._ended()
            raise
        except OutpostError:
            if self._open_runs and self.run_id:
                self._open_runs.leave(self.run_id)
            raise

    def _ended(self) -> None:
        if self._open_runs and self.run_id:
            self._open_runs.remove(self.run_id)

    async def _deployment_of(self, run: Run) -> Deployment | None:
        """The deployment of a run; None where it has been deleted since, or there never was one."""
        try:
            return await self._client.deployments.get(run.deployment_id) if run.deployment_id else None
        except OutpostError as error:
            log.debug("the deployment of run %s cannot be read: %s", run.id, error)
            return None

    def _show(self, share: float, text: str) -> None:
        self._host.progress(share)
        self._host.text(text)


@contextmanager
def _forgetting(client: Client, values: Mapping[str, Any]) -> Generator[None, None, None]:
    """The reason of a failure may be a file that the platform has lost: the next run sends its files anew."""
    try:
        yield
    except (Unprocessable, RunFailed):
        sending.forget(client, values)
        raise


def kinds_of(deployment: Deployment | None) -> dict[str, OutputKind]:
    """The kind of each output that a deployment declares, by its name."""
    return {each.name: each.kind for each in (declared_outputs(deployment) if deployment else None) or ()}


def _in_order(run: Run, deployment: Deployment | None) -> list[RunOutput]:
    """The outputs in the order of the deployment's nodes; a platform tells them in the order in which they came."""
    places = {node_id: place for place, node_id in enumerate(node_titles(deployment))}
    return sorted(run.outputs, key=lambda output: places.get(output.node_id or "", len(places)))
