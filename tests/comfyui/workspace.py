"""Lays out the throw-away folder that one ComfyUI runs in."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from .installations import Installation

OWN_FOLDERS = ("custom_nodes", "input", "models", "output", "temp", "user")
"""What ComfyUI writes into, or reads its user's things from: every workspace has its own, empty at first."""

UNUSED_FOLDERS = ("notebooks", "script_examples", "tests", "tests-ui", "tests-unit", "venv", "__pycache__")
NOT_A_NODE = shutil.ignore_patterns(".*", "__pycache__", "node_modules")


def lay_out(workspace: Path, installation: Installation, custom_nodes: Mapping[str, Path]) -> None:
    """Fill an empty folder with a ComfyUI that shares the installation's code and nothing else with it.

    ComfyUI finds its folders from where `main.py` and `folder_paths.py` really lie, so the files at the top are copied
    and the folders with code are links. That works for every version, also for those without --base-directory, and
    keeps the user's own custom nodes, models and settings out. `custom_nodes` maps folder names to node packages.
    """
    for entry in installation.folder.iterdir():
        if entry.is_file() and entry.name != "extra_model_paths.yaml":
            shutil.copy2(entry, workspace)
        elif is_code(entry):
            link_folder(workspace / entry.name, entry)
    for name in OWN_FOLDERS:
        (workspace / name).mkdir()
    for kind in (installation.folder / "models").iterdir():
        (workspace / "models" / kind.name).mkdir()
    for name, package in custom_nodes.items():
        link_folder(workspace / "custom_nodes" / name, package)


def page_options(workspace: Path) -> list[str]:
    """Options that have ComfyUI serve an empty page of its own, so that it starts without its front end's package.

    Empty for versions that carry their page with them.
    """
    if "--front-end-root" not in (workspace / "comfy" / "cli_args.py").read_text(encoding="utf-8"):
        return []
    page = workspace / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html><title>No page</title>", encoding="utf-8")
    return ["--front-end-root", str(page)]


def is_code(entry: Path) -> bool:
    return entry.is_dir() and not entry.name.startswith(".") and entry.name not in (*OWN_FOLDERS, *UNUSED_FOLDERS)


def link_folder(link: Path, target: Path) -> None:
    """Link a folder, or copy it where links need a privilege that the user lacks (Windows)."""
    try:
        link.symlink_to(target.resolve(), target_is_directory=True)
    except OSError:
        shutil.copytree(target, link, ignore=NOT_A_NODE)
