"""Where the ComfyUIs of one managed machine write: out of reach for the runs of other machines."""

from __future__ import annotations

import shutil
from pathlib import Path

_OUTPUT, _TEMP = "output", "temp"


class WorkFolder:
    """A folder of a machine's own in which each process has folders; the ComfyUI's own ones when there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def options(self, number: int) -> list[str]:
        """Folders for process `number` alone: ComfyUI empties the one for what is temporary when it starts."""
        if self._folder is None:
            return []
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        output, temp = (self._folder / name / str(number) for name in (_OUTPUT, _TEMP))
        for folder in (output, temp):
            folder.mkdir(parents=True, exist_ok=True)
        return ["--output-directory", str(output), "--temp-directory", str(temp)]

    def remove_temporary(self) -> None:
        """Remove what was not meant to stay."""
        if self._folder:
            shutil.rmtree(self._folder / _TEMP, ignore_errors=True)
