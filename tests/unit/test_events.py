"""Run events: the recorded streams of the hosted platform, and the round trip of our own."""

import json

import pytest
from comfyui_outpost.api.events import (
    Accepted,
    ExecutionCached,
    ExecutionFailed,
    ExecutionInterrupted,
    ExecutionStarted,
    ExecutionSucceeded,
    LiveStatus,
    LogLine,
    NodeExecuted,
    NodeProgress,
    NodesProgress,
    NodeStarted,
    OutputReady,
    Phase,
    PreviewImage,
    Rejected,
    StatusChanged,
    Unknown,
    decode,
    encode,
    to_sse,
)
from comfyui_outpost.api.models import Failure, RunStatus
from comfyui_outpost.tests.fakes import recordings

RUN_ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be001"

EVENTS = [
    Phase("queuing"),
    Phase("gpu_event_id", "x"),
    Accepted(RUN_ID, 3),
    Rejected(Failure(message="no", exception_type="invalid_prompt"), {"1": {"errors": []}}),
    ExecutionStarted(RUN_ID),
    ExecutionCached(RUN_ID, ("1", "2")),
    NodeStarted(RUN_ID, "1"),
    NodeStarted(RUN_ID, None),
    NodeProgress(RUN_ID, "1", 2, 20),
    NodesProgress(RUN_ID, {"1": 1.0, "2": 0.25}),
    PreviewImage(RUN_ID, "1", "image/jpeg", b"\xff\xd8\n\0"),
    PreviewImage(RUN_ID, None, "image/png", b""),
    LiveStatus(RUN_ID, "Executing\nKSampler", 0.5),
    NodeExecuted(RUN_ID, "1", {"images": [{"filename": "a.png"}]}),
    OutputReady(RUN_ID, "1", {}),
    ExecutionFailed(RUN_ID, Failure(message="bad", node_id="1", node_class="Crop", exception_type="ValueError")),
    ExecutionSucceeded(RUN_ID),
    ExecutionInterrupted(RUN_ID, "1"),
    *(StatusChanged(RUN_ID, status) for status in RunStatus),
    LogLine("line\nline", 1.5),
    Unknown("crystools.monitor", {"cpu": 3}),
    Unknown(None, {"something": "else"}),
]

NUMBERED = [
    '{"event": "progress", "data": {"prompt_id": "x", "value": %s, "max": 1}}',
    '{"event": "progress", "data": {"prompt_id": "x", "value": 1, "max": %s}}',
    '{"event": "progress_state", "data": {"prompt_id": "x", "nodes": {"1": {"value": %s, "max": 1}}}}',
    '{"event": "progress_state", "data": {"prompt_id": "x", "nodes": {"1": {"value": 1, "max": %s}}}}',
    '{"event": "live_status", "data": {"prompt_id": "x", "live_status": "a", "progress": %s}}',
]
NO_NUMBERS = ["1" + "0" * 400, "-1" + "0" * 400, "1" + "0" * 5000, "1e999", "NaN", "Infinity", "-Infinity", '"nan"']


def events_of(stream: str) -> list[object]:
    blocks = recordings.stream(stream).decode().strip().split("\n\n")
    lines = [block.split("\n") for block in blocks]
    return [decode(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in lines]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_every_event_comes_back_as_it_was(event):
    name, payload = encode(event)

    assert decode(name, json.dumps(payload)) == event


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_on_the_wire_has_a_name_one_line_of_data_and_an_end(event):
    head, name, data, *end = to_sse(event, number=7).decode().split("\n")

    assert head == "id: 7"
    assert name.startswith("event: ")
    assert decode(name[7:], data[6:]) == event
    assert end == ["", ""]


def test_an_event_that_is_not_logged_has_no_number():
    assert to_sse(ExecutionStarted(RUN_ID)).startswith(b"event: ")


@pytest.mark.parametrize("stream", ["ok", "progress", "execution_error", "unknown_node", "without_terminal_event"])
def test_every_event_of_the_recorded_streams_is_understood(stream):
    events = events_of(stream)

    assert events[0] == Phase("queuing")
    assert not [event for event in events if isinstance(event, Unknown)]


@pytest.mark.parametrize(("stream", "status"), [("ok", RunStatus.SUCCESS), ("execution_error", RunStatus.FAILED)])
def test_a_recorded_stream_ends_with_the_status_of_the_run_it_named(stream, status):
    events = events_of(stream)
    [accepted] = [event for event in events if isinstance(event, Accepted)]

    assert events[-1] == StatusChanged(accepted.run_id, status)


def test_a_recorded_failure_has_its_node_and_its_reason():
    [failed] = [event for event in events_of("execution_error") if isinstance(event, ExecutionFailed)]

    assert failed.failure.node_id == "2"
    assert failed.failure.node_class == "ImageInvert"
    assert failed.failure.message


def test_a_recorded_refusal_has_no_run_but_a_reason():
    [rejected] = [event for event in events_of("unknown_node") if isinstance(event, Rejected)]

    assert "NoSuchNode" in rejected.failure.message
    assert rejected.failure.exception_type == "invalid_prompt"


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("event_update", "no JSON"),
        ("event_update", ""),
        ("event_update", "[1, 2]"),
        ("event_update", "null"),
        ("event_update", "{}"),
        ("event_update", '{"event": "executing"}'),
        ("event_update", '{"event": "executing", "data": {}}'),
        ("event_update", '{"event": "progress", "data": [1]}'),
        ("event_update", '{"event": "progress_state", "data": {"prompt_id": "x", "nodes": [1]}}'),
        ("event_update", '{"event": 7, "data": {}}'),
        ("event_update", '{"event": {"a": 1}}'),
        ("event_update", '{"event": "status", "data": {"prompt_id": "x", "status": 3}}'),
        ("event_update", '{"event": "preview_image", "data": {"prompt_id": "x", "content_type": "a", "image": "?"}}'),
        ("event_update", '{"event": "preview_image", "data": {"prompt_id": "x", "content_type": "a", "image": 7}}'),
        ("event_update", '{"prompt_id": 7}'),
        ("event_update", '{"error": "text"}'),
        ("event_update", "[" * 200_000),
        ("log_update", '{"logs": ' + "[" * 200_000),
        ("event_update", '{"event": ["a"], "data": {}}'),
        ("event_update", '{"event": "status", "data": {"prompt_id": ["x"], "status": "running"}}'),
        ("event_update", '{"event": "live_status", "data": {"prompt_id": {}, "live_status": "a", "progress": 1}}'),
        *(("event_update", event % number) for event in NUMBERED for number in NO_NUMBERS),
        ("message", '{"type": "connection_established"}'),
    ],
    ids=lambda text: text[:60],
)
def test_what_makes_no_sense_is_unknown_and_never_an_error(name, data):
    assert isinstance(decode(name, data), Unknown)


def test_a_status_of_a_newer_platform_is_that_of_a_run_that_goes_on():
    data = json.dumps({"event": "status", "data": {"prompt_id": RUN_ID, "status": "thinking"}})

    assert decode("event_update", data) == StatusChanged(RUN_ID, RunStatus.RUNNING)


def test_node_ids_are_texts_whatever_the_machine_sends():
    data = json.dumps({"event": "executing", "data": {"prompt_id": RUN_ID, "node": 5}})

    assert decode("event_update", data) == NodeStarted(RUN_ID, "5")


def test_progress_of_nothing_is_nothing_and_never_more_than_all():
    nodes = {"1": {"value": 0, "max": 0}, "2": {"value": 9, "max": 3}}
    data = json.dumps({"event": "progress_state", "data": {"prompt_id": RUN_ID, "nodes": nodes}})

    assert decode("event_update", data) == NodesProgress(RUN_ID, {"1": 0.0, "2": 1.0})


@pytest.mark.parametrize("number", [number for number in NO_NUMBERS if len(number) < 1000])
def test_a_run_is_accepted_whatever_its_number(number):
    assert decode("event_update", f'{{"prompt_id": "{RUN_ID}", "number": {number}}}') == Accepted(RUN_ID, 0)


def test_a_number_that_nobody_reads_does_not_cost_the_event():
    data = f'{{"event": "executed", "data": {{"prompt_id": "{RUN_ID}", "node": "1", "output": {{"text": [NaN]}}}}}}'

    assert isinstance(decode("event_update", data), NodeExecuted)


def test_a_share_is_never_below_nothing():
    nodes = {"1": {"value": -5, "max": 2}, "2": {"value": 5, "max": -2}, "3": {"value": 1e308, "max": 1e-308}}
    data = json.dumps({"event": "progress_state", "data": {"prompt_id": RUN_ID, "nodes": nodes}})

    assert decode("event_update", data) == NodesProgress(RUN_ID, {"1": 0.0, "2": 0.0, "3": 1.0})


def test_texts_can_always_be_sent_on():
    status = {"prompt_id": RUN_ID, "live_status": "a\ud800", "progress": None}
    error = {"prompt_id": RUN_ID, "exception_message": "b\ud800", "node_type": {"a": 1}, "exception_type": 7}

    assert decode("event_update", json.dumps({"event": "live_status", "data": status})) == LiveStatus(RUN_ID, "a?", 0)
    assert decode("log_update", json.dumps({"logs": ["\ud800"]})) == LogLine("['\\ud800']")
    failed = decode("event_update", json.dumps({"event": "execution_error", "data": error}))
    assert isinstance(failed, ExecutionFailed)
    assert failed.failure == Failure(message="b?", node_class="{'a': 1}", exception_type="7")


def test_outputs_that_are_no_object_are_none():
    for name in ("executed", "output_ready"):
        data = json.dumps({"event": name, "data": {"prompt_id": RUN_ID, "node": "1", "output": [1]}})
        event = decode("event_update", data)
        assert isinstance(event, NodeExecuted | OutputReady)
        assert event.output == {}
