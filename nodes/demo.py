"""The demo: a picture becomes a tensor, goes through a platform of its own, and comes back as tensors and files."""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..api.client import Client
from ..api.console import Bar, say
from ..api.errors import InvalidInput, OutpostError
from ..api.models import Deployment, Graph
from ..api.server.app import serving
from ..api.server.config import ServerConfig
from ..api.server.platform import Platform, open_platform
from ..api.settings import Connection
from . import contact_sheet, execution, media
from .results import RunResult
from .stopwatch import Stopwatch

WORKFLOW_API: Graph = {
    "1": {"class_type": "ComfyUIDeployExternalImage", "inputs": {"input_id": "image"}},
    "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "3": {"class_type": "ImageBlur", "inputs": {"image": ["1", 0], "blur_radius": 12}},
    "4": {"class_type": "OutpostSleep", "inputs": {"image": ["3", 0], "seconds": 0.5}},
    "5": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "output_id": "same"}},
    "6": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "output_id": "inverted"}},
    "7": {"class_type": "SaveImage", "inputs": {"images": ["4", 0], "output_id": "softened"}},
}
STAGES = ("encode", "upload", "queue", "run", "download", "decode")


class Console:
    """Shows a run on the terminal."""

    def __init__(self, bar: Bar, *, folder: Path) -> None:
        self.prompt_id: str | None = None
        self.folder = folder
        self._bar = bar
        self._share = 0.0

    def progress(self, share: float) -> None:
        self._share = share

    def text(self, text: str) -> None:
        self._bar.show(self._share, text)

    def preview(self, picture: Image.Image) -> None:
        """A terminal shows no pictures."""

    def check_interrupted(self) -> None:
        """Ctrl-C ends the whole program."""


async def run(picture: Path | None, output: Path) -> int:
    """Run the demo on a picture, or on one that is made up; the process's exit code. The last line printed is JSON."""
    source = contact_sheet.made_up_picture() if picture is None else await asyncio.to_thread(_read, picture)
    image = media.decode(source, name=str(picture or "the made up picture")).image[:1]
    say(f"A picture of {image.shape[2]} x {image.shape[1]} pixels is a tensor {list(image.shape)} now.")
    # Who presses Ctrl-C may leave a thread that still writes there.
    with tempfile.TemporaryDirectory(prefix="outpost-demo-", ignore_cleanup_errors=True) as folder:
        async with (
            open_platform(ServerConfig(Path(folder))) as platform,
            serving(platform, host="127.0.0.1", port=0) as url,
        ):
            say(f"A platform of its own serves {url}.")
            start = time.perf_counter()
            result = await _run_on(platform, url, image, folder=Path(folder) / "files")
            total = time.perf_counter() - start
    is_exact = _is_exact(image, result)
    files = await asyncio.to_thread(_write, output, image, result)
    _print_table(result.stopwatch, total)
    say(f"Look at {files[-1]}")
    report = {"demo": "ok" if is_exact else "wrong", "status": result.run.status.value, "bit_exact": is_exact}
    say(json.dumps({**report, "total_ms": round(total * 1000, 1), "files": [str(file) for file in files]}))
    return 0 if is_exact else 1


def _read(picture: Path) -> bytes:
    try:
        return picture.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{picture} cannot be read: {error.strerror}") from error


async def _run_on(platform: Platform, url: str, image: Any, *, folder: Path) -> RunResult:
    assert platform.first_start  # its folder is new
    async with Client(Connection(url, platform.first_start.api_key)) as client:
        deployment = await _deploy(client)
        with Bar("run") as bar:
            return await execution.run_deployment(
                client, Console(bar, folder=folder), deployment_id=deployment.id, inputs={"image": image}, deadline=120
            )


async def _deploy(client: Client) -> Deployment:
    workflow = await client.workflows.create("Demo", {}, workflow_api=WORKFLOW_API)
    machine = (await client.machines.list())[0]
    return await client.deployments.create(
        workflow_id=workflow.workflow_id,
        workflow_version_id=workflow.workflow_version_id or "",
        machine_id=machine.id,
    )


def _is_exact(image: Any, result: RunResult) -> bool:
    """Whether the picture came back with the very same pixels, and inverted with exactly the opposite ones."""
    sent, same, inverted = (
        media.to_pixels(each[0])
        for each in (image, *(result.pick(name).images[0].image for name in ("same", "inverted")))
    )
    return np.array_equal(same, sent) and np.array_equal(inverted, 255 - sent)


def _write(folder: Path, image: Any, result: RunResult) -> list[Path]:
    pictures = {"input": media.to_pixels(image[0])}
    for name in ("inverted", "softened"):
        pictures[name] = media.to_pixels(result.pick(name).images[0].image[0])
    files = [folder / "result.png", folder / "contact-sheet.png"]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files[0].write_bytes(media.encode_png(pictures["softened"]))
        files[1].write_bytes(contact_sheet.draw(pictures))
    except OSError as error:
        raise OutpostError(f"{folder} cannot be written: {error.strerror}") from error
    return files


def _print_table(stopwatch: Stopwatch, total: float) -> None:
    say("\n  stage        ms\n  ---------------")
    for stage in STAGES:
        say(f"  {stage:<9}{stopwatch.seconds.get(stage, 0.0) * 1000:6.1f}")
    say(f"  ---------------\n  total    {total * 1000:6.1f}   ({stopwatch.sent_bytes / 1e6:.1f} MB were sent)\n")
