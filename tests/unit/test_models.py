"""The records, read from what the hosted platform really answers."""

from datetime import datetime, timezone
from itertools import product
from typing import Annotated

import pytest
from comfyui_outpost.api import models
from comfyui_outpost.api.models import (
    TRANSITIONS,
    CancelResult,
    Deployment,
    Failure,
    Machine,
    OutputFile,
    Record,
    Run,
    RunOutput,
    RunQueued,
    RunRequest,
    RunStatus,
    UploadedFile,
    UploadRequest,
    Workflow,
    canonical_id,
    parse_timestamp,
    write_timestamp,
)
from comfyui_outpost.tests.fakes import recordings
from pydantic import Field, TypeAdapter, ValidationError

ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"
MOMENT = datetime(2026, 11, 23, 17, 55, 40, 384382, tzinfo=timezone.utc)

RECORD_OF = {
    "get_run_run_id": Run,
    "get_deployment_deployment_id": Deployment,
    "post_deployment": Deployment,
    "get_machine_machine_id": Machine,
    "get_machines": list[Machine],
    "get_workflow_workflow_id": Workflow,
    "get_workflows": list[Workflow],
    "post_file_upload": UploadedFile,
    "post_run_deployment_queue": RunQueued,
    "post_run_deployment_sync": list[RunOutput],
    "post_run_run_id_cancel": CancelResult,
}


def answers():
    for name, record in RECORD_OF.items():
        for each in recordings.exchanges(name):
            is_of_another_endpoint = name == "post_run_run_id_cancel" and each["request"]["method"] == "GET"
            body = each["response"]["body"]
            if each["response"]["status"] == 200 and isinstance(body, (dict, list)):
                yield pytest.param(Run if is_of_another_endpoint else record, body, id=f"{name}: {each['case'][:60]}")


@pytest.mark.parametrize(("record", "body"), list(answers()))
def test_every_recorded_answer_is_read(record, body):
    TypeAdapter(record).validate_python(body)


@pytest.mark.parametrize("case", [each for each in recordings.cases("get_run_run_id") if "final" in each])
def test_every_polled_run_is_read(case):
    run = Run.model_validate(case["final"])

    assert run.status.is_terminal or run.status.value == case["final"]["status"]
    assert len(run.outputs) == len(case["final"]["outputs"])


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 17:55:40.384382",
        "2026-11-23T17:55:40.384382",
        "2026-11-23T17:55:40.384382Z",
        "2026-11-23T17:55:40.384382+00:00",
        "2026-11-23T17:55:40.384382+00Z",
        "2026-11-23T19:55:40.384382+0200",
        "2026-11-23T17:55:40.384382999Z",
    ],
)
def test_all_shapes_of_a_timestamp_are_the_same_moment(text):
    assert parse_timestamp(text) == MOMENT


@pytest.mark.parametrize(("text", "microsecond"), [("40Z", 0), ("40.4Z", 400000), ("40.421Z", 421000)])
def test_a_timestamp_may_have_any_number_of_decimals(text, microsecond):
    assert parse_timestamp(f"2026-11-23T17:55:{text}") == MOMENT.replace(microsecond=microsecond)


def test_a_timestamp_is_written_in_one_shape():
    run = Run(id=ID, status="queued", created_at=MOMENT)

    assert write_timestamp(MOMENT) == "2026-11-23T17:55:40.384382Z"
    assert run.model_dump(mode="json")["created_at"] == "2026-11-23T17:55:40.384382Z"


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-45T99:99:99Z"])
def test_what_is_no_timestamp_is_refused(text):
    with pytest.raises(ValidationError):
        Run(id=ID, status="queued", created_at=text)


def test_ids_have_one_spelling():
    assert canonical_id(f" {{{ID.upper()}}} ") == ID
    assert Run(id=ID.replace("-", ""), status="queued").id == ID
    with pytest.raises(ValueError, match="is not an id"):
        canonical_id("../run")


def test_unknown_fields_and_statuses_are_those_of_a_newer_platform():
    run = Run.model_validate({"id": ID, "status": "thinking", "mood": "good"})

    assert run.status is RunStatus.RUNNING
    assert not run.status.is_terminal


def test_a_status_that_is_no_text_is_refused():
    with pytest.raises(ValidationError):
        Run.model_validate({"id": ID, "status": 3})


def test_only_four_statuses_are_the_end():
    assert {each.value for each in RunStatus if each.is_terminal} == {"success", "failed", "timeout", "cancelled"}


def test_every_status_has_its_transitions_and_none_leads_to_itself():
    assert set(TRANSITIONS) == set(RunStatus)
    for status, other in product(RunStatus, RunStatus):
        assert (other in TRANSITIONS[status]) == (status in other.predecessors)
        assert status not in TRANSITIONS[status]


def test_outputs_of_every_kind_are_told_apart():
    run = Run.model_validate(recordings.body("get_run_run_id", "outputs of many kinds"))

    names = {each.filename.rpartition(".")[2] for output in run.outputs for each in output.files}
    assert names >= {"jpg", "webp", "webm", "mp4", "flac", "png"}
    assert [text for output in run.outputs for text in output.texts] == ['{"a":1}']
    assert all(output.node_id for output in run.outputs)


def test_errors_and_timings_among_the_outputs_are_no_outputs():
    rows = recordings.body("get_workflow_workflow_id_runs", "limit=2")
    raw = [output for row in rows for output in row["outputs"]]

    outputs = TypeAdapter(list[RunOutput]).validate_python(raw)

    assert any("exception_message" in str(each["data"]) for each in raw)
    assert all(isinstance(item, OutputFile) for each in outputs for item in each.files)
    assert not any("exception" in text for each in outputs for text in each.texts)


def test_a_failure_reads_as_a_sentence():
    failure = Failure(message="too big\n", node_id="3", node_class="Crop", exception_type="ValueError")

    assert str(failure) == "node 3 (Crop): ValueError: too big"
    assert str(Failure(message="no")) == "no"


@pytest.mark.parametrize("value", ["a", 1, 1.5, True, ["http://a"]])
def test_a_value_of_an_input_keeps_its_type(value):
    sent = RunRequest(deployment_id=ID, inputs={"x": value}).inputs["x"]

    assert sent == value
    assert type(sent) is type(value)


@pytest.mark.parametrize("value", [None, {"a": 1}])
def test_values_that_the_platform_refuses_are_refused_here(value):
    with pytest.raises(ValidationError):
        RunRequest(deployment_id=ID, inputs={"x": value})


@pytest.mark.parametrize("kind", ["image/png", "application/vnd.api+json", "video/mp4"])
def test_an_upload_has_a_content_type(kind):
    assert UploadRequest(type=kind, file_size=0).type == kind


@pytest.mark.parametrize("kind", ["", "png", "image/png; charset=x", "image/png\r\nX-Evil: 1", "a/b/c"])
def test_what_is_no_content_type_is_refused(kind):
    with pytest.raises(ValidationError):
        UploadRequest(type=kind, file_size=1)


@pytest.mark.parametrize(("told", "kept"), [(0, False), (1, True), (3, True), (True, True), (None, None)])
def test_how_many_processes_stay_is_read_as_whether_one_does(told, kept):
    assert Machine.model_validate({"id": ID, "name": "x", "type": "classic", "keep_warm": told}).keep_warm is kept


def _examples():
    for name, record in vars(models).items():
        if isinstance(record, type) and issubclass(record, Record):
            for field, about in record.model_fields.items():
                for example in about.examples or ():
                    yield pytest.param(about, example, id=f"{name}.{field}")


@pytest.mark.parametrize(("about", "example"), list(_examples()))
def test_what_a_field_gives_as_an_example_is_right(about, example):
    kind = Annotated[(about.annotation, Field(), *about.metadata)]

    assert TypeAdapter(kind).validate_python(example) == example


def test_records_cannot_be_changed():
    with pytest.raises(ValidationError):
        Run(id=ID, status="queued").status = RunStatus.SUCCESS  # type: ignore[misc]


@pytest.mark.parametrize("url", ["http://[", "https://[::1/hook", "http://a]b/hook"])
def test_a_url_whose_host_is_not_written_as_hosts_are_is_refused(url):
    with pytest.raises(ValidationError, match="is no URL: its host is not written as hosts are"):
        RunRequest(deployment_id=ID, webhook=url)


@pytest.mark.parametrize("url", ["http://[::1]:8188/hook", "https://example.com/[x]?y=[z]"])
def test_brackets_have_their_places_in_a_url(url):
    assert RunRequest(deployment_id=ID, webhook=url).webhook == url
