"""What is known about a run that is being followed, and what that means in the end. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from ..errors import RunCancelled, RunError, RunFailed, RunLost, RunTimedOut, quote
from ..events import (
    Accepted,
    ExecutionFailed,
    ExecutionInterrupted,
    ExecutionSucceeded,
    LiveStatus,
    Rejected,
    RunEvent,
    StatusChanged,
    decode_payload,
)
from ..models import Failure, Run, RunStatus, canonical_id
from ..shapes import is_object


class MachineWord(str, Enum):
    """The machine's last word on a run. The platform's record may come later, or never."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


@dataclass
class Heard:
    """What the events of one run have told so far."""

    run_id: str | None = None
    status: RunStatus | None = None
    live_status: LiveStatus | None = None
    failure: Failure | None = None
    machine_word: MachineWord | None = None
    is_accepted: bool = False

    @property
    def is_over(self) -> bool:
        """Whether the platform has said that the run ended."""
        return self.status is not None and self.status.is_terminal

    def take(self, event: RunEvent) -> None:
        """Note what an event tells."""
        self.run_id = self.run_id or _run_id(event)
        match event:
            case Accepted():
                self.is_accepted = True
            case StatusChanged(run_id, status) if run_id == self.run_id:
                self.status = status
            case LiveStatus():
                self.live_status = event
            case Rejected():
                self.failure, self.machine_word = pinpoint(event), MachineWord.FAILED
            case ExecutionFailed(_, failure):
                self.failure, self.machine_word = failure, MachineWord.FAILED
            case ExecutionSucceeded():
                self.machine_word = MachineWord.SUCCEEDED
            case ExecutionInterrupted():
                self.machine_word = MachineWord.INTERRUPTED
            case _:
                pass

    def news(self, run: Run) -> list[RunEvent]:
        """The events that a stream would have told about this state of the run, and has not."""
        if self.is_over:
            return []
        live = LiveStatus(run.id, run.live_status or "", run.progress)
        is_live_new = bool(run.live_status) and live != self.live_status
        is_status_new = run.status is not self.status
        return [*([live] if is_live_new else []), *([StatusChanged(run.id, run.status)] if is_status_new else [])]


def _run_id(event: RunEvent) -> str | None:
    try:
        return canonical_id(str(getattr(event, "run_id", "")))
    except ValueError:
        return None


def pinpoint(rejected: Rejected) -> Failure:
    """The failure of a graph that the machine refused, with the first node it complains about."""
    failure = rejected.failure
    for node_id, node in rejected.node_errors.items():
        if not is_object(node):
            continue
        errors: list[Any] = node.get("errors") or []
        details = [_sentence(error) for error in errors if is_object(error)]
        return failure.model_copy(
            update={
                "message": f"{failure.message}: {'; '.join(details)}" if details else failure.message,
                "node_id": str(node_id),
                "node_class": str(node["class_type"]) if node.get("class_type") else None,
            }
        )
    return failure


def _sentence(error: Mapping[str, Any]) -> str:
    details = error.get("details")
    return f"{error.get('message', '')}" + (f" ({details})" if details else "")


def failure_in(raw_output: object) -> Failure | None:
    """The failure in a raw output of the hosted platform, which stores errors there as the machine told them."""
    if not is_object(raw_output):
        return None
    if "exception_message" in raw_output:
        event = decode_payload({"event": "execution_error", "data": {"prompt_id": "", **raw_output}})
        return event.failure if isinstance(event, ExecutionFailed) else None
    refusal = raw_output.get("error")
    event = decode_payload(refusal) if is_object(refusal) else None
    return pinpoint(event) if isinstance(event, Rejected) else None


def error_of(run: Run, failure: Failure | None) -> RunError | None:
    """The error that the end of a run is; None for success."""
    match run.status:
        case RunStatus.SUCCESS:
            return None
        case RunStatus.FAILED:
            return failed(run.id, failure)
        case RunStatus.CANCELLED:
            return RunCancelled(f"Run {run.id} was cancelled before its end.", run_id=run.id)
        case RunStatus.TIMEOUT:
            return RunTimedOut(
                f"Run {run.id} took longer than the platform allows. Raise the time limit of its deployment.",
                run_id=run.id,
            )
        case _:
            raise ValueError(f"run {run.id} has not ended")


def failed(run_id: str | None, failure: Failure | None) -> RunFailed:
    """A run that the machine reported as failed."""
    reason = quote(str(failure)) if failure else "the platform tells no reason; look at the machine's log"
    name = f"Run {run_id}" if run_id else "The run"
    return RunFailed(f"{name} failed: {reason}", run_id=run_id, failure=failure)


def settled(run: Run, heard: Heard) -> Run | RunError:
    """What to make of a run that the machine is done with and the platform leaves as it was, which happens."""
    match heard.machine_word:
        case MachineWord.FAILED:
            return failed(run.id, heard.failure)
        case MachineWord.INTERRUPTED:
            return RunCancelled(f"Run {run.id} was interrupted on its machine.", run_id=run.id)
        case _ if run.outputs:
            return run.model_copy(update={"status": RunStatus.SUCCESS})
        case _:
            return RunLost(
                f"The machine is done with run {run.id}, but the platform records neither an output nor its end. "
                "Give its workflow a node that saves an output; a preview is not one.",
                run_id=run.id,
            )
