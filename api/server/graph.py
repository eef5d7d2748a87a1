"""Turns the graph of a deployment and the values of a run into a graph that one particular ComfyUI can execute.

A stock ComfyUI knows neither External nodes nor `output_id`. So values are written into whatever consumes them, files
become ComfyUI's own Load nodes, and outputs its own Save nodes. Nodes that the ComfyUI does have stay as they are.
Nothing here does I/O: `info` is what the ComfyUI tells of its node classes (`/object_info`).
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from ..errors import quote
from ..inputs import EXTERNAL_CLASSES, MAX_BATCH, PREFIX, InputKind, holds_number, input_kind, is_link
from ..models import Failure, Graph
from ..shapes import is_array, is_object
from .machines import MachineError
from .node_info import ChoicesOfNodes, NodeInfo, has_input, is_output, takes_upload

MAX_ADDED = 20_000
"""Nodes that compiling may add to a graph: every image of a batch is one, for every node that takes the batch."""

Draw = Callable[[int, int], int]
"""A random integer between two, which are both possible."""


def _draw(low: int, high: int) -> int:
    return low + secrets.randbelow(high - low + 1)


@dataclass(frozen=True)
class Compiled:
    """A graph as one ComfyUI gets it."""

    prompt: Graph
    origins: Mapping[str, str]
    """Nodes that were added, and the node of the deployment's graph that each of them belongs to."""
    output_ids: Mapping[str, str]
    """Node to the `output_id` that its outputs are known by."""


@dataclass(frozen=True)
class _Loader:
    """The node of a stock ComfyUI that reads an uploaded file."""

    node_class: str
    input_name: str


_IMAGE = _Loader("LoadImage", "image")
_VIDEO = _Loader("LoadVideo", "file")
LOADERS: dict[str, _Loader] = {
    f"{PREFIX}Image": _IMAGE,
    f"{PREFIX}ImageAlpha": _IMAGE,
    f"{PREFIX}ImageBatch": _IMAGE,
    f"{PREFIX}EXR": _IMAGE,
    f"{PREFIX}Audio": _Loader("LoadAudio", "audio"),
    f"{PREFIX}Video": _VIDEO,
    f"{PREFIX}Vid": _VIDEO,
}
_VIDEO_PARTS = "GetVideoComponents"
_VIDEO_OUTPUTS = {0: 0, 2: 1}
"""Frames and sound: what the External node calls them to what GetVideoComponents does."""
_ADD_ALPHA = "JoinImageWithAlpha"
_JOIN = "ImageBatch"

_OUTPUT_NODES: dict[str, tuple[str, dict[str, str]]] = {
    "ComfyDeployOutputImage": ("SaveImage", {"images": "images", "filename_prefix": "filename_prefix"}),
    "ComfyDeployOutputText": ("PreviewAny", {"source": "text"}),
}
"""Output nodes of ComfyUI Deploy: what stands in for them, and which of their inputs go where."""

_NOTHING: dict[InputKind, Any] = {InputKind.INTEGER: 0, InputKind.FLOAT: 0.0, InputKind.BOOLEAN: False}
_SEED_LIMITS = (1, 4294967295)


@dataclass(frozen=True)
class Draft:
    """What compiling a graph for one ComfyUI takes."""

    files: list[str]
    """The URLs of the files that have to be on the ComfyUI first, each once."""
    unmatched: set[str]
    """Classes of nodes that ask for something which is not among their choices in `info`: it may be outdated."""
    missing: Mapping[str, str]
    """Nodes of the deployment's graph, and the classes that the ComfyUI lacks for them: it cannot execute the graph."""


def classes_of(graph: Graph) -> set[str]:
    """The node classes that `info` has to tell of: those of the graph, and those that may stand in for them."""
    found = {class_of(node) for node in graph.values()}
    loaders = {LOADERS[name].node_class for name in found if name in LOADERS}
    extra = {_VIDEO.node_class: _VIDEO_PARTS, _IMAGE.node_class: _JOIN}
    stand_ins = {_OUTPUT_NODES[name][0] for name in found if name in _OUTPUT_NODES}
    alpha = {_ADD_ALPHA} if f"{PREFIX}ImageAlpha" in found else set[str]()
    return (found | loaders | {extra[name] for name in loaders if name in extra} | stand_ins | alpha) - {""}


def draft_graph(graph: Graph, inputs: Mapping[str, Any], info: NodeInfo) -> Draft:
    """What compiling a graph takes. Raises MachineError when that cannot be done."""
    compiler = Compiler(graph, inputs, info)
    compiled = compiler.compile()
    files = list(dict.fromkeys(compiler.files))
    return Draft(files, _unmatched(compiled.prompt, compiler.choices), missing_classes(compiled, info))


def missing_classes(compiled: Compiled, info: NodeInfo) -> dict[str, str]:
    """Nodes of the deployment's graph, and the classes that the ComfyUI lacks for them."""
    lacking = {node_id: class_of(node) for node_id, node in compiled.prompt.items() if class_of(node) not in info}
    return {compiled.origins.get(node_id, node_id): node_class for node_id, node_class in lacking.items()}


def compile_graph(
    graph: Graph,
    inputs: Mapping[str, Any],
    info: NodeInfo,
    *,
    names: Mapping[str, str],
    draw: Draw = _draw,
) -> Compiled:
    """The graph of one run. `names` has the name on the ComfyUI of every file in its draft, which came to no error."""
    return Compiler(graph, inputs, info, names=names, draw=draw).compile()


def _unmatched(graph: Graph, choices_of: ChoicesOfNodes) -> set[str]:
    found: set[str] = set()
    for node in graph.values():
        for name, value in fields_of(node).items():
            choices = choices_of.of(class_of(node), name)
            if isinstance(value, str) and choices is not None and choices.meant_by(value) not in choices:
                found.add(class_of(node))
    return found


@dataclass
class Compiler:
    """Compiles one graph, once."""

    graph: Graph
    inputs: Mapping[str, Any]
    info: NodeInfo
    names: Mapping[str, str] = field(default_factory=dict[str, str])
    draw: Draw = _draw
    files: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.choices = ChoicesOfNodes(self.info)
        self._nodes: Graph = {}
        self._origins: dict[str, str] = {}
        self._output_ids: dict[str, str] = {}
        self._replaced: dict[str, Callable[[int], Any]] = {}

    def compile(self) -> Compiled:
        own = {node_id: self._with_files(node) for node_id, node in self.graph.items() if is_object(node)}
        for node_id, node in own.items():
            if not self._is_compiled_away(node):
                self._nodes[node_id] = self._stock(node_id, node, own)
        return Compiled(self._used(own), self._origins, self._output_ids)

    def _with_files(self, node: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of a node whose files are uploaded."""
        fields = dict(fields_of(node))
        for name, value in fields.items():
            if _is_url(value) and takes_upload(self.info, class_of(node), name):
                fields[name] = self._uploaded(value)
        return {**node, "inputs": fields}

    def _is_compiled_away(self, node: Mapping[str, Any]) -> bool:
        """Files always travel by upload: a URL of ours means nothing where the ComfyUI may be."""
        node_class = class_of(node)
        if not node_class.startswith(PREFIX):
            return False
        takes_file = takes_upload(self.info, node_class, _value_field(node_class))
        return node_class not in self.info or (node_class in LOADERS and not takes_file)

    def _stock(self, node_id: str, node: dict[str, Any], own: Graph) -> dict[str, Any]:
        fields = fields_of(node)
        if class_of(node).startswith(PREFIX):
            fields = self._filled(node_id, node)
        output_id = fields.get("output_id")
        if isinstance(output_id, str) and output_id:
            self._output_ids[node_id] = output_id
        node_class, fields = self._stand_in(class_of(node), fields)
        resolved = {name: self._linked(value, own) for name, value in fields.items()}
        for name, value in resolved.items():
            choices = self.choices.of(node_class, name)
            if isinstance(value, str) and choices is not None:
                resolved[name] = choices.meant_by(value)
        return {**node, "class_type": node_class, "inputs": resolved}

    def _stand_in(self, node_class: str, fields: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """An output node as this ComfyUI has it."""
        if node_class not in self.info and node_class in _OUTPUT_NODES:
            stand_in, mapping = _OUTPUT_NODES[node_class]
            return stand_in, {name: fields[source] for name, source in mapping.items() if source in fields}
        is_known = has_input(self.info, node_class, "output_id")
        return node_class, {name: value for name, value in fields.items() if is_known or name != "output_id"}

    def _filled(self, node_id: str, node: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of an External node that the ComfyUI has, with the run's value where the node looks for it."""
        fields, node_class = dict(fields_of(node)), class_of(node)
        input_id, name = str(fields.get("input_id")), _value_field(node_class)
        value, kind = self.inputs.get(input_id), input_kind(node_class)
        if value is not None:
            fields[name] = value
            if kind in (InputKind.INTEGER, InputKind.FLOAT) and holds_number(input_id):
                fields["input_id"] = str(value)  # such a node would take its id for the value
        given = fields.get(name)
        if takes_upload(self.info, node_class, name) and given and not is_link(given):
            if kind is InputKind.IMAGE_BATCH:
                urls = [] if given == "[]" else self._batch(node_id, node, given)
                names = [self._uploaded(url) if _is_url(url) else url for url in urls]
                # Before a run it is asked what the ComfyUI lacks, with something else in place of a name.
                unknown = [each for each in names if not isinstance(each, str)]
                fields[name] = unknown[0] if unknown else json.dumps(names)
            elif _is_url(given):
                fields[name] = self._uploaded(given)
        return fields

    def _linked(self, value: Any, own: Graph) -> Any:
        """What an input gets: itself, or for a link to an External node that is compiled away what stands in for it."""
        if not is_link(value) or value[0] not in own or not self._is_compiled_away(own[value[0]]):
            return value
        node_id: str = value[0]
        if node_id not in self._replaced:
            self._replaced[node_id] = _circle(node_id, own[node_id])
            self._replaced[node_id] = self._replace(node_id, own)
        return self._replaced[node_id](value[1])

    def _replace(self, node_id: str, own: Graph) -> Callable[[int], Any]:
        """Replace an External node; gives what to connect to in place of each of its outputs."""
        node = own[node_id]
        node_class, value = class_of(node), self._value(node_id, node, own)
        if node_class not in LOADERS or is_link(value):
            return lambda index: value
        if input_kind(node_class) is InputKind.IMAGE_BATCH:
            self._load_batch(node_id, node, value)
            return lambda index: [node_id, index]
        loader = LOADERS[node_class]
        name = self._uploaded(value) if _is_url(value) else value
        if loader is _VIDEO:
            source = self._add(f"{node_id}-file", node_id, _node(loader.node_class, **{loader.input_name: name}))
            self._nodes[node_id] = _node(_VIDEO_PARTS, video=source)
            return lambda index: [node_id, self._video_output(node_id, node, index)]
        if node_class == f"{PREFIX}ImageAlpha" and _ADD_ALPHA in self.info:
            source = self._add(f"{node_id}-file", node_id, _node(loader.node_class, image=name))
            self._nodes[node_id] = _node(_ADD_ALPHA, image=source, alpha=[source[0], 1])
            return lambda index: [node_id, 0] if index == 0 else [source[0], index]
        self._nodes[node_id] = _node(loader.node_class, **{loader.input_name: name})
        return lambda index: [node_id, index]

    def _value(self, node_id: str, node: Mapping[str, Any], own: Graph) -> Any:
        """The value of an External node: the run's, or its own default."""
        node_class, fields = class_of(node), fields_of(node)
        if node_class == f"{PREFIX}Seed":
            value = self.inputs.get(str(fields.get("input_id")))
            return self._seed(value, self._linked(fields.get("default_value"), own), fields)
        external, value = EXTERNAL_CLASSES.get(node_class), self._given(node, own)
        if value in (None, "") and external and external.is_required:
            raise _cannot(node_id, node, f"The input {fields.get('input_id')!r} is missing and has no default")
        kind = input_kind(node_class)
        if kind is InputKind.FILE and node_class not in LOADERS and _is_url(value):
            return self._uploaded(str(value))
        if kind is InputKind.TEXT and _is_model(node_class) and _is_url(value):
            raise _cannot(node_id, node, "A stock ComfyUI downloads no models: give the name of a file that it has")
        return _NOTHING.get(kind, "") if value is None else value

    def _given(self, node: Mapping[str, Any], own: Graph) -> Any:
        """What the run gives for an External node, else the first default that the node has; None without any."""
        fields, external = fields_of(node), EXTERNAL_CLASSES.get(class_of(node))
        value = self.inputs.get(str(fields.get("input_id")))
        defaults = iter(external.default_fields if external else ("default_value",))
        while value is None and (name := next(defaults, None)):
            default = self._linked(fields.get(name), own)
            value = None if default in ("", "[]") else default
        return value

    def _seed(self, value: Any, default: Any, fields: Mapping[str, Any]) -> Any:
        """A default outside of the limits, by custom -1, stands for a random seed."""
        if value is not None or is_link(default):
            return default if value is None else value
        low, high = fields.get("min_value", _SEED_LIMITS[0]), fields.get("max_value", _SEED_LIMITS[1])
        if not isinstance(low, int) or not isinstance(high, int) or low > high:
            low, high = _SEED_LIMITS
        return default if isinstance(default, int) and low <= default <= high else self.draw(low, high)

    def _load_batch(self, node_id: str, node: Mapping[str, Any], value: Any) -> None:
        """Load every image of a batch, and join them one after the other."""
        urls = self._batch(node_id, node, value)
        loads = [_node(_IMAGE.node_class, image=self._uploaded(url) if _is_url(url) else url) for url in urls]
        if len(loads) == 1:
            self._nodes[node_id] = loads[0]
            return
        joined = self._add(f"{node_id}-1", node_id, loads[0])
        for number, load in enumerate(loads[1:], start=2):
            both = _node(_JOIN, image1=joined, image2=self._add(f"{node_id}-{number}", node_id, load))
            if number == len(loads):
                self._nodes[node_id] = both
            else:
                joined = self._add(f"{node_id}-to-{number}", node_id, both)

    def _batch(self, node_id: str, node: Mapping[str, Any], value: Any) -> list[Any]:
        """The images of a batch, which are texts."""
        try:
            urls: Any = json.loads(value) if isinstance(value, str) else value
        except (ValueError, RecursionError):
            urls = None
        if not is_array(urls) or not 0 < len(urls) <= MAX_BATCH or not all(isinstance(url, str) for url in urls):
            what = f"a list of URLs, 1 to {MAX_BATCH} of them"
            raise _cannot(node_id, node, f"The images are not {what}: {quote(str(value))}")
        return urls

    def _video_output(self, node_id: str, node: Mapping[str, Any], index: int) -> int:
        if index not in _VIDEO_OUTPUTS:
            raise _cannot(node_id, node, f"A stock ComfyUI has nothing for output {index} of this node")
        return _VIDEO_OUTPUTS[index]

    def _uploaded(self, url: str) -> Any:
        """The name on the ComfyUI of a file behind a URL."""
        self.files.append(url)
        return self.names.get(url, "")

    def _add(self, wanted: str, origin: str, node: dict[str, Any]) -> list[Any]:
        """Add a node; gives the link to its first output."""
        if len(self._origins) >= MAX_ADDED:
            message = f"The graph takes too many images: more than {MAX_ADDED} nodes would have to be added for them"
            raise _cannot(origin, self.graph.get(origin), message)
        numbered = (f"{wanted}-{number}" for number in count(2))
        name = wanted
        while name in self.graph or name in self._origins:
            name = next(numbered)
        self._nodes[name] = node
        self._origins[name] = origin
        return [name, 0]

    def _used(self, own: Graph) -> Graph:
        """The nodes that outputs depend on: ComfyUI executes no others, but refuses unknown classes among them."""
        taken = {value[0] for node in own.values() for value in fields_of(node).values() if is_link(value)}
        # Whether a class that the ComfyUI lacks is an output's can only be guessed: nobody takes anything from it.
        ends = [
            node_id
            for node_id, node in self._nodes.items()
            if is_output(self.info, class_of(node)) or (class_of(node) not in self.info and node_id not in taken)
        ]
        used: set[str] = set()
        while ends:
            node_id = ends.pop()
            if node_id in self._nodes and node_id not in used:
                used.add(node_id)
                ends += [value[0] for value in fields_of(self._nodes[node_id]).values() if is_link(value)]
        return {node_id: node for node_id, node in self._nodes.items() if node_id in used}


def _value_field(node_class: str) -> str:
    """The input of an External node that a value goes into."""
    external = EXTERNAL_CLASSES.get(node_class)
    return external.default_fields[0] if external else "default_value"


def _node(node_class: str, **fields: Any) -> dict[str, Any]:
    return {"class_type": node_class, "inputs": fields}


def class_of(node: Any) -> str:
    """The class of a node; an empty text for what is none."""
    return str(node.get("class_type", "")) if is_object(node) else ""


def fields_of(node: Any) -> Mapping[str, Any]:
    """The inputs of a node: values and links."""
    fields = node.get("inputs") if is_object(node) else None
    return fields if is_object(fields) else {}


def _is_url(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(("http://", "https://", "data:"))


def _is_model(node_class: str) -> bool:
    return node_class.removeprefix(PREFIX) in ("Lora", "Checkpoint", "FaceModel")


def _cannot(node_id: str, node: Any, message: str) -> MachineError:
    return MachineError(Failure(message=message, node_id=node_id, node_class=class_of(node)))


def _circle(node_id: str, node: Any) -> Callable[[int], Any]:
    """Stands for a node while it is being replaced: whoever asks for it then is one of its own sources."""

    def refuse(index: int) -> Any:
        raise _cannot(node_id, node, "The graph goes round in a circle")

    return refuse
