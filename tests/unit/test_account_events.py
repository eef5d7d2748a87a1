"""Events of an account on the wire: what is written is read, and nonsense is no event."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import pytest
from comfyui_outpost.api.account_events import (
    AccountEvent,
    MachineChanged,
    PreviewShown,
    RunChanged,
    StreamBegun,
    StreamBroken,
    ThingChanged,
    UnknownEvent,
    decode,
    encode,
    to_sse,
)
from comfyui_outpost.api.models import Failure, Run, RunStatus

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=timezone.utc)
RUN = RunChanged(
    "r",
    RunStatus.FAILED,
    progress=0.5,
    live_status="Executing KSampler\n\u202e🙂",
    queue_position=0,
    deployment_id="d",
    workflow_id="w",
    workflow_version_id="v",
    machine_id="m",
    created_at=NOW,
    started_at=NOW,
    ended_at=NOW,
    error=Failure(message="out of memory", node_id="3", node_class="KSampler", exception_type="OOM"),
)
EVENTS: list[AccountEvent] = [
    StreamBegun(is_resumed=True),
    StreamBegun(is_resumed=False),
    RUN,
    RunChanged("r", RunStatus.QUEUED),
    PreviewShown("r", "image/png", bytes(range(256))),
    MachineChanged("m", "error", "It is away", 3, 2),
    MachineChanged("m", "ready"),
    ThingChanged("workflow", "w", "deleted"),
]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_what_is_written_is_read(event: AccountEvent):
    name, payload = encode(event)
    assert decode(name, json.dumps(payload)) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_is_one_message_on_three_lines(event: AccountEvent):
    text = to_sse(event, number=7).decode()
    assert text.startswith("id: 7\nevent: ")
    assert text.endswith("\n\n")
    assert text.count("\n") == 4
    assert b"id:" not in to_sse(event)


def test_the_fields_of_a_run_are_those_that_a_list_has():
    _, payload = encode(RUN)
    assert set(payload) - {"run_id"} <= set(Run.model_fields)
    assert payload["created_at"] == "2026-01-02T03:04:05.678901Z"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("run", "{"),
        ("run", "[" * 100_000),
        ("run", "7"),
        ("run", "{}"),
        ("run", '{"run_id": 7, "status": "queued"}'),
        ("run", '{"run_id": "r", "status": 7}'),
        ("run", '{"run_id": "r", "status": "queued", "progress": "much"}'),
        ("run", '{"run_id": "r", "status": "queued", "created_at": "yesterday"}'),
        ("run", '{"run_id": "r", "status": "queued", "error": "no"}'),
        ("run", '{"run_id": "r", "status": "queued", "machine_id": {}}'),
        ("preview", '{"run_id": "r", "content_type": "image/png", "data": "???"}'),
        ("machine", '{"machine_id": "m"}'),
        ("changed", '{"kind": "workflow", "id": null, "deed": "deleted"}'),
        ("begun", '{"is_resumed": "perhaps"}'),
        ("of a later version", '{"run_id": "r"}'),
    ],
    ids=str,
)
def test_nonsense_is_no_event(name: str, data: str):
    assert decode(name, data[:200] if len(data) > 1000 else data) == UnknownEvent(name)


def test_a_status_of_a_later_version_is_that_of_a_run_which_goes_on():
    told: Any = decode("run", '{"run_id": "r", "status": "dreaming", "progress": 7}')
    assert (told.status, told.progress) == (RunStatus.RUNNING, 1.0)


def test_that_a_stream_is_broken_is_never_on_the_wire():
    with pytest.raises(ValueError, match="cannot be told"):
        encode(StreamBroken("away"))
