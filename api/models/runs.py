"""Runs: their status, their outputs, and what is sent to start one."""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any, Literal, cast

from pydantic import AliasChoices, BeforeValidator, Field, WithJsonSchema

from ..shapes import is_array, is_object
from .records import Graph, Id, Page, Record, Timestamp, WebUrl


class RunStatus(str, Enum):
    """Where a run is. It ends in `success`, `failed`, `timeout` or `cancelled` and then stays there."""

    NOT_STARTED = "not-started"
    QUEUED = "queued"
    STARTED = "started"
    RUNNING = "running"
    UPLOADING = "uploading"
    SUCCESS = "success"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"

    @classmethod
    def _missing_(cls, value: object) -> RunStatus | None:
        """A status that this version does not know is that of a run which is still going."""
        return cls.RUNNING if isinstance(value, str) else None

    @property
    def is_terminal(self) -> bool:
        """Whether the run has ended for good."""
        return not TRANSITIONS[self]

    @property
    def predecessors(self) -> tuple[RunStatus, ...]:
        """The statuses from which a run may come to this one."""
        return tuple(status for status, following in TRANSITIONS.items() if self in following)


_ENDS = frozenset({RunStatus.FAILED, RunStatus.TIMEOUT, RunStatus.CANCELLED})
_ACTIVE = frozenset({RunStatus.RUNNING, RunStatus.UPLOADING, RunStatus.SUCCESS, RunStatus.QUEUED}) | _ENDS

TRANSITIONS: dict[RunStatus, frozenset[RunStatus]] = {
    RunStatus.NOT_STARTED: frozenset({RunStatus.QUEUED, RunStatus.STARTED, RunStatus.RUNNING}) | _ENDS,
    RunStatus.QUEUED: frozenset({RunStatus.STARTED, RunStatus.RUNNING}) | _ENDS,
    # Back to queued: the server that worked on the run is gone and another one takes it.
    RunStatus.STARTED: _ACTIVE,
    RunStatus.RUNNING: _ACTIVE - {RunStatus.RUNNING},
    RunStatus.UPLOADING: _ACTIVE - {RunStatus.RUNNING, RunStatus.UPLOADING},
    RunStatus.SUCCESS: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.TIMEOUT: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}


class Failure(Record):
    """Why a run failed, in the machine's own words."""

    message: str
    node_id: str | None = None
    """The node that failed, as its graph names it; null where it was none."""
    node_class: str | None = None
    exception_type: str | None = None

    def __str__(self) -> str:
        where = f"node {self.node_id} ({self.node_class or 'unknown class'}): " if self.node_id else ""
        kind = f"{self.exception_type}: " if self.exception_type else ""
        return f"{where}{kind}{self.message.strip()}"


class OutputFile(Record):
    """One file that a run has put out."""

    url: str
    filename: str = ""
    type: str = "output"
    subfolder: str = ""
    is_public: bool | None = None


class NodeMeta(Record):
    """Which node of the graph an output comes from."""

    node_id: str | None = None
    node_class: str | None = None


def _known_items(value: Any) -> Any:
    """Keep what has the shape of an output; errors and timings travel in the same field on the hosted platform."""
    if not is_object(value):
        return {}
    kept: dict[str, list[Any]] = {}
    for kind, items in value.items():
        if is_array(items):
            kept[kind] = [item for item in items if _is_file(item) or isinstance(item, (str, bool))]
    return {kind: items for kind, items in kept.items() if items}


def _is_file(item: Any) -> bool:
    return isinstance(item, OutputFile) or (is_object(item) and isinstance(item.get("url"), str))


class RunOutput(Record):
    """What one node of a run has put out: files by kind (`images`, `files`, `gifs`, …) and texts."""

    id: str | None = None
    run_id: str | None = None
    output_id: str | None = None
    data: Annotated[dict[str, list[OutputFile | str | bool]], BeforeValidator(_known_items)] = Field(
        default_factory=dict[str, "list[OutputFile | str | bool]"]
    )
    node_meta: NodeMeta | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None

    @property
    def node_id(self) -> str | None:
        """The node that made this output, as its graph names it."""
        return self.node_meta.node_id if self.node_meta else None

    @property
    def files(self) -> list[OutputFile]:
        """Every file, of whatever kind, in order."""
        return [item for items in self.data.values() for item in items if isinstance(item, OutputFile)]

    @property
    def texts(self) -> list[str]:
        """Every plain text, in order."""
        return [item for items in self.data.values() for item in items if isinstance(item, str)]


class Run(Record):
    """One execution of a deployment."""

    id: Id
    status: RunStatus
    progress: Annotated[float, BeforeValidator(lambda value: value or 0.0)] = 0.0
    """Share of the work done, 0 to 1. The hosted platform may end below 1."""
    live_status: str | None = None
    """What the machine is doing at the moment, for people."""
    queue_position: int | None = None
    """How many other runs come first; only while the run waits."""
    outputs: list[RunOutput] = Field(default_factory=list[RunOutput])
    error: Failure | None = None
    """Why the run failed. The hosted platform does not tell it here; its stream does."""
    deployment_id: str | None = None
    environment: str | None = None
    """That of its deployment."""
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    machine_id: str | None = None
    """The machine that works on it; while it waits, the machine or pool that it waits for."""
    machine_type: str | None = None
    workflow_inputs: dict[str, Any] | None = None
    webhook_status: str | None = None
    """How far the newest message to the run's webhook has come: `pending`, `delivered` or `failed`."""
    webhook: str | None = None
    """Our own server does not tell it, because its query may hold a secret."""
    webhook_intermediate_status: bool = False
    origin: str | None = "api"
    workflow_api: Graph | None = None
    """Absent: it is in the workflow version. The hosted platform's own Python client wants the field."""
    number: int = 0
    duration: float | None = None
    """Seconds from being asked for to the end."""
    run_duration: float | None = None
    """Seconds from the beginning of its execution to the end."""
    cold_start_duration: float | None = None
    """Seconds from its being given to a machine to the beginning of its execution."""
    cold_start_duration_total: float | None = None
    gpu: str | None = None
    gpu_event_id: str | None = None
    machine_version: str | None = None
    modal_function_call_id: str | None = None
    user_id: str | None = None
    org_id: str | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None


class RunMessage(Record):
    """What a webhook is told of a run."""

    event_type: Literal["run.updated"] = "run.updated"
    run_id: Id
    status: RunStatus
    live_status: str | None
    """What the machine is doing, for people."""
    progress: float = Field(ge=0, le=1)
    """Share of the work done."""
    outputs: list[RunOutput]
    """Empty until the run has ended."""
    error: Failure | None = None
    """Why the run failed; absent where it did not."""


class RunQueued(Record):
    """Answer to queueing a run."""

    run_id: Id


def _input_value(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, list)):
        return cast("Any", value)
    raise ValueError("has to be a text, a number, true, false or a list")


InputValue = Annotated[
    Any,
    BeforeValidator(_input_value),
    WithJsonSchema({"anyOf": [{"type": each} for each in ("string", "number", "boolean", "array")]}),
]
"""What an input of a run may be on the wire; what it has to be is checked against the deployment's inputs."""


class RunRequest(Record):
    """Body of `POST /run/deployment/{queue,sync,stream}`."""

    deployment_id: Id
    inputs: dict[str, InputValue] = Field(
        default_factory=dict[str, InputValue],
        max_length=1000,
        examples=[{"image": "https://example.com/photo.png"}],
    )
    """Values by `input_id`, as the deployment's `input_types` list them. An image or file is the URL of one:
    `download_url` or `file_url` of an upload."""
    webhook: WebUrl | None = Field(default=None, validation_alias=AliasChoices("webhook", "webhook_url"))
    """Where to POST every change of the run's status, as described under Webhooks; `webhook_url` is another name for
    it."""
    webhook_intermediate_status: bool = False
    """Whether to tell its progress there, too."""
    preview_images: bool = False
    """Whether whoever follows the run is shown what a sampler has so far, step by step."""
    temporary_files: bool = False
    """Whether what preview nodes show is kept, too, as outputs of the type `temp`."""


def _known_status(value: Any) -> Any:
    if isinstance(value, str) and value not in {status.value for status in RunStatus}:
        raise ValueError(f"is one of {', '.join(status.value for status in RunStatus)}")
    return value


KnownStatus = Annotated[RunStatus, BeforeValidator(_known_status)]
"""A status in a request. In an answer one that is not known stands for a run that goes on."""


class RunQuery(Page):
    """Which runs to list, newest first."""

    workflow_id: Id | None = None
    deployment_id: Id | None = None
    status: KnownStatus | None = None


class RunsOfOne(Page):
    """Which runs of one workflow or deployment to list, newest first."""

    status: KnownStatus | None = None


class RunsMeta(Record):
    """Which part of a list was answered."""

    limit: int
    offset: int


class RunsAnswer(Record):
    """Answer to listing the runs of a deployment."""

    data: list[Run]
    meta: RunsMeta


class RunShown(Record):
    """How much of a run to answer."""

    queue_position: bool = False
    """Whether to count the runs that come before it."""


class CancelResult(Record):
    """Answer to cancelling a run."""

    status: str = "success"
    message: str = ""
