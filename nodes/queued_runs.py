"""Nodes that start runs now and collect them later, so that the graph goes on meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..api.shapes import is_array
from . import host
from .on_failure import OnFailure
from .open_sockets import AnyInputs, deployment_values
from .runs import ALWAYS_RUN, DEPLOYMENT_ID, changed, deadline_minutes

RUNS_TOOLTIPS = (
    "The images of all runs, in order: one batch when they are of the same size, else one after the other.",
    "Their transparency, white where they are transparent.",
    "The runs that have succeeded, in order, for the nodes that take outputs out of them.",
    "One text for each run: empty, or why it failed.",
)
"""Of the outputs of a node that gives those of several runs."""


@dataclass(frozen=True)
class PendingRun:
    """A value of the type OUTPOST_PENDING_RUN."""

    run_id: str
    source: str
    """What has submitted it."""


class QueueDeployment:
    """Submit a run of a deployment, and go on at once."""

    CATEGORY = "Outpost"
    RETURN_TYPES = ("OUTPOST_PENDING_RUN", "STRING")
    RETURN_NAMES = ("run", "run_id")
    OUTPUT_IS_LIST = (False, False)
    OUTPUT_TOOLTIPS = (
        "The run, for Wait For Runs.",
        "Its id. Wait For Runs takes it too, also after ComfyUI was closed; it is in ComfyUI's log as well.",
    )
    OUTPUT_NODE = True
    FUNCTION = "run"
    DESCRIPTION = (
        "Starts a run of a deployment and goes on at once, so that other nodes work meanwhile. "
        "Connect it to Wait For Runs for the outputs."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {"deployment_id": DEPLOYMENT_ID},
            "optional": AnyInputs({"always_run": ALWAYS_RUN}),
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(  # noqa: N802 ComfyUI's name
        cls, /, unique_id: Any = "", always_run: Any = False, **inputs: Any
    ) -> float | str:
        failures = host.open_runs().failures(_source(unique_id))
        return changed(always_run) or f"after {failures} failures"

    @host.awaited
    async def run(
        self, /, deployment_id: str, unique_id: str, always_run: bool = False, **inputs: Any
    ) -> dict[str, Any]:
        from . import execution

        node, source = host.Node(unique_id), _source(unique_id)
        async with host.client() as client:
            flow = execution.Flow(client, node, open_runs=host.open_runs())
            submission = flow.submit(deployment_id, deployment_values(inputs), source=source)
            run_id = await node.interruptible(submission)
        shown = {"run_id": run_id, "status": "queued", "seconds": 0.0}
        return {"ui": {"outpost_run": [shown]}, "result": (PendingRun(run_id, source), run_id)}


class WaitForRuns:
    """Wait for runs that were submitted before."""

    CATEGORY = "Outpost"
    RETURN_TYPES = ("IMAGE", "MASK", "OUTPOST_RUN", "STRING")
    RETURN_NAMES = ("image", "mask", "runs", "messages")
    OUTPUT_IS_LIST = (True, True, True, True)
    OUTPUT_TOOLTIPS = RUNS_TOOLTIPS
    INPUT_IS_LIST = True
    FUNCTION = "run"
    DESCRIPTION = (
        "Waits for any number of runs side by side: those of Queue Deployment nodes, and others by their ids. "
        "Stopping the prompt cancels the runs of connected nodes; those that are given by their ids go on."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        run = {"tooltip": "A run of Queue Deployment. There is always a socket for one more.", "forceInput": True}
        run_ids = {"default": "", "multiline": True, "tooltip": "Ids of runs, one on each line, whoever started them."}
        on_failure = {
            "default": "stop",
            "tooltip": "When a run fails: stop and cancel the others, or go on without it. One that takes longer than "
            "the deadline is collected the next time.",
        }
        return {
            "required": {
                "deadline_minutes": deadline_minutes("How long to wait at most. The runs themselves go on after that."),
                "on_failure": ([OnFailure.STOP.value, OnFailure.SKIP.value], on_failure),
            },
            "optional": AnyInputs({"run_1": ("OUTPOST_PENDING_RUN", run), "run_ids": ("STRING", run_ids)}),
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, /, unique_id: Any = "", **inputs: Any) -> str:  # noqa: N802 ComfyUI's name
        return f"after {host.open_runs().failures(_source(unique_id))} incomplete results"

    @host.awaited
    async def run(
        self,
        /,
        deadline_minutes: list[float],
        on_failure: list[str],
        unique_id: list[str],
        run_ids: list[str] | None = None,
        **runs: list[Any],
    ) -> dict[str, Any]:
        from . import collecting, slots

        node, open_runs = host.Node(unique_id[0]), host.open_runs()
        wanted = collecting.wanted(runs, run_ids or [])
        async with host.client() as client:
            collection = collecting.Collection(
                client,
                node,
                open_runs=open_runs,
                deadline=deadline_minutes[0] * 60,
                is_stopped_by_failures=OnFailure(on_failure[0]) is OnFailure.STOP,
            )
            ends = await node.interruptible(collection.collect(wanted))
            images, masks, _ = await slots.carried(slots.together(ends.finished), [])
        if not ends.is_complete:
            open_runs.note_failure(_source(unique_id))
        return {"ui": slots.shown(ends.shown), "result": (images, masks, ends.results, ends.messages)}


def _source(unique_id: Any) -> str:
    """By what a node is known whose result may be of no use. Its other inputs may be links, which are not known yet."""
    return str(unique_id[0] if is_array(unique_id) else unique_id)


NODES = {"OutpostQueueDeployment": QueueDeployment, "OutpostWaitForRuns": WaitForRuns}
NAMES = {
    "OutpostQueueDeployment": "Queue Deployment (Outpost)",
    "OutpostWaitForRuns": "Wait For Runs (Outpost)",
}
