"""Machines: what executes runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from .records import GraphOrText, Id, Name, Page, Record, Search, Timestamp, WebUrl
from .workflows import ApiGraph

Token = Annotated[str, Field(max_length=2000, pattern=r"^[\x20-\x7e]*$")]
Slots = Annotated[int, Field(ge=1, le=64)]
IdleSeconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600)]
MachineIds = Annotated[list[Id], Field(min_length=1, max_length=64)]


def _is_any(value: Any) -> Any:
    return value > 0 if isinstance(value, int) else value


class Machine(Record):
    """Something that executes runs."""

    id: Id
    name: str
    type: str
    """On our own server `builtin`, `comfyui` (one by its URL), `managed` (started on demand) or `pool` (several of
    them); classic, comfy-deploy-serverless, … on the hosted platform."""
    status: str = "ready"
    status_reason: str | None = None
    """What is wrong with it: why it takes no runs at the moment, or why its ComfyUI could not be started the last time,
    which the next run tries again."""
    endpoint: str | None = None
    machine_ids: list[Id] | None = None
    """Of a `pool`: the machines that its runs may go to."""
    deleted: bool | None = None
    concurrency_limit: int | None = None
    """Most runs at once."""
    idle_timeout: float | None = None
    """Seconds without a run after which its process is stopped."""
    keep_warm: Annotated[bool | None, BeforeValidator(_is_any)] = None
    """Whether one stays when there is nothing to do. The hosted platform tells how many do."""
    processes: int | None = None
    """Of a `managed` machine: how many of its ComfyUIs are there, at work or idle."""
    gpu: str | None = None
    """What it computes on, by name; of several different ones all names."""
    vram_total: int | None = None
    """Bytes of its GPUs' memory together."""
    vram_free: int | None = None
    """Bytes of that memory which were free when it was last asked."""
    comfyui_version: str | None = None
    """The hosted platform tells the hash of the commit."""
    python_version: str | None = None
    pytorch_version: str | None = None
    queue: int | None = None
    """Runs that wait for it. The hosted platform does not tell."""
    working: int | None = None
    """Runs that it is at work on. The hosted platform does not tell."""
    created_at: Timestamp | None = None
    updated_at: Timestamp | None = None


class MachineRef(Record):
    """A machine as a deployment mentions it."""

    id: Id | None = None
    name: str | None = None
    type: str | None = None


class NewCustomMachine(Record):
    """Body of `POST /machine/custom`: a ComfyUI that runs already. It is asked before it is kept."""

    name: Name = Field(examples=["my workstation"])
    endpoint: WebUrl = Field(examples=["http://127.0.0.1:8188"])
    """Its address, as a browser opens it."""
    auth_token: Token | None = None
    """A bearer token, or `user:password`, for what stands in front of it, in printable ASCII. It is never answered."""
    type: Literal["comfyui", "classic"] = "comfyui"
    """`classic` is the hosted platform's word for the same."""
    concurrency_limit: Slots = 1
    """Most runs at once."""


class NewServerlessMachine(Record):
    """Body of `POST /machine/serverless`: a ComfyUI that the server starts when a run needs it."""

    name: Name = Field(examples=["on demand"])
    comfyui: Name | None = None
    """The name under which the server's operator has allowed a ComfyUI; needed where there are several."""
    concurrency_limit: Slots = 1
    """Most processes at once, each with a run of its own."""
    idle_timeout: IdleSeconds = 60.0
    """Seconds without a run after which a process is stopped."""
    keep_warm: bool = False
    """Whether one process stays when there is nothing to do."""


class NewPool(Record):
    """Several machines under one name. A run goes to one that is free, has what its graph needs, and has its models
    loaded already if any has."""

    name: Name = Field(examples=["all GPUs"])
    machine_ids: MachineIds


class NewMachine(Record):
    """Body of `POST /machine/create`: any kind of machine; which other fields count depends on `type`."""

    name: Name = Field(examples=["for small pictures"])
    type: Literal["builtin", "comfyui", "classic", "managed", "serverless", "pool"]
    """`builtin` is the server itself, `comfyui` (or `classic`) a ComfyUI that runs already, `managed` (or `serverless`)
    one that the server starts when a run needs it, `pool` several machines of these types under one name."""
    endpoint: WebUrl | None = None
    """For `comfyui`: its address, as a browser opens it."""
    auth_token: Token | None = None
    """For `comfyui`: a bearer token, or `user:password`, in printable ASCII. It is never answered."""
    comfyui: Name | None = None
    """For `managed`: the name under which the server's operator has allowed a ComfyUI."""
    machine_ids: MachineIds | None = None
    """For `pool`: the machines that its runs may go to."""
    concurrency_limit: Slots = 1
    """Most runs at once."""
    idle_timeout: IdleSeconds = 60.0
    """For `managed`: seconds without a run after which a process is stopped."""
    keep_warm: bool = False
    """For `managed`: whether one process stays when there is nothing to do."""


class CustomMachineChange(Record):
    """Body of `PATCH /machine/custom/{machine_id}`. What is absent stays. An address is asked before it is kept."""

    name: Name | None = Field(default=None, examples=["my workstation"])
    endpoint: WebUrl | None = None
    """Its address, as a browser opens it. With another one, a token that is kept has to be there, too: it is not
    sent to an address that it was not given for."""
    auth_token: Token | None = None
    """A bearer token, or `user:password`, in printable ASCII; null or empty takes it away. It is never answered."""
    concurrency_limit: Slots | None = None
    """Most runs at once."""


class ServerlessMachineChange(Record):
    """Body of `PATCH /machine/serverless/{machine_id}`. What is absent stays."""

    name: Name | None = Field(default=None, examples=["on demand"])
    concurrency_limit: Slots | None = None
    """Most processes at once, each with a run of its own."""
    idle_timeout: IdleSeconds | None = None
    """Seconds without a run after which a process is stopped."""
    keep_warm: bool | None = None
    """Whether one process stays when there is nothing to do."""


class PoolChange(Record):
    """Body of `PATCH /machine/pool/{machine_id}`. What is absent stays."""

    name: Name | None = Field(default=None, examples=["all GPUs"])
    machine_ids: MachineIds | None = None
    """The machines that its runs may go to, in place of those that it has."""


class MachineStop(Record):
    """Body of `POST /machine/{machine_id}/stop`; it may be left out."""

    force: bool = False
    """Whether to stop at once what is at work. Such a run fails, or waits again where its deployment says so."""


class MachineQuery(Page):
    """Which machines to list, oldest first."""

    search: Search | None = None
    """A part of the name."""


class MachineDeletion(Record):
    """How to delete a machine."""

    force: bool = False
    """Whether to delete it although deployments use it, which then take no more runs."""


class Lack(Record):
    """Something that a graph needs and a machine does not have."""

    node_id: str | None = None
    node_class: str
    kind: Literal["node_class", "choice", "required_input"]
    """A class of nodes, one of the choices of an input (a model, a sampler), or an input that has to be given."""
    input_name: str | None = None
    value: str | None = None
    """The choice that is asked for."""
    near: list[str] = Field(default_factory=list[str])
    """What the machine has that is written alike, the likeliest first; at most three."""
    message: str
    """All of this in a sentence for people."""


class MachineCheck(Record):
    """Body of `POST /machine/{machine_id}/check`: a graph. With both, the executable one counts."""

    workflow_api: ApiGraph | None = Field(default=None, examples=[{"1": {"class_type": "EmptyImage", "inputs": {}}}])
    """The executable graph: its node classes, what they choose from, and the inputs that they need are checked."""
    workflow: GraphOrText | None = None
    """The editor's graph, of which only the node classes can be checked: models and inputs are not."""

    @model_validator(mode="after")
    def _check_that_there_is_a_graph(self) -> MachineCheck:
        if self.workflow is None and self.workflow_api is None:
            raise ValueError("send a workflow_api, or else a workflow")
        return self


class MachineVerdict(Record):
    """What a machine lacks for a graph."""

    is_known: bool
    """Whether the machine could say so: it cannot while it is down, or was never started."""
    reason: str | None = None
    """Why it could not."""
    lacks: list[Lack] = Field(default_factory=list[Lack])
    """Empty when it has everything, and when it is not known."""


class MachineLog(Record):
    """What one process of a `managed` machine has printed."""

    name: str
    """The name of its file."""
    started_at: Timestamp
    is_running: bool
    """Whether the process is there still."""
    text: str
    """Its end. Other people's texts may be in it: ComfyUI and its custom nodes print what they work on."""


class MachineLogQuery(Record):
    """How much of the logs to answer."""

    limit_bytes: int = Field(default=64 * 1024, ge=1, le=1024 * 1024)
    """Most bytes of each log, from its end. All logs together have no more than a mebibyte."""
