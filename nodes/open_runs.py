"""The runs that prompts have submitted and that nobody has seen the end of: when a prompt stops, they are cancelled.

A node that waits for its run cancels it by itself. It cannot while a local node keeps the prompt busy, and nobody waits
for a run that was only queued. So a thread looks at the prompts as long as there are open runs, and a run stays among
them until the platform has said what has become of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

log = logging.getLogger("outpost.runs")

LOOK_SECONDS = 0.1
"""How often prompts are looked at."""
GRACE_SECONDS = 0.4
"""How long a node that waits for its run may take to cancel it by itself."""
CANCEL_TRIES = 10
"""How often a run is tried to be cancelled, in about two and a half minutes."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 30.0
SETTLE_SECONDS = 4.0
"""How long it is waited for what becomes of runs that are being cancelled."""


class PromptState(Enum):
    """How it stands with a prompt."""

    RUNNING = "running"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """By its user."""
    ENDED = "ended"
    """It did all it had to do."""


class Fate(Enum):
    """What has become of a run that was to be cancelled."""

    USELESS = "useless"
    """It is cancelled, or had ended without success."""
    LEFT = "left"
    """It had ended with success, or is one that the platform cannot cancel."""
    UNKNOWN = "unknown"
    """The platform did not say. It is tried again."""


@dataclass(eq=False)
class _Open:
    run_id: str
    prompt_id: str
    source: str
    is_attended: bool
    is_left: bool = False
    stopped_at: float | None = None
    is_being_cancelled: bool = False
    is_counted: bool = False
    tries: int = 0
    next_try: float = 0.0


def _on_a_thread(work: Callable[[], None]) -> None:
    threading.Thread(target=work, name="outpost-cancel", daemon=True).start()


class OpenRuns:
    """Shared by all prompts of one ComfyUI, and safe to be used from several threads.

    `cancel` tells what has become of each run that it can tell of. `spawn` has it done beside everything else, so that
    a platform which answers slowly keeps nobody from looking at other prompts.
    """

    def __init__(
        self,
        *,
        state_of: Callable[[str], PromptState],
        cancel: Callable[[Sequence[str]], Mapping[str, Fate]],
        clock: Callable[[], float] = time.monotonic,
        spawn: Callable[[Callable[[], None]], None] = _on_a_thread,
    ) -> None:
        self._state_of = state_of
        self._cancel = cancel
        self._clock = clock
        self._spawn = spawn
        self._open: dict[str, _Open] = {}
        self._failures: Counter[str] = Counter()
        self._lock = threading.Condition()
        self._is_closed = threading.Event()
        self._watcher: threading.Thread | None = None
        self._complaint = ""

    def add(self, run_id: str, *, prompt_id: str | None, source: str = "", is_attended: bool = False) -> None:
        """A prompt is responsible for a run from now on.

        `source` is what has submitted it. Where it is attended, a node waits for it and cancels it by itself if it can.
        """
        if prompt_id is None:
            return  # nobody could tell when that prompt stops
        with self._lock:
            self._open[run_id] = _Open(run_id, prompt_id, source, is_attended)
            if self._watcher is None or not self._watcher.is_alive():
                self._watcher = threading.Thread(target=self._watch, name="outpost-open-runs", daemon=True)
                self._watcher.start()

    def remove(self, run_id: str) -> None:
        """A run has ended."""
        with self._lock:
            self._open.pop(run_id, None)

    def leave(self, run_id: str) -> None:
        """Nobody waits for a run any more, and it may go on: it is cancelled only when its prompt is interrupted."""
        with self._lock:
            if run := self._open.get(run_id):
                run.is_left = True

    def note_failure(self, source: str) -> None:
        """What was submitted by this source is of no use: it is not to be taken from a cache."""
        with self._lock:
            self._failures[source] += 1

    def failures(self, source: str) -> int:
        """How many runs of a source have failed or were cancelled so far.

        What has to be cancelled is cancelled first: the prompt that asks may come at once after the one that stopped.
        """
        self.look(source=source)
        with self._lock:
            self._lock.wait_for(lambda: not self._being_cancelled(source), SETTLE_SECONDS)
            for run in self._being_cancelled(source):
                self._count(run)
            return self._failures[source]

    @property
    def run_ids(self) -> list[str]:
        """The runs that are open."""
        with self._lock:
            return list(self._open)

    def close(self, *, cancels: bool) -> None:
        """The end of ComfyUI: no more is looked at, and open runs are cancelled, or go on."""
        self._is_closed.set()
        run_ids = self.run_ids
        if run_ids and cancels:
            self._cancel(run_ids)
        elif run_ids:
            log.info("%d open runs go on without this ComfyUI: %s", len(run_ids), ", ".join(run_ids))

    def _watch(self) -> None:
        while not self._is_closed.wait(LOOK_SECONDS):
            try:
                self.look()
            except Exception as error:  # noqa: BLE001 the runs of other prompts have to be looked at
                self._complain(error)
            with self._lock:
                if not self._open:
                    self._watcher = None
                    return

    def _complain(self, error: Exception) -> None:
        if (complaint := repr(error)) != self._complaint:
            self._complaint = complaint
            log.warning("open runs could not be looked at", exc_info=error)

    def look(self, *, source: str | None = None) -> None:
        """Cancel the runs of prompts that have stopped, and forget those of prompts that have ended well.

        With a `source` only its runs, of which nobody takes care any more as soon as their prompt has stopped.
        """
        with self._lock:
            runs = [run for run in self._open.values() if source in (None, run.source) and not run.is_being_cancelled]
        states = {prompt_id: self._state_of(prompt_id) for prompt_id in {run.prompt_id for run in runs}}
        due: dict[str, list[_Open]] = {}
        with self._lock:
            for run in runs:
                if self._open.get(run.run_id) is not run or run.is_being_cancelled:
                    continue
                state = states[run.prompt_id]
                if self._is_due(run, state, is_urgent=source is not None):
                    run.is_being_cancelled = True
                    due.setdefault(run.prompt_id, []).append(run)
                elif not run.tries and (state is PromptState.ENDED or (state is PromptState.FAILED and run.is_left)):
                    del self._open[run.run_id]
        for several in due.values():
            self._spawn(partial(self._cancel_all, several))

    def _is_due(self, run: _Open, state: PromptState, *, is_urgent: bool) -> bool:
        if run.tries:
            return self._clock() >= run.next_try
        if state is not PromptState.INTERRUPTED and (state is not PromptState.FAILED or run.is_left):
            return False
        run.stopped_at = self._clock() if run.stopped_at is None else run.stopped_at
        return is_urgent or not run.is_attended or self._clock() - run.stopped_at >= GRACE_SECONDS

    def _cancel_all(self, runs: Sequence[_Open]) -> None:
        fates: Mapping[str, Fate] = {}
        try:
            fates = self._cancel([run.run_id for run in runs])
        except Exception as error:  # noqa: BLE001 they are tried again
            self._complain(error)
        with self._lock:
            for run in runs:
                self._conclude(run, fates.get(run.run_id, Fate.UNKNOWN))
            self._lock.notify_all()

    def _conclude(self, run: _Open, fate: Fate) -> None:
        run.is_being_cancelled = False
        if fate is not Fate.LEFT:
            self._count(run)
        if self._open.get(run.run_id) is not run:
            return
        run.tries += 1
        if fate is Fate.UNKNOWN and run.tries < CANCEL_TRIES:
            delay = min(FIRST_RETRY_SECONDS * 2 ** (run.tries - 1), LAST_RETRY_SECONDS)
            run.next_try = self._clock() + delay
            return
        del self._open[run.run_id]
        if fate is Fate.UNKNOWN:
            log.warning("run %s may go on: it could not be cancelled in %d tries", run.run_id, run.tries)

    def _count(self, run: _Open) -> None:
        if run.source and not run.is_counted:
            self._failures[run.source] += 1
        run.is_counted = True

    def _being_cancelled(self, source: str) -> list[_Open]:
        return [run for run in self._open.values() if run.source == source and run.is_being_cancelled]
