"""A machine that is asked before each run what it lacks."""

from __future__ import annotations

from comfyui_outpost.api.server.machines import Emit, Job
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine


class CheckedMachine(ComfyUIMachine):
    """Fails when it has said that it lacks something, and then could execute the run all the same."""

    async def run(self, job: Job, emit: Emit) -> None:
        lacks = await self.lacks(job.workflow_api, job.inputs)
        await super().run(job, emit)
        assert lacks == [], "a false alarm"
