"""Events of an account: what changes for the owner of an API key, for the side that writes and the side that reads.

On the wire each is one server-sent event with a name of its own and JSON as its data. Those that are kept have an id,
after which a stream can be resumed.

`decode(encode(event)) == event` holds for every event.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, TypeVar

from .models import Failure, RunStatus, parse_timestamp, write_timestamp
from .shapes import is_object

Payload = dict[str, Any]
"""The JSON of one event."""
T = TypeVar("T")

KINDS = ("workflow", "deployment", "machine", "asset", "run")
DEEDS = ("created", "updated", "deleted")


@dataclass(frozen=True)
class StreamBegun:
    """The first event of every stream. Without `is_resumed` it begins now: read anew what you show."""

    is_resumed: bool


@dataclass(frozen=True)
class StreamBroken:
    """The platform cannot be reached at the moment. This is never on the wire: the client says so, and tries again."""

    reason: str


@dataclass(frozen=True)
class RunChanged:
    """A run has come to another status, or further. These are fields of `Run`."""

    run_id: str
    status: RunStatus
    progress: float = 0.0
    live_status: str | None = None
    queue_position: int | None = None
    deployment_id: str | None = None
    workflow_id: str | None = None
    workflow_version_id: str | None = None
    machine_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: Failure | None = None


@dataclass(frozen=True)
class PreviewShown:
    """What a run has so far, as a small picture."""

    run_id: str
    content_type: str
    """`image/jpeg` or `image/png`."""
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class MachineChanged:
    """A machine has gone down or come back, was started or stopped, or another number of runs waits for it."""

    machine_id: str
    status: str
    status_reason: str | None = None
    queue: int | None = None
    """Runs that wait for it."""
    processes: int | None = None
    """Of one whose processes the platform starts and stops."""


@dataclass(frozen=True)
class ThingChanged:
    """Somebody has made, changed or deleted something: read it, or its list, anew."""

    kind: str
    """One of `KINDS`. Of runs, which come and change without anybody's doing, `RunChanged` tells instead; our server
    never deletes one."""
    id: str
    deed: str
    """One of `DEEDS`."""


@dataclass(frozen=True)
class UnknownEvent:
    """An event with no meaning here."""

    name: str


AccountEvent = StreamBegun | StreamBroken | RunChanged | PreviewShown | MachineChanged | ThingChanged | UnknownEvent

_NAMES: dict[type[Any], str] = {
    StreamBegun: "begun",
    RunChanged: "run",
    PreviewShown: "preview",
    MachineChanged: "machine",
    ThingChanged: "changed",
}
_TIMES = ("created_at", "started_at", "ended_at")
_NONSENSE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading raises when values have another type, size or depth than they should."""


def encode(event: AccountEvent) -> tuple[str, Payload]:
    """The name of the server-sent event and its JSON."""
    match event:
        case RunChanged():
            times = {name: write_timestamp(time) if (time := getattr(event, name)) else None for name in _TIMES}
            error = event.error.model_dump() if event.error else None
            return "run", {**_plain(event), **times, "status": event.status.value, "error": error}
        case PreviewShown(run_id, content_type, data):
            return "preview", {
                "run_id": run_id,
                "content_type": content_type,
                "data": base64.b64encode(data).decode(),
            }
        case UnknownEvent(name):
            return name, {}
        case StreamBroken():
            raise ValueError("that a stream is broken cannot be told by it")
        case _:
            return _NAMES[type(event)], asdict(event)


def decode(name: str, data: str) -> AccountEvent:
    """The event in one server-sent event. Never fails: what makes no sense is `UnknownEvent`."""
    try:
        payload: Any = json.loads(data)
    except _NONSENSE:
        return UnknownEvent(name)
    return decode_payload(name, payload)


def decode_payload(name: str, payload: Any) -> AccountEvent:  # whatever the JSON is
    """The event in the JSON of one server-sent event. Never fails, as `decode`."""
    reader = _READERS.get(name)
    try:
        if reader and is_object(payload):
            return reader(payload)
    except _NONSENSE:
        pass
    return UnknownEvent(name)


def to_sse(event: AccountEvent, *, number: int | None = None) -> bytes:
    """The bytes of one server-sent event. `number` becomes its id, from which a stream can be resumed."""
    name, payload = encode(event)
    head = f"id: {number}\n" if number is not None else ""
    return f"{head}event: {name}\ndata: {json.dumps(payload, separators=(',', ':'))}\n\n".encode()


def _plain(event: RunChanged) -> Payload:
    return {each.name: getattr(event, each.name) for each in fields(event)}


def _run(data: Payload) -> RunChanged:
    known: Payload = {each.name: data[each.name] for each in fields(RunChanged) if data.get(each.name) is not None}
    for name in _TIMES:
        if name in known:
            known[name] = _checked(parse_timestamp(known[name]), datetime)
    if "error" in known:
        known["error"] = Failure.model_validate(known["error"])
    known["progress"] = min(1.0, max(0.0, float(known.get("progress", 0.0))))
    texts = ("live_status", "deployment_id", "workflow_id", "workflow_version_id", "machine_id")
    for name in texts:
        _checked(known.get(name, ""), str)
    _checked(known.get("queue_position", 0), int)
    known |= {"run_id": _checked(data["run_id"], str), "status": RunStatus(data["status"])}
    return RunChanged(**known)


def _preview(data: Payload) -> PreviewShown:
    image = base64.b64decode(data["data"], validate=True)
    return PreviewShown(_checked(data["run_id"], str), _checked(data["content_type"], str), image)


def _machine(data: Payload) -> MachineChanged:
    known: Payload = {each.name: data[each.name] for each in fields(MachineChanged) if data.get(each.name) is not None}
    _checked(known.get("status_reason", ""), str)
    for name in ("queue", "processes"):
        _checked(known.get(name, 0), int)
    known |= {name: _checked(data[name], str) for name in ("machine_id", "status")}
    return MachineChanged(**known)


def _thing(data: Payload) -> ThingChanged:
    return ThingChanged(*(_checked(data[name], str) for name in ("kind", "id", "deed")))


def _checked(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f"not a {kind.__name__}")
    return value


_READERS: dict[str, Callable[[Payload], AccountEvent]] = {
    "begun": lambda data: StreamBegun(_checked(data["is_resumed"], bool)),
    "run": _run,
    "preview": _preview,
    "machine": _machine,
    "changed": _thing,
}
