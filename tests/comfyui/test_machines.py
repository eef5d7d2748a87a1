"""Every ComfyUI found on this machine as a machine of the platform: by its URL, and started on demand."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from comfyui_outpost.api.events import ExecutionCached, LiveStatus, NodeProgress, NodesProgress, NodeStarted
from comfyui_outpost.api.inputs import with_widgets
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, check_comfyui
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.tests.machines.jobs import Trial, external, node
from numpy.typing import NDArray
from PIL import Image

from .checked import CheckedMachine
from .installations import PYPI_VERSION, Installation, provide
from .instance import Instance
from .process import prepare_environment
from .workspace import lay_out, page_options

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

URL = "https://platform.example/objects/inputs/{}.png?s=signature"
STEPS = 8
ROUNDING = 1.0
"""ComfyUI cuts what follows the point when it saves, so that one minus a pixel may be one too little."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine(stock: Instance) -> AsyncIterator[ComfyUIMachine]:
    machine = CheckedMachine(MachineSettings("m", "comfyui", endpoint=stock.url))
    yield machine
    await machine.close()


def png(seed: int, *, mode: str = "RGB", size: tuple[int, int] = (12, 8)) -> bytes:
    """A picture with random pixels."""
    channels = len(mode)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], channels), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def pixels(content: bytes) -> NDArray[np.int16]:
    return np.asarray(Image.open(io.BytesIO(content))).astype(np.int16)


async def test_it_is_known_as_a_comfyui(installation: Installation, stock: Instance, machine: ComfyUIMachine):
    version = await check_comfyui(stock.url, auth_token=None)
    assert version == ("unknown" if installation.version == PYPI_VERSION else installation.version)
    await machine.health()


async def test_a_picture_goes_through_a_graph(machine: ComfyUIMachine):
    graph = {
        "1": external("Image", "image"),
        "2": node("ImageInvert", image=["1", 0]),
        "3": node("ComfyDeployOutputImage", images=["2", 0], filename_prefix="a", file_type="webp", output_id="result"),
    }
    url = URL.format("photo")

    trial = await Trial(graph, {"image": url}, {url: png(1)}, run_id="invert").on(machine)

    [output] = trial.outputs
    assert (output.node_id, output.node_class, output.output_id) == ("3", "ComfyDeployOutputImage", "result")
    [(kind, _, content_type, content)] = output.files
    assert (kind, content_type) == ("images", "image/png")
    assert np.allclose(pixels(content), 255 - pixels(png(1)), rtol=0, atol=ROUNDING)
    assert {event.node_id for event in trial.of(NodeStarted)} == {"1", "2", "3", None}
    assert "signature" not in str(trial.events)


async def test_a_picture_keeps_its_transparency(machine: ComfyUIMachine):
    graph = {"1": external("ImageAlpha", "image"), "2": node("SaveImage", images=["1", 0], filename_prefix="alpha")}
    url, picture = URL.format("alpha"), png(2, mode="RGBA")
    trial = await Trial(graph, {"image": url}, {url: picture}, run_id="alpha").on(machine)
    saved = pixels(trial.outputs[0].files[0][3])
    assert np.array_equal(saved[..., :3], pixels(picture)[..., :3])
    assert np.allclose(saved, pixels(picture), rtol=0, atol=ROUNDING)


async def test_a_batch_arrives_in_order_bit_for_bit(machine: ComfyUIMachine):
    graph = {"1": external("ImageBatch", "images"), "2": node("SaveImage", images=["1", 0], filename_prefix="batch")}
    files = {URL.format(number): png(number) for number in range(3)}
    trial = await Trial(graph, {"images": json.dumps(list(files))}, files, run_id="batch").on(machine)
    saved = [pixels(content) for _, _, _, content in trial.outputs[0].files]
    assert [image.tolist() for image in saved] == [pixels(content).tolist() for content in files.values()]


async def test_values_and_addressed_inputs_reach_their_nodes(machine: ComfyUIMachine):
    graph = {
        "1": external("NumberInt", "width", default_value=16),
        "2": node("EmptyImage", width=["1", 0], height=8, batch_size=1, color=0),
        "3": node("SaveImage", images=["2", 0], filename_prefix="sized"),
    }
    values = {"width": 24, "2.height": 40, "2.color": 0x102030}
    trial = await Trial(with_widgets(graph, values), values, run_id="sized").on(machine)
    saved = pixels(trial.outputs[0].files[0][3])
    assert (saved.shape, saved[0, 0].tolist()) == ((40, 24, 3), [0x10, 0x20, 0x30])


async def test_files_and_texts_of_every_kind_that_it_makes_come_back(stock: Instance, machine: ComfyUIMachine):
    image = node("EmptyImage", width=16, height=16, batch_size=4, color=255)
    animation = {"images": ["1", 0], "filename_prefix": "moving", "fps": 6.0, "lossless": True, "quality": 80}
    graph = {
        "1": image,
        "2": node("SaveAnimatedWEBP", **animation, method="default"),
        "3": node("EmptyLatentImage", width=64, height=64, batch_size=1),
        "4": node("SaveLatent", samples=["3", 0], filename_prefix="noise"),
        "5": node("PreviewImage", images=["1", 0]),
    }
    expected = {"2": "image/webp", "4": "application/octet-stream"}
    if await stock.object_info("SaveVideo"):  # 0.8.0 and later: also film, sound and text
        graph |= {
            "10": node("CreateVideo", images=["1", 0], fps=4.0),
            "11": node("SaveVideo", video=["10", 0], filename_prefix="film", format="mp4", codec="h264"),
            "12": node("EmptyAudio", duration=0.2, sample_rate=44100, channels=2),
            "13": node("SaveAudio", audio=["12", 0], filename_prefix="sound"),
            "14": node("PreviewAny", source="a text", output_id="said"),
        }
        expected |= {"11": "video/mp4", "13": "audio/flac"}

    trial = await Trial(graph, run_id="kinds").on(machine)

    types = {output.node_id: output.files[0][2] for output in trial.outputs if output.files}
    assert types == expected
    assert all(content for output in trial.outputs for *_, content in output.files)
    texts = [(output.output_id, output.texts) for output in trial.outputs if output.texts]
    assert texts == ([("said", ["a text"])] if "14" in graph else [])


async def test_a_run_again_gives_its_outputs_without_working(machine: ComfyUIMachine):
    graph = {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=7),
        "2": node("SaveImage", images=["1", 0], filename_prefix="again"),
    }
    first = await Trial(graph, run_id="first").on(machine)
    again = await Trial(graph, run_id="again").on(machine)
    assert again.outputs == first.outputs
    assert {*again.of(ExecutionCached)[0].nodes} >= {"1", "2"}


async def test_a_failing_node_is_named_with_its_words(machine: ComfyUIMachine):
    failure = (await Trial({"1": node("Failing")}, run_id="failing").failure_on(machine)).failure
    assert str(failure) == "node 1 (Failing): ValueError: this node always fails"


async def test_a_graph_that_it_refuses_is_explained(machine: ComfyUIMachine):
    graph = {"1": node("SaveImage", filename_prefix="nothing")}
    failure = (await Trial(graph, run_id="refused").failure_on(machine)).failure
    assert (failure.node_id, failure.node_class) == ("1", "SaveImage")
    assert failure.message == "Required input is missing: images"


async def test_a_class_that_it_lacks_is_named(machine: ComfyUIMachine):
    graph = {"1": node("NoSuchNode"), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
    failure = (await Trial(graph, run_id="lacking").failure_on(machine)).failure
    assert (failure.node_id, failure.node_class) == ("1", "NoSuchNode")


async def test_cancelling_stops_exactly_this_run(stock: Instance, machine: ComfyUIMachine):
    slow, waiting = Trial({"1": node("Slow")}, run_id="slow"), Trial({"1": node("Slow")}, run_id="waiting")
    slow_run = slow.start_on(machine)
    while not slow.of(NodeProgress):
        await asyncio.sleep(0.01)
    waiting_run = waiting.start_on(machine)
    while len((await stock.get("/queue"))["queue_pending"]) != 1:
        await asyncio.sleep(0.01)

    await cancelled(waiting_run)
    queue = await stock.get("/queue")
    assert (len(queue["queue_running"]), queue["queue_pending"]) == (1, [])

    await cancelled(slow_run)
    assert await machine.is_idle()
    assert slow.outputs == waiting.outputs == []


def diffusion(seed: int) -> dict[str, object]:
    """A graph that samples a picture; the checkpoint's name has the other system's separator."""
    sampler = {"steps": STEPS, "cfg": 1.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {
        "1": node("CheckpointLoaderSimple", ckpt_name="tiny\\sd15.ckpt"),
        "2": external("Text", "prompt"),
        "3": node("CLIPTextEncode", clip=["1", 1], text=["2", 0]),
        "4": node("EmptyLatentImage", width=128, height=128, batch_size=1),
        "5": external("Seed", "seed", default_value=seed),
        "6": node(
            "KSampler",
            model=["1", 0],
            positive=["3", 0],
            negative=["3", 0],
            latent_image=["4", 0],
            seed=["5", 0],
            **sampler,
        ),
        "7": node("VAEDecode", samples=["6", 0], vae=["1", 2]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="sampled"),
    }


async def test_diffusion_tells_of_its_steps_and_gives_the_pixels_that_it_gives_directly(
    installation: Installation, stock: Instance, machine: ComfyUIMachine
):
    trial = await Trial(diffusion(41), {"prompt": "a cat", "seed": 42}, run_id="diffusion").on(machine)
    other = await Trial(diffusion(41), {"prompt": "a cat"}, run_id="other seed").on(machine)

    steps = [event.value for event in trial.of(NodeProgress) if event.node_id == "6"]
    # Newer ones tell of a step every 100 ms at most, and of the first and the last one always (comfy/utils.py).
    always = range(1, STEPS + 1) if installation.version == PYPI_VERSION else (1, STEPS)
    assert set(always) <= set(steps)
    assert steps == sorted(steps)
    shares = [event.progress for event in trial.of(LiveStatus)]
    assert shares == sorted(shares)
    assert shares[-1] > 0.8
    tells_of_all_nodes = installation.version != PYPI_VERSION
    assert bool(trial.of(NodesProgress)) is tells_of_all_nodes

    graph = diffusion(41)
    directly = {node_id: each for node_id, each in graph.items() if node_id not in ("2", "5")}
    directly["1"] = node("CheckpointLoaderSimple", ckpt_name=str(Path("tiny", "sd15.ckpt")))
    directly["3"] = node("CLIPTextEncode", clip=["1", 1], text="a cat")
    directly["6"]["inputs"]["seed"] = 42
    directly["8"]["inputs"]["filename_prefix"] = "directly"
    execution = await stock.follow(await stock.queue(directly))
    [record] = execution.outputs("8")["images"]
    here = pixels(trial.outputs[0].files[0][3])
    assert np.array_equal(here, pixels(await stock.view(**record)))
    assert not np.array_equal(here, pixels(other.outputs[0].files[0][3]))


async def test_it_is_started_on_demand_loads_nothing_of_another_machine_and_is_gone_when_idle(
    installation: Installation, python: Path, tmp_path: Path
):
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    lay_out(folder, provide(installation), {})
    others = tmp_path / "machines" / "other" / "output" / "0"
    others.mkdir(parents=True)
    (others / "private_00001_.png").write_bytes(png(1))
    settings = MachineSettings("m", "managed", folder=folder, idle_timeout=2.0)
    environment = prepare_environment(os.environ, {"CUDA_VISIBLE_DEVICES": ""})
    machine = ManagedMachine(
        settings,
        python=python,
        log_folder=tmp_path / "logs",
        work_folder=tmp_path / "machines",
        arguments=page_options(folder),
        environment=environment,
    )
    graph = {
        "1": node("EmptyImage", width=8, height=8, batch_size=1, color=7),
        "2": node("SaveImage", images=["1", 0], filename_prefix="managed"),
        "3": node("PreviewImage", images=["1", 0]),
    }

    loading = {
        "1": node("LoadImage", image="private_00001_.png [output]"),
        "2": node("SaveImage", images=["1", 0], filename_prefix="taken"),
    }

    trial = await Trial(graph, run_id="managed").on(machine)
    failure = (await Trial(loading, run_id="loading").failure_on(machine)).failure

    assert "Invalid image file" in failure.message
    assert [pixels(content).shape for *_, content in trial.outputs[0].files] == [(8, 8, 3)]
    work = tmp_path / "machines" / "m"
    assert [each.name for each in (work / "output" / "0").iterdir()] == [trial.outputs[0].files[0][1]]
    assert len([*(work / "temp" / "0" / "temp").iterdir()]) == 1
    assert [*(folder / "output").iterdir(), *(folder / "temp").iterdir()] == []
    assert trial.of(LiveStatus)[0].text == "Starting ComfyUI"
    while machine.process_count:
        await asyncio.sleep(0.05)
    assert "got prompt" in machine.log_files()[0].read_text(encoding="utf-8", errors="replace")
    await machine.close()
    assert [each.name for each in work.iterdir()] == ["output"]


async def cancelled(run: asyncio.Task[None]) -> None:
    """Cancel a run, and wait for it to have stopped."""
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
