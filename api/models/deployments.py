"""Deployments: workflow versions on machines."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from .machines import MachineRef
from .records import Id, Name, Page, Record, Timestamp
from .workflows import WorkflowRef, WorkflowVersion

MAX_RUN_SECONDS = 7 * 24 * 3600

Environment = Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,39}$")]
"""`production`, `staging`, `preview`, or a word of one's own. A workflow has one deployment in each."""
Seconds = Annotated[float, Field(gt=0, le=MAX_RUN_SECONDS)]
Limit = Annotated[int, Field(ge=1, le=1000)]


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


class Deployment(Record):
    """A workflow version on a machine, ready to be run."""

    id: Id
    workflow_id: Id | None = None
    workflow_version_id: Id | None = None
    machine_id: Id | None = None
    environment: str | None = None
    """`production`, `staging`, `preview`, or a word of one's own."""
    name: str | None = None
    description: str | None = None
    is_active: bool | None = None
    """Whether runs are accepted. The hosted platform does not tell."""
    workflow: WorkflowRef | None = None
    version: WorkflowVersion | None = None
    machine: MachineRef | None = None
    input_types: list[DeploymentInput] | None = None
    output_types: list[DeploymentOutput] | None = None
    run_timeout: float | None = None
    """Seconds after which a run is stopped; None for the platform's own limit."""
    queue_timeout: float | None = None
    """Seconds that a run may wait for a machine; None for the platform's own limit."""
    concurrency_limit: int | None = None
    """Most runs of it at once; None for as many as the machine takes."""
    retry_elsewhere: bool | None = None
    """Whether a run whose machine dies in the middle of it is tried once more, on another one."""
    check_machine: bool | None = None
    """Whether the machine is asked for the nodes and models that the graph needs before a run is accepted."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class NewDeployment(Record):
    """Body of `POST /deployment`. A workflow has one deployment in each environment, which this replaces."""

    workflow_id: Id
    workflow_version_id: Id = Field(validation_alias=AliasChoices("workflow_version_id", "version_id"))
    """`version_id` is another name for it."""
    machine_id: Id
    environment: Environment = "production"
    """`production`, `staging`, `preview`, or a word of one's own. A workflow has one deployment in each."""
    name: Name | None = None
    """Without one it is called after the workflow."""
    deployment_id: Id | None = None
    """The deployment to replace, whatever its environment is."""
    run_timeout: Seconds | None = None
    """Seconds after which a run is stopped; without it the server's own limit counts."""
    queue_timeout: Seconds | None = None
    """Seconds that a run may wait for a machine; without it the server's own limit counts."""
    concurrency_limit: Limit | None = None
    """Most runs of it at once; without it as many as the machine takes."""
    retry_elsewhere: bool | None = None
    """Whether a run whose machine dies in the middle of it is tried once more: on another machine of the pool, or with
    another process of a machine that is started on demand. It may then be paid for twice."""
    check_machine: bool | None = None
    """Whether the machine is asked for the nodes and models that the graph needs, now and before each run. It is unless
    this is false, for nodes that take more than they tell of."""


class DeploymentChange(Record):
    """Body of `PATCH /deployment/{deployment_id}`. What is absent stays; null takes a limit away."""

    workflow_version_id: Id | None = Field(
        default=None, validation_alias=AliasChoices("workflow_version_id", "version_id")
    )
    """Another version of the same workflow; `version_id` is another name for it."""
    machine_id: Id | None = None
    environment: Environment | None = None
    """`production`, `staging`, `preview`, or a word of one's own. A workflow has one deployment in each."""
    name: Name | None = Field(default=None, examples=["Portraits"])
    run_timeout: Seconds | None = Field(default=None, examples=[600])
    """Seconds after which a run is stopped; without it the server's own limit counts."""
    queue_timeout: Seconds | None = Field(default=None, examples=[3600])
    """Seconds that a run may wait for a machine; without it the server's own limit counts."""
    concurrency_limit: Limit | None = Field(default=None, examples=[2])
    """Most runs of it at once; without it as many as the machine takes."""
    retry_elsewhere: bool | None = None
    """Whether a run whose machine dies in the middle of it is tried once more: on another machine of the pool, or with
    another process of a machine that is started on demand. It may then be paid for twice."""
    check_machine: bool | None = None
    """Whether the machine is asked for the nodes and models that the graph needs, now and before each run. It is unless
    this is false, for nodes that take more than they tell of."""


class DeployedVersion(Record):
    """What a deployment ran from a point in time on: a version on a machine."""

    workflow_version_id: Id
    version: int
    """The number of the version."""
    machine_id: Id
    at: Timestamp
    by: str | None = None
    """Who did it: the name of the API key. Absent where it is not known."""


class DeploymentQuery(Page):
    """Which deployments to list, newest change first."""

    limit: int = Field(default=1000, ge=0, le=1000, validation_alias=AliasChoices("limit", "page_size"))
    """Most rows to answer; `page_size` is another name for it."""
    environment: Environment | None = None
    """`production`, `staging`, `preview`, or a word of one's own."""
    is_fluid: bool | None = None
    """Whether they are on machines that are started when a run needs them; both kinds without it."""
