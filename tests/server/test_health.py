"""How often a machine is asked how it is, and what its answers come to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest
from comfyui_outpost.api.models import Failure
from comfyui_outpost.api.server import health
from comfyui_outpost.api.server.config import Rhythm
from comfyui_outpost.api.server.health import HealthWatch
from comfyui_outpost.api.server.machines import MachineError

from .machines import ScriptedMachine, put_out_text

RHYTHM = Rhythm(well=0.2, first=0.02, longest=0.1)


class Patient(ScriptedMachine):
    """Answers what it was told to, and remembers when it was asked."""

    def __init__(self) -> None:
        super().__init__(put_out_text)
        self.reason: str | None = None
        self.is_silent = False
        self.asked: list[float] = []

    async def health(self) -> None:
        self.asked.append(asyncio.get_running_loop().time())
        if self.is_silent:
            await asyncio.Event().wait()
        if self.reason:
            raise MachineError(Failure(message=self.reason))

    async def asked_times(self, count: int) -> None:
        """Return once it has been asked so often."""

        async def poll() -> None:
            while len(self.asked) < count:
                await asyncio.sleep(0.002)

        await asyncio.wait_for(poll(), 20)

    @property
    def pauses(self) -> list[float]:
        return [later - earlier for earlier, later in zip(self.asked, self.asked[1:], strict=False)]


@pytest.fixture
def patient() -> Patient:
    return Patient()


@pytest.fixture
def changes() -> list[bool]:
    """Whether it was well, each time that this has changed."""
    return []


@pytest.fixture
async def watch(patient: Patient, changes: list[bool]) -> AsyncGenerator[HealthWatch, None]:
    watch = HealthWatch(patient, on_change=lambda: changes.append(watch.condition.is_ready), rhythm=RHYTHM)
    yield watch
    await watch.close()


async def test_it_is_asked_at_once_and_is_not_well_before_it_has_answered(patient, watch, changes):
    assert (watch.condition.status, watch.condition.is_ready) == ("not-started", False)
    await patient.asked_times(2)
    assert (watch.condition.status, changes) == ("ready", [True])
    assert patient.pauses[0] >= RHYTHM.well * 0.9


@pytest.fixture
def is_down(patient: Patient) -> None:
    """It is so before anybody asks."""
    patient.reason = "it is switched off"


async def test_one_that_is_down_from_the_beginning_is_told(is_down, patient, watch, changes):
    await patient.asked_times(2)
    assert (watch.condition.status, changes) == ("error", [False])


async def test_after_a_failure_it_is_asked_soon_and_then_ever_more_rarely(patient, watch, changes):
    await patient.asked_times(1)
    patient.reason = "it is switched off"
    await patient.asked_times(7)
    assert (watch.condition.status, watch.condition.reason) == ("error", "it is switched off")
    for pause, least in zip(patient.pauses, (RHYTHM.well, 0.02, 0.04, 0.08, 0.1, 0.1), strict=True):
        assert pause >= least * 0.9
    assert changes == [True, False]
    patient.reason = None
    await patient.asked_times(9)
    assert (watch.condition.status, changes) == ("ready", [True, False, True])


async def test_one_that_went_away_in_the_middle_of_a_run_is_down_until_it_answers(patient, watch, changes):
    await patient.asked_times(1)
    watch.note_loss("it broke off")
    assert (watch.condition.status, watch.condition.reason, changes) == ("error", "it broke off", [True, False])
    await patient.asked_times(2)
    assert patient.pauses[0] >= RHYTHM.first * 0.9, "not at the same moment"
    await asyncio.wait_for(_until(lambda: watch.condition.is_ready), 20)
    assert changes == [True, False, True]


async def test_an_answer_from_before_it_went_away_does_not_count(patient, watch, changes, monkeypatch):
    await patient.asked_times(1)
    may_answer = asyncio.Event()
    monkeypatch.setattr(patient, "health", may_answer.wait)
    asking = asyncio.create_task(watch.ask())
    await asyncio.sleep(0)
    watch.note_loss("it broke off")
    may_answer.set()
    assert (await asking).reason == "it broke off"
    assert changes == [True, False]


async def test_one_that_does_not_answer_in_time_is_down(patient, watch, monkeypatch):
    monkeypatch.setattr(health, "ANSWER_SECONDS", 0.05)
    patient.is_silent = True
    assert (await watch.ask()).reason == "It has not answered within 0.05 seconds"


async def test_one_that_has_done_a_run_is_well(patient, watch):
    patient.reason = "it is busy"
    await patient.asked_times(1)
    watch.note_work()
    assert watch.condition.is_ready


async def test_one_that_breaks_in_a_way_of_its_own_is_watched_on(patient, watch, expect_log, monkeypatch):
    expect_log("could not say how it is")

    async def broken() -> None:
        patient.asked.append(asyncio.get_running_loop().time())
        raise RuntimeError("a bug")

    monkeypatch.setattr(patient, "health", broken)
    await patient.asked_times(2)
    assert watch.condition.reason == "It could not say how it is; the server's log has the reason"


async def test_nobody_asks_any_more_after_the_end(patient, watch):
    await patient.asked_times(1)
    await watch.close()
    assert watch._watching.done()


async def _until(is_so) -> None:
    while not is_so():
        await asyncio.sleep(0.002)
