"""Machines: whatever executes a run.

A machine turns a job into run events and outputs. It knows nothing of the database, of HTTP or of other runs, so a
kind of machine is one file here: `builtin` works in this process, others talk to a ComfyUI somewhere.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ...events import RunEvent
from ...models import Failure, Graph, Lack, MachineLog
from .facts import Facts


def _tell_nobody() -> None:
    """For machines whose processes nobody watches."""


@dataclass(frozen=True)
class MachineSettings:
    """What the operator or the owner has set for one machine."""

    id: str
    type: str
    """`builtin`, `comfyui` or `managed`."""
    endpoint: str | None = None
    """Where the ComfyUI of a `comfyui` machine answers; may have a path."""
    auth_token: str | None = field(default=None, repr=False)
    """For a `comfyui` machine: a bearer token, or `user:password`."""
    comfyui: str | None = None
    """The name of a `managed` ComfyUI."""
    folder: Path | None = None
    """Its folder; None where the operator has named none for it."""
    idle_timeout: float = 60.0
    """Seconds without a run after which a `managed` process is stopped."""
    keep_warm: bool = False
    """Whether a `managed` machine keeps one process that has been started, however long it is idle."""
    concurrency_limit: int = 1
    on_change: Callable[[], None] = field(default=_tell_nobody, repr=False, compare=False)
    """To be called when a process has come or gone, or could not be started."""


class MachineError(Exception):
    """The machine could not execute the run; `failure` says which node and why, for the person who started it."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(str(failure))
        self.failure = failure


class MachineLost(MachineError):
    """The machine went away: the same run may succeed on another one, or on this one later."""

    def __init__(self, failure: Failure, *, was_sent: bool) -> None:
        super().__init__(failure)
        self.was_sent = was_sent
        """Whether the machine may have begun to execute the run."""


@dataclass(frozen=True)
class OutputBytes:
    """A file that a node has put out, on its way to the object store."""

    kind: str
    """The list it belongs to: `images`, `files`, …"""
    filename: str
    content_type: str
    chunks: AsyncIterable[bytes]
    type: str = "output"
    """`temp` for what a preview node shows."""


class Outputs(Protocol):
    """Where a machine brings what the nodes of a run put out, as it comes."""

    async def add(
        self, node_id: str, node_class: str, *, output_id: str | None, files: list[OutputBytes], texts: list[str]
    ) -> None: ...


@dataclass(frozen=True)
class Job:
    """One run, as a machine sees it."""

    run_id: str
    workflow_api: Graph
    inputs: Mapping[str, Any]
    """Values by input_id, already checked against the graph."""
    read_file: Callable[[str], AsyncGenerator[bytes, None]]
    """The bytes behind the URL of an input; raises InvalidInput when they cannot be had."""
    outputs: Outputs
    is_repeated: bool = False
    """Whether it was begun before, perhaps on this machine, by a server that is gone."""
    preview_images: bool = False
    """Whether to tell of the pictures that a sampler shows while it works."""
    temporary_files: bool = False
    """Whether what preview nodes show is an output, too."""


Emit = Callable[[RunEvent], None]
"""Tells of progress: at once, to whoever follows the run, and kept by nobody."""


class Machine(Protocol):
    """One kind of machine."""

    async def run(self, job: Job, emit: Emit) -> None:
        """Execute a run to its end, telling of it by `emit` and `job.outputs`.

        Returns when every node is done, raises MachineError when the run failed. Cancelling the task must stop exactly
        this run, and the task ends only when it has stopped.
        """
        ...

    async def health(self) -> Facts | None:
        """What is known of the machine when it could take a run now, else raise MachineError with the reason."""
        ...

    def adopt(self, settings: MachineSettings) -> None:
        """Work by other settings from now on. What is at work goes on."""
        ...

    async def start(self) -> None:
        """Have a process that answers, where the server starts them; it may take minutes. MachineError if it fails."""
        ...

    async def stop(self, *, force: bool) -> None:
        """Stop the machine's own processes when what is at work has ended, or at once. A run starts them again."""
        ...

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        """What the machine lacks for a graph; the first of very many.

        `inputs` are the values of a run; without them what only a run tells is taken to be there. Raises MachineError
        when the machine cannot say so now. One that would have to be started for it is, if it `may_start`.
        """
        ...

    async def executes(self, prompt_id: str) -> bool:
        """Whether a ComfyUI of the machine is at work on this prompt, which need not come from here. Never raises."""
        ...

    async def logs(self, limit_bytes: int) -> list[MachineLog]:
        """What the machine's own processes have printed: the last bytes of each log, the newest first."""
        ...

    async def close(self) -> None:
        """Free what the machine holds: connections, processes. No run is at work any more, and none follows."""
        ...


MachineFactory = Callable[[MachineSettings], Machine]
"""Makes a machine. Whoever calls it keeps one Machine for each machine id, and closes it."""
