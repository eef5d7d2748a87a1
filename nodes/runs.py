"""The node that runs a deployment, and what it has in common with others about a deployment."""

from __future__ import annotations

from typing import Any

from . import host
from .open_sockets import AnyInputs, OpenTypes, deployment_values, open_lists

DEPLOYMENT_ID = ("STRING", {"default": "", "tooltip": "The deployment: chosen in a list, and kept by its id."})
ALWAYS_RUN = (
    "BOOLEAN",
    {"default": False, "tooltip": "Run each time, also when the inputs are the same as the last time."},
)
OUTPUTS = (
    "STRING",
    {"default": "[]", "tooltip": "The outputs with a socket of their own, as a JSON list; the page fills it in."},
)


def deadline_minutes(tooltip: str) -> tuple[str, dict[str, Any]]:
    """The input that limits how long a node waits."""
    return ("FLOAT", {"default": 60.0, "min": 0.1, "max": 10080.0, "step": 1.0, "tooltip": tooltip})


def changed(always_run: Any) -> float | str:
    """What ComfyUI compares to decide whether a node has to be executed again; not a number never equals itself."""
    return float("nan") if always_run in (True, [True], (True,)) else ""


class RunDeployment:
    """Run a deployment and wait for its outputs."""

    CATEGORY = "Outpost"
    RETURN_TYPES = OpenTypes(("IMAGE", "MASK", "OUTPOST_RUN"))
    RETURN_NAMES = ("image", "mask", "run")
    OUTPUT_IS_LIST = open_lists(True, True, False)
    OUTPUT_TOOLTIPS = (
        "All images of the run: one batch when they are of the same size, else one after the other.",
        "Their transparency, white where they are transparent.",
        "The run, for the nodes that take outputs out of it.",
    )
    FUNCTION = "run"
    DESCRIPTION = (
        "Runs a deployment on the platform that you are connected to. Each input has the name of one of its inputs."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {
                "deployment_id": DEPLOYMENT_ID,
                "deadline_minutes": deadline_minutes("How long to wait at most. The run itself goes on after that."),
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
        deployment_id: str,
        deadline_minutes: float,
        unique_id: str,
        always_run: bool = False,
        outputs: str = "[]",
        **inputs: Any,
    ) -> dict[str, Any]:
        from . import execution, slots

        names, node = slots.names_in(outputs), host.Node(unique_id)
        async with host.client() as client:
            flow = execution.Flow(client, node, deadline=deadline_minutes * 60, open_runs=host.open_runs())
            finished = await node.interruptible(flow.run_by_id(deployment_id, deployment_values(inputs)))
            images, masks, dynamic = await slots.carried(finished, names)
        return {"ui": slots.shown([finished.result]), "result": (images, masks, finished.result, *dynamic)}


NODES = {"OutpostRunDeployment": RunDeployment}
NAMES = {"OutpostRunDeployment": "Run Deployment (Outpost)"}
