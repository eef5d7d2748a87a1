"""A machine of a platform, which is a small ComfyUI that fails as a test wants it to."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from comfyui_outpost.api.server.config import Rhythm
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, Patience
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI
from comfyui_outpost.tests.fakes.comfyui_host import Host
from comfyui_outpost.tests.fakes.flaky import Act
from comfyui_outpost.tests.fakes.serving import Seen

from .graphs import Graph, node
from .talking import TERMINAL, Talker

HASTE = Patience(away=1.0, retry=0.01, quiet=0.1, stop=2.0, answer=1.0)
RHYTHM = Rhythm(well=30, first=0.02, longest=0.1)
TOKEN = "a-token-that-nobody-may-see"

PICTURE: Graph = {
    "1": node("EmptyImage", width=8, height=8),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept"),
}
"""Puts out one picture, without an input."""


@dataclass
class Remote:
    """What one test works with."""

    comfyui: FakeComfyUI
    host: Host
    owner: Talker
    machine_id: str
    secrets: list[str] = field(default_factory=list)

    async def deploy(self, graph: Graph, **options: Any) -> str:
        """A deployment of a graph on the machine; its id. Nothing is asked of the machine before there is a run."""
        made = await self.owner.post("/workflow", {"name": "remote", "workflow_json": {}, "workflow_api": graph})
        wanted = {name: made[name] for name in ("workflow_id", "workflow_version_id")}
        wanted |= {"machine_id": self.machine_id, "check_machine": False}
        return (await self.owner.post("/deployment", {**wanted, **options}))["id"]

    async def queue(self, graph: Graph = PICTURE, inputs: Mapping[str, Any] | None = None, **options: Any) -> str:
        """Queue a run of a graph; its id."""
        return await self.owner.queue(await self.deploy(graph, **options), inputs)

    async def begun(self) -> None:
        """Wait until the ComfyUI works on something."""
        await self.comfyui.wait_until(lambda: self.comfyui.running is not None)

    async def asked(self, method: str, path: str) -> list[Seen]:
        """Wait until somebody has asked for a path; every such request."""
        await self.comfyui.wait_until(lambda: bool(self.comfyui.log.named(method, path)))
        return self.comfyui.log.named(method, path)

    async def end_of(self, run_id: str) -> Any:
        """A run after it has ended: once, for whoever has followed it, and with nothing told that must not be."""
        events = await self.owner.follow(run_id)
        run = await self.owner.get(f"/run/{run_id}")
        assert [event.status for event in events if event.status in TERMINAL] == [run["status"]]
        assert events[-1].status == run["status"]
        failures = [event for event in events if event.name == "execution_error"]
        assert len(failures) == (run["status"] in ("failed", "timeout"))
        assert (run["status"] in ("failed", "timeout")) is bool(run["error"] and run["error"]["message"])
        told = json.dumps({**run, "outputs": []})
        for secret in self.secrets:
            assert secret not in told, told
        return run

    async def failure_of(self, run_id: str, *, status: str = "failed") -> str:
        """Why a run did not succeed."""
        run = await self.end_of(run_id)
        assert run["status"] == status, run
        return run["error"]["message"]

    async def works_again(self, *, sent: int) -> None:
        """The machine takes the next run, and no graph was sent more than once: so many were before it."""
        self.comfyui.faults.clear()
        self.comfyui.script = type(self.comfyui)().script
        run = await self.end_of(await self.queue())
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        clients = [each["client_id"] for each in self.comfyui.submitted]
        assert len(clients) == len(set(clients)) == sent + 1
        assert (self.comfyui.running, self.comfyui.pending) == (None, [])

    def fail(self, path: str, act: Act, *, times: int = 1) -> None:
        """What the next requests for a path get instead of an answer."""
        self.comfyui.fail(path, *[act] * times)


def _hasty(settings: MachineSettings) -> ComfyUIMachine:
    return ComfyUIMachine(settings, patience=HASTE)


HASTY: dict[str, Any] = {"kinds": {"comfyui": _hasty}, "health": RHYTHM}
"""Settings of a platform that soon gives up."""


@asynccontextmanager
async def remote_of(owner: Talker, *, slots: int = 1) -> AsyncGenerator[Remote, None]:
    """A ComfyUI on a host of its own, which is a machine of this person's on a platform with the settings `HASTY`."""
    comfyui = FakeComfyUI()
    host = Host(comfyui)
    await host.start()
    try:
        body = {"name": "the GPU", "endpoint": host.url, "auth_token": TOKEN, "concurrency_limit": slots}
        machine_id = (await owner.post("/machine/custom", body))["id"]
        yield Remote(comfyui, host, owner, machine_id, [TOKEN, host.url, *owner.secrets])
    finally:
        await host.kill()
