"""What a graph gives: its outputs, and of which kind each one is, by the class of its node or the name of its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from .models import Asset, Deployment, DeploymentOutput, Graph
from .shapes import is_object


class OutputKind(str, Enum):
    """What an output is for whoever takes it."""

    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"
    TEXT = "text"
    LATENT = "latent"
    MODEL_3D = "3d"
    FILE = "file"


@dataclass(frozen=True)
class NodeOutput:
    """One output of a graph. It is called by its `output_id`, or where it has none by the id of its node."""

    name: str
    node_id: str
    class_type: str
    kind: OutputKind
    is_named: bool
    """Whether the graph gives it an `output_id`."""


def _each(words: Mapping[OutputKind, str]) -> dict[str, OutputKind]:
    """The kind of each of some words, which are listed by kind."""
    return {word: kind for kind, several in words.items() for word in several.split()}


SUFFIXES: dict[str, OutputKind] = _each(
    {
        OutputKind.IMAGE: ".png .jpg .jpeg .webp .gif .bmp .tif .tiff .avif .exr",
        OutputKind.VIDEO: ".mp4 .webm .mkv .mov .avi .m4v",
        OutputKind.AUDIO: ".flac .mp3 .opus .ogg .wav .m4a .aac",
        OutputKind.LATENT: ".latent",
        OutputKind.MODEL_3D: ".glb .gltf .obj .stl .fbx .usdz .ply .splat .spz .ksplat",
        OutputKind.FILE: ".txt .json .md .csv .svg .xml .yaml .html .pdf .zip",
    }
)

_CLASSES: dict[str, OutputKind] = _each(
    {
        OutputKind.IMAGE: (
            "SaveImage SaveAnimatedWEBP SaveAnimatedPNG SaveImageAdvanced ComfyDeployOutputImage ComfyDeployOutputEXR"
        ),
        OutputKind.VIDEO: "SaveVideo SaveWEBM VHS_VideoCombine",
        OutputKind.AUDIO: "SaveAudio SaveAudioMP3 SaveAudioOpus SaveAudioAdvanced",
        OutputKind.TEXT: "PreviewAny SaveText ShowText|pysssss ComfyDeployOutputText ComfyDeployStdOutputAny",
        OutputKind.LATENT: "SaveLatent",
        OutputKind.MODEL_3D: "SaveGLB Save3DAdvanced SaveGaussianSplat SavePointCloud",
        OutputKind.FILE: "SaveSVGNode ComfyDeployOutputFile",
    }
)

_LISTS: dict[str, OutputKind] = {
    name: kind
    for kind, names in {
        OutputKind.IMAGE: "images",
        OutputKind.VIDEO: "gifs video videos",
        OutputKind.AUDIO: "audio audios",
        OutputKind.TEXT: "text",
        OutputKind.LATENT: "latents",
        OutputKind.MODEL_3D: "3d",
    }.items()
    for name in names.split()
}

_ALIKE = (OutputKind.VIDEO, OutputKind.AUDIO)
"""The name of a file does not tell these apart: one container holds either. A GIF is a film to what makes films."""
_MEDIA_FAMILIES = ("image", "video", "audio")
"""What a media type begins with whose kind is called the same."""


def kind_of_class(class_type: str) -> OutputKind | None:
    """What nodes of a class put out; None for a class that is not known to put out anything."""
    return _CLASSES.get(class_type)


def suffix_of(filename: str) -> str:
    """The end of a file's name with its dot, in small letters; empty where there is none."""
    stem, dot, suffix = filename.lower().rpartition(".")
    return dot + suffix if stem else ""


def kind_of_file(filename: str) -> OutputKind:
    """What a file is by the end of its name; FILE for one that says nothing."""
    return SUFFIXES.get(suffix_of(filename), OutputKind.FILE)


def kind_of_asset(asset: Asset) -> OutputKind:
    """What an asset is: by the end of its name, and where that does not tell, by its media type."""
    family, named = (asset.mime_type or "").partition("/")[0], SUFFIXES.get(suffix_of(asset.name))
    told = OutputKind(family) if family in _MEDIA_FAMILIES else None
    if told and (named is None or (told in _ALIKE and named in _ALIKE)):
        return told
    return named or OutputKind.FILE


def kind_of_output(filename: str, *, in_list: str, class_type: str = "") -> OutputKind:
    """What a file is that a node has put out: by what its node makes, else by the list that it is in, else by its name.

    A name that tells of another kind of media counts more: nodes put films among the images. TEXT is a file to be read.
    """
    told, suffix = _CLASSES.get(class_type) or _LISTS.get(in_list), suffix_of(filename)
    named = SUFFIXES.get(suffix, told or OutputKind.FILE)
    if told is None:
        return named
    if told is OutputKind.FILE or (told is OutputKind.TEXT and named is OutputKind.FILE):
        return told
    if told in _ALIKE and (named in _ALIKE or suffix == ".gif"):
        return told
    return named


def outputs_of(workflow_api: Graph) -> list[DeploymentOutput]:
    """The outputs that a graph names with an `output_id`."""
    return [
        DeploymentOutput(output_id=each.name, class_type=each.class_type, node_id=each.node_id)
        for each in node_outputs(workflow_api)
        if each.is_named
    ]


def node_outputs(workflow_api: Graph) -> list[NodeOutput]:
    """Every output of a graph that is known before a run, in the order of its nodes."""
    found = (_node_output(node_id, node) for node_id, node in workflow_api.items())
    return [each for each in found if each]


def declared_outputs(deployment: Deployment) -> list[NodeOutput] | None:
    """The outputs of a deployment, from its graph when the platform tells it; None when it tells nothing at all."""
    if deployment.version and deployment.version.workflow_api:
        return node_outputs(deployment.version.workflow_api)
    return None if deployment.output_types is None else list(_told(deployment.output_types))


def _told(outputs: Iterable[DeploymentOutput]) -> Iterable[NodeOutput]:
    for each in outputs:
        kind = kind_of_class(each.class_type) or OutputKind.FILE
        yield NodeOutput(each.output_id, each.node_id or "", each.class_type, kind, is_named=True)


def _node_output(node_id: str, node: object) -> NodeOutput | None:
    if not is_object(node):
        return None
    class_type, fields = str(node.get("class_type", "")), node.get("inputs")
    output_id = fields.get("output_id") if is_object(fields) else None
    is_named = isinstance(output_id, str) and bool(output_id)
    kind = kind_of_class(class_type)
    if not is_named and kind is None:
        return None
    return NodeOutput(str(output_id) if is_named else node_id, node_id, class_type, kind or OutputKind.FILE, is_named)
