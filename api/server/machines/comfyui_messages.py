"""What ComfyUI tells of a prompt, read into run events, files, texts and failures. Nothing here does I/O."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
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
    PreviewImage,
    RunEvent,
)
from ...models import Failure, Graph
from ...shapes import is_array, is_object, parse_json
from ..graph import Compiled
from .comfyui_progress import WorkDone, share_of, steps_of

MAX_QUOTED_LINES = 8
MAX_TEXT_CHARACTERS = 4 * 1024 * 1024
"""Longest message that is text; a longer one is passed over."""
_TEXT_KINDS = ("text", "texts", "string", "strings")
"""The lists of a node's output that hold texts for people; others hold sizes, colours and names of files."""
MAX_PREVIEW_BYTES = 1024 * 1024
"""Longest frame with a preview; a longer one is passed over."""
_PREVIEW, _PROGRESS_TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4
_PREVIEW_TYPES = {1: "image/jpeg", 2: "image/png"}
_FOLDERS = re.compile(
    # In quotes a folder may have blanks in its name. Without them nobody can tell where it ends.
    r"""(?<=['"])(?:[A-Za-z]:|~)?[\\/][^'":<>|?*]*[\\/](?=[^\\/'"]+['"])"""
    r"""|(?<![\w:/\\.])(?:[A-Za-z]:|~)?(?:[\\/][^\\/\s'":<>|?*]+)+[\\/](?=[^\\/\s])"""
)


@dataclass(frozen=True)
class Message:
    """One message of the websocket."""

    type: str
    data: Mapping[str, Any]


@dataclass(frozen=True)
class RemoteFile:
    """A file that a node has put out, in one of a ComfyUI's folders."""

    kind: str
    """The list that the node has put it into: `images`, `gifs`, `audio`, …"""
    filename: str
    subfolder: str
    type: str
    """The folder: `output`, or `temp` for what a preview node shows."""

    @property
    def told(self) -> dict[str, str]:
        """As ComfyUI tells of it."""
        return {"filename": self.filename, "subfolder": self.subfolder, "type": self.type}


@dataclass(frozen=True)
class NodeOutput:
    """What one node has put out."""

    sent: str
    """The node, as ComfyUI calls it."""
    node_id: str
    """The node of the run's graph."""
    files: tuple[RemoteFile, ...]
    texts: tuple[str, ...]


def read_message(content: str | bytes, *, with_previews: bool = False) -> Message | None:
    """The message in one frame. None for a preview that nobody wants, and for what makes no sense."""
    if isinstance(content, bytes):
        return _read_binary(content, with_previews=with_previews)
    if len(content) > MAX_TEXT_CHARACTERS:
        return None
    try:
        message: Any = parse_json(content)
    except ValueError:
        return None
    if not is_object(message) or not isinstance(message.get("type"), str):
        return None
    data = message.get("data")
    return Message(message["type"], data if is_object(data) else {})


def _read_binary(content: bytes, *, with_previews: bool) -> Message | None:
    """A binary frame begins with two numbers of four bytes: its kind, and the type or length of what comes next."""
    if len(content) < 8:
        return None
    kind, number = struct.unpack_from(">II", content)
    if kind == _PROGRESS_TEXT:
        node_id, text = content[8 : 8 + number], content[8 + number :]
        data = {"node": node_id.decode(errors="replace"), "text": text.decode(errors="replace")}
        return Message("progress_text", data)
    if not with_previews or len(content) > MAX_PREVIEW_BYTES:
        return None
    if kind == _PREVIEW:
        return _preview({}, content_type=_PREVIEW_TYPES.get(number), image=content[8:])
    if kind == _PREVIEW_WITH_METADATA:
        return _read_described(content[8 : 8 + number], image=content[8 + number :])
    return None


def _read_described(metadata: bytes, *, image: bytes) -> Message | None:
    """A preview that tells which node of which prompt it is from."""
    try:
        about: Any = json.loads(metadata)
    except (ValueError, RecursionError):
        return None
    if not is_object(about):
        return None
    names = {"node": "node_id", "display_node": "display_node_id", "prompt_id": "prompt_id"}
    data = {name: about.get(theirs) for name, theirs in names.items()}
    return _preview(data, content_type=about.get("image_type"), image=image)


def _preview(data: Mapping[str, Any], *, content_type: Any, image: bytes) -> Message | None:
    if content_type not in _PREVIEW_TYPES.values():
        return None
    return Message("preview_image", {**data, "content_type": content_type, "image": image})


def words(text: Any) -> str:
    """Somebody else's text for a failure: its last lines, without folders of the machine and secrets of URLs."""
    lines = [line for line in str(text).splitlines() if line.strip()]
    return "\n".join(map(_line, lines[-MAX_QUOTED_LINES:]))


def _line(text: str) -> str:
    return quote(_FOLDERS.sub("", text))


class Narrator:
    """Tells of one prompt in the words of the run, whose graph has other ids and classes than what was sent."""

    def __init__(self, run_id: str, graph: Graph, compiled: Compiled, *, temporary_files: bool = False) -> None:
        self._run_id = run_id
        self._graph = graph
        self._compiled = compiled
        self._file_types = ("output", "temp") if temporary_files else ("output",)
        self._done = WorkDone(compiled.prompt)
        self._executing: Any = None
        """What is at work, as ComfyUI calls it: it may have been made while executing."""
        self._at_work: str | None = None
        """The node of the prompt that it is shown as."""
        self._told_share = 0.0
        """The share of the whole that was told last."""

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
        sent = self._known(data.get("node"), data.get("display_node"))
        match message.type:
            case "execution_start":
                return [ExecutionStarted(run_id)]
            case "execution_cached":
                nodes: list[Any] = data["nodes"] if is_array(data.get("nodes")) else []
                return self._cached([known for each in nodes if (known := self._known(each))])
            case "executing":
                return self._node_started(data.get("node"), sent)
            case "progress":
                return self._progress(data, sent) if sent else []
            case "progress_state":
                return self._progress_of_nodes(data)
            case "progress_text":
                return [LiveStatus(run_id, _line(str(data.get("text"))), self._done.share)]
            case "preview_image":
                return self._preview(data, sent)
            case "executed":
                return (
                    [NodeExecuted(run_id, str(self.node_id(sent)), self._published(data.get("output")))] if sent else []
                )
            case "execution_interrupted":
                return [ExecutionInterrupted(run_id, self.node_id(data.get("node_id")))]
            case _:
                return []

    def _known(self, sent: Any, shown: Any = None) -> str | None:
        """The node of the prompt that is meant; None for one that is neither in it nor shown as one of it."""
        for each in (shown, sent):
            if isinstance(each, (str, int)) and str(each) in self._compiled.prompt:
                return str(each)
        return self._at_work if sent is not None and sent == self._executing else None

    def _preview(self, data: Mapping[str, Any], sent: str | None) -> list[RunEvent]:
        image = data.get("image")
        if not isinstance(image, bytes):
            return []  # a text message that only has the name of a preview
        node_id = self.node_id(sent or self._at_work)
        return [PreviewImage(self._run_id, node_id, data["content_type"], image)]

    def _cached(self, nodes: list[str]) -> list[RunEvent]:
        for each in nodes:
            self._done.reach(each, 1.0)
        return [ExecutionCached(self._run_id, tuple(dict.fromkeys(str(self.node_id(each)) for each in nodes)))]

    def _node_started(self, executing: Any, sent: str | None) -> list[RunEvent]:
        if executing is None:
            self._executing = self._at_work = None
            self._done.end()
            return [NodeStarted(self._run_id, None)]
        if sent is None:
            return []
        self._executing, self._at_work = executing, sent
        self._done.begin(str(executing))
        return [NodeStarted(self._run_id, self.node_id(sent)), self._status(sent)]

    def _progress(self, data: Mapping[str, Any], sent: str) -> list[RunEvent]:
        steps = steps_of(data)
        if steps is None:
            return []
        self._done.reach(str(data.get("node")), share_of(steps))
        return [NodeProgress(self._run_id, self.node_id(sent), *steps), *self._news(sent)]

    def _news(self, sent: str) -> list[RunEvent]:
        """How far the whole run is, when that has changed: whoever follows it does not need every step of a node."""
        return [self._status(sent)] if self._done.share - self._told_share >= 0.01 else []

    def _status(self, sent: str) -> LiveStatus:
        self._told_share = self._done.share
        text = f"Executing {self.node_class(self.node_id(sent)) or 'a node'}"
        return LiveStatus(self._run_id, text, self._done.share)

    def _progress_of_nodes(self, data: Mapping[str, Any]) -> list[RunEvent]:
        nodes = data.get("nodes")
        shares: dict[str, float] = {}
        for executing, node in (nodes if is_object(nodes) else {}).items():
            steps = steps_of(node) if is_object(node) else None
            sent = self._known(executing, node.get("display_node_id")) if steps else None
            if steps and sent:
                shares[str(self.node_id(sent))] = share_of(steps)
                self._done.reach(str(executing), share_of(steps))
        news = self._news(self._at_work) if self._at_work else []
        return [NodesProgress(self._run_id, shares), *news] if shares else []

    def away(self, reason: str) -> LiveStatus:
        """The ComfyUI does not answer at the moment."""
        return LiveStatus(self._run_id, f"Waiting: {reason}", self._done.share)

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
        kept = [item for _, item in self._kept(ui)]
        files = tuple(item for item in kept if isinstance(item, RemoteFile))
        texts = tuple(item for item in kept if isinstance(item, str))
        return NodeOutput(str(sent), str(self.node_id(shown)), files, texts)

    def _published(self, ui: Any) -> dict[str, Any]:
        """What a node has put out, for whoever follows the run: ComfyUI's own lists, with nothing else in them."""
        found: dict[str, Any] = {}
        for kind, item in self._kept(ui):
            found.setdefault(kind, []).append(item.told if isinstance(item, RemoteFile) else item)
        return found

    def _kept(self, ui: Any) -> Iterator[tuple[str, RemoteFile | str]]:
        """Every text, and every file but those that ComfyUI keeps elsewhere because a node only shows them."""
        for kind, items in (ui if is_object(ui) else {}).items():
            for item in items if is_array(items) else []:
                if is_object(item) and isinstance(item.get("filename"), str) and item.get("type") in self._file_types:
                    subfolder = str(item.get("subfolder") or "")
                    yield kind, RemoteFile(kind, item["filename"], subfolder, item["type"])
                elif isinstance(item, str) and kind in _TEXT_KINDS:
                    yield kind, item

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
        status, told = _status_of(record), _messages_of(record)
        if INTERRUPTION in told:
            node_id = self.node_id(told[INTERRUPTION].get("node_id"))
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


INTERRUPTION = "execution_interrupted"
INTERRUPTED = "Somebody interrupted the run on the machine itself"


def was_interrupted(record: Mapping[str, Any]) -> bool:
    """Whether a prompt ended because somebody wanted it to, from ComfyUI's record of it."""
    return INTERRUPTION in _messages_of(record)


def _status_of(record: Mapping[str, Any]) -> Mapping[str, Any]:
    status = record.get("status")
    return status if is_object(status) else {}


def _messages_of(record: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What a record tells of the execution of a prompt, by the names of the messages."""
    messages: Any = _status_of(record).get("messages")
    pairs: list[Any] = messages if is_array(messages) else []
    return {str(each[0]): each[1] for each in pairs if is_array(each) and len(each) == 2 and is_object(each[1])}


def _shown(data: Mapping[str, Any]) -> Any:
    """The node that a message is about: one that was made while executing is shown as the one that made it."""
    return data.get("node") if data.get("display_node") is None else data["display_node"]


def _reason(error: Mapping[str, Any]) -> str:
    parts = [str(error[key]) for key in ("message", "details") if error.get(key)]
    return words(": ".join(parts)) or "no reason was given"


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
