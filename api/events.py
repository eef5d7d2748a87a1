"""Run events: what each message of a run's stream means, for the side that writes it and the side that reads it.

On the wire an event is one server-sent event, `event: event_update` with `data: {"event": name, "data": {…}}`, or
`event: log_update` with `data: {"timestamp", "logs"}`. Most names are ComfyUI's own websocket messages passed through.
Two messages have no name: the machine's acceptance of the run (`{"prompt_id", "number", "node_errors"}`), which is
where the hosted platform tells the run's id, and its refusal (`{"error", "node_errors"}`).

`decode(encode(event)) == event` holds for every event.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .models import Failure, RunStatus
from .shapes import is_object

Payload = dict[str, Any]
"""The JSON of one message; what custom nodes send passes through, so its values can be anything."""


@dataclass(frozen=True)
class Phase:
    """The platform is getting a machine ready: `queuing`, `gpu_ready`, `comfyui_ready`, …"""

    name: str
    detail: Any = None


@dataclass(frozen=True)
class Accepted:
    """The machine has taken the run. On the hosted platform this is the first mention of the run's id."""

    run_id: str
    number: int = 0


@dataclass(frozen=True)
class Rejected:
    """The machine refused the graph; the run will fail."""

    failure: Failure
    node_errors: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True)
class ExecutionStarted:
    """The machine begins with the run."""

    run_id: str


@dataclass(frozen=True)
class ExecutionCached:
    """These nodes need not be executed: the machine still has their results."""

    run_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class NodeStarted:
    """The machine begins with a node; None means that it has done the last one."""

    run_id: str
    node_id: str | None


@dataclass(frozen=True)
class NodeProgress:
    """A node has done `value` of `maximum` steps."""

    run_id: str
    node_id: str | None
    value: float
    maximum: float


@dataclass(frozen=True)
class NodesProgress:
    """How far every node is that has been started: node id to share of its work, 0 to 1."""

    run_id: str
    nodes: Mapping[str, float]


@dataclass(frozen=True)
class PreviewImage:
    """What a node has so far, as a small picture. Only runs that were asked for with previews have it."""

    run_id: str
    node_id: str | None
    content_type: str
    """`image/jpeg` or `image/png`."""
    data: bytes = field(repr=False)


@dataclass(frozen=True)
class LiveStatus:
    """What the run is doing, for people, and the share of its nodes that have been started, 0 to 1."""

    run_id: str
    text: str
    progress: float


@dataclass(frozen=True)
class NodeExecuted:
    """A node is done. `output` is ComfyUI's own: kind to list of files; URLs in it may be missing."""

    run_id: str
    node_id: str
    output: Mapping[str, Any]


@dataclass(frozen=True)
class OutputReady:
    """An output of the run is in the store. URLs may be missing: read the run at its end."""

    run_id: str
    node_id: str
    output: Mapping[str, Any]


@dataclass(frozen=True)
class ExecutionFailed:
    """A node failed, and with it the run."""

    run_id: str
    failure: Failure


@dataclass(frozen=True)
class ExecutionSucceeded:
    """Every node is done; outputs may still be on their way to the store."""

    run_id: str


@dataclass(frozen=True)
class ExecutionInterrupted:
    """Somebody interrupted the machine."""

    run_id: str
    node_id: str | None = None


@dataclass(frozen=True)
class StatusChanged:
    """The run's status on the platform. A terminal one is the last event of a stream, where the platform sends one."""

    run_id: str
    status: RunStatus


@dataclass(frozen=True)
class LogLine:
    """Lines from the machine's log."""

    text: str
    timestamp: Any = None


@dataclass(frozen=True)
class Unknown:
    """A message with no meaning here; custom nodes send their own."""

    name: str | None
    data: Any = None


_Named = (
    ExecutionStarted
    | ExecutionCached
    | NodeStarted
    | NodeProgress
    | NodesProgress
    | PreviewImage
    | LiveStatus
    | NodeExecuted
    | OutputReady
    | ExecutionFailed
    | ExecutionSucceeded
    | ExecutionInterrupted
    | StatusChanged
)
RunEvent = _Named | Phase | Accepted | Rejected | LogLine | Unknown

PHASES = ("queuing", "function_call_id", "gpu_ready", "gpu_event_id", "comfyui_api_ready", "comfyui_ready")


def decode(message: str, data: str) -> RunEvent:
    """The event in one server-sent event with name `message`. Never fails: what makes no sense is `Unknown`."""
    try:
        payload: Any = json.loads(data)
        if not is_object(payload):
            return Unknown(message, payload)
        if message == "log_update":
            return LogLine(_text(payload.get("logs", "")), payload.get("timestamp"))
    except _NONSENSE:
        return Unknown(message, data)
    return decode_payload(payload)


def decode_payload(payload: Payload) -> RunEvent:
    """The event in the JSON of an `event_update`. Never fails, as `decode`."""
    name, data = payload.get("event"), payload.get("data")
    try:
        if name is None:
            return _decode_unnamed(payload)
        if name in PHASES:
            return Phase(name, data)
        reader = _READERS.get(name) if isinstance(name, str) else None
        if reader and is_object(data) and isinstance(data["prompt_id"], str):
            return reader(data)
    except _NONSENSE:
        pass
    return Unknown(name if isinstance(name, str) else None, payload if name is None else data)


_NONSENSE = (KeyError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError)
"""What reading raises when values have another type, size or depth than they should."""


def _decode_unnamed(payload: Payload) -> RunEvent:
    run_id, error = payload.get("prompt_id"), payload.get("error")
    node_errors = payload.get("node_errors")
    node_errors = node_errors if is_object(node_errors) else {}
    if isinstance(run_id, str):
        number = payload.get("number")
        return Accepted(run_id, int(number) if isinstance(number, int | float) and abs(number) < _MAX_NUMBER else 0)
    if is_object(error):
        words = [_text(error[key]) for key in ("message", "details") if error.get(key)]
        return Rejected(Failure(message=" ".join(words), exception_type=_id(error.get("type"))), node_errors)
    return Unknown(None, payload)


_MAX_NUMBER = 2**63


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number


def _text(value: Any) -> str:
    """A text that can be sent on: JSON can hold halves of characters, which UTF-8 cannot."""
    return str(value).encode(errors="replace").decode()


def _id(value: Any) -> str | None:
    return None if value is None else _text(value)


def _output(data: Payload) -> Payload:
    output = data.get("output")
    return output if is_object(output) else {}


def _nodes_progress(data: Payload) -> NodesProgress:
    nodes: dict[str, Payload] = data["nodes"]
    return NodesProgress(data["prompt_id"], {key: _share(node["value"], node["max"]) for key, node in nodes.items()})


def _share(value: Any, maximum: Any) -> float:
    done, whole = _number(value), _number(maximum)
    return min(1.0, max(0.0, done / whole)) if whole else 0.0


def _preview_image(data: Payload) -> PreviewImage:
    image = base64.b64decode(data["image"], validate=True)
    return PreviewImage(data["prompt_id"], _id(data.get("node")), str(data["content_type"]), image)


def _failed(data: Payload) -> ExecutionFailed:
    failure = Failure(
        message=_text(data.get("exception_message", "")).strip(),
        node_id=_id(data.get("node_id")),
        node_class=_id(data.get("node_type")),
        exception_type=_id(data.get("exception_type")),
    )
    return ExecutionFailed(data["prompt_id"], failure)


def _live_status(data: Payload) -> LiveStatus:
    return LiveStatus(data["prompt_id"], _text(data.get("live_status") or ""), _number(data.get("progress") or 0))


_READERS: dict[str, Callable[[Payload], RunEvent]] = {
    "execution_start": lambda d: ExecutionStarted(d["prompt_id"]),
    "execution_cached": lambda d: ExecutionCached(d["prompt_id"], tuple(map(_text, d["nodes"]))),
    "executing": lambda d: NodeStarted(d["prompt_id"], _id(d["node"])),
    "progress": lambda d: NodeProgress(d["prompt_id"], _id(d.get("node")), _number(d["value"]), _number(d["max"])),
    "progress_state": _nodes_progress,
    "preview_image": _preview_image,
    "live_status": _live_status,
    "executed": lambda d: NodeExecuted(d["prompt_id"], _text(d["node"]), _output(d)),
    "output_ready": lambda d: OutputReady(d["prompt_id"], _text(d["node"]), _output(d)),
    "execution_error": _failed,
    "execution_success": lambda d: ExecutionSucceeded(d["prompt_id"]),
    "execution_interrupted": lambda d: ExecutionInterrupted(d["prompt_id"], _id(d.get("node_id"))),
    "status": lambda d: StatusChanged(d["prompt_id"], RunStatus(d["status"])),
}


def encode(event: RunEvent) -> tuple[str, Payload]:
    """The name of the server-sent event and its JSON."""
    match event:
        case LogLine(text, timestamp):
            return "log_update", {"timestamp": timestamp, "logs": text}
        case Accepted(run_id, number):
            return "event_update", {"prompt_id": run_id, "number": number, "node_errors": {}}
        case Rejected(failure, node_errors):
            error: Payload = {
                "type": failure.exception_type,
                "message": failure.message,
                "details": "",
                "extra_info": {},
            }
            return "event_update", {"error": error, "node_errors": dict(node_errors)}
        case Phase(name, None):
            return "event_update", {"event": name}
        case Phase(name, detail):
            return "event_update", {"event": name, "data": detail}
        case Unknown(None, data) if is_object(data):
            return "event_update", data
        case Unknown(name, data):
            return "event_update", {"event": name, "data": data}
        case _:
            name, data = _encode_named(event)
            return "event_update", {"event": name, "data": {**data, "prompt_id": event.run_id}}


def _encode_named(event: _Named) -> tuple[str, Payload]:
    match event:
        case ExecutionStarted():
            return "execution_start", {}
        case ExecutionCached(_, nodes):
            return "execution_cached", {"nodes": list(nodes)}
        case NodeStarted(_, node_id):
            return "executing", {"node": node_id, "display_node": node_id}
        case NodeProgress(_, node_id, value, maximum):
            return "progress", {"node": node_id, "value": value, "max": maximum}
        case NodesProgress(_, nodes):
            return "progress_state", {"nodes": {key: _node_state(key, share) for key, share in nodes.items()}}
        case PreviewImage(_, node_id, content_type, data):
            image = base64.b64encode(data).decode()
            return "preview_image", {"node": node_id, "content_type": content_type, "image": image}
        case LiveStatus(_, text, progress):
            return "live_status", {"live_status": text, "progress": progress}
        case NodeExecuted(_, node_id, output):
            return "executed", {"node": node_id, "display_node": node_id, "output": dict(output)}
        case OutputReady(_, node_id, output):
            return "output_ready", {"node": node_id, "display_node": node_id, "output": dict(output)}
        case ExecutionFailed(_, failure):
            return "execution_error", _failure_data(failure)
        case ExecutionSucceeded():
            return "execution_success", {}
        case ExecutionInterrupted(_, node_id):
            return "execution_interrupted", {"node_id": node_id}
        case StatusChanged(_, status):
            return "status", {"status": status.value}


def _node_state(node_id: str, share: float) -> Payload:
    state = "finished" if share >= 1 else "running"
    return {"node_id": node_id, "display_node_id": node_id, "value": share, "max": 1.0, "state": state}


def _failure_data(failure: Failure) -> Payload:
    return {
        "node_id": failure.node_id,
        "node_type": failure.node_class,
        "exception_type": failure.exception_type,
        "exception_message": failure.message,
        "traceback": [],
    }


def to_sse(event: RunEvent, *, number: int | None = None) -> bytes:
    """The bytes of one server-sent event. `number` becomes its id, from which a stream can be resumed."""
    message, payload = encode(event)
    head = f"id: {number}\n" if number is not None else ""
    # Compact, and without raw line breaks: JSON escapes them, and a line break would end the field.
    return f"{head}event: {message}\ndata: {json.dumps(payload, separators=(',', ':'))}\n\n".encode()
