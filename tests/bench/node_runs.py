"""What it takes to run a batch image by image on several slots, and to have runs cancelled."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import torch
from comfyui_outpost.api.client import Client, ContentCache
from comfyui_outpost.nodes.each import ForEach
from comfyui_outpost.nodes.for_each import RunDeploymentForEach
from comfyui_outpost.tests.comfyui.installations import find_installations
from comfyui_outpost.tests.comfyui.instance import Instance, start
from comfyui_outpost.tests.comfyui.process import find_python
from figures import Figure
from pictures import photograph
from server import Server, SilentHost, deploy, serve

REPOSITORY = Path(__file__).resolve().parents[2]
SLOTS, IMAGES, SIDE = 4, 16, 1024
WORK_SECONDS = 2.0
"""What the machine does with an image: a run on a real one takes seconds."""
CANCELS = 7
LONG = 600.0
WAIT_SECONDS = 60
T = TypeVar("T")
SLEEP: dict[str, Any] = {
    "1": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "image"}},
    "2": {"class_type": "OutpostSleep", "inputs": {"image": ["1", 0], "seconds": WORK_SECONDS}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
}
ENDLESS: dict[str, Any] = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}},
    "2": {"class_type": "OutpostSleep", "inputs": {"image": ["1", 0], "seconds": LONG}},
    "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
}


async def figures() -> AsyncGenerator[Figure, None]:
    """Baselines: as many runs as one slot gets, one after the other; a run that is cancelled through the API itself."""
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder)) as server, server.client() as client:
            yield await _batch(server, client)
            yield await _cancel(server, client)


async def _batch(server: Server, client: Client) -> Figure:
    images = torch.stack([torch.from_numpy(photograph(SIDE, SIDE, seed=seed)) for seed in range(IMAGES)]).float() / 255
    chain = await _run_each(server, await _sleeps_on(client, slots=1), images[: IMAGES // SLOTS], limit=1)
    at_most = RunDeploymentForEach.INPUT_TYPES()["required"]["at_most"][1]["default"]
    batch = await _run_each(server, await _sleeps_on(client, slots=SLOTS), images, limit=at_most)
    return Figure("nodes_batch_16", batch, "s", chain, 1.2, is_goal_for_ratio=True)


async def _sleeps_on(client: Client, *, slots: int) -> str:
    machine = await client.machines.create(f"{slots} slots", "builtin", concurrency_limit=slots)
    return await deploy(client, SLEEP, machine_id=machine.id)


async def _run_each(server: Server, deployment_id: str, images: torch.Tensor, *, limit: int) -> float:
    """The seconds that it takes from the tensors to the tensors."""
    async with server.client(ContentCache()) as client:
        begun = time.perf_counter()
        results = await ForEach(client, SilentHost(), limit=limit).run(deployment_id, {"image": [images]})
        seconds = time.perf_counter() - begun
    assert all(
        torch.equal(each.images[0].image[0], image) for each, image in zip(results.ends.results, images, strict=True)
    )
    return seconds


async def _cancel(server: Server, client: Client) -> Figure:
    """The longest that it takes from the interrupt of a real ComfyUI to the run's end, of several."""
    deployment_id = await deploy(client, ENDLESS)
    installation = find_installations(REPOSITORY / ".cache" / "comfyui", environment={})[0]
    environment = {
        "OUTPOST_BASE_URL": server.connection.base_url,
        "OUTPOST_API_KEY": server.connection.api_key,
        "OUTPOST_SETTINGS": "none",
    }
    packages = {"ComfyUI-Outpost": REPOSITORY}
    python = find_python(REPOSITORY)
    async with start(installation, python, custom_nodes=packages, environment=environment) as comfyui:
        seconds = [await _interrupted(comfyui, client, deployment_id) for _ in range(CANCELS)]
    directly = [await _cancelled(client, await client.runs.queue(deployment_id, {})) for _ in range(CANCELS)]
    return Figure("nodes_cancel", max(seconds), "s", max(directly), 1.0)


async def _interrupted(comfyui: Instance, client: Client, deployment_id: str) -> float:
    fields = {"deployment_id": deployment_id, "deadline_minutes": 1.0}
    run = {"class_type": "OutpostRunDeployment", "inputs": fields}
    prompt_id = await comfyui.queue({"1": run, "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}})
    run_id = await _at_work(client, deployment_id)
    begun = datetime.now(timezone.utc)
    await comfyui.interrupt()
    seconds = await _seconds_to_the_end(client, run_id, begun)
    await comfyui.follow(prompt_id)
    return seconds


async def _cancelled(client: Client, run_id: str) -> float:
    await _at_work(client, (await client.runs.get(run_id)).deployment_id or "")
    begun = datetime.now(timezone.utc)
    await client.runs.cancel(run_id)
    return await _seconds_to_the_end(client, run_id, begun)


async def _at_work(client: Client, deployment_id: str) -> str:
    """The id of the newest run of a deployment, once a machine works on it."""

    async def find() -> str | None:
        runs = await client.runs.list(deployment_id=deployment_id, limit=1)
        return runs[0].id if runs and not runs[0].status.is_terminal and runs[0].started_at else None

    return await _until(find)


async def _seconds_to_the_end(client: Client, run_id: str, begun: datetime) -> float:
    async def find() -> datetime | None:
        return (await client.runs.get(run_id)).ended_at

    return (await _until(find) - begun).total_seconds()


async def _until(find: Callable[[], Awaitable[T | None]]) -> T:
    """What there is to be found, once it is there."""

    async def poll() -> T:
        while (found := await find()) is None:
            await asyncio.sleep(0.02)
        return found

    return await asyncio.wait_for(poll(), WAIT_SECONDS)
