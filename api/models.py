"""Every record on the wire. This module is the contract between the client, our server and the hosted platform.

Field names are the platform's. Unknown fields are ignored, so that an older version of this package reads the answers
of a newer platform.
"""

from __future__ import annotations

import re
from datetime import datetime, timezone
from enum import Enum
from typing import Annotated, Any, cast
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

from .shapes import is_array, is_object

_TIMESTAMP = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d+))?"
    r"\s*(?P<zone>Z|[+-]\d\d(?::?\d\d)?Z?)?"
)


def parse_timestamp(value: Any) -> Any:
    """A point in time from any of the five shapes that the hosted platform writes, one of which is not valid ISO 8601.

    All of them are UTC: with a blank or a `T`, with no zone, `Z`, `+00:00`, or `+00Z`. Other values are returned as
    they are, for pydantic to accept or refuse.
    """
    if not isinstance(value, str) or not (match := _TIMESTAMP.fullmatch(value.strip())):
        return value
    fraction = (match["fraction"] or "0")[:6].ljust(6, "0")
    zone = (match["zone"] or "Z").rstrip("Z") or "+00:00"
    zone = zone if ":" in zone else f"{zone[:3]}:{zone[3:] or '00'}"
    return datetime.fromisoformat(f"{match['date']}T{match['time']}.{fraction}{zone}").astimezone(timezone.utc)


def write_timestamp(value: datetime) -> str:
    """UTC with microseconds and `Z`, the most common of the platform's shapes."""
    return value.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def canonical_id(value: str) -> str:
    """An id of the platform in its usual spelling; ValueError when it is none."""
    try:
        return str(UUID(value.strip()))
    except ValueError:
        raise ValueError(f"{value[:80]!r} is not an id of the platform, which looks like {UUID(int=0)}") from None


Timestamp = Annotated[datetime, BeforeValidator(parse_timestamp), PlainSerializer(write_timestamp, when_used="json")]
Id = Annotated[str, AfterValidator(canonical_id)]
Graph = dict[str, Any]
"""A workflow or workflow_api. Its values are ComfyUI's and any node may add to them, hence Any."""


class Record(BaseModel):
    """Base of the records: immutable, tolerant of fields it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True, protected_namespaces=())


class RunStatus(str, Enum):
    """Where a run is. The transitions that are allowed are in `TRANSITIONS`."""

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
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    machine_id: str | None = None
    machine_type: str | None = None
    workflow_inputs: dict[str, Any] | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    queued_at: Timestamp | None = None
    started_at: Timestamp | None = None
    ended_at: Timestamp | None = None


class RunQueued(Record):
    """Answer to queueing a run."""

    run_id: Id


def _input_value(value: Any) -> Any:
    if isinstance(value, (str, int, float, bool, list)):
        return cast("Any", value)
    raise ValueError("has to be a text, a number, true, false or a list")


InputValue = Annotated[Any, BeforeValidator(_input_value)]
"""What an input of a run may be on the wire; what it has to be is checked against the deployment's inputs."""


class RunRequest(Record):
    """Body of `POST /run/deployment/{queue,sync,stream}`."""

    deployment_id: Id
    inputs: dict[str, InputValue] = Field(default_factory=dict[str, InputValue])


class DeploymentInput(Record):
    """One value that a run of a deployment takes."""

    input_id: str
    class_type: str
    type: str = "string"
    """The wire type: string, integer, float, boolean."""
    default_value: Any = None
    min_value: float | int | None = None
    max_value: float | int | None = None
    step: float | int | None = None
    display_name: str | None = None
    description: str | None = None
    enum_options: list[str] | None = None
    required: bool = False
    """Whether a run cannot start without it. The hosted platform does not tell; it is read from the graph."""


class DeploymentOutput(Record):
    """One output that a run of a deployment gives."""

    output_id: str
    class_type: str = ""
    node_id: str | None = None


class WorkflowVersion(Record):
    """One state of a workflow: the editor's graph and the executable one."""

    id: Id
    workflow_id: Id
    version: int
    workflow: Graph | None = None
    workflow_api: Graph | None = None
    comment: str | None = None
    created_at: Timestamp | None = None


class Workflow(Record):
    """A graph that is kept on the platform, in versions."""

    id: Id
    name: str
    description: str | None = None
    pinned: bool | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    versions: list[WorkflowVersion | None] | None = None


class WorkflowCreated(Record):
    """Answer to creating a workflow. The hosted platform tells only `workflow_id`."""

    workflow_id: Id
    workflow_version_id: Id | None = None
    version: int | None = None
    machine_id: Id | None = None


class WorkflowRef(Record):
    """A workflow as a deployment mentions it."""

    id: Id
    name: str


class Machine(Record):
    """Something that executes runs."""

    id: Id
    name: str
    type: str
    """`builtin` on our own server; classic, comfy-deploy-serverless, … on the hosted platform."""
    status: str = "ready"
    deleted: bool | None = None
    concurrency_limit: int | None = None
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class MachineRef(Record):
    """A machine as a deployment mentions it."""

    id: Id | None = None
    name: str | None = None
    type: str | None = None


class Deployment(Record):
    """A workflow version on a machine, ready to be run."""

    id: Id
    workflow_id: Id | None = None
    workflow_version_id: Id | None = None
    machine_id: Id | None = None
    environment: str | None = None
    name: str | None = None
    description: str | None = None
    workflow: WorkflowRef | None = None
    version: WorkflowVersion | None = None
    machine: MachineRef | None = None
    input_types: list[DeploymentInput] | None = None
    output_types: list[DeploymentOutput] | None = None
    run_timeout: float | None = None
    """Seconds after which a run is stopped; None for the platform's own limit."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class UploadRequest(Record):
    """Body of `POST /file/upload`: announces a file of `file_size` bytes with content type `type`."""

    type: str = Field(min_length=3, max_length=100, pattern=r"^[A-Za-z0-9_.+-]+/[A-Za-z0-9_.+-]+$")
    file_size: int = Field(ge=0)
    file_name: str | None = Field(default=None, max_length=255)


class UploadTicket(Record):
    """Answer to announcing a file: PUT the bytes to `upload_url`, then read them from `download_url`."""

    upload_url: str
    file_id: str
    download_url: str
    expires_at: Timestamp | None = None
    """When `download_url` stops working."""


class UploadedFile(Record):
    """Answer to a multipart upload, as the hosted platform writes it."""

    file_id: str
    file_name: str | None = None
    file_url: str


class CancelResult(Record):
    """Answer to cancelling a run."""

    status: str = "success"
    message: str = ""
