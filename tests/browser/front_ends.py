"""Finds the front ends that tests put in a browser: today's, and the one that a ComfyUI was published with."""

from __future__ import annotations

import re
import tempfile
import zipfile
from importlib.util import find_spec
from pathlib import Path

from comfyui_outpost.tests.comfyui.installations import Installation, InstallationError, download

PACKAGE = "comfyui-frontend-package"
STATIC = "comfyui_frontend_package/static"


def todays() -> Path:
    """The static files of the front end that came with the development requirements."""
    spec = find_spec("comfyui_frontend_package")
    assert spec and spec.submodule_search_locations, f"{PACKAGE} is one of the dev requirements"
    return Path(spec.submodule_search_locations[0]) / "static"


def own(installation: Installation, cache: Path) -> Path:
    """The static files of the front end that a ComfyUI requires, from PyPI on their first use.

    Safe to call from several processes at once. Raises InstallationError when there is none to be had.
    """
    requirement = _requirement(installation)
    target = cache / requirement.replace("==", "-")
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpacking-") as scratch:
            with zipfile.ZipFile(download(requirement, Path(scratch))) as wheel:
                wheel.extractall(scratch, [name for name in wheel.namelist() if name.startswith(STATIC)])
            try:
                (Path(scratch) / STATIC).rename(target)
            except OSError:
                if not target.is_dir():
                    raise
                # Another process was faster; its folder is the same.
    return target


def _requirement(installation: Installation) -> str:
    text = (installation.folder / "requirements.txt").read_text(encoding="utf-8")
    found = re.search(rf"^{PACKAGE}==[\w.]+", text, re.MULTILINE)
    if not found:
        raise InstallationError(f"{installation.folder / 'requirements.txt'} names no version of {PACKAGE}.")
    return found.group()
