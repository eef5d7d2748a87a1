"""What a person sees of a run: a share that only grows, and a text."""

from __future__ import annotations

import itertools
import json

import pytest
from comfyui_outpost.api.events import (
    Accepted,
    ExecutionCached,
    ExecutionFailed,
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
    StatusChanged,
    Unknown,
    decode,
)
from comfyui_outpost.api.models import Deployment, Failure, RunStatus, WorkflowVersion
from comfyui_outpost.nodes.progress import MAX_TITLE, PHASE_TEXTS, RunProgress, node_titles

RUN = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be001"


class Shown:
    """What was shown, by a clock that the test moves."""

    def __init__(self, node_count: int = 4) -> None:
        self.all: list[tuple[float, str]] = []
        self.now = 100.0
        self.progress = RunProgress(
            node_count, show=lambda share, text: self.all.append((share, text)), clock=lambda: self.now
        )

    def hear(self, *events: object) -> Shown:
        for event in events:
            self.progress.on_event(event)
        return self

    @property
    def shares(self) -> list[float]:
        return [share for share, _ in self.all]

    @property
    def texts(self) -> list[str]:
        return [text for _, text in self.all]


def live(share: float, text: str = "Executing KSampler") -> LiveStatus:
    return LiveStatus(RUN, text, share)


def step(value: float, maximum: float = 10, node_id: str = "1") -> NodeProgress:
    return NodeProgress(RUN, node_id, value, maximum)


def test_the_steps_of_a_node_are_parts_of_the_share_of_that_node():
    shown = Shown(4).hear(live(0.25), step(5), step(10), live(0.5), step(1))

    assert shown.shares == [0.25, 0.375, 0.5, 0.5, 0.525]
    assert set(shown.texts) == {"Executing KSampler"}


def test_the_share_never_goes_back_whatever_comes():
    events = [live(0.5), step(9), live(0.25), NodesProgress(RUN, {"1": 0.1}), step(1), live(-3.0), live(0.9), live(0.0)]

    for order in itertools.permutations(events, 4):
        shares = Shown().hear(*order).shares
        assert shares == sorted(shares)
        assert all(0 <= share <= 1 for share in shares)


@pytest.mark.parametrize("share", [1.5, float("inf"), float("nan"), -1.0, -float("inf")])
def test_a_share_that_makes_no_sense_stays_between_nothing_and_everything(share: float):
    assert all(0.5 <= each <= 1 for each in Shown().hear(live(0.5), live(share), step(share), step(1, share)).shares)


def test_it_reaches_one_when_every_node_is_done():
    assert Shown(2).hear(NodesProgress(RUN, {"1": 1.0, "2": 1.0})).shares == [1.0]


def test_a_node_that_does_more_steps_than_it_said_is_only_done():
    assert Shown(4).hear(live(0.25), step(50)).shares == [0.25, 0.5]


def test_steps_mean_nothing_where_the_number_of_nodes_is_not_known():
    assert Shown(0).hear(step(5), NodesProgress(RUN, {"1": 1.0})).all == []
    assert Shown(0).hear(live(0.4)).all == [(0.4, "Executing KSampler")]


def test_a_node_without_a_number_of_steps_is_ignored():
    assert Shown().hear(step(0, 0)).all == []


@pytest.mark.parametrize(
    "event",
    [
        Accepted(RUN),
        ExecutionStarted(RUN),
        ExecutionCached(RUN, ("1",)),
        NodeStarted(RUN, "1"),
        NodeStarted(RUN, None),
        NodeExecuted(RUN, "1", {}),
        OutputReady(RUN, "1", {}),
        ExecutionFailed(RUN, Failure(message="no")),
        ExecutionSucceeded(RUN),
        LogLine("loading"),
        Phase("function_call_id", "fc-1"),
        Unknown("crystools.monitor", {"cpu": 3}),
        Unknown(None),
    ],
    ids=lambda event: type(event).__name__,
)
def test_events_that_mean_nothing_to_a_person_change_nothing(event: object):
    assert Shown().hear(event).all == []


@pytest.mark.parametrize(
    "data",
    [
        {"event": "progress", "data": {"prompt_id": RUN, "node": "1", "value": None, "max": 5}},
        {"event": "progress", "data": {"prompt_id": RUN, "node": "1", "value": "many", "max": 5}},
        {"event": "progress", "data": {"prompt_id": RUN, "node": "1", "value": 1, "max": "five"}},
        {"event": "progress", "data": {"prompt_id": RUN, "node": "1", "value": [1], "max": {}}},
        {"event": "progress_state", "data": {"prompt_id": RUN, "nodes": {"1": {"value": None, "max": 1}}}},
        {"event": "live_status", "data": {"prompt_id": RUN, "live_status": None, "progress": None}},
    ],
    ids=json.dumps,
)
def test_a_message_that_a_custom_node_got_wrong_does_not_end_the_run(data: dict[str, object]):
    shown = Shown().hear(live(0.5), decode("event_update", json.dumps(data)))

    assert shown.shares[-1] == 0.5


def test_phases_and_statuses_are_told_in_words_and_keep_the_share():
    shown = Shown().hear(
        StatusChanged(RUN, RunStatus.QUEUED), *map(Phase, PHASE_TEXTS), live(0.5), StatusChanged(RUN, RunStatus.SUCCESS)
    )

    assert shown.texts == ["queued", *PHASE_TEXTS.values(), "Executing KSampler", "success"]
    assert shown.shares == [0, 0, 0, 0, 0, 0.5, 0.5]


def test_it_knows_how_long_the_run_waited_and_how_long_it_worked():
    shown = Shown()
    for seconds, status in [(0, "queued"), (3, "started"), (1, "running"), (6, "uploading"), (0.5, "success")]:
        shown.now += seconds
        shown.hear(StatusChanged(RUN, RunStatus(status)))

    assert shown.progress.seconds == {"queue": 3, "run": 7.5}


def test_a_run_that_ends_before_it_was_seen_to_begin_has_a_time_all_the_same():
    shown = Shown()
    shown.now += 2
    shown.hear(StatusChanged(RUN, RunStatus.CANCELLED))

    assert shown.progress.seconds == {"run": 2}


def test_the_title_of_a_node_is_shown_where_it_says_more_than_its_class():
    shown = Shown()
    titles = {"3": "Faces", "4": "KSampler"}
    shown.progress = RunProgress(
        4, show=lambda share, text: shown.all.append((share, text)), clock=float, titles=titles
    )

    for node_id in ("3", "4", "5"):
        shown.hear(NodeStarted(RUN, node_id), live(0.1))

    assert shown.texts == ["Executing KSampler (Faces)", "Executing KSampler", "Executing KSampler"]


def test_the_titles_of_a_graph_are_those_of_its_nodes_in_order_and_short():
    graph = {
        "2": {"class_type": "SaveImage", "_meta": {"title": "x" * 500}},
        "1": {"class_type": "EmptyImage"},
        "3": {"class_type": "EmptyImage", "_meta": {"title": ["no text"]}},
        "4": {"class_type": "EmptyImage", "_meta": "no object"},
    }
    version = WorkflowVersion.model_construct(workflow_api=graph)

    titles = node_titles(Deployment.model_construct(version=version))

    assert list(titles.items()) == [("2", "x" * MAX_TITLE), ("1", ""), ("3", ""), ("4", "")]
    assert node_titles(None) == node_titles(Deployment.model_construct(version=None)) == {}


def test_what_a_run_waits_for_is_shown_with_its_place_until_the_queue_moves():
    shown = Shown().hear(StatusChanged(RUN, RunStatus.QUEUED))
    shown.progress.wait_behind(2)
    shown.hear(LiveStatus(RUN, "Waiting: box cannot be reached", 0.0))
    for count in (2, 1):
        shown.progress.wait_behind(count)

    assert shown.texts == [
        "queued",
        "queued behind 2 other runs",
        "Waiting: box cannot be reached",
        "queued behind 2 other runs · Waiting: box cannot be reached",
        "queued behind 1 other run",
    ]


def test_the_place_in_the_queue_is_shown_only_while_the_run_waits():
    shown = Shown().hear(StatusChanged(RUN, RunStatus.QUEUED))
    for count in (2, 1, 0):
        shown.progress.wait_behind(count)
    shown.hear(StatusChanged(RUN, RunStatus.RUNNING))
    shown.progress.wait_behind(0)

    assert shown.texts == [
        "queued",
        "queued behind 2 other runs",
        "queued behind 1 other run",
        "queued, next",
        "running",
    ]
