"""What the outputs of a run are on the sockets of a node: for each kind the values that ComfyUI has for it.

Every such socket is a list (OUTPUT_IS_LIST). These functions read and decode files: call them on a thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..api.outputs import OutputKind
from . import host, media
from .local_files import keep
from .results import LocalFile, OutputPart, RunResult

TYPES: dict[OutputKind, str] = {
    OutputKind.IMAGE: "IMAGE",
    OutputKind.VIDEO: "VIDEO",
    OutputKind.AUDIO: "AUDIO",
    OutputKind.TEXT: "STRING",
    OutputKind.LATENT: "LATENT",
    OutputKind.MODEL_3D: "STRING",
    OutputKind.FILE: "STRING",
}
"""The type of the socket that carries a kind."""

FILES = tuple(kind for kind in OutputKind if kind not in (OutputKind.IMAGE, OutputKind.TEXT))
"""The kinds that come as files."""


def values(result: RunResult, kind: OutputKind) -> list[Any]:
    """What the outputs of this kind are to ComfyUI; a FILE socket takes any file, and a text where that is what came.

    3D and other files are put into ComfyUI's output folder, and their paths from there are given. Where there is
    nothing of the kind, whatever is connected to the socket is blocked, with a message.
    """
    if kind is OutputKind.IMAGE:
        return images_and_masks(result)[0]
    if kind is OutputKind.TEXT:
        found: list[Any] = list(result.texts)
    elif kind is OutputKind.FILE:
        found = [text_or_path for part in result.parts if (text_or_path := _text_or_path(part)) is not None]
    else:
        found = _DECODED[kind](result)
    return found or [nothing(result, kind)]


def images_and_masks(result: RunResult) -> tuple[list[Any], list[Any]]:
    """The images as IMAGE and their transparency as MASK: one batch of those of one size, else one after the other."""
    if result.images:
        return media.batch(result.images)
    blocked = nothing(result, OutputKind.IMAGE)
    return [blocked], [blocked]


def images_among(picked: RunResult, result: RunResult, batches: list[Any]) -> list[Any]:
    """The images of some outputs of a run, where `batches` are those of all: no copy where they follow each other."""
    wanted, everything = picked.images, result.images
    if len(batches) == 1 and wanted:
        place = next((index for index, each in enumerate(everything) if each is wanted[0]), len(everything))
        found = everything[place : place + len(wanted)]
        if len(found) == len(wanted) and all(one is other for one, other in zip(found, wanted, strict=True)):
            first = sum(len(each.image) for each in everything[:place])
            count = sum(len(each.image) for each in wanted)
            return batches if count == len(batches[0]) else [batches[0][first : first + count]]
    return values(picked, OutputKind.IMAGE)


def files(result: RunResult, *kinds: OutputKind) -> list[Any]:
    """The paths of the files of these kinds in ComfyUI's output folder, into which they are put."""
    found = [_kept(part.value) for part in result.of_kind(*kinds) if isinstance(part.value, LocalFile)]
    return found or [nothing(result, kinds[-1])]


def nothing(result: RunResult, kind: OutputKind) -> Any:
    """What stands on a socket that has nothing of its kind to give."""
    wanted = "3D file" if kind is OutputKind.MODEL_3D else kind.value
    return host.blocked(f"Run {result.run.id} has put out no {wanted} here. {result.described()}")


def _videos(result: RunResult) -> list[Any]:
    return [host.video(file.path) for file in _files_of(result, OutputKind.VIDEO)]


def _sounds(result: RunResult) -> list[Any]:
    from .media import audio

    sounds = _files_of(result, OutputKind.AUDIO)
    return list(audio.batch([audio.decode(file.path, name=_named(file)) for file in sounds])) if sounds else []


def _latents(result: RunResult) -> list[Any]:
    from .media import latents

    return [latents.decode(file.path, name=_named(file)) for file in _files_of(result, OutputKind.LATENT)]


def _models(result: RunResult) -> list[Any]:
    return [_kept(file) for file in _files_of(result, OutputKind.MODEL_3D)]


_DECODED: dict[OutputKind, Callable[[RunResult], list[Any]]] = {
    OutputKind.VIDEO: _videos,
    OutputKind.AUDIO: _sounds,
    OutputKind.LATENT: _latents,
    OutputKind.MODEL_3D: _models,
}


def _files_of(result: RunResult, kind: OutputKind) -> list[LocalFile]:
    return [part.value for part in result.of_kind(kind) if isinstance(part.value, LocalFile)]


def _text_or_path(part: OutputPart) -> str | None:
    if isinstance(part.value, str):
        return part.value
    file = part.value if isinstance(part.value, LocalFile) else part.file
    return _kept(file) if file else None


def _kept(file: LocalFile) -> str:
    return keep(file.path, file.filename, root=host.output_folder())


def _named(file: LocalFile) -> str:
    return f"The file {file.filename!r} of the run"
