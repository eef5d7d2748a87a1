"""A ComfyUI by its URL, as a machine: stock, with nothing installed on it.

A run is one prompt. It is sent once, followed by the websocket, and read from ComfyUI's record of it at its end: so it
makes no difference what the websocket has missed.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import aiohttp

from ...errors import InvalidInput
from ...events import ExecutionStarted, ExecutionSucceeded, Rejected, RunEvent
from ...models import Failure, Graph, Lack, MachineLog
from ...shapes import is_array, is_object
from ..aside import aside
from ..graph import Compiled, compile_graph
from . import Emit, Job, MachineError, MachineLost, MachineSettings
from .comfyui_files import OutputCollector, Uploads
from .comfyui_messages import Message, Narrator, read_message, was_interrupted
from .comfyui_nodes import KnownNodes
from .comfyui_wire import CLOSED, LARGE_BYTES, Refused, Unreachable, Wire
from .facts import Facts, read_facts
from .whole import both, to_its_end

log = logging.getLogger("outpost.machines")

RECENT = 50
"""Records of ended prompts among which one is looked for whose acceptance was not heard."""
_VERSION = re.compile(r"[\w.+-]{1,40}")
T = TypeVar("T")


@dataclass(frozen=True)
class Patience:
    """How long to wait for a ComfyUI, in seconds."""

    away: float = 60
    """For one that has gone away in the middle of a run to come back."""
    retry: float = 0.5
    """Between two tries to reach it."""
    quiet: float = 30
    """Without a message, before asking whether the run has ended."""
    stop: float = 15
    """For a run to stop after it was cancelled."""
    answer: float = 10
    """For a sign of life."""


async def check_comfyui(endpoint: str, *, auth_token: str | None) -> str:
    """Try an endpoint before it is saved: the ComfyUI's version, or `unknown` for one that does not tell.

    Raises InvalidInput with a sentence that says what is wrong.
    """
    wire = Wire(endpoint, auth_token=auth_token)
    try:
        stats = await wire.system_stats(seconds=Patience.answer)
    except Refused as error:
        is_token = error.status in (401, 403)
        message = error.failure.message if error.status != 404 else _NO_COMFYUI
        raise InvalidInput(message, input_id="auth_token" if is_token else "endpoint") from error
    except MachineError as error:
        raise InvalidInput(error.failure.message, input_id="endpoint") from error
    finally:
        await wire.close()
    system = stats.get("system") if is_object(stats) else None
    if not is_object(system) or "devices" not in stats:
        raise InvalidInput(_NO_COMFYUI, input_id="endpoint")
    version = system.get("comfyui_version")
    return version if isinstance(version, str) and _VERSION.fullmatch(version) else "unknown"


_NO_COMFYUI = "What answers at the endpoint is no ComfyUI"


class ComfyUIMachine:
    """Executes runs on the ComfyUI at `settings.endpoint`. `nodes` is what is known of it, or of others like it."""

    def __init__(
        self, settings: MachineSettings, *, patience: Patience | None = None, nodes: KnownNodes | None = None
    ) -> None:
        self._settings = settings
        self._patience = patience or Patience()
        self._opened: Wire | None = None
        self._left: list[Wire] = []
        """Connections to earlier addresses, which runs may be using still."""
        self._is_closed = False
        self._uploads: Uploads | None = None
        self._nodes = nodes or KnownNodes()

    async def run(self, job: Job, emit: Emit) -> None:
        wire = self._wire()
        self._uploads = self._uploads or Uploads(wire)
        info, draft = await self._nodes.draft(wire, job.workflow_api, job.inputs)
        # What a server had sent that is gone may be at work still, or done, and is not to be executed a second time.
        adopted = await _find(wire, job.run_id, ended_too=True) if job.is_repeated else None
        names = {} if adopted else await self._uploads.upload(draft.files, job)
        graph, inputs = job.workflow_api, job.inputs
        compiled = await aside(lambda: compile_graph(graph, inputs, info, names=names), graph, inputs)
        try:
            await _Run(wire, job, emit, compiled=compiled, patience=self._patience).execute(adopted)
        except Refused:
            self._nodes.forget()
            raise

    async def health(self) -> Facts:
        """What the ComfyUI tells of itself when it answers, else raise MachineError with the reason."""
        return read_facts(await self._wire().system_stats(seconds=self._patience.answer))

    def adopt(self, settings: MachineSettings) -> None:
        """Talk to another address, or with another token, from now on. Runs at work go on where they are."""
        same = (settings.endpoint, settings.auth_token) == (self._settings.endpoint, self._settings.auth_token)
        self._settings = settings
        if not same:
            self._left += [self._opened] if self._opened else []
            self._opened = self._uploads = None
            self._nodes.forget()

    async def start(self) -> None:
        """It runs, or does not: that is somebody else's business."""

    async def stop(self, *, force: bool) -> None:
        """It goes on."""

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        """What the ComfyUI lacks for a graph, by what it tells of its node classes."""
        return await self._nodes.lacks(self._wire(), graph, inputs)

    async def is_idle(self) -> bool:
        """Whether it answers, and has nothing to do."""
        try:
            return await asyncio.wait_for(self._wire().queue(), self._patience.answer) == ([], [])
        except (MachineError, asyncio.TimeoutError):
            return False

    async def executes(self, prompt_id: str) -> bool:
        """Whether it is at work on a prompt that somebody has sent to it."""
        try:
            running, _ = await self._wire().queue()
        except MachineError:
            return False
        return any(entry[1] == prompt_id for entry in running)

    async def logs(self, limit_bytes: int) -> list[MachineLog]:
        """None: what it prints stays with whoever has started it."""
        return []

    async def close(self) -> None:
        """Close every connection."""
        self._is_closed = True
        for wire in (*self._left, *([self._opened] if self._opened else [])):
            await wire.close()
        self._left = []
        self._opened = self._uploads = None

    def _wire(self) -> Wire:
        """Not made with the machine: an endpoint that cannot be used fails a run and not the server."""
        if self._is_closed:
            raise MachineError(CLOSED)
        if self._opened is None:
            try:
                self._opened = Wire(self._settings.endpoint, auth_token=self._settings.auth_token)
            except InvalidInput as error:
                raise MachineError(Failure(message=str(error))) from error
        return self._opened


async def _find(wire: Wire, client_id: str, *, ended_too: bool = False) -> str | None:
    """The id of the prompt that was sent for a run, whose id is the prompt's client id; None when there is none."""
    running, pending = await wire.queue()
    for entry in [*running, *pending]:
        if _client_id(entry) == client_id:
            return str(entry[1])
    for prompt_id, record in (await wire.latest(RECENT)).items() if ended_too else ():
        if is_object(record) and _client_id(record.get("prompt")) == client_id and not was_interrupted(record):
            return prompt_id
    return None


def _client_id(entry: Any) -> Any:
    about = entry[3] if is_array(entry) and len(entry) > 3 else None
    return about.get("client_id") if is_object(about) else None


class _Run:
    """One prompt, from sending it to its end."""

    def __init__(self, wire: Wire, job: Job, emit: Emit, *, compiled: Compiled, patience: Patience) -> None:
        self._wire = wire
        self._job = job
        self._emit = emit
        self._prompt = compiled.prompt
        self._patience = patience
        self._narrator = Narrator(job.run_id, job.workflow_api, compiled, temporary_files=job.temporary_files)
        self._outputs = OutputCollector(wire, job, narrator=self._narrator, output_ids=compiled.output_ids)
        self._prompt_id: str | None = None
        self._was_sent = False
        self._has_begun = False

    async def execute(self, adopted: str | None) -> None:
        """Execute the prompt, or follow one that is there already. It is gone from the ComfyUI when this ends."""
        self._prompt_id = adopted
        is_over = False
        try:
            await both(self._follow(), self._outputs.bring())
            is_over = True
        except MachineLost as error:
            raise MachineLost(error.failure, was_sent=self._was_sent or adopted is not None) from error
        finally:
            if not is_over:
                await to_its_end(self._stop(), seconds=self._patience.stop)

    async def _follow(self) -> None:
        """Send the prompt, and tell of it until it has ended."""
        clock = asyncio.get_running_loop().time
        last_seen = clock()
        while True:
            try:
                async with self._wire.websocket(self._job.run_id, with_previews=self._job.preview_images) as socket:
                    if self._prompt_id is None:
                        await to_its_end(self._submit(), seconds=self._patience.stop)
                    elif await self._has_ended():
                        break
                    last_seen = clock()
                    ended = await self._listen(socket)
                    last_seen = clock()
                    if ended:
                        break
            except Unreachable as error:
                if self._prompt_id is None or clock() - last_seen > self._patience.away:
                    raise
                self._emit(self._narrator.away(error.failure.message))
            await asyncio.sleep(self._patience.retry)
        await self._conclude()

    async def _submit(self) -> None:
        self._was_sent = True
        try:
            answer = await self._wire.submit(
                self._prompt, client_id=self._job.run_id, with_previews=self._job.preview_images
            )
        except Refused as error:
            self._refuse(error.answer, error)
        except Unreachable as error:
            # It may have been taken all the same: then it is followed, and not sent again.
            self._prompt_id = await self._insist(lambda: _find(self._wire, self._job.run_id, ended_too=True))
            if self._prompt_id is None:
                raise error
        else:
            self._prompt_id = answer["prompt_id"]
            if answer.get("node_errors"):
                # ComfyUI would execute the rest of the graph, and the run would lack outputs without a word.
                await self._stop()
                self._refuse(answer, None)

    def _refuse(self, answer: Any, cause: Refused | None) -> None:
        # The oldest versions answer 500 to what later ones answer 400 to. Others are no answers to the graph.
        if cause and cause.status not in (400, 500):
            raise cause
        failure = self._narrator.rejection(answer)
        self._emit(Rejected(failure, self._narrator.node_errors(answer)))
        raise Refused(failure, status=cause.status if cause else 200) from cause

    async def _listen(self, socket: aiohttp.ClientWebSocketResponse) -> bool:
        """Tell of the prompt until it has ended (True) or the websocket has (False)."""
        clock, quiet = asyncio.get_running_loop().time, self._patience.quiet
        deadline = clock() + quiet
        while True:
            # What is told of others, and of the machine as a whole, says nothing about this prompt.
            if (remaining := deadline - clock()) <= 0:
                if await self._has_ended():
                    return True
                deadline = clock() + quiet
                continue
            try:
                received = await socket.receive(timeout=remaining)
            except asyncio.TimeoutError:
                continue
            if received.type not in (aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY):
                return False
            message = await self._read(received.data)
            # Old versions name no prompt in some messages; nobody else has this client id, so they are about this one.
            if message is None or message.data.get("prompt_id", self._prompt_id) != self._prompt_id:
                continue
            if self._take(message):
                deadline = clock() + quiet
            # The last message of every version, after the record has been written.
            if message.type == "executing" and "prompt_id" in message.data and message.data.get("node") is None:
                return True

    async def _read(self, content: str | bytes) -> Message | None:
        if len(content) <= LARGE_BYTES:
            return read_message(content, with_previews=self._job.preview_images)
        return await asyncio.to_thread(read_message, content, with_previews=self._job.preview_images)

    def _take(self, message: Message) -> bool:
        """Tell what a message means. Whether it was about the prompt: many do not say which one they are about."""
        events = self._narrator.events(message)
        for event in events:
            self._tell(event)
        if message.type == "executed":
            self._outputs.add(self._narrator.executed(message))
        return bool(events) or "prompt_id" in message.data

    def _tell(self, event: RunEvent) -> None:
        """Whatever is told of an execution, its beginning is told before: the message of that may have been missed."""
        if not self._has_begun:
            self._has_begun = True
            self._emit(ExecutionStarted(self._job.run_id))
            if isinstance(event, ExecutionStarted):
                return
        self._emit(event)

    async def _has_ended(self) -> bool:
        running, pending = await self._wire.queue()
        if not self._has_begun and any(entry[1] == self._prompt_id for entry in running):
            self._tell(ExecutionStarted(self._job.run_id))
        return all(entry[1] != self._prompt_id for entry in [*running, *pending])

    async def _conclude(self) -> None:
        """Read ComfyUI's record of the prompt, which is what counts."""
        record = await self._insist(lambda: self._wire.history(self._prompt_id or ""))
        if record is None:
            raise MachineLost(FORGOTTEN, was_sent=True)
        if failure := self._narrator.end(record):
            raise MachineError(failure)
        self._tell(ExecutionSucceeded(self._job.run_id))
        for output in self._narrator.outputs(record):
            self._outputs.add(output)
        self._outputs.finish()

    async def _insist(self, ask: Callable[[], Awaitable[T]]) -> T:
        """The answer of a ComfyUI that may be away for a while."""
        deadline = asyncio.get_running_loop().time() + self._patience.away
        while True:
            try:
                return await ask()
            except Unreachable:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(self._patience.retry)

    async def _stop(self) -> None:
        """Take the prompt from the queue, or interrupt it if it is the one at work, and wait for it to be gone."""
        if not self._was_sent and self._prompt_id is None:
            return
        try:
            await asyncio.wait_for(self._until_gone(), self._patience.stop)
        except (MachineError, asyncio.TimeoutError):
            log.warning("run %s could not be stopped on its machine", self._job.run_id)

    async def _until_gone(self) -> None:
        # Without an answer to the prompt it may have been taken all the same.
        prompt_id = self._prompt_id or await _find(self._wire, self._job.run_id)
        clock, interrupted = asyncio.get_running_loop().time, float("-inf")
        while prompt_id:
            running, pending = await self._wire.queue()
            if any(entry[1] == prompt_id for entry in pending):
                await self._wire.delete(prompt_id)
            elif not any(entry[1] == prompt_id for entry in running):
                return
            elif clock() - interrupted > 1:
                # Not only once: ComfyUI forgets an interruption that comes just before it begins with the prompt.
                await self._wire.interrupt(prompt_id)
                interrupted = clock()
            await asyncio.sleep(min(0.1, self._patience.retry))


FORGOTTEN = Failure(message="The machine's ComfyUI was restarted, or its history cleared, before the run was read")
