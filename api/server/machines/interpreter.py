"""The Python that a managed ComfyUI is started with: the one that the operator names, or one that is looked for."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path

OPTION = "--comfyui-python"
"""Of `outpost serve`: names another one."""
_ENVIRONMENTS = (".venv", "venv", "env")
_IN_ENVIRONMENT = Path("Scripts", "python.exe") if os.name == "nt" else Path("bin", "python")


@dataclass(frozen=True)
class Interpreter:
    """Where a Python is, which is for the server's log alone, and what it is called to everybody."""

    path: Path
    name: str


def choose_python(named: Path | None, folder: Path) -> Interpreter:
    """The Python for the ComfyUI in a folder; `named` is the operator's choice, if there is one."""
    if named:
        return Interpreter(named, f"the Python that {OPTION} names")
    found = find_python(folder)
    whose = "the server's own Python" if found == Path(sys.executable) else "the Python in its folder"
    return Interpreter(found, f"{whose} (outpost serve {OPTION} PATH names another)")


def find_python(folder: Path) -> Path:
    """The interpreter of a ComfyUI: of the environment in its folder, of the portable Windows build, else this one."""
    found = [folder / name / _IN_ENVIRONMENT for name in _ENVIRONMENTS]
    found.append(folder.parent / "python_embeded" / "python.exe")
    return next((python for python in found if python.is_file()), Path(sys.executable))
