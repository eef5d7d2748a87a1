"""What the panel is told of the ComfyUI that it is in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .connections.here import Here


@dataclass(frozen=True)
class ComfyUI:
    """Facts that only ComfyUI itself knows. Folders are looked up when they are needed, as they can be changed."""

    input_folder: Callable[[], Path]
    """Where its Load nodes look for files."""
    folder: Callable[[], Path]
    """Where its `main.py` is."""
    arguments: tuple[str, ...] = ()
    """What a second one of the same folder has to be started with to find the same models and devices."""
    python: Path | None = None
    """The Python that it runs on; None for the one that this process runs on."""
    here: Callable[[], Here] | None = None
    """The platform that it can start on this computer; None in a ComfyUI that was started by one."""
