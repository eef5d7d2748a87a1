"""What a machine lacks for a graph, told before anything is queued: node classes, choices and required inputs.

Nothing here does I/O, and nothing raises: a graph may be any nonsense, and so may what a ComfyUI tells of its nodes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

from ..errors import MAX_QUOTED, quote
from ..inputs import PREFIX, is_link
from ..models import Failure, Graph, Lack
from ..shapes import is_array, is_object
from .alike import Guide
from .graph import Compiled, Compiler, class_of, fields_of, missing_classes
from .machines import MachineError
from .node_info import Choices, NodeInfo, required_inputs

MAX_LACKS = 50
"""Most lacks that are told of one graph."""
_GUIDED = 10
"""Lacks for which names are looked for that are written alike."""
_TOLD = 5
"""Lacks that the failure of a run names."""
_SHOWN = 3
"""Most choices that are all named where none is written alike."""
_FOLDERS = (" [input]", " [output]", " [temp]")
"""How names of files in other folders of ComfyUI end, which are never among the choices."""


@dataclass(frozen=True)
class _Unknown:
    """A value that only a run has, or none because of `lack`."""

    lack: Lack | None = None


@dataclass
class _Trial(Compiler):
    """Compiles a graph as far as that can be done. What stands in the way is left in the place of a value."""

    is_open: bool = False
    """Whether there is no run yet: inputs that have no default are taken to be there."""

    def _linked(self, value: Any, own: Graph) -> Any:
        try:
            return super()._linked(value, own)
        except MachineError as error:
            return _Unknown(_from_failure("node_class", error.failure))

    def _value(self, node_id: str, node: Mapping[str, Any], own: Graph) -> Any:
        given = self._given(node, own)
        if isinstance(given, _Unknown) or (given is None and self.is_open):
            return given or _Unknown()
        try:
            return super()._value(node_id, node, own)
        except MachineError as error:
            # A default that is of no use may never be used.
            return _Unknown(None if self.is_open else _from_failure("required_input", error.failure))

    def _batch(self, node_id: str, node: Mapping[str, Any], value: Any) -> list[Any]:
        if isinstance(value, _Unknown):
            return [value]
        try:
            return super()._batch(node_id, node, value)
        except MachineError as error:
            return [_Unknown(None if self.is_open else _from_failure("required_input", error.failure))]

    def _uploaded(self, url: str) -> Any:
        return _Unknown()


def lacks_of(
    graph: Graph, inputs: Mapping[str, Any] | None, info: NodeInfo, all_classes: Collection[str] = ()
) -> list[Lack]:
    """What a ComfyUI lacks for a graph, the first `MAX_LACKS`.

    `inputs` are the values of a run; without them what only a run tells is taken to be there. `all_classes` are the
    names of all its node classes, among which those are looked for that are written like one that is lacking.
    """
    trial = _Trial(graph, inputs or {}, info, is_open=inputs is None)
    try:
        compiled, guide = trial.compile(), Guide(_GUIDED)
        of_classes = _class_lacks(missing_classes(compiled, info), all_classes, guide)
        return list(islice(_each_once(chain(of_classes, _lacks_of_nodes(trial, compiled, guide))), MAX_LACKS))
    except RecursionError:
        return []  # no run comes further than this, and says so


def class_lacks(missing: Mapping[str, str], all_classes: Collection[str]) -> list[Lack]:
    """What there is to say of node classes that a machine lacks, by the id of the node; the first `MAX_LACKS`."""
    return _class_lacks(missing, all_classes, Guide(_GUIDED))


def as_failure(lacks: list[Lack]) -> Failure:
    """Why a run cannot be executed on a machine that lacks something."""
    message = "; ".join(lack.message for lack in lacks[:_TOLD]) + ("; …" if len(lacks) > _TOLD else "")
    return Failure(message=message, node_id=lacks[0].node_id, node_class=lacks[0].node_class)


def input_behind(lack: Lack, graph: Graph, inputs: Mapping[str, Any]) -> str | None:
    """The id of the input of a run whose value a lack is about; None when it is about the graph itself."""
    node_id, name = lack.node_id or "", lack.input_name or ""
    if f"{node_id}.{name}" in inputs:
        return f"{node_id}.{name}"
    seen: set[str] = set()
    source: Any = fields_of(graph.get(node_id)).get(name, [node_id, 0])
    while is_link(source) and source[0] not in seen:
        seen.add(source[0])
        node: Any = graph.get(source[0])
        input_id = fields_of(node).get("input_id")
        if not class_of(node).startswith(PREFIX):
            return None
        if isinstance(input_id, str) and input_id in inputs:
            return input_id
        source = next((each for each in fields_of(node).values() if is_link(each)), None)
    return None


def _class_lacks(missing: Mapping[str, str], all_classes: Collection[str], guide: Guide) -> list[Lack]:
    return [
        _class_lack(node_id, node_class, guide.near(node_class, all_classes))
        for node_id, node_class in islice(missing.items(), MAX_LACKS)
    ]


def _each_once(lacks: Iterable[Lack]) -> Iterator[Lack]:
    seen: set[str] = set()
    for lack in lacks:
        if lack.message not in seen:
            seen.add(lack.message)
            yield lack


def _lacks_of_nodes(trial: _Trial, compiled: Compiled, guide: Guide) -> Iterator[Lack]:
    for node_id, node in compiled.prompt.items():
        if class_of(node) in trial.info:
            origin = compiled.origins.get(node_id, node_id)
            yield from _node_lacks(origin, node, trial, there=compiled.prompt.keys(), guide=guide)


def _node_lacks(node_id: str, node: Any, trial: _Trial, *, there: Collection[str], guide: Guide) -> Iterator[Lack]:
    """What is wrong with the inputs of a node whose class is there."""
    node_class, fields = class_of(node), fields_of(node)
    for name in required_inputs(trial.info, node_class):
        if name not in fields:
            yield _input_lack(node_id, node_class, name, "is missing, and the node cannot do without it")
    for name, value in fields.items():
        if isinstance(value, _Unknown):
            if value.lack:
                yield value.lack
        elif is_link(value):
            if value[0] not in there:
                yield _input_lack(node_id, node_class, name, f"comes from node {quote(value[0])}, which is not there")
        elif (choices := trial.choices.of(node_class, name)) is not None:
            for wrong in dict.fromkeys(str(each) for each in _chosen(value) if not _is_among(each, choices)):
                instead = _instead(near := guide.near(wrong, choices.told), choices)
                yield _choice_lack(node_id, node_class, name, value=wrong, near=near, instead=instead)


def _chosen(value: Any) -> list[Any]:
    """What an input asks for: one thing, or several where ComfyUI lets several be chosen."""
    if is_object(value) and "__value__" in value:
        value = value["__value__"]
    return value if is_array(value) else [value]


def _is_among(value: Any, choices: Choices) -> bool:
    return value in choices or (isinstance(value, str) and choices.are_files and value.endswith(_FOLDERS))


def _instead(near: list[str], choices: Choices) -> str:
    """What a machine has in place of a choice, for people."""
    if near:
        return _alike(near)
    if len(choices.told) > _SHOWN:
        return f"It has {len(choices.told)} others"
    return f"It has: {_list(map(str, choices.told))}" if choices.told else "It has none"


def _class_lack(node_id: str, node_class: str, near: list[str]) -> Lack:
    instead = _alike(near) if near else "Install what brings it, or use another machine"
    trouble = f"needs the node class {quote(node_class)!r}, which is not on this machine. {instead}"
    return Lack(
        node_id=_cut(node_id),
        node_class=_cut(node_class),
        kind="node_class",
        near=near,
        message=f"node {quote(node_id)} {trouble if node_class else 'says no class_type'}",
    )


def _choice_lack(node_id: str, node_class: str, name: str, *, value: str, near: list[str], instead: str) -> Lack:
    trouble = f"needs {quote(name)} {quote(value)!r}, which is not on this machine. {instead}"
    return Lack(
        node_id=_cut(node_id),
        node_class=_cut(node_class),
        kind="choice",
        input_name=_cut(name),
        value=quote(value),
        near=near,
        message=f"{_where(node_id, node_class)} {trouble}",
    )


def _input_lack(node_id: str, node_class: str, name: str, trouble: str) -> Lack:
    return Lack(
        node_id=_cut(node_id),
        node_class=_cut(node_class),
        kind="required_input",
        input_name=_cut(name),
        message=f"{_where(node_id, node_class)}: the input {quote(name)!r} {trouble}",
    )


def _from_failure(kind: Literal["node_class", "required_input"], failure: Failure) -> Lack:
    """What a graph cannot be compiled for."""
    node_id, node_class = failure.node_id or "", failure.node_class or ""
    message = f"{_where(node_id, node_class)}: {failure.message}"
    return Lack(node_id=_cut(node_id), node_class=_cut(node_class), kind=kind, message=message)


def _where(node_id: str, node_class: str) -> str:
    return f"node {quote(node_id)} ({quote(node_class)})"


def _alike(near: list[str]) -> str:
    return f"Written alike there: {_list(near)}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(repr(quote(name)) for name in names)


def _cut(text: str) -> str:
    return text[:MAX_QUOTED]
