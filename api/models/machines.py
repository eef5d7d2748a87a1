"""Machines: what executes runs."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .records import Id, Name, Page, Record, Search, Timestamp, WebUrl

Token = Annotated[str, Field(max_length=2000, pattern=r"^[\x20-\x7e]*$")]
Slots = Annotated[int, Field(ge=1, le=64)]
IdleSeconds = Annotated[float, Field(ge=0, le=7 * 24 * 3600)]


def _is_any(value: Any) -> Any:
    return value > 0 if isinstance(value, int) else value


class Machine(Record):
    """Something that executes runs."""

    id: Id
    name: str
    type: str
    """On our own server `builtin`, `comfyui` (one by its URL) or `managed` (started on demand); classic,
    comfy-deploy-serverless, … on the hosted platform."""
    status: str = "ready"
    status_reason: str | None = None
    """Why it cannot take runs at the moment, if that is so."""
    endpoint: str | None = None
    deleted: bool | None = None
    concurrency_limit: int | None = None
    """Most runs at once."""
    idle_timeout: float | None = None
    """Seconds without a run after which its process is stopped."""
    keep_warm: Annotated[bool | None, BeforeValidator(_is_any)] = None
    """Whether one stays when there is nothing to do. The hosted platform tells how many do."""
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


class NewMachine(Record):
    """Body of `POST /machine/create`: any kind of machine; which other fields count depends on `type`."""

    name: Name = Field(examples=["for small pictures"])
    type: Literal["builtin", "comfyui", "classic", "managed", "serverless"]
    """`builtin` is the server itself, `comfyui` (or `classic`) a ComfyUI that runs already, `managed` (or `serverless`)
    one that the server starts when a run needs it."""
    endpoint: WebUrl | None = None
    """For `comfyui`: its address, as a browser opens it."""
    auth_token: Token | None = None
    """For `comfyui`: a bearer token, or `user:password`, in printable ASCII. It is never answered."""
    comfyui: Name | None = None
    """For `managed`: the name under which the server's operator has allowed a ComfyUI."""
    concurrency_limit: Slots = 1
    """Most runs at once."""
    idle_timeout: IdleSeconds = 60.0
    """For `managed`: seconds without a run after which a process is stopped."""
    keep_warm: bool = False
    """For `managed`: whether one process stays when there is nothing to do."""


class MachineQuery(Page):
    """Which machines to list, oldest first."""

    search: Search | None = None
    """A part of the name."""


class MachineDeletion(Record):
    """How to delete a machine."""

    force: bool = False
    """Whether to delete it although deployments use it, which then take no more runs."""
