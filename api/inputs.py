"""What a graph asks for: its External input nodes or open widgets, and the check of values against them.

A deployment's inputs are the nodes of its graph whose class name starts with `ComfyUIDeployExternal`. The hosted
platform lists them as `input_types`, but leaves some classes out and does not tell which ones a run cannot do without,
so both sides read the graph itself where they have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import islice
from typing import Any

from .errors import InvalidInput, quote
from .models import Deployment, DeploymentInput, Graph
from .shapes import is_array, is_object

PREFIX = "ComfyUIDeployExternal"
_MAX_LISTED = 20
"""Most ids that a message names."""
MAX_WIDGETS = 500
"""Most open widgets that are listed as inputs; any can be set."""
MAX_BATCH = 1000
"""Most files in the value of one input."""


_A_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class InputKind(str, Enum):
    """What a value of an input stands for."""

    IMAGE = "image"
    IMAGE_BATCH = "image batch"
    FILE = "file"
    TEXT = "text"
    INTEGER = "integer"
    FLOAT = "float"
    BOOLEAN = "boolean"
    ENUM = "enum"
    NUMBER = "number"
    """A number of a node of which nothing more is known: an integer stays one."""


@dataclass(frozen=True)
class _External:
    kind: InputKind
    default_fields: tuple[str, ...] = ("default_value",)
    """The node's own inputs that hold a value to fall back on; the value of a run goes into the first."""
    is_required: bool = False
    """Whether a run cannot start without a value when there is nothing to fall back on."""


_LINKED_IMAGE = _External(InputKind.IMAGE, ("default_value_url", "default_value"), is_required=True)

EXTERNAL_CLASSES: dict[str, _External] = {
    f"{PREFIX}Text": _External(InputKind.TEXT),
    f"{PREFIX}TextAny": _External(InputKind.TEXT),
    f"{PREFIX}TextSingleLine": _External(InputKind.TEXT),
    f"{PREFIX}Image": _LINKED_IMAGE,
    f"{PREFIX}ImageAlpha": _LINKED_IMAGE,
    f"{PREFIX}ImageBatch": _External(InputKind.IMAGE_BATCH, ("images", "default_value"), is_required=True),
    f"{PREFIX}Video": _External(
        InputKind.FILE, ("default_value_url", "default_video", "default_value"), is_required=True
    ),
    f"{PREFIX}Vid": _External(InputKind.FILE, ("default_value", "default_video"), is_required=True),
    f"{PREFIX}Audio": _External(InputKind.FILE, ("audio_file", "default_value"), is_required=True),
    f"{PREFIX}EXR": _External(InputKind.FILE, ("exr_file", "default_image", "default_value"), is_required=True),
    f"{PREFIX}File": _External(InputKind.FILE, ("file_url", "default_value"), is_required=True),
    f"{PREFIX}Number": _External(InputKind.FLOAT),
    f"{PREFIX}NumberInt": _External(InputKind.INTEGER),
    f"{PREFIX}NumberSlider": _External(InputKind.FLOAT),
    f"{PREFIX}NumberSliderInt": _External(InputKind.INTEGER),
    f"{PREFIX}Boolean": _External(InputKind.BOOLEAN),
    f"{PREFIX}Enum": _External(InputKind.ENUM),
    f"{PREFIX}Seed": _External(InputKind.INTEGER),
    f"{PREFIX}Lora": _External(InputKind.TEXT, ("lora_url", "default_value", "default_lora_name")),
    f"{PREFIX}Checkpoint": _External(InputKind.TEXT, ("default_value", "default_value_url")),
    f"{PREFIX}FaceModel": _External(InputKind.TEXT, ("face_model_url", "default_face_model_name", "default_value")),
}
_OTHER = _External(InputKind.TEXT)

_WIDGET_TYPES: tuple[tuple[Any, str], ...] = ((bool, "boolean"), (str, "string"), ((int, float), "float"))
"""Python's types of a widget's value, and the wire type. In JSON a number does not say whether it may be a fraction."""
_WIDGET_KINDS = {"boolean": InputKind.BOOLEAN, "float": InputKind.NUMBER}
_WIRE_TYPES = {InputKind.INTEGER: "integer", InputKind.FLOAT: "float", InputKind.BOOLEAN: "boolean"}


def input_kind(class_type: str) -> InputKind:
    """What a value of an input node stands for; a class that is not known here takes a text."""
    return EXTERNAL_CLASSES.get(class_type, _OTHER).kind


def kind_of(declared: DeploymentInput) -> InputKind:
    """What a value of this input stands for."""
    if declared.class_type.startswith(PREFIX):
        return input_kind(declared.class_type)
    return _WIDGET_KINDS.get(declared.type, InputKind.TEXT)


def inputs_of(workflow_api: Graph) -> list[DeploymentInput]:
    """The inputs that a graph declares, in the order of its nodes; its open widgets when it declares none."""
    return external_inputs(workflow_api) or widget_inputs(workflow_api)


def addressable_inputs(workflow_api: Graph, names: Collection[str]) -> list[DeploymentInput]:
    """`inputs_of` a graph and, of `names`, its other open widgets, which are called `node_id.input_name`."""
    declared = inputs_of(workflow_api)
    rest = set(names) - {each.input_id for each in declared}
    # A graph has hundreds of widgets, and hardly a run sets one.
    return declared + (list(_widget_inputs(workflow_api, only=rest)) if rest else [])


def widget_inputs(workflow_api: Graph) -> list[DeploymentInput]:
    """The widgets of a graph that hold a value of their own, in the order of its nodes; not all of very many."""
    return list(islice(_widget_inputs(workflow_api), MAX_WIDGETS))


def _widget_inputs(workflow_api: Graph, *, only: Collection[str] | None = None) -> Iterator[DeploymentInput]:
    for node_id, node in workflow_api.items():
        for name, value in _widgets(node).items():
            input_id = f"{node_id}.{name}"
            if only is None or input_id in only:
                yield DeploymentInput(
                    input_id=input_id,
                    class_type=str(node["class_type"]),
                    type=next(wire for kind, wire in _WIDGET_TYPES if isinstance(value, kind)),
                    default_value=value,
                    display_name=f"{_title(node) or node['class_type']}: {name}",
                )


def with_widgets(workflow_api: Graph, values: Mapping[str, Any]) -> Graph:
    """A graph whose open widgets have the values that were given for them as `node_id.input_name`.

    An id that the graph declares itself means that and no widget.
    """
    own = {each.input_id for each in external_inputs(workflow_api)}
    values = {input_id: value for input_id, value in values.items() if input_id not in own}
    changed = dict(workflow_api)
    for node_id, node in workflow_api.items() if values else ():
        ids = {f"{node_id}.{name}": name for name in _widgets(node)}
        if given := {name: values[input_id] for input_id, name in ids.items() if input_id in values}:
            changed[node_id] = {**node, "inputs": {**node["inputs"], **given}}
    return changed


def external_inputs(workflow_api: Graph) -> list[DeploymentInput]:
    """The External nodes of a graph, in the order of its nodes. An id that several nodes share is listed once."""
    declared: dict[str, DeploymentInput] = {}
    for node in workflow_api.values():
        class_type, fields = _node(node)
        input_id = fields.get("input_id")
        if class_type.startswith(PREFIX) and isinstance(input_id, str) and input_id:
            declared.setdefault(input_id, _declared(class_type, input_id, fields))
    return list(declared.values())


def declared_inputs(deployment: Deployment) -> list[DeploymentInput] | None:
    """The inputs of a deployment, from its graph when the platform tells it; None when it tells nothing at all."""
    if deployment.version and deployment.version.workflow_api:
        return inputs_of(deployment.version.workflow_api)
    return deployment.input_types


def check_inputs(declared: Sequence[DeploymentInput], values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a run, brought to the types that the deployment declares.

    Raises InvalidInput, with the id of the input, for one that does not exist, is missing, has the wrong type or is out
    of its limits. URLs are not opened.
    """
    by_id = {each.input_id: each for each in declared}
    for input_id in values:
        if input_id not in by_id:
            raise InvalidInput(f"There is no input {input_id!r}. {_list(by_id)}", input_id=input_id)
    for each in declared:
        if each.required and values.get(each.input_id) in (None, ""):
            raise InvalidInput(
                f"The input {each.input_id!r} ({kind_of(each).value}) is missing and has no default. {_list(by_id)}",
                input_id=each.input_id,
            )
    return {input_id: _checked(by_id[input_id], value) for input_id, value in values.items()}


def _list(known: Iterable[str]) -> str:
    known = list(known)
    known = [name for name in known if "." not in name] or known
    names = ", ".join(repr(name) for name in known[:_MAX_LISTED]) + (", …" if len(known) > _MAX_LISTED else "")
    return f"The inputs of this deployment are: {names}." if names else "This deployment has no inputs."


def _node(node: Any) -> tuple[str, Mapping[str, Any]]:
    if not is_object(node):
        return "", {}
    fields = node.get("inputs")
    return str(node.get("class_type", "")), fields if is_object(fields) else {}


def _widgets(node: Any) -> dict[str, Any]:
    """The inputs of a node that hold a value of their own; none for an External one, which has an id for its value."""
    class_type, fields = _node(node)
    if not class_type or class_type.startswith(PREFIX):
        return {}
    return {
        name: value for name, value in fields.items() if name != "output_id" and isinstance(value, (str, int, float))
    }


def _title(node: Any) -> str | None:
    """What the editor's user has called a node."""
    meta = node.get("_meta") if is_object(node) else None
    title = meta.get("title") if is_object(meta) else None
    return title if isinstance(title, str) and title else None


def _declared(class_type: str, input_id: str, fields: Mapping[str, Any]) -> DeploymentInput:
    external = EXTERNAL_CLASSES.get(class_type, _OTHER)
    default = fields.get("default_value")
    return DeploymentInput(
        input_id=input_id,
        class_type=class_type,
        type=_WIRE_TYPES.get(external.kind, "string"),
        default_value=None if is_link(default) else default,
        min_value=_number(fields.get("min_value")),
        max_value=_number(fields.get("max_value")),
        step=_number(fields.get("step")),
        display_name=_text(fields.get("display_name")),
        description=_text(fields.get("description")),
        enum_options=_options(fields.get("options")) if external.kind is InputKind.ENUM else None,
        required=external.is_required and not any(_has_value(fields.get(name)) for name in external.default_fields),
    )


def is_link(value: Any) -> bool:
    """Whether a node's input is connected to another node: `[node_id, output_index]`."""
    return is_array(value) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def holds_number(input_id: str) -> bool:
    """Whether a number stands where the id of an input belongs: the hosted platform puts values there.

    The nodes of numbers have no other place for it.
    """
    return _A_NUMBER.fullmatch(input_id.strip()) is not None


def _has_value(value: Any) -> bool:
    return value not in (None, "", "[]")


def _number(value: Any) -> float | int | None:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _options(value: Any) -> list[str] | None:
    """An Enum's choices; the node keeps them as a JSON array in a text field."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    return [str(item) for item in value] if is_array(value) else None


def _checked(declared: DeploymentInput, value: Any) -> Any:
    kind = kind_of(declared)
    try:
        checked = _CHECKS[kind](value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InvalidInput(
            f"The input {declared.input_id!r} takes {_EXPECTED[kind]}, not {quote(repr(value))}",
            input_id=declared.input_id,
        ) from error
    return _within_limits(declared, checked)


def _within_limits(declared: DeploymentInput, value: Any) -> Any:
    options, low, high = declared.enum_options, declared.min_value, declared.max_value
    if options and value not in options:
        raise InvalidInput(
            f"The input {declared.input_id!r} is one of {', '.join(map(repr, options))}, not {quote(repr(value))}",
            input_id=declared.input_id,
        )
    if kind_of(declared) not in (InputKind.INTEGER, InputKind.FLOAT, InputKind.NUMBER):
        return value
    if (low is not None and value < low) or (high is not None and value > high):
        between = f"{'-∞' if low is None else low} to {'∞' if high is None else high}"
        raise InvalidInput(
            f"The input {declared.input_id!r} goes from {between}, not {value}", input_id=declared.input_id
        )
    return value


def _check_url(value: Any) -> str:
    if isinstance(value, str) and value.startswith(("http://", "https://", "data:")):
        return value
    raise ValueError("not a URL")


def _check_batch(value: Any) -> str:
    """A batch travels as a text that holds a JSON array; ComfyUI takes a real list for a link."""
    urls = json.loads(value) if isinstance(value, str) else value
    if not is_array(urls) or not 0 < len(urls) <= MAX_BATCH:
        raise ValueError("not a list of URLs")
    return json.dumps([_check_url(url) for url in urls])


def _check_text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("not a text")
    return str(value)


def _check_integer(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("not an integer")
    if isinstance(value, int):
        return value
    # A text is not read as a float first: a seed has up to 20 digits, and a float keeps 15.
    if isinstance(value, str) and value.strip().lstrip("+-").isdecimal():
        return int(value)
    number = float(value)
    if not number.is_integer():
        raise ValueError("not an integer")
    return int(number)


def _check_float(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or number != number or number in (float("inf"), float("-inf")):
        raise ValueError("not a number")
    return number


def _check_number(value: Any) -> int | float:
    try:
        return _check_integer(value)
    except ValueError:
        return _check_float(value)


def _check_boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("not a boolean")
    return value


_CHECKS = {
    InputKind.IMAGE: _check_url,
    InputKind.IMAGE_BATCH: _check_batch,
    InputKind.FILE: _check_url,
    InputKind.TEXT: _check_text,
    InputKind.INTEGER: _check_integer,
    InputKind.FLOAT: _check_float,
    InputKind.BOOLEAN: _check_boolean,
    InputKind.ENUM: _check_text,
    InputKind.NUMBER: _check_number,
}
_EXPECTED = {
    InputKind.IMAGE: "an image (the URL of one, on the wire)",
    InputKind.IMAGE_BATCH: f"a batch of 1 to {MAX_BATCH} images (a list of their URLs, on the wire)",
    InputKind.FILE: "a file (the URL of one, on the wire)",
    InputKind.TEXT: "a text",
    InputKind.INTEGER: "an integer",
    InputKind.FLOAT: "a number",
    InputKind.BOOLEAN: "true or false",
    InputKind.ENUM: "one of its options",
    InputKind.NUMBER: "a number",
}
