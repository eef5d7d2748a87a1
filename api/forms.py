"""What a node or a page needs to know to ask a person for the inputs of a deployment, and to show its outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from .inputs import PREFIX, InputKind, declared_inputs, kind_of
from .models import Deployment, DeploymentInput, Record
from .outputs import NodeOutput, OutputKind, declared_outputs

LARGEST_INTEGER = 2**53 - 1
"""What JavaScript counts without gaps. A seed may be larger, and then comes from a connected node."""
_SEED_BITS = 64
_MAX_SINGLE_LINE = 60

_FILE = "OUTPOST_FILE,STRING"
_IMAGE = f"IMAGE,MASK,{_FILE}"
_SOCKETS_BY_CLASS = {
    f"{PREFIX}EXR": f"IMAGE,{_FILE}",
    f"{PREFIX}Video": f"VIDEO,{_FILE}",
    f"{PREFIX}Vid": f"VIDEO,{_FILE}",
    f"{PREFIX}Audio": f"AUDIO,{_FILE}",
}
_SOCKETS = {
    InputKind.IMAGE: _IMAGE,
    InputKind.IMAGE_BATCH: _IMAGE,
    InputKind.FILE: f"IMAGE,MASK,VIDEO,AUDIO,LATENT,{_FILE}",
    InputKind.TEXT: "STRING",
    InputKind.INTEGER: "INT",
    InputKind.FLOAT: "FLOAT",
    InputKind.NUMBER: "FLOAT,INT",
    InputKind.BOOLEAN: "BOOLEAN",
    InputKind.ENUM: "COMBO,STRING",
}
_WIDGETS = {
    InputKind.TEXT: "text",
    InputKind.INTEGER: "int",
    InputKind.FLOAT: "float",
    InputKind.NUMBER: "float",
    InputKind.BOOLEAN: "boolean",
    InputKind.ENUM: "combo",
}
_WIDGETS_BY_CLASS = {
    f"{PREFIX}Text": "multiline",
    f"{PREFIX}TextAny": "multiline",
    f"{PREFIX}Seed": "seed",
}
_SLIDERS = (f"{PREFIX}NumberSlider", f"{PREFIX}NumberSliderInt")
_OUTPUT_SOCKETS = {
    OutputKind.IMAGE: "IMAGE",
    OutputKind.VIDEO: "VIDEO",
    OutputKind.AUDIO: "AUDIO",
    OutputKind.LATENT: "LATENT",
}


class Widget(Record):
    """How a value is asked for."""

    type: str
    """`text`, `multiline`, `int`, `float`, `boolean`, `combo` or `seed`."""
    default: Any = None
    min: float | int | None = None
    max: float | int | None = None
    step: float | int | None = None
    options: list[str] | None = None
    is_slider: bool = False


class FormInput(Record):
    """One input of a deployment."""

    input_id: str
    kind: str
    label: str
    tooltip: str | None = None
    socket: str
    """ComfyUI's types that may be connected, separated by commas."""
    has_alpha: bool = False
    """Whether a mask can be given beside it, as its transparency."""
    is_required: bool = False
    is_open: bool = False
    """Whether it is a widget of some node, of which a graph has hundreds, and not an input that was made to be one."""
    widget: Widget | None = None
    """None for what only a connection can bring."""


class FormOutput(Record):
    """One output of a deployment."""

    name: str
    kind: str
    socket: str
    node_id: str
    class_type: str
    """Of its node; empty where the platform does not tell."""
    is_named: bool


class Form(Record):
    """A deployment for whoever wants to run it."""

    id: str
    name: str
    environment: str | None = None
    is_active: bool
    inputs: list[FormInput]
    outputs: list[FormOutput]


def form_of(deployment: Deployment) -> Form:
    """The form of a deployment. It holds no graph, and no address but the defaults of text inputs."""
    return Form(
        id=str(deployment.id),
        name=name_of(deployment),
        environment=deployment.environment,
        is_active=deployment.is_active is not False,
        inputs=[_input(each) for each in declared_inputs(deployment) or ()],
        outputs=[_output(each) for each in declared_outputs(deployment) or ()],
    )


def name_of(deployment: Deployment) -> str:
    """What people call a deployment: its own name, or its workflow's, or as much of its id as tells it from others."""
    of_workflow = deployment.workflow.name if deployment.workflow else None
    return deployment.name or of_workflow or str(deployment.id)[:8]


def _input(declared: DeploymentInput) -> FormInput:
    kind, class_type = kind_of(declared), declared.class_type
    widget = _widget(declared, kind)
    return FormInput(
        input_id=declared.input_id,
        kind=kind.value,
        label=declared.display_name or declared.input_id,
        tooltip=_tooltip(declared, widget),
        socket=_SOCKETS_BY_CLASS.get(class_type, _SOCKETS[kind]),
        has_alpha=class_type == f"{PREFIX}ImageAlpha",
        is_required=declared.required,
        is_open=not class_type.startswith(PREFIX),
        widget=widget,
    )


def _widget(declared: DeploymentInput, kind: InputKind) -> Widget | None:
    name = _WIDGETS_BY_CLASS.get(declared.class_type, _WIDGETS.get(kind))
    if name is None:
        return None
    default, options = declared.default_value, declared.enum_options
    if name == "text" and _is_long(default):
        name = "multiline"
    if name == "combo" and not options:
        name, options = "text", None
    low, high, step = (_number(each) for each in (declared.min_value, declared.max_value, declared.step))
    if low is not None and high is not None and low > high:
        low, high = None, None
    return Widget(
        type=name,
        default=_DEFAULTS[name](default) if name != "combo" or default in (options or ()) else None,
        min=low,
        max=high,
        step=step if step and step > 0 else None,
        options=options,
        is_slider=declared.class_type in _SLIDERS,
    )


def _tooltip(declared: DeploymentInput, widget: Widget | None) -> str | None:
    told, value = declared.description or None, declared.default_value
    if widget and isinstance(widget.default, int) and isinstance(value, int) and widget.default != value:
        seen = f"The deployment's own value{_seed_in_words(value)} is larger than a page can count."
        return f"{told}\n{seen}" if told else seen
    return told


def _seed_in_words(value: int) -> str:
    return f", {value}," if value.bit_length() <= _SEED_BITS else ""


def _output(output: NodeOutput) -> FormOutput:
    socket = _OUTPUT_SOCKETS.get(output.kind, "STRING")
    return FormOutput(
        name=output.name,
        kind=output.kind.value,
        socket=socket,
        node_id=output.node_id,
        class_type=output.class_type,
        is_named=output.is_named,
    )


def _is_long(value: object) -> bool:
    return isinstance(value, str) and ("\n" in value or len(value) > _MAX_SINGLE_LINE)


def _text_default(value: object) -> str | None:
    if isinstance(value, str):
        return value
    number = _number(value)
    return None if number is None else str(number)


def _integer_default(value: object) -> int | None:
    number = _number_default(value)
    return int(number) if number is not None and number == int(number) else None


def _number_default(value: object) -> float | int | None:
    if isinstance(value, str):
        try:
            value = int(value) if value.strip().lstrip("+-").isdecimal() else float(value)
        except ValueError:
            return None
    return _number(value)


def _boolean_default(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower())
    return value if isinstance(value, bool) else None


_DEFAULTS: dict[str, Callable[[object], str | int | float | bool | None]] = {
    "text": _text_default,
    "multiline": _text_default,
    "combo": _text_default,
    "int": _integer_default,
    "seed": _integer_default,
    "float": _number_default,
    "boolean": _boolean_default,
}
"""A default as a widget can hold it, and JavaScript read. The hosted platform keeps numbers as texts, too."""


def _number(value: object) -> float | int | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return max(-LARGEST_INTEGER, min(value, LARGEST_INTEGER))
