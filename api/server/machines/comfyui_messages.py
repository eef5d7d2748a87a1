"""What ComfyUI tells of a prompt, read into run events, files, texts and failures. Nothing here does I/O."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...errors import quote
from ...events import (
    ExecutionCached,
    ExecutionInterrupted,
    ExecutionStarted,
    LiveStatus,
    NodeExecuted,
    NodeProgress,
    NodesProgress,
    NodeStarted,
    RunEvent,
)
from ...models import Failure, Graph
from ...shapes import is_array, is_object
from ..graph import Compiled

MAX_QUOTED_LINES = 8
_TEXT_KINDS = ("text", "texts", "string", "strings")
"""The lists of a node's output that hold texts for people; others hold sizes, colours and names of files."""
_PROGRESS_TEXT = 3
_FOLDERS = re.compile(r"(?<![\w:/\\.])(?:[A-Za-z]:|~)?(?:[\\/][^\\/\s'\":<>|?*]+)+[\\/](?=[^\\/\s])")


@dataclass(frozen=True)
class Message:
    """One message of the websocket."""

    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class RemoteFile:
    """A file in a ComfyUI's output folder."""

    kind: str
    """The list that the node has put it into: `images`, `gifs`, `audio`, …"""
    filename: str
    subfolder: str


@dataclass(frozen=True)
class NodeOutput:
    """What one node has put out."""

    sent: str
    """The node, as ComfyUI calls it."""
    node_id: str
    """The node of the run's graph."""
    files: tuple[RemoteFile, ...]
    texts: tuple[str, ...]


def read_message(content: str | bytes) -> Message | None:
    """The message in one frame. None for previews, which are for the screen, and for what makes no sense."""
    if isinstance(content, bytes):
        return _read_binary(content)
    try:
        message: Any = json.loads(content)
    except (ValueError, RecursionError):
        return None
    if not is_object(message) or not isinstance(message.get("type"), str):
        return None
    data = message.get("data")
    return Message(message["type"], data if is_object(data) else {})


def _read_binary(content: bytes) -> Message | None:
    """A binary frame begins with its kind, in four bytes; that of a text goes on with a counted node id."""
    if len(content) < 8 or struct.unpack_from(">I", content)[0] != _PROGRESS_TEXT:
        return None
    length = struct.unpack_from(">I", content, 4)[0]
    node_id, text = content[8 : 8 + length], content[8 + length :]
    data = {"node": node_id.decode(errors="replace"), "text": text.decode(errors="replace")}
    return Message("progress_text", data)


def words(text: Any) -> str:
    """Somebody else's text for a failure: its last lines, without folders of the machine and secrets of URLs."""
    lines = [line for line in str(text).splitlines() if line.strip()]
    return "\n".join(quote(_FOLDERS.sub("", line)) for line in lines[-MAX_QUOTED_LINES:])


class Narrator:
    """Tells of one prompt in the words of the run, whose graph has other ids and classes than what was sent."""

    def __init__(self, run_id: str, graph: Graph, compiled: Compiled) -> None:
        self._run_id = run_id
        self._graph = graph
        self._compiled = compiled
        self._begun: dict[str, float] = {}
        self._is_all_done = False

    def node_id(self, sent: Any) -> str | None:
        """The node of the run's graph that a node of the prompt belongs to."""
        if sent is None:
            return None
        node_id = str(sent)
        return self._compiled.origins.get(node_id, node_id)

    def node_class(self, node_id: str | None) -> str | None:
        """Its class in the run's graph."""
        node = self._graph.get(node_id or "")
        return str(node.get("class_type")) if is_object(node) else None

    def events(self, message: Message) -> list[RunEvent]:
        """What a message about the prompt means for whoever follows the run."""
        run_id, data = self._run_id, message.data
        node_id = self.node_id(_shown(data))
        match message.type:
            case "execution_start":
                return [ExecutionStarted(run_id)]
            case "execution_cached":
                nodes: list[Any] = data["nodes"] if is_array(data.get("nodes")) else []
                self._begun |= {str(each): 1.0 for each in nodes}
                return [ExecutionCached(run_id, tuple(dict.fromkeys(str(self.node_id(each)) for each in nodes)))]
            case "executing":
                return self._node_started(data.get("node"), node_id)
            case "progress":
                return self._progress(data, node_id)
            case "progress_state":
                return self._progress_of_nodes(data)
            case "progress_text":
                return [LiveStatus(run_id, quote(str(data.get("text"))), self._share())]
            case "executed":
                output = data.get("output")
                return [NodeExecuted(run_id, str(node_id), output if is_object(output) else {})]
            case "execution_interrupted":
                return [ExecutionInterrupted(run_id, self.node_id(data.get("node_id")))]
            case _:
                return []

    def _node_started(self, sent: Any, node_id: str | None) -> list[RunEvent]:
        if sent is None:
            self._is_all_done = True
            return [NodeStarted(self._run_id, None)]
        self._begun = dict.fromkeys(self._begun, 1.0) | {str(sent): 0.0}
        text = f"Executing {self.node_class(node_id) or 'a node'}"
        return [NodeStarted(self._run_id, node_id), LiveStatus(self._run_id, text, self._share())]

    def _progress(self, data: Mapping[str, Any], node_id: str | None) -> list[RunEvent]:
        share = _share_of(data)
        if share is None:
            return []
        before = self._share()
        self._begun[str(data.get("node"))] = share
        events: list[RunEvent] = [NodeProgress(self._run_id, node_id, float(data["value"]), float(data["max"]))]
        if self._share() - before >= 0.01:  # whoever follows the whole run does not need every step of a node
            events.append(LiveStatus(self._run_id, f"Executing {self.node_class(node_id) or 'a node'}", self._share()))
        return events

    def _progress_of_nodes(self, data: Mapping[str, Any]) -> list[RunEvent]:
        nodes = data.get("nodes")
        shares: dict[str, float] = {}
        for sent, node in (nodes if is_object(nodes) else {}).items():
            share = _share_of(node) if is_object(node) else None
            if share is not None:
                shares[str(self.node_id(node.get("display_node_id") or sent))] = share
        return [NodesProgress(self._run_id, shares)]

    def _share(self) -> float:
        """The share of the prompt's work that is done, every node counting the same."""
        total = max(1, len(self._compiled.prompt))
        return 1.0 if self._is_all_done else min(1.0, sum(self._begun.values()) / total)

    def executed(self, message: Message) -> NodeOutput:
        """What a node has put out, from the message that says so."""
        return self._output(message.data.get("node"), _shown(message.data), message.data.get("output"))

    def outputs(self, record: Mapping[str, Any]) -> list[NodeOutput]:
        """What every node has put out, from ComfyUI's record; those are there, too, whose results it still had."""
        outputs, meta = record.get("outputs"), record.get("meta")
        found: list[NodeOutput] = []
        for sent, ui in (outputs if is_object(outputs) else {}).items():
            about = meta.get(sent) if is_object(meta) else None
            shown = about.get("display_node") if is_object(about) else None
            found.append(self._output(sent, shown or sent, ui))
        return found

    def _output(self, sent: Any, shown: Any, ui: Any) -> NodeOutput:
        """Every file but previews, which ComfyUI keeps in another folder, and every text."""
        files: list[RemoteFile] = []
        texts: list[str] = []
        for kind, items in (ui if is_object(ui) else {}).items():
            for item in items if is_array(items) else []:
                if is_object(item) and isinstance(item.get("filename"), str) and item.get("type") == "output":
                    files.append(RemoteFile(str(kind), item["filename"], str(item.get("subfolder") or "")))
                elif isinstance(item, str) and kind in _TEXT_KINDS:
                    texts.append(item)
        return NodeOutput(str(sent), str(self.node_id(shown)), tuple(files), tuple(texts))

    def failure(self, data: Mapping[str, Any]) -> Failure:
        """Why a node failed, from `execution_error`."""
        node_id = self.node_id(data.get("node_id"))
        exception_type = data.get("exception_type")
        return Failure(
            message=words(data.get("exception_message") or "no reason was given"),
            node_id=node_id,
            node_class=self.node_class(node_id) or _text(data.get("node_type")),
            exception_type=exception_type.rpartition(".")[2] if isinstance(exception_type, str) else None,
        )

    def end(self, record: Mapping[str, Any]) -> Failure | None:
        """How a prompt ended, from ComfyUI's record of it; None for success."""
        status = record.get("status")
        status = status if is_object(status) else {}
        messages: list[Any] = status["messages"] if is_array(status.get("messages")) else []
        told = {each[0]: each[1] for each in messages if is_array(each) and len(each) == 2 and is_object(each[1])}
        if "execution_interrupted" in told:
            node_id = self.node_id(told["execution_interrupted"].get("node_id"))
            return Failure(message=INTERRUPTED, node_id=node_id, node_class=self.node_class(node_id))
        if "execution_error" in told:
            return self.failure(told["execution_error"])
        if status.get("status_str") == "error":
            return Failure(message="The ComfyUI reports an error and no reason; its log may have one")
        return None

    def node_errors(self, answer: Any) -> dict[str, Any]:
        """What is wrong with each node, from the answer to a graph, without everything that would be right."""
        node_errors = answer.get("node_errors") if is_object(answer) else None
        found: dict[str, Any] = {}
        for sent, node in (node_errors if is_object(node_errors) else {}).items():
            node_id, errors = str(self.node_id(sent)), node.get("errors") if is_object(node) else None
            reasons = [each for each in errors if is_object(each)] if is_array(errors) else []
            told = [{"type": _text(each.get("type")), "message": _reason(each)} for each in reasons]
            found[node_id] = {"class_type": self.node_class(node_id), "errors": told}
        return found

    def rejection(self, answer: Any) -> Failure:
        """Why the graph was refused, from the answer to it."""
        node_errors = self.node_errors(answer)
        for node_id, node in node_errors.items():
            reason: Mapping[str, Any] = next(iter(node["errors"]), {"message": "no reason was given"})
            others = f" (and {len(node_errors) - 1} more nodes)" if len(node_errors) > 1 else ""
            return Failure(
                message=reason["message"] + others,
                node_id=node_id,
                node_class=node["class_type"],
                exception_type=reason.get("type"),
            )
        error = answer.get("error") if is_object(answer) else None
        if is_object(error):
            return Failure(message=_reason(error), exception_type=_text(error.get("type")))
        return Failure(message="The machine's ComfyUI refused the graph and gave no reason; its log may have one")


INTERRUPTED = "Somebody interrupted the run on the machine itself"


def _shown(data: Mapping[str, Any]) -> Any:
    """The node that a message is about: one that was made while executing is shown as the one that made it."""
    return data.get("node") if data.get("display_node") is None else data["display_node"]


def _share_of(data: Mapping[str, Any]) -> float | None:
    value, maximum = data.get("value"), data.get("max")
    if not isinstance(value, (int, float)) or not isinstance(maximum, (int, float)) or maximum <= 0:
        return None
    return max(0.0, min(1.0, value / maximum))


def _reason(error: Mapping[str, Any]) -> str:
    parts = [str(error[key]) for key in ("message", "details") if error.get(key)]
    return words(": ".join(parts)) or "no reason was given"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
