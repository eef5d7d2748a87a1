"""What the External nodes that take files have in common."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from .. import host
from .fields import CATEGORY

if TYPE_CHECKING:
    from ...api.errors import InvalidInput
    from .files import Files

T = TypeVar("T")

LINKED = "What is taken where neither a run nor the editor gives a file."
URL = "A file for the editor, and where a run gives none: its URL, or its name in ComfyUI's input folder."
UNIQUE_ID: Any = {"unique_id": "UNIQUE_ID"}


class TakesFile:
    """An External node whose value is a file."""

    CATEGORY = CATEGORY
    FUNCTION = "run"
    FILES: tuple[str, ...] = ()
    """Its inputs that may name a file of ComfyUI's input folder."""

    @classmethod
    def IS_CHANGED(cls, **fields: Any) -> str:  # noqa: N802 ComfyUI's name
        """Another text when a file of the input folder has become another."""
        return " ".join(_version(fields.get(name)) for name in cls.FILES)


async def with_files(unique_id: str, name: str, work: Callable[[Files], Coroutine[Any, Any, T]]) -> T:
    """The result of work with files; it ends when the user interrupts, and its failures name the input."""
    from ..foreign import foreign_files
    from ..waiting import interruptible
    from .files import Files, about

    node = host.Node(unique_id)
    files = Files(foreign_files(), folder=node.folder, inputs=host.input_folder())
    with about(name):
        return await interruptible(node.check_interrupted, work(files))


def reference_of(input_id: str, *others: str | None) -> str:
    """The file that is meant: a URL in place of the id, else the first of the others; an empty text without any."""
    from .values import is_url

    return next((each for each in (input_id if is_url(input_id) else "", *others) if each), "")


def name_of(input_id: str, display_name: str = "") -> str:
    """What a message calls the input."""
    from . import values

    return values.name_of(input_id, display_name)


def linked(value: Any, name: str, *, instead: str) -> tuple[Any]:
    """What is connected to `default_value`, which a run without a value takes. Raises InvalidInput without it."""
    if value is None:
        raise refused(name, f"has no value: connect {instead}")
    return (value,)


def refused(name: str, reason: str) -> InvalidInput:
    """The error of an input that cannot be used."""
    from ...api.errors import InvalidInput

    return InvalidInput(f"The input {name!r} {reason}", input_id=name)


def _version(file: Any) -> str:
    from ...api.errors import InvalidInput
    from ..local_files import choose
    from .files import INPUT_MARK
    from .values import is_url

    if not isinstance(file, str) or not file or is_url(file):
        return ""
    try:
        return str(choose(file.removesuffix(INPUT_MARK), root=host.input_folder()).stat().st_mtime_ns)
    except (InvalidInput, OSError):
        return ""
