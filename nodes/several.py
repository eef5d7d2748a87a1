"""How several runs of one node end: which failure stops the others, and what is told of each. Knows no ComfyUI.

A deadline ends only the waiting: no run is cancelled because another one takes long, and what has been paid for can
still be collected.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from ..api.errors import (
    ConfigurationError,
    OutpostError,
    RunCancelled,
    RunDeadlineExceeded,
    RunError,
    RunTimedOut,
    Unauthorized,
)
from .execution import FINAL, Finished, Flow, Host
from .joint import Joint, JointPart
from .on_failure import FailedRun
from .results import RunResult

_CONCERNS_ALL = (ConfigurationError, Unauthorized)
"""Errors that no other run would be without."""

_STATUSES: dict[type[OutpostError], str] = {
    RunCancelled: "cancelled",
    RunTimedOut: "timeout",
    RunDeadlineExceeded: "late",
}


@dataclass(frozen=True)
class Failed:
    """The end of a run without outputs."""

    error: OutpostError
    run: FailedRun

    @property
    def is_final(self) -> bool:
        """Whether the run has nothing to give any more, however often it is asked."""
        return isinstance(self.error, FINAL)


End = Finished | Failed


@dataclass(frozen=True)
class Ends:
    """How all of them have ended, in order."""

    all: list[End]

    @property
    def finished(self) -> list[Finished]:
        """Those that have succeeded."""
        return [end for end in self.all if isinstance(end, Finished)]

    @property
    def failed(self) -> list[Failed]:
        """The others."""
        return [end for end in self.all if isinstance(end, Failed)]

    @property
    def results(self) -> list[RunResult]:
        """The outputs of those that have succeeded."""
        return [end.result for end in self.finished]

    @property
    def messages(self) -> list[str]:
        """For each run why it failed, or an empty text."""
        return [str(end.error) if isinstance(end, Failed) else "" for end in self.all]

    @property
    def shown(self) -> list[RunResult | FailedRun]:
        """What our part of the page is to show of each."""
        return [end.run if isinstance(end, Failed) else end.result for end in self.all]

    @property
    def is_complete(self) -> bool:
        """Whether waiting once more would bring nothing more."""
        return all(failed.is_final for failed in self.failed)

    def error(self) -> OutpostError:
        """The first failure. After a deadline it tells the ids of all runs, whose outputs can be collected later."""
        first = self.failed[0].error
        ids = [each.result.run.id if isinstance(each, Finished) else each.run.run_id for each in self.all]
        known = [run_id for run_id in ids if run_id]
        if len(self.all) == 1 or not known or not isinstance(first, RunDeadlineExceeded):
            return first
        return RunDeadlineExceeded(
            f"{first} Wait For Runs collects what has been started, by these ids: {', '.join(known)}",
            run_id=first.run_id,
        )


class Several:
    """Ends so many runs, one `end` for each."""

    def __init__(self, host: Host, count: int, *, is_stopped_by_failures: bool) -> None:
        self._joint = Joint(host, count)
        self._is_stopped_by_failures = is_stopped_by_failures
        self._is_late = False

    def part(self, index: int) -> JointPart:
        """Whom one of the runs shows what it does."""
        return self._joint.part(index)

    async def end(self, index: int, flow: Flow, run: Callable[[], Coroutine[Any, Any, Finished]]) -> End:
        """How a run ends that `run` begins or waits for. Raises the failure that stops the others."""
        if self._is_late and self._is_stopped_by_failures:
            return self._failed(index, flow, RunDeadlineExceeded("Not begun: a run before it is late.", run_id=None))
        try:
            finished = await run()
        except OutpostError as error:
            is_late = isinstance(error, RunDeadlineExceeded)
            self._is_late = self._is_late or is_late
            if isinstance(error, _CONCERNS_ALL) or (self._is_stopped_by_failures and not is_late):
                raise
            return self._failed(index, flow, error)
        self._joint.done(index)
        return finished

    def ends(self, all_: Sequence[End]) -> Ends:
        """What has come of all of them. Raises the first failure when failures stop everything, or when all failed."""
        ends = Ends(list(all_))
        if ends.failed and (self._is_stopped_by_failures or not ends.finished):
            raise ends.error()
        return ends

    def _failed(self, index: int, flow: Flow, error: OutpostError) -> Failed:
        self._joint.done(index, is_failed=True)
        run_id = (error.run_id if isinstance(error, RunError) else None) or flow.run_id
        return Failed(error, FailedRun(run_id, _STATUSES.get(type(error), "failed"), flow.seconds, str(error)))
