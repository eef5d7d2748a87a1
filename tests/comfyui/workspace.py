"""Lays out the throw-away folder that one ComfyUI runs in."""

import shutil
from collections.abc import Mapping
from pathlib import Path

from .compiled import OWN_FOLDERS, compiled, is_code, link_folder
from .installations import Installation

COMPILED = "__pycache__"


def lay_out(workspace: Path, installation: Installation, custom_nodes: Mapping[str, Path]) -> None:
    """Fill an empty folder with a ComfyUI that shares the installation's code and nothing else with it.

    ComfyUI finds its folders from where `main.py` and `folder_paths.py` really lie, so the files at the top are copied
    and the folders with code are links. That works for every version, also for those without --base-directory, and
    keeps the user's own custom nodes, models and settings out. `custom_nodes` maps folder names to node packages.
    """
    code = compiled(installation)
    for entry in code.iterdir():
        if entry.is_file() and entry.name != "extra_model_paths.yaml":
            shutil.copy2(entry, workspace)
        elif is_code(entry):
            link_folder(workspace / entry.name, entry)
    # The files at the top are as old here as there, so what was compiled of them is taken for theirs.
    link_folder(workspace / COMPILED, code / COMPILED)
    for name in OWN_FOLDERS:
        (workspace / name).mkdir()
    for kind in (code / "models").iterdir():
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
