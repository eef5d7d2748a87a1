"""Runs of a prompt that has stopped are cancelled, whoever waits for them; those of other prompts are not."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import pytest
from comfyui_outpost.nodes.open_runs import (
    CANCEL_TRIES,
    FIRST_RETRY_SECONDS,
    GRACE_SECONDS,
    LAST_RETRY_SECONDS,
    Fate,
    OpenRuns,
    PromptState,
)

WAIT_SECONDS = 20


class Prompts:
    """What a ComfyUI would say of its prompts, and what was cancelled."""

    def __init__(self, **options) -> None:
        self.states: dict[str, PromptState] = {}
        self.fates: dict[str, Fate] = {}
        self.cancelled: list[str] = []
        self.now = 0.0
        self._news = threading.Condition()
        self.runs = OpenRuns(state_of=self._state, cancel=self._cancel, clock=lambda: self.now, **options)

    def _state(self, prompt_id: str) -> PromptState:
        return self.states.get(prompt_id, PromptState.RUNNING)

    def _cancel(self, run_ids: Sequence[str]) -> dict[str, Fate]:
        with self._news:
            self.cancelled += run_ids
            self._news.notify_all()
        return {run_id: self.fates.get(run_id, Fate.USELESS) for run_id in run_ids}

    def wait_for_cancelled(self, *run_ids: str) -> None:
        with self._news:
            assert self._news.wait_for(lambda: sorted(self.cancelled) == sorted(run_ids), WAIT_SECONDS)


@pytest.fixture
def prompts():
    prompts = Prompts()
    yield prompts
    prompts.runs.close(cancels=False)


@pytest.fixture
def closed() -> Prompts:
    """Nobody looks but the test, and what is to be cancelled is cancelled at once."""
    prompts = Prompts(spawn=lambda work: work())
    prompts.runs.close(cancels=False)
    return prompts


def test_a_thread_cancels_the_queued_runs_of_a_prompt_that_stops_and_no_others(prompts: Prompts):
    prompts.runs.add("mine", prompt_id="stops")
    prompts.runs.add("mine too", prompt_id="stops")
    prompts.runs.add("another's", prompt_id="goes on")

    prompts.states["stops"] = PromptState.FAILED

    prompts.wait_for_cancelled("mine", "mine too")
    assert "another's" in prompts.runs.run_ids


def test_the_thread_lives_only_as_long_as_there_are_open_runs(prompts: Prompts):
    before = set(threading.enumerate())
    prompts.runs.add("one", prompt_id="a prompt")
    (watcher,) = set(threading.enumerate()) - before
    assert watcher.daemon

    prompts.runs.remove("one")

    watcher.join(WAIT_SECONDS)
    assert not watcher.is_alive()
    prompts.runs.add("two", prompt_id="stops")
    prompts.states["stops"] = PromptState.FAILED
    prompts.wait_for_cancelled("two")


def test_runs_of_a_prompt_that_has_ended_well_are_left_alone(closed: Prompts):
    closed.runs.add("one", prompt_id="ends")
    closed.states["ends"] = PromptState.ENDED

    closed.runs.look()
    closed.states["ends"] = PromptState.FAILED
    closed.runs.look()

    assert closed.cancelled == []
    assert closed.runs.run_ids == []


def test_a_node_that_waits_has_a_moment_to_cancel_its_run_by_itself(closed: Prompts):
    closed.runs.add("by itself", prompt_id="stops", is_attended=True)
    closed.runs.add("kept busy", prompt_id="stops", is_attended=True)
    closed.states["stops"] = PromptState.FAILED

    closed.runs.look()
    assert closed.cancelled == []
    closed.runs.remove("by itself")
    closed.now += GRACE_SECONDS
    closed.runs.look()

    assert closed.cancelled == ["kept busy"]


def test_a_run_is_cancelled_once(closed: Prompts):
    closed.runs.add("one", prompt_id="stops")
    closed.states["stops"] = PromptState.FAILED

    closed.runs.look()
    closed.runs.look()

    assert closed.cancelled == ["one"]


def test_it_remembers_by_what_a_cancelled_run_was_submitted(closed: Prompts):
    closed.runs.add("one", prompt_id="stops", source="node 5")
    closed.states["stops"] = PromptState.FAILED

    closed.runs.look()

    assert (closed.runs.failures("node 5"), closed.runs.failures("node 6")) == (1, 0)


def test_a_run_whose_cancelling_got_no_answer_is_tried_again_and_again_within_a_bound(closed: Prompts, caplog):
    closed.fates["one"] = Fate.UNKNOWN
    closed.runs.add("one", prompt_id="stops")
    closed.states["stops"] = PromptState.INTERRUPTED

    closed.runs.look()
    closed.runs.look()
    assert closed.cancelled == ["one"], "not before a while"
    closed.now += FIRST_RETRY_SECONDS
    closed.states["stops"] = PromptState.ENDED  # ComfyUI's history is short
    closed.runs.look()
    assert closed.cancelled == ["one"] * 2
    assert closed.runs.run_ids == ["one"]

    for _ in range(2 * CANCEL_TRIES):
        closed.now += LAST_RETRY_SECONDS
        closed.runs.look()

    assert closed.cancelled == ["one"] * CANCEL_TRIES
    assert closed.runs.run_ids == []
    assert "run one may go on" in caplog.text


def test_after_an_answer_it_is_tried_no_more(closed: Prompts):
    closed.fates["one"] = Fate.UNKNOWN
    closed.runs.add("one", prompt_id="stops")
    closed.states["stops"] = PromptState.FAILED
    closed.runs.look()

    closed.fates["one"] = Fate.USELESS
    closed.now += LAST_RETRY_SECONDS
    closed.runs.look()

    assert closed.cancelled == ["one"] * 2
    assert closed.runs.run_ids == []


def test_a_platform_that_does_not_answer_holds_up_no_other_prompt():
    answers, begun = threading.Event(), threading.Event()
    cancelled: list[str] = []

    def cancel(run_ids: Sequence[str]) -> dict[str, Fate]:
        if "slow" in run_ids:
            begun.set()
            assert answers.wait(WAIT_SECONDS)
        cancelled.extend(run_ids)
        return dict.fromkeys(run_ids, Fate.USELESS)

    runs = OpenRuns(state_of=lambda prompt_id: PromptState.INTERRUPTED, cancel=cancel)
    runs.close(cancels=False)
    runs.add("slow", prompt_id="one")
    runs.look()
    assert begun.wait(WAIT_SECONDS)
    runs.add("quick", prompt_id="another", source="node 1")

    assert runs.failures("node 1") == 1
    assert cancelled == ["quick"]
    answers.set()


def test_something_unexpected_does_not_end_the_watching(prompts: Prompts, monkeypatch, caplog):
    states = iter([RuntimeError("ComfyUI's history is strange"), PromptState.FAILED])

    def state(prompt_id: str) -> PromptState:
        answer = next(states, PromptState.FAILED)
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(prompts.runs, "_state_of", state)
    prompts.runs.add("one", prompt_id="a prompt")

    prompts.wait_for_cancelled("one")
    assert caplog.text.count("could not be looked at") == 1


def test_a_run_that_has_ended_with_success_is_no_failure_of_what_has_submitted_it(closed: Prompts):
    closed.fates["one"] = Fate.LEFT
    closed.runs.add("one", prompt_id="stops", source="node 5")
    closed.states["stops"] = PromptState.FAILED

    closed.runs.look()

    assert closed.runs.failures("node 5") == 0
    assert closed.runs.run_ids == []


@pytest.mark.parametrize("fate", [Fate.USELESS, Fate.UNKNOWN])
def test_whoever_asks_for_failures_before_the_thread_has_looked_learns_of_them(closed: Prompts, fate: Fate):
    closed.fates["one"] = fate
    closed.runs.add("one", prompt_id="stops", source="node 5", is_attended=True)
    closed.states["stops"] = PromptState.INTERRUPTED

    assert closed.runs.failures("node 5") == 1
    assert closed.cancelled == ["one"]
    assert closed.runs.failures("node 5") == 1


@pytest.mark.parametrize(
    ("state", "cancelled"), [(PromptState.INTERRUPTED, ["late"]), (PromptState.FAILED, []), (PromptState.ENDED, [])]
)
def test_a_run_that_is_not_waited_for_any_longer_is_cancelled_only_by_an_interrupt(
    closed: Prompts, state: PromptState, cancelled: list[str]
):
    closed.runs.add("late", prompt_id="a prompt")
    closed.runs.leave("late")
    closed.runs.look()
    closed.states["a prompt"] = state

    closed.runs.look()

    assert closed.cancelled == cancelled
    assert closed.runs.run_ids == []


def test_a_run_of_nobody_knows_which_prompt_is_nobodys_business(closed: Prompts):
    closed.runs.add("one", prompt_id=None)
    assert closed.runs.run_ids == []


@pytest.mark.parametrize("cancels", [True, False])
def test_at_the_end_of_comfyui_open_runs_are_cancelled_only_if_the_user_wants_it(prompts: Prompts, cancels: bool):
    prompts.runs.add("one", prompt_id="a prompt")
    prompts.runs.add("two", prompt_id="another", is_attended=True)

    start = time.monotonic()
    prompts.runs.close(cancels=cancels)

    assert prompts.cancelled == (["one", "two"] if cancels else [])
    assert time.monotonic() - start < 1
