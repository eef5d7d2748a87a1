"""A run that has succeeded, with what it has put out."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..api.errors import InvalidInput, quote
from ..api.outputs import OutputKind

if TYPE_CHECKING:
    from ..api.models import Run
    from . import media
    from .stopwatch import Stopwatch


@dataclass(frozen=True, repr=False)
class LocalFile:
    """A file that a run has put out, on this computer."""

    path: Path
    filename: str
    """What the machine has called it. Never make a path of this."""

    def __repr__(self) -> str:
        return f"<file {quote(self.filename)}>"


@dataclass(frozen=True)
class OutputPart:
    """One thing that a run has put out."""

    output_id: str | None
    node_id: str | None
    kind: OutputKind
    value: media.Decoded | str | LocalFile
    """An image or its frames, a text, or for every other kind a file."""
    file: LocalFile | None = None
    """The file of an image as it came, where nobody could tell before that it would be an image."""

    def is_from(self, name: str) -> bool:
        """Whether this belongs to the output with that output_id or node id."""
        return name in (self.output_id, self.node_id)

    @property
    def output_name(self) -> str:
        """What its output is called: by its output_id, or else by the id of its node."""
        return self.output_id or self.node_id or ""


@dataclass(frozen=True, repr=False)
class RunResult:
    """A run that has succeeded, with its outputs in the order of its nodes."""

    run: Run
    parts: tuple[OutputPart, ...]
    stopwatch: Stopwatch

    def __repr__(self) -> str:
        # ComfyUI writes the inputs of a node that fails into its history; the URLs of a run's outputs are secrets.
        return f"<run {self.run.id}: {_counted(self.parts)}>"

    def pick(self, name: str) -> RunResult:
        """Only one output: by its output_id, the id of its node, or its place, `#1` for the first.

        Raises InvalidInput, with the list of those there are, if there is none.
        """
        parts = tuple(part for part in self.parts if part.is_from(name))
        if not parts and name.startswith("#") and name[1:].isdecimal():
            outputs = list(self._outputs().values())
            parts = tuple(outputs[int(name[1:]) - 1]) if 0 < int(name[1:]) <= len(outputs) else ()
        if not parts:
            raise InvalidInput(f"Run {self.run.id} has no output {quote(repr(name))}. {self.described()}")
        return RunResult(self.run, parts, self.stopwatch)

    def of_kind(self, *kinds: OutputKind) -> list[OutputPart]:
        """The parts of these kinds, in order."""
        return [part for part in self.parts if part.kind in kinds]

    def described(self) -> str:
        """Which outputs there are, and what is in them, as a sentence."""
        outputs = self._outputs().items()
        known = [f"#{place} {name!r} ({_counted(parts)})" for place, (name, parts) in enumerate(outputs, start=1)]
        return f"Its outputs are: {', '.join(known)}." if known else "It has put out nothing at all."

    @property
    def images(self) -> list[media.Decoded]:
        return [part.value for part in self.parts if not isinstance(part.value, (str, LocalFile))]

    @property
    def texts(self) -> list[str]:
        return [part.value for part in self.parts if isinstance(part.value, str)]

    def _outputs(self) -> dict[str, list[OutputPart]]:
        outputs: dict[str, list[OutputPart]] = {}
        for part in self.parts:
            outputs.setdefault(part.output_name, []).append(part)
        return outputs


def _counted(parts: tuple[OutputPart, ...] | list[OutputPart]) -> str:
    """Such as `2 images, 1 text`."""
    counts = Counter(part.kind for part in parts)
    return ", ".join(_number(count, kind) for kind, count in counts.items()) or "nothing"


_PLURALS = {OutputKind.AUDIO: "sounds", OutputKind.MODEL_3D: "3D files"}
_SINGULARS = {OutputKind.AUDIO: "sound", OutputKind.MODEL_3D: "3D file"}


def _number(count: int, kind: OutputKind) -> str:
    singular = _SINGULARS.get(kind, kind.value)
    return f"{count} {singular if count == 1 else _PLURALS.get(kind, singular + 's')}"
