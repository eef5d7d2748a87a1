"""The few modules of ComfyUI that a node meets, as far as it needs them."""

from __future__ import annotations

import importlib.machinery
import sys
import types
from pathlib import Path

import pytest
from aiohttp import web

PROMPT_ID = "5d1c9a80-the-prompt-that-is-at-work"


class _Bar:
    def __init__(self, total: int, node_id: str | None = None) -> None:
        self.node_id = node_id

    def update_absolute(self, value: int, total: int, preview: object = None) -> None: ...


class _Queue:
    currently_running = {0: (0, PROMPT_ID, {}, {}, [])}  # noqa: RUF012 ComfyUI's, and nobody changes it

    def get_history(self, prompt_id: str) -> dict[str, object]:
        return {}


class Blocker:
    """What ComfyUI puts on an output that has nothing to give."""

    def __init__(self, message: str) -> None:
        self.message = message


def install(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Make them importable during a test, with ComfyUI's folders in `folder`."""
    for name in ("input", "output", "temp", "user"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    modules = {
        "comfy": {},
        "comfy.model_management": {
            "InterruptProcessingException": type("InterruptProcessingException", (Exception,), {}),
            "throw_exception_if_processing_interrupted": lambda: None,
            "processing_interrupted": lambda: False,
        },
        "comfy.utils": {"ProgressBar": _Bar},
        "comfy_execution": {},
        "comfy_execution.graph_utils": {"ExecutionBlocker": Blocker},
        "server": {
            "PromptServer": types.SimpleNamespace(
                instance=types.SimpleNamespace(
                    prompt_queue=_Queue(),
                    send_progress_text=lambda text, node_id: None,
                    client_id="page",
                    routes=web.RouteTableDef(),
                )
            )
        },
        "folder_paths": {
            "get_input_directory": lambda: str(folder / "input"),
            "get_output_directory": lambda: str(folder / "output"),
            "get_temp_directory": lambda: str(folder / "temp"),
            "user_directory": str(folder / "user"),
            "folder_names_and_paths": {},
        },
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__spec__ = importlib.machinery.ModuleSpec(name, None)
        vars(module).update(content)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, module)
        monkeypatch.setitem(sys.modules, name, module)
