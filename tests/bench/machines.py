"""What it costs to have a graph executed on a ComfyUI by the platform, instead of sending it there oneself."""

from __future__ import annotations

import asyncio
import io
import json
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.events import NodeProgress, RunEvent
from comfyui_outpost.api.models import Deployment, Run
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.comfyui.installations import find_installations
from comfyui_outpost.tests.comfyui.instance import Instance, start
from comfyui_outpost.tests.comfyui.process import find_python
from figures import Figure, median_ms
from pictures import photograph
from PIL import Image
from server import deploy, serve

BENCH = Path(__file__).parent
REPOSITORY = BENCH.parents[1]
MAX_BYTES = 64 * 1024**2
STEPS, STEPS_PER_SECOND = 400, 200.0
MACHINES, POOL_RUNS = 4, 64
LEAK_RUNS, LOOKS = 200, 20
MEBIBYTE = 1024**2

Holdings = Callable[[], Awaitable[dict[str, int]]]
"""Asks a platform how much it holds."""

numbers = count(1)
"""Of runs: what has another number was not executed yet."""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baseline: the same graph on the same ComfyUI without the platform; of leaks: what was held before them."""
    async with _comfyuis(MACHINES) as comfyuis:
        async with _platform() as client:
            machine = await client.machines.create_custom("bench", comfyuis[0].url)
            for name, seconds, repeats in (("machine_overhead_1s", 1.0, 9), ("machine_overhead_empty", 0.0, 31)):
                yield await _overhead(name, client, comfyuis[0], machine.id, seconds=seconds, repeats=repeats)
            async for figure in _progress(client, comfyuis[0], machine.id):
                yield figure
        async with _platform() as client:
            yield await _pool(client, comfyuis)
        async for figure in _leaks(comfyuis[0]):
            yield figure


@asynccontextmanager
async def _comfyuis(how_many: int) -> AsyncGenerator[list[Instance], None]:
    """So many processes of the ComfyUI that can be had on every computer."""
    installation = find_installations(REPOSITORY / ".cache" / "comfyui", environment={})[0]
    nodes = {"Bench-Nodes": BENCH / "probe_nodes"}
    async with AsyncExitStack() as stack:
        starts = [start(installation, find_python(REPOSITORY), custom_nodes=nodes) for _ in range(how_many)]
        yield await asyncio.gather(*map(stack.enter_async_context, starts))


@asynccontextmanager
async def _platform() -> AsyncGenerator[Client, None]:
    with tempfile.TemporaryDirectory() as folder:
        async with serve(Path(folder)) as server, server.client() as client:
            yield client


def _graph(image: dict[str, Any], number: Any, *, seconds: float) -> dict[str, Any]:
    work = {"image": ["1", 0], "seconds": seconds, "number": number}
    return {
        "1": image,
        "2": {"class_type": "BenchWork", "inputs": work},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "bench"}},
    }


def _deployable(seconds: float) -> dict[str, Any]:
    image = {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "image"}}
    number = {"class_type": "ComfyUIDeployExternalNumberInt", "inputs": {"input_id": "number", "default_value": 0}}
    return _graph(image, ["4", 0], seconds=seconds) | {"4": number}


def _picture(number: int) -> bytes:
    """A picture that was not sent anywhere yet."""
    file = io.BytesIO()
    Image.fromarray(photograph(256, 256, seed=number)).save(file, "PNG")
    return file.getvalue()


async def _directly(comfyui: Instance, *, seconds: float) -> float:
    """How long it takes whoever speaks to the ComfyUI: upload, prompt, websocket, and the picture that comes out."""
    number = next(numbers)
    picture, begun = _picture(number), time.perf_counter()
    name = (await comfyui.upload_image(picture, f"{number}.png"))["name"]
    graph = _graph({"class_type": "LoadImage", "inputs": {"image": name}}, number, seconds=seconds)
    execution = await comfyui.follow(await comfyui.queue(graph))
    (record,) = execution.outputs("3")["images"]
    assert await comfyui.view(**record)
    return time.perf_counter() - begun


async def _through_the_platform(client: Client, deployment: Deployment) -> float:
    """How long the same takes whoever speaks to the platform."""
    number = next(numbers)
    picture, begun = _picture(number), time.perf_counter()
    uploaded = await client.files.upload(picture, content_type="image/png", name=f"{number}.png")
    run = await client.runs.execute(deployment, {"image": uploaded.url, "number": number})
    assert await client.files.download(_file_url(run), max_bytes=MAX_BYTES)
    return time.perf_counter() - begun


def _file_url(run: Run) -> str:
    (output,) = run.outputs
    return output.files[0].url


async def _overhead(
    name: str, client: Client, comfyui: Instance, machine_id: str, *, seconds: float, repeats: int
) -> Figure:
    deployment = await client.deployments.get(await deploy(client, _deployable(seconds), machine_id=machine_id))
    ours, direct = [], []
    for _ in range(repeats + 1):  # in turns, so that both have the same noise
        direct.append(await _directly(comfyui, seconds=seconds))
        ours.append(await _through_the_platform(client, deployment))
    value, baseline = median_ms(ours[1:]), median_ms(direct[1:])
    if seconds:
        return Figure(name, value, "ms", baseline, 1.15, is_goal_for_ratio=True)
    return Figure(name, value, "ms", baseline, round(baseline + 40, 1))


@dataclass
class _Heard:
    """Which step was heard of when."""

    steps: list[int] = field(default_factory=list[int])
    times: list[float] = field(default_factory=list[float])

    def note(self, step: float) -> None:
        self.steps.append(int(step))
        self.times.append(time.perf_counter())

    def on_event(self, event: RunEvent) -> None:
        if isinstance(event, NodeProgress):
            self.note(event.value)

    def ages(self, told: list[float]) -> list[float]:
        """How old each step was when it, or a later one, was heard of."""
        assert len(told) == STEPS == self.steps[-1], "the last step is never left out"
        return [self.times[bisect_left(self.steps, step)] - sent for step, sent in enumerate(told, start=1)]


async def _progress(client: Client, comfyui: Instance, machine_id: str) -> AsyncGenerator[Figure, None]:
    """Both sides take the clock of this computer, which all processes on it share."""
    deployment = await client.deployments.get(await deploy(client, _stepping(0), machine_id=machine_id))
    inputs = {"1.number": next(numbers)}
    ours, direct = _Heard(), _Heard()
    told_directly = await _step_directly(comfyui, direct)
    run = await client.runs.execute(deployment, inputs, on_event=ours.on_event)
    ages, ages_directly = ours.ages(json.loads(run.outputs[0].texts[0])), direct.ages(told_directly)
    yield Figure("machine_progress_latency", median_ms(ages), "ms", median_ms(ages_directly), 10.0)
    tenth = STEPS // 10
    # Whoever falls behind is slowest at the end.
    yield Figure("machine_progress_200", median_ms(ages[-tenth:]), "ms", median_ms(ages_directly[-tenth:]), 10.0)


def _stepping(number: int) -> dict[str, Any]:
    inputs = {"steps": STEPS, "per_second": STEPS_PER_SECOND, "number": number}
    return {"1": {"class_type": "BenchSteps", "inputs": inputs}}


async def _step_directly(comfyui: Instance, heard: _Heard) -> list[float]:
    """Listen to a ComfyUI's own websocket while it makes steps; when it told of each of them."""
    async with (
        aiohttp.ClientSession(comfyui.url) as session,
        session.ws_connect("/ws", params={"clientId": "bench"}) as socket,
    ):
        prompt_id = await comfyui.queue(_stepping(next(numbers)), client_id="bench")
        async for received in socket:
            message = json.loads(received.data)
            if message["type"] == "progress":
                heard.note(message["data"]["value"])
            if message["type"] == "executing" and message["data"]["node"] is None:
                break
    execution = await comfyui.follow(prompt_id)
    return json.loads(execution.outputs("1")["text"][0])


async def _pool(client: Client, comfyuis: list[Instance]) -> Figure:
    """Baseline: the ideal, where every machine does its share one after the other, as if nobody else were there."""
    machines = [await client.machines.create_custom(f"bench {each.url}", each.url) for each in comfyuis]
    pool = await client.machines.create("all", "pool", machine_ids=[each.id for each in machines])
    deployment = await client.deployments.get(await deploy(client, _deployable(1.0), machine_id=pool.id))
    for each in comfyuis:
        await _directly(each, seconds=0.0)  # the first picture of a ComfyUI takes longer, whoever asks for it
    # All of its share, and not one run times so many: every ten seconds a ComfyUI stops to collect its garbage.
    ideal = sum([await _directly(comfyuis[0], seconds=1.0) for _ in range(POOL_RUNS // len(comfyuis))])
    uploaded = await client.files.upload(_picture(0), content_type="image/png", name="pool.png")
    inputs = [{"image": uploaded.url, "number": next(numbers)} for _ in range(POOL_RUNS)]
    begun = time.perf_counter()
    ended = await asyncio.gather(*(client.runs.execute(deployment, each) for each in inputs))
    seconds = time.perf_counter() - begun
    assert len({_file_url(run) for run in ended}) == POOL_RUNS
    return Figure("machine_pool_64", seconds, "s", ideal, 1.1, is_goal_for_ratio=True)


async def _leaks(comfyui: Instance) -> AsyncGenerator[Figure, None]:
    """The first runs pay for what stays: connections, caches, memory that the allocator keeps."""
    with tempfile.TemporaryDirectory() as folder:
        async with _watched_platform(Path(folder)) as (connection, holdings), Client(connection) as client:
            machine = await client.machines.create_custom("bench", comfyui.url)
            graph = _deployable(0.0)
            deployment = await client.deployments.get(await deploy(client, graph, machine_id=machine.id))
            before, after = [await _held(client, deployment, holdings) for _ in range(2)]
    grown = {name: after[name] - before[name] for name in before}
    megabytes, held = grown["bytes"] / MEBIBYTE, before["bytes"] / MEBIBYTE
    yield Figure("machine_leak_200_memory", megabytes, "MiB", held, 5.0)
    for name in ("files", "tasks"):
        yield Figure(f"machine_leak_200_{name}", grown[name], name, before[name], 0.0)


async def _held(client: Client, deployment: Deployment, holdings: Holdings) -> dict[str, int]:
    """The most that was held after any of the last of so many runs: idle connections come and go between them."""
    for _ in range(LEAK_RUNS - LOOKS):
        await _through_the_platform(client, deployment)
    looks: list[dict[str, int]] = []
    for _ in range(LOOKS):
        await _through_the_platform(client, deployment)
        looks.append(await holdings())
    return {name: max(look[name] for look in looks) for name in looks[0]}


@asynccontextmanager
async def _watched_platform(folder: Path) -> AsyncGenerator[tuple[Connection, Holdings], None]:
    """A platform in a process of its own: the connection to it, and a function that asks how much it holds."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(BENCH / "server_watched.py"), str(folder)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    pipe_in, pipe_out = process.stdin, process.stdout
    assert pipe_in and pipe_out

    async def holdings() -> dict[str, int]:
        pipe_in.write(b"?\n")
        return json.loads(await asyncio.wait_for(pipe_out.readline(), 60))

    try:
        words = (await asyncio.wait_for(pipe_out.readline(), 60)).decode()
        yield Connection(*words.split()), holdings
    finally:
        pipe_in.close()
        await process.wait()
