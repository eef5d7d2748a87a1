"""What the nodes ask ComfyUI itself."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.nodes import host
from comfyui_outpost.nodes.open_runs import PromptState
from comfyui_outpost.tests.nodes.comfyui_modules import PROMPT_ID


@pytest.fixture
def settings(inside_comfyui: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that ComfyUI keeps the settings of its user in; it is not there yet."""
    monkeypatch.delenv("OUTPOST_ON_CLOSE", raising=False)
    (inside_comfyui / "user" / "default").mkdir(parents=True)
    return inside_comfyui / "user" / "default" / "comfy.settings.json"


@pytest.mark.parametrize(
    ("content", "choice"),
    [
        (None, "leave"),
        ({}, "leave"),
        ({"Outpost.OnClose": "cancel"}, "cancel"),
        ({"Outpost.OnClose": "leave"}, "leave"),
        (["no object"], "leave"),
    ],
)
def test_what_becomes_of_open_runs_is_the_users_setting(settings: Path, content: Any, choice: str):
    if content is not None:
        settings.write_text(json.dumps(content))
    assert host.on_close() == choice


def test_settings_that_cannot_be_read_cancel_nothing(settings: Path):
    settings.write_text('{"Outpost.OnClose": "canc')
    assert host.on_close() == "leave"


def test_the_environment_counts_more_than_the_setting(settings: Path, monkeypatch: pytest.MonkeyPatch):
    settings.write_text(json.dumps({"Outpost.OnClose": "cancel"}))
    monkeypatch.setenv("OUTPOST_ON_CLOSE", "leave")
    assert host.on_close() == "leave"


def history(status: object) -> Any:
    return lambda prompt_id: {prompt_id: {"status": status}} if status is not None else {}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"status_str": "error", "completed": False, "messages": [("execution_error", {})]}, PromptState.FAILED),
        ({"status_str": "error", "messages": [["execution_interrupted", {}]]}, PromptState.INTERRUPTED),
        ({"status_str": "error"}, PromptState.FAILED),
        ({"status_str": "success", "completed": True}, PromptState.ENDED),
        (None, PromptState.ENDED),
    ],
)
def test_a_prompt_that_is_over_has_stopped_or_ended_well(
    inside_comfyui: Path, monkeypatch: pytest.MonkeyPatch, status: object, state: PromptState
):
    queue = sys.modules["server"].PromptServer.instance.prompt_queue
    monkeypatch.setattr(queue, "get_history", history(status), raising=False)

    assert host.prompt_state("another prompt") is state


@pytest.mark.parametrize("is_interrupted", [True, False])
def test_the_prompt_at_work_has_stopped_as_soon_as_it_is_interrupted(
    inside_comfyui: Path, monkeypatch: pytest.MonkeyPatch, is_interrupted: bool
):
    management = sys.modules["comfy.model_management"]
    monkeypatch.setattr(management, "processing_interrupted", lambda: is_interrupted)

    assert host.prompt_state(PROMPT_ID) is (PromptState.INTERRUPTED if is_interrupted else PromptState.RUNNING)
    assert host.prompt_state("another prompt") is PromptState.ENDED


def test_before_comfyui_could_show_texts_our_part_of_the_page_is_told(
    inside_comfyui: Path, monkeypatch: pytest.MonkeyPatch
):
    server, told = sys.modules["server"].PromptServer.instance, []
    monkeypatch.delattr(server, "send_progress_text")
    monkeypatch.setattr(server, "send_sync", lambda *message: told.append(message), raising=False)

    host.Node("5:3").text("queued, next")

    assert told == [("outpost.text", {"node": "5:3", "text": "queued, next"}, "page")]
