"""External nodes: the inputs of a graph that is going to be deployed. A platform knows them by their class names.

In the editor such a node gives its default, in a deployment the value of the run.
"""

from __future__ import annotations

from typing import Any

from .. import host
from .fields import ANY, CATEGORY, Field, Fields, choice, input_id, labels, number, text
from .images import NODES as IMAGE_NODES
from .media import NODES as MEDIA_NODES

_DEFAULT = "The value where a run gives none, and in the editor."
_SAVED_AS = "The file that is meant by a URL. The node downloads nothing: it has to be there already."
_MODEL_URL = "The file of a run: its name in ComfyUI's folder."
_SEED_LIMIT = 999999999999999
_SEED_HELP = "A default outside of the limits, such as -1: a random seed for every run."


class ExternalText:
    """A text of several lines."""

    CATEGORY = CATEGORY
    RETURN_TYPES: tuple[str, ...] = ("STRING",)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("The text of the run, or the default.",)
    FUNCTION = "run"
    DESCRIPTION = "A text that a deployment of this graph takes as an input."
    IS_MULTILINE = True

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        value = text(_DEFAULT, multiline=cls.IS_MULTILINE)
        return {"required": input_id("input_text"), "optional": {"default_value": value, **labels()}}

    def run(self, input_id: str, default_value: Any = "", **_: Any) -> tuple[Any]:
        return (default_value,)


class ExternalTextAny(ExternalText):
    """A text for an input of any type, such as a choice."""

    RETURN_TYPES = (ANY,)
    DESCRIPTION = "A text that a deployment of this graph takes as an input, and that goes into an input of any type."


class ExternalTextSingleLine(ExternalText):
    """A text of one line."""

    DESCRIPTION = "A text of one line that a deployment of this graph takes as an input."
    IS_MULTILINE = False


class ExternalNumber:
    """A number."""

    CATEGORY = CATEGORY
    RETURN_TYPES: tuple[str, ...] = ("FLOAT",)
    RETURN_NAMES = ("value",)
    OUTPUT_TOOLTIPS = ("The number of the run, or the default.",)
    FUNCTION = "run"
    DESCRIPTION = "A number that a deployment of this graph takes as an input."
    KIND = "Number"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        value = number(cls.RETURN_TYPES[0], _DEFAULT, default=0)
        return {"required": input_id("input_number"), "optional": {"default_value": value, **labels()}}

    def run(self, input_id: str, default_value: float = 0, display_name: str = "", **_: Any) -> tuple[float]:
        from . import values

        return (values.number(self.KIND, default_value, input_id=input_id, display_name=display_name),)


class ExternalNumberInt(ExternalNumber):
    """An integer."""

    RETURN_TYPES = ("INT",)
    DESCRIPTION = "An integer that a deployment of this graph takes as an input."
    KIND = "NumberInt"


class ExternalNumberSlider:
    """A number between two others."""

    CATEGORY = CATEGORY
    RETURN_TYPES: tuple[str, ...] = ("FLOAT",)
    RETURN_NAMES = ("value",)
    OUTPUT_TOOLTIPS = ("The number of the run, or the default.",)
    FUNCTION = "run"
    DESCRIPTION = "A number within limits that a deployment of this graph takes as an input."
    KIND = "NumberSlider"
    INPUT_ID = "input_number_slider"
    DEFAULTS: tuple[float, float, float] = (0.5, 0, 1)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        tooltips = (_DEFAULT, "The smallest value that is taken.", "The largest value that is taken.")
        names = ("default_value", "min_value", "max_value")
        fields = {
            name: number(cls.RETURN_TYPES[0], tooltip, default=default)
            for name, tooltip, default in zip(names, tooltips, cls.DEFAULTS, strict=True)
        }
        return {"required": input_id(cls.INPUT_ID), "optional": {**fields, **labels()}}

    def run(
        self,
        input_id: str,
        default_value: float | None = None,
        min_value: float | None = None,
        max_value: float | None = None,
        display_name: str = "",
        **_: Any,
    ) -> tuple[float]:
        from . import values

        default, low, high = (
            usual if given is None else given
            for given, usual in zip((default_value, min_value, max_value), self.DEFAULTS, strict=True)
        )
        value = values.number(
            self.KIND, default, input_id=input_id, display_name=display_name, min_value=low, max_value=high
        )
        return (value,)


class ExternalNumberSliderInt(ExternalNumberSlider):
    """An integer between two others."""

    RETURN_TYPES = ("INT",)
    DESCRIPTION = "An integer within limits that a deployment of this graph takes as an input."
    KIND = "NumberSliderInt"
    INPUT_ID = "input_number_slider_int"
    DEFAULTS = (1, 0, 10)


class ExternalBoolean:
    """Yes or no."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("BOOLEAN",)
    RETURN_NAMES = ("bool_value",)
    OUTPUT_TOOLTIPS = ("The value of the run, or the default.",)
    FUNCTION = "run"
    DESCRIPTION = "A yes or no that a deployment of this graph takes as an input."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        value: Field = ("BOOLEAN", {"default": False, "tooltip": _DEFAULT})
        return {"required": {**input_id("input_bool"), "default_value": value}, "optional": labels()}

    def run(self, input_id: str, default_value: bool, **_: Any) -> tuple[bool]:
        from . import values

        return (values.checked("Boolean", default_value, name=values.name_of(input_id)),)


class ExternalEnum:
    """One of several texts."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (ANY,)
    RETURN_NAMES = ("text",)
    OUTPUT_TOOLTIPS = ("The choice of the run, or the default.",)
    FUNCTION = "run"
    DESCRIPTION = "A choice that a deployment of this graph takes as an input, for an input of any type."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        fields: Fields = {
            "default_value": text(_DEFAULT, dynamic_enum=True),
            "options": text('What can be chosen: a JSON array of texts, such as ["small", "large"].', multiline=True),
        }
        return {"required": input_id("input_enum"), "optional": {**fields, **labels()}}

    def run(self, input_id: str, default_value: str = "", options: str = "", **_: Any) -> tuple[str]:
        from . import values

        return (values.enum(default_value, options, input_id=input_id),)


class ExternalSeed:
    """A seed, random unless it is set."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ("INT",)
    RETURN_NAMES = ("seed",)
    OUTPUT_TOOLTIPS = ("The seed of the run, the default, or a random one.",)
    FUNCTION = "run"
    DESCRIPTION = f"A seed that a deployment of this graph takes as an input. {_SEED_HELP}"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        limits = {"min": 1, "max": _SEED_LIMIT}
        fields: Fields = {
            "default_value": ("INT", {"default": -1, "min": -_SEED_LIMIT, "max": _SEED_LIMIT, "tooltip": _SEED_HELP}),
            "min_value": ("INT", {"default": 1, **limits, "tooltip": "The smallest seed."}),
            "max_value": ("INT", {"default": 4294967295, **limits, "tooltip": "The largest seed."}),
        }
        return {"required": {**input_id("input_seed"), **fields}, "optional": labels(description=_SEED_HELP)}

    @classmethod
    def IS_CHANGED(  # noqa: N802 ComfyUI's name
        cls, min_value: Any = None, max_value: Any = None, default_value: Any = None, **_: Any
    ) -> float:
        """Never the same as before when it draws a new seed; a value that comes by a link is not known here."""
        if default_value is None or not isinstance(min_value, int) or not isinstance(max_value, int):
            return 0.0
        from . import values

        return 0.0 if values.is_fixed_seed(default_value, low=min_value, high=max_value) else float("nan")

    def run(self, input_id: str, default_value: int, min_value: int, max_value: int, **_: Any) -> tuple[int]:
        from . import values

        return (values.seed(default_value, low=min_value, high=max_value),)


class ExternalLora:
    """The name of a LoRA."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (ANY,)
    RETURN_NAMES = ("path",)
    OUTPUT_TOOLTIPS = ("The name of the file, for a node that loads a LoRA.",)
    FUNCTION = "run"
    DESCRIPTION = "The name of a LoRA that a deployment of this graph takes as an input. No file is downloaded."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        fields: Fields = {
            "default_lora_name": choice(host.model_names("loras"), _DEFAULT),
            "lora_save_name": text(_SAVED_AS),
            **labels(),
            "lora_url": text(_MODEL_URL),
            "bearer_token": text("Not used, and kept in every copy of the graph: leave it empty."),
        }
        return {"required": input_id("input_lora"), "optional": fields}

    @classmethod
    def VALIDATE_INPUTS(cls, default_lora_name: Any = None) -> bool:  # noqa: N802 ComfyUI's name
        """The name is looked at when the node is executed: a platform may have put another in its place."""
        return True

    def run(
        self, input_id: str, default_lora_name: str = "", lora_save_name: str = "", lora_url: str = "", **_: Any
    ) -> tuple[str]:
        from . import values

        names, wanted = host.model_names("loras"), lora_url or default_lora_name
        return (values.model(wanted, saved_as=lora_save_name, names=names, folder="loras", input_id=input_id),)


class ExternalCheckpoint:
    """The name of a checkpoint."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (ANY,)
    RETURN_NAMES = ("path",)
    OUTPUT_TOOLTIPS = ("The name of the file, for a node that loads a checkpoint.",)
    FUNCTION = "run"
    DESCRIPTION = "The name of a checkpoint that a deployment of this graph takes as an input. No file is downloaded."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        value = choice(host.model_names("checkpoints"), _DEFAULT)
        return {"required": input_id("input_checkpoint"), "optional": {"default_value": value, **labels()}}

    @classmethod
    def VALIDATE_INPUTS(cls, default_value: Any = None) -> bool:  # noqa: N802 ComfyUI's name
        """The name is looked at when the node is executed: a platform may have put another in its place."""
        return True

    def run(self, input_id: str, default_value: str = "", **_: Any) -> tuple[str]:
        from . import values

        names = host.model_names("checkpoints")
        return (values.model(default_value, names=names, folder="checkpoints", input_id=input_id),)


class ExternalFaceModel:
    """The name of a face model of ReActor."""

    CATEGORY = CATEGORY
    RETURN_TYPES = (ANY,)
    RETURN_NAMES = ("path",)
    OUTPUT_TOOLTIPS = ("The name of the file, for a node that loads a face model.",)
    FUNCTION = "run"
    DESCRIPTION = "The name of a face model that a deployment of this graph takes as an input. No file is downloaded."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        fields: Fields = {
            "default_face_model_name": text(_DEFAULT),
            "face_model_save_name": text(_SAVED_AS),
            **labels(),
            "face_model_url": text(_MODEL_URL),
        }
        return {"required": input_id("input_reactor_face_model"), "optional": fields}

    def run(
        self,
        input_id: str,
        default_face_model_name: str = "",
        face_model_save_name: str = "",
        face_model_url: str = "",
        **_: Any,
    ) -> tuple[str]:
        from . import values

        folder = "reactor/faces"
        names, wanted = host.model_names(folder) or None, face_model_url or default_face_model_name
        return (values.model(wanted, saved_as=face_model_save_name, names=names, folder=folder, input_id=input_id),)


_VALUE_NODES: dict[str, tuple[type, str]] = {
    "Text": (ExternalText, "Text"),
    "TextAny": (ExternalTextAny, "Text Any"),
    "TextSingleLine": (ExternalTextSingleLine, "Text Single Line"),
    "Number": (ExternalNumber, "Number"),
    "NumberInt": (ExternalNumberInt, "Number Int"),
    "NumberSlider": (ExternalNumberSlider, "Number Slider"),
    "NumberSliderInt": (ExternalNumberSliderInt, "Number Slider Int"),
    "Boolean": (ExternalBoolean, "Boolean"),
    "Enum": (ExternalEnum, "Enum"),
    "Seed": (ExternalSeed, "Seed"),
    "Lora": (ExternalLora, "LoRA"),
    "Checkpoint": (ExternalCheckpoint, "Checkpoint"),
    "FaceModel": (ExternalFaceModel, "Face Model"),
}
_ALL = {**_VALUE_NODES, **IMAGE_NODES, **MEDIA_NODES}
NODES: dict[str, type] = {f"ComfyUIDeployExternal{kind}": node for kind, (node, _) in _ALL.items()}
NAMES = {f"ComfyUIDeployExternal{kind}": f"External {name} (Outpost)" for kind, (_, name) in _ALL.items()}
