"""Nodes that run deployments and take their outputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import host

if TYPE_CHECKING:
    from .outputs import RunResult


class AnyInputs(dict[str, Any]):
    """The optional inputs of a node that takes inputs of any name: ComfyUI asks whether a name is in here."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return ("*", {"forceInput": True})


class RunDeployment:
    """Run a deployment and wait for its outputs."""

    CATEGORY = "Outpost"
    RETURN_TYPES = ("IMAGE", "MASK", "OUTPOST_RUN")
    RETURN_NAMES = ("image", "mask", "run")
    OUTPUT_IS_LIST = (True, True, False)
    OUTPUT_TOOLTIPS = (
        "All images of the run: one batch when they are of the same size, else one after the other.",
        "Their transparency, white where they are transparent.",
        "The run, for Run Outputs.",
    )
    FUNCTION = "run"
    DESCRIPTION = (
        "Runs a deployment on the platform that you are connected to. Each input has the name of one of its inputs."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        limit = {"default": 60.0, "min": 0.1, "max": 10080.0, "step": 1.0}
        return {
            "required": {
                "deployment_id": ("STRING", {"default": "", "tooltip": "The id of the deployment."}),
                "deadline_minutes": (
                    "FLOAT",
                    {**limit, "tooltip": "How long to wait at most. The run itself goes on after that."},
                ),
            },
            "optional": AnyInputs(),
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @host.awaited
    async def run(
        self, /, deployment_id: str, deadline_minutes: float, unique_id: str, **inputs: Any
    ) -> tuple[Any, ...]:
        from . import execution

        node = host.Node(unique_id)
        async with host.client() as client:
            result = await execution.run_deployment(
                client, node, deployment_id=deployment_id, inputs=inputs, deadline=deadline_minutes * 60
            )
        return (*_tensors(result), result)


class RunOutputs:
    """Take the outputs of one node out of a run."""

    CATEGORY = "Outpost"
    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "mask", "text")
    OUTPUT_IS_LIST = (True, True, True)
    OUTPUT_TOOLTIPS = (
        "The images: one batch when they are of the same size, else one after the other.",
        "Their transparency, white where they are transparent.",
        "The texts, in order.",
    )
    FUNCTION = "run"
    DESCRIPTION = "Picks the outputs of a run by their output_id, or by the id of the node that made them."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {
                "run": ("OUTPOST_RUN", {"tooltip": "The run of a Run Deployment."}),
                "output": ("STRING", {"default": "", "tooltip": "An output_id or a node id. Empty takes everything."}),
            }
        }

    def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        picked = run.pick(output.strip()) if output.strip() else run
        texts = picked.texts or [host.blocked(f"Run {run.run.id} has put out no text here")]
        return (*_tensors(picked), texts)


def _tensors(result: RunResult) -> tuple[list[Any], list[Any]]:
    from . import media

    if result.images:
        return media.batch(result.images)
    nothing = host.blocked(f"Run {result.run.id} has put out no image here")
    return [nothing], [nothing]


NODES = {"OutpostRunDeployment": RunDeployment, "OutpostRunOutputs": RunOutputs}
NAMES = {"OutpostRunDeployment": "Run Deployment (Outpost)", "OutpostRunOutputs": "Run Outputs (Outpost)"}
