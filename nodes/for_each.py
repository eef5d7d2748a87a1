"""The node that runs a deployment once for each image of a batch or entry of a list."""

from __future__ import annotations

from typing import Any

from . import host
from .on_failure import OnFailure
from .open_sockets import AnyInputs, OpenTypes, deployment_values, open_lists
from .queued_runs import RUNS_TOOLTIPS
from .runs import ALWAYS_RUN, DEPLOYMENT_ID, OUTPUTS, changed, deadline_minutes

_ON_FAILURE_TOOLTIP = (
    "When a run fails: stop cancels the others; skip goes on, without its outputs; blank goes on, with black images of "
    "the size of the other runs' in their place. The messages tell why it failed. What failed is not run again with "
    "the same inputs, so that the others are not paid twice: always_run runs all; Wait For Runs collects a late one by "
    "its id."
)


class RunDeploymentForEach:
    """Run a deployment for each image of a batch or entry of a list."""

    CATEGORY = "Outpost"
    RETURN_TYPES = OpenTypes(("IMAGE", "MASK", "OUTPOST_RUN", "STRING"))
    RETURN_NAMES = ("image", "mask", "runs", "messages")
    OUTPUT_IS_LIST = open_lists(True, True, True, True)
    OUTPUT_TOOLTIPS = RUNS_TOOLTIPS
    INPUT_IS_LIST = True
    FUNCTION = "run"
    DESCRIPTION = (
        "Runs a deployment once for each image of a batch or entry of a list, several at a time, and gives the results "
        "in order. Inputs with one entry go to all runs; all others have to have the same number of entries."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        at_most = {
            "default": 4,
            "min": 1,
            "max": 64,
            "tooltip": "How many runs are submitted at the same time at most.",
        }
        return {
            "required": {
                "deployment_id": DEPLOYMENT_ID,
                "at_most": ("INT", at_most),
                "on_failure": ([each.value for each in OnFailure], {"default": "stop", "tooltip": _ON_FAILURE_TOOLTIP}),
                "deadline_minutes": deadline_minutes("How long to wait for each run at most. It goes on after that."),
            },
            "optional": AnyInputs({"always_run": ALWAYS_RUN, "outputs": OUTPUTS}),
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, /, always_run: Any = False, **inputs: Any) -> float | str:  # noqa: N802 ComfyUI's name
        return changed(always_run)

    @host.awaited
    async def run(
        self,
        /,
        deployment_id: list[str],
        at_most: list[int],
        on_failure: list[str],
        deadline_minutes: list[float],
        unique_id: list[str],
        always_run: list[bool] | None = None,
        outputs: list[str] | None = None,
        **inputs: list[Any],
    ) -> dict[str, Any]:
        from . import each, slots

        names, node = slots.names_in(outputs[0] if outputs else ""), host.Node(unique_id[0])
        async with host.client() as client:
            runs = each.ForEach(
                client,
                node,
                limit=at_most[0],
                on_failure=OnFailure(on_failure[0]),
                open_runs=host.open_runs(),
                deadline=deadline_minutes[0] * 60,
            )
            results = await node.interruptible(runs.run(deployment_id[0], deployment_values(inputs)))
            images, masks, dynamic = await slots.carried(results.outputs, names)
        ends = results.ends
        return {"ui": slots.shown(ends.shown), "result": (images, masks, ends.results, ends.messages, *dynamic)}


NODES = {"OutpostRunDeploymentForEach": RunDeploymentForEach}
NAMES = {"OutpostRunDeploymentForEach": "Run Deployment For Each (Outpost)"}
