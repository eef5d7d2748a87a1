"""Workflows and their versions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, AliasChoices, Field, model_validator

from .records import Graph, GraphOrText, Id, Name, Page, Record, Search, Text, Timestamp, WebUrl


def _check_format(graph: Graph) -> Graph:
    if isinstance(graph.get("nodes"), list):
        raise ValueError("is the editor's graph. Send that as the workflow, and here what Export (API) gives")
    return graph


ApiGraph = Annotated[GraphOrText, AfterValidator(_check_format)]
"""An executable graph in a request."""


_EXAMPLE: Graph = {
    "1": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "image", "default_value_url": ""}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
}
"""A graph that every machine can execute."""


class WorkflowVersion(Record):
    """One state of a workflow: the editor's graph and the executable one."""

    id: Id
    workflow_id: Id
    version: int
    workflow: Graph | None = None
    workflow_api: Graph | None = None
    comment: str | None = None
    user_name: str | None = None
    """Who has made it: on our own server the name of the API key, on the hosted platform that of a person."""
    created_at: Timestamp | None = None


class Workflow(Record):
    """A graph that is kept on the platform, in versions."""

    id: Id
    name: str
    description: str | None = None
    pinned: bool | None = None
    cover_image: str | None = None
    selected_machine_id: Id | None = None
    """The machine that the editor offers first for this workflow."""
    latest_version: int | None = None
    """The number of its newest version. The hosted platform does not tell it in lists."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None
    versions: list[WorkflowVersion | None] | None = None
    """The newest versions in full, where one workflow is read; absent in lists."""


class WorkflowRef(Record):
    """A workflow as a deployment mentions it."""

    id: Id
    name: str


class WorkflowCreated(Record):
    """Answer to creating a workflow. The hosted platform tells only `workflow_id`."""

    workflow_id: Id
    workflow_version_id: Id | None = None
    version: int | None = None
    machine_id: Id | None = None
    deployment_id: Id | None = None
    """The deployment on that machine, ready to be run."""


class NewWorkflow(Record):
    """Body of `POST /workflow`."""

    name: Name = Field(examples=["Invert a picture"])
    description: Text | None = None
    workflow_json: GraphOrText | None = Field(default=None, validation_alias=AliasChoices("workflow_json", "workflow"))
    """The editor's graph; `workflow` is another name for it."""
    workflow_api: ApiGraph | None = Field(default=None, examples=[_EXAMPLE])
    """The executable graph, without which nothing can be run."""
    comment: Text | None = None
    """About the first version."""
    machine_id: Id | None = None
    """With a machine, the version is also deployed there, in the environment `preview`."""


class WorkflowChange(Record):
    """Body of `PATCH /workflow/{workflow_id}`. What is absent stays; null clears what may be empty."""

    name: Name | None = Field(default=None, examples=["Portraits"])
    description: Text | None = None
    pinned: bool | None = None
    """Pinned workflows come first in lists."""
    cover_image: WebUrl | None = None
    """Where its picture is."""
    selected_machine_id: Id | None = None
    """The machine that the editor offers first for this workflow."""
    deleted: Literal[False] | None = None
    """false brings back a workflow that was deleted, with its deployments as they were."""


class CloneRequest(Record):
    """Body of `POST /workflow/{workflow_id}/clone`; it may be left out."""

    name: Name | None = None
    """Without one the copy is called after the original."""
    all_versions: bool = False
    """Whether to copy every version, with its number, in place of only the newest as version 1."""


class NewVersion(Record):
    """Body of `POST /workflow/{workflow_id}/version`: at least one of the two graphs."""

    workflow: GraphOrText | None = Field(default=None, validation_alias=AliasChoices("workflow", "workflow_json"))
    """The editor's graph; `workflow_json` is another name for it."""
    workflow_api: ApiGraph | None = Field(default=None, examples=[_EXAMPLE])
    """The executable graph, without which nothing can be run."""
    comment: Text | None = None
    """What is new in it."""
    machine_id: Id | None = None
    """With a machine, the version is also deployed there, in the environment `preview`."""

    @model_validator(mode="after")
    def _check_that_there_is_a_graph(self) -> NewVersion:
        if self.workflow is None and self.workflow_api is None:
            raise ValueError("a version has a workflow, a workflow_api, or both")
        return self


class WorkflowQuery(Page):
    """Which workflows to list, and in which order. Pinned ones come first."""

    search: Search | None = None
    """A part of the name."""
    sort: Literal["updated", "created", "name"] = "updated"
    """Whether the newest change comes first, the newest workflow, or the name that is first in the alphabet."""


class WorkflowShown(Record):
    """How much of a workflow to answer."""

    limit: int = Field(default=1, ge=0, le=10)
    """How many of its newest versions to answer in full."""


class VersionQuery(Page):
    """Which versions of a workflow to list, newest first."""

    search: Search | None = None
    """A part of the comment."""
    include_graphs: bool = False
    """Whether to answer the graphs as well, which are large: at most 10 versions then."""
