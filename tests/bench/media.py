"""What the way there and back costs a video and a sound, on a machine that gives back the file that it gets."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from typing import Any

import torch
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.outputs import OutputKind
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import contents, execution
from comfyui_outpost.nodes.media import audio, video
from comfyui_outpost.nodes.results import LocalFile
from comfyui_outpost.nodes.sending import upload_all
from comfyui_outpost.nodes.stopwatch import Stopwatch
from figures import Figure
from pictures import photograph
from server import SilentHost, deploy, program

RATE, SECONDS, WIDTH, HEIGHT = 24, 10, 1920, 1080
SOUND_RATE, SOUND_SECONDS = 44100, 60
VIDEO_PAIRS, AUDIO_PAIRS = 2, 15
GRAPH = {"1": {"class_type": "ComfyUIDeployExternalFile", "inputs": {"input_id": "file"}}}


async def figures() -> AsyncGenerator[Figure, None]:
    """Baselines: the same clip and the same sound, encoded and decoded with nothing sent anywhere."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with _deployment(folder) as (client, deployment):
            whole, alone = _audio(client, deployment, folder)
            await whole(AUDIO_PAIRS)  # what everything needs once
            yield await _figure("nodes_audio", AUDIO_PAIRS, whole, alone)
            yield await _figure("nodes_video", VIDEO_PAIRS, *_video(client, deployment, _frames(), folder))


Work = Callable[[int], Awaitable[Any]]


async def _figure(name: str, pairs: int, whole: Work, alone: Work) -> Figure:
    """Both take turns, so that whatever else the computer does disturbs both."""
    runs = [(await _seconds(whole, number), await _seconds(alone, number)) for number in range(pairs)]
    there_and_back, baseline = (median(each) * 1000 for each in zip(*runs, strict=True))
    return Figure(name, there_and_back, "ms", baseline, 1.5, is_goal_for_ratio=True)


async def _seconds(work: Work, number: int) -> float:
    start = time.perf_counter()
    await work(number)
    return time.perf_counter() - start


def _video(client: Client, deployment: str, frames: list[torch.Tensor], folder: Path) -> tuple[Work, Work]:
    def encode(number: int) -> contents.Content:
        # Another beginning is another film: the same one would be sent only once.
        shown: Any = frames[number:] + frames[:number]
        made = video.encode_frames(shown * SECONDS, RATE, folder)
        return contents.of_file(OutputKind.VIDEO, made)

    def decode(path: Path) -> None:
        assert len(video.decode_frames(path).images) == RATE * SECONDS

    return _both(client, deployment, folder, encode, decode)


def _audio(client: Client, deployment: str, folder: Path) -> tuple[Work, Work]:
    waveform = _music()

    def encode(number: int) -> contents.Content:
        value = {"waveform": waveform.roll(number, dims=-1), "sample_rate": SOUND_RATE}
        (content,) = contents.of_value(value, folder)
        return content

    def decode(path: Path) -> None:
        assert audio.decode(path)["waveform"].shape == waveform.shape

    return _both(client, deployment, folder, encode, decode)


def _both(
    client: Client,
    deployment: str,
    folder: Path,
    encode: Callable[[int], contents.Content],
    decode: Callable[[Path], None],
) -> tuple[Work, Work]:
    host = SilentHost()
    host.folder = folder / "files"

    async def whole(number: int) -> None:
        content = await asyncio.to_thread(encode, number)
        [file] = await upload_all(client, [content], stopwatch=Stopwatch())
        result = await execution.run_deployment(client, host, deployment_id=deployment, inputs={"file": file})
        (part,) = result.parts
        assert isinstance(part.value, LocalFile)
        await asyncio.to_thread(decode, part.value.path)

    async def alone(number: int) -> None:
        path = (await asyncio.to_thread(encode, number)).encode()
        assert isinstance(path, Path)
        await asyncio.to_thread(decode, path)

    return whole, alone


def _music() -> torch.Tensor:
    """Chords and a little noise, in 16 bits: FLAC makes about half of them, as of most recordings."""
    count = SOUND_RATE * SOUND_SECONDS
    steps = torch.arange(count) / SOUND_RATE
    tones = sum(torch.sin(steps * 2 * torch.pi * pitch) for pitch in (220.0, 277.2, 329.6, 440.5, 659.3)) / 8
    noise = torch.randn(1, 2, count, generator=torch.manual_seed(1)) / 400
    return (torch.as_tensor(tones) + noise).clamp(-1, 1).mul(2**15 - 1).round().div(2**15)


def _frames() -> list[torch.Tensor]:
    """A second of a photograph that moves."""
    base = torch.from_numpy(photograph(WIDTH, HEIGHT, seed=1)).float().div(255)
    return [base.roll(4 * number, dims=1) for number in range(RATE)]


@asynccontextmanager
async def _deployment(folder: Path) -> AsyncGenerator[tuple[Client, str], None]:
    """A deployment on a platform in a process of its own, whose machine puts out the file that comes in."""
    server = str(Path(__file__).with_name("server_echo.py"))
    async with program(server, str(folder / "platform"), until="outpost_") as (_, words):
        url, key = words.split()
        async with Client(Connection(url, key)) as client:
            yield client, await deploy(client, GRAPH)
