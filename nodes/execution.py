"""The flow of one run inside a graph: tensors are uploaded, a deployment runs, its outputs come back as tensors.

Knows nothing of ComfyUI: whoever executes a node is a `Host`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..api.errors import InvalidInput, RunFailed, Unprocessable
from ..api.events import RunEvent
from ..api.inputs import InputKind, check_inputs, declared_inputs, kind_of
from ..api.models import Deployment, Run, RunOutput
from . import media
from .outputs import PARALLEL_IMAGES, Outputs, RunResult
from .previews import Previews
from .progress import RunProgress
from .stopwatch import Stopwatch
from .waiting import gather_or_cancel, interruptible

if TYPE_CHECKING:
    from PIL import Image

    from ..api.client import Client

S = TypeVar("S")
T = TypeVar("T")

_STANDS_FOR_A_TENSOR = "https://tensor.invalid/"


class Host(Protocol):
    """Whoever executes a node, and shows how it goes. Nothing here blocks."""

    @property
    def prompt_id(self) -> str | None:
        """The prompt that ComfyUI executes the node for; None where that is not known, or there is no ComfyUI."""
        ...

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1. Never raises."""
        ...

    def text(self, text: str) -> None:
        """Show a line on the node. Never raises."""
        ...

    def preview(self, picture: Image.Image) -> None:
        """Show a picture, in place of the one before. Never raises."""
        ...

    def check_interrupted(self) -> None:
        """Raise the host's own exception when its user wants to stop."""
        ...


async def upload_images(
    client: Client, images: Sequence[Any], *, stopwatch: Stopwatch, host: Host | None = None
) -> list[str]:
    """The URLs of images after their upload; each is [H, W, C] or a mask [H, W], float 0..1.

    `host` shows how many are there already. Raises InvalidInput before any is sent when one of them cannot be sent.
    """
    pixels = await _to_pixels(images, stopwatch)
    is_there = 0

    async def upload(each: media.Pixels) -> str:
        nonlocal is_there
        url = await _upload_one(client, each, stopwatch)
        is_there += 1
        if host:
            host.progress(is_there / len(pixels))
            host.text(f"uploaded {is_there} of {len(pixels)}")
        return url

    if host:
        host.text("uploading")
    return await _side_by_side(pixels, upload)


async def _to_pixels(images: Sequence[Any], stopwatch: Stopwatch) -> list[media.Pixels]:
    """The pixels of all images: only then is it known that each of them can be sent."""

    async def convert(image: Any) -> media.Pixels:
        with stopwatch.measure("encode"):
            return await asyncio.to_thread(media.to_pixels, image)

    return await _side_by_side(images, convert)


async def _upload(client: Client, pictures: Sequence[media.Pixels], stopwatch: Stopwatch) -> list[str]:
    """Their URLs. Pictures are encoded on threads while others are on their way, and the same pixels travel once."""
    return await _side_by_side(pictures, lambda pixels: _upload_one(client, pixels, stopwatch))


async def _side_by_side(items: Sequence[S], work: Callable[[S], Coroutine[Any, Any, T]]) -> list[T]:
    """The work on each item, some at a time."""
    limit = asyncio.Semaphore(PARALLEL_IMAGES)

    async def limited(item: S) -> T:
        async with limit:
            return await work(item)

    return await gather_or_cancel([limited(item) for item in items])


async def _upload_one(client: Client, pixels: media.Pixels, stopwatch: Stopwatch) -> str:
    with stopwatch.measure("encode"):
        digest = await asyncio.to_thread(media.digest, pixels)
    encoding: float | None = None

    async def encode() -> bytes:
        nonlocal encoding
        start = time.perf_counter()
        data = await asyncio.to_thread(media.encode_png, pixels)
        encoding = time.perf_counter() - start
        return data

    start = time.perf_counter()
    stored = await client.files.upload_once(digest, encode, content_type="image/png", name="image.png")
    if encoding is not None:  # else the platform has it already
        stopwatch.sent_bytes += stored.size
    stopwatch.add("encode", encoding or 0.0)
    stopwatch.add("upload", time.perf_counter() - start - (encoding or 0.0))
    return stored.url


async def run_deployment(
    client: Client, host: Host, *, deployment_id: str, inputs: Mapping[str, Any], deadline: float | None = None
) -> RunResult:
    """Run a deployment on tensors, texts and numbers, and wait for its outputs.

    `inputs` are by input_id; images [B, H, W, C] and masks [B, H, W] are uploaded on the way. `deadline` is in seconds.
    Raises InvalidInput before anything is sent, the RunError of a run without success, and the host's own exception
    after its user wanted to stop; the remote run is cancelled then.
    """
    flow = _Flow(client, host, deadline=deadline)
    return await interruptible(host.check_interrupted, flow.run(deployment_id, inputs))


class _Flow:
    def __init__(self, client: Client, host: Host, *, deadline: float | None) -> None:
        self._client = client
        self._host = host
        self._deadline = deadline
        self._stopwatch = Stopwatch()

    async def run(self, deployment_id: str, inputs: Mapping[str, Any]) -> RunResult:
        self._host.text("reading the deployment")
        deployment = await self._client.deployments.get(deployment_id)
        values = _checked(deployment, inputs)
        self._host.text("uploading")
        values = await self._uploaded(deployment, values)
        outputs = Outputs(self._client, self._stopwatch)
        try:
            run = await self._execute(deployment, values, outputs)
            self._host.text("downloading the outputs")
            parts = await outputs.parts(run, _in_order(run, deployment))
        finally:
            await outputs.close()
        self._show(1.0, f"run {run.id}: {run.status.value}")
        return RunResult(run, parts, self._stopwatch)

    async def _execute(self, deployment: Deployment, values: Mapping[str, Any], outputs: Outputs) -> Run:
        progress = RunProgress(len(_node_ids(deployment)), show=self._show, clock=time.perf_counter)
        previews = Previews(self._host.preview)

        def on_event(event: RunEvent) -> None:
            outputs.on_event(event)
            progress.on_event(event)
            previews.on_event(event)

        try:
            return await self._client.runs.execute(
                deployment,
                values,
                on_event=on_event,
                deadline=self._deadline,
                prompt_id=self._host.prompt_id,
                preview_images=True,
            )
        except (Unprocessable, RunFailed):
            # The reason may be a file that the platform has lost: the next run sends its files anew.
            for value in values.values():
                self._client.files.forget(str(value))
            raise
        finally:
            await previews.close()
            self._stopwatch.seconds.update(progress.seconds)

    def _show(self, share: float, text: str) -> None:
        self._host.progress(share)
        self._host.text(text)

    async def _uploaded(self, deployment: Deployment, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """The inputs with the URLs of what was uploaded in place of tensors. All are looked at before one is sent."""
        batches = {
            each.input_id for each in declared_inputs(deployment) or () if kind_of(each) is InputKind.IMAGE_BATCH
        }
        tensors = {name: value for name, value in inputs.items() if media.is_tensor(value)}
        pixels = [await self._pixels(name, value, is_batch=name in batches) for name, value in tensors.items()]
        urls = await gather_or_cancel([_upload(self._client, each, self._stopwatch) for each in pixels])
        # A batch travels as text: ComfyUI takes a list for a link to another node.
        values = {
            name: json.dumps(each) if name in batches else each[0] for name, each in zip(tensors, urls, strict=True)
        }
        return {**inputs, **values}

    async def _pixels(self, input_id: str, value: Any, *, is_batch: bool) -> list[media.Pixels]:
        try:
            images = media.images_or_masks(value)
            if not is_batch and len(images) != 1:
                raise InvalidInput(f"it takes one image, and a batch of {len(images)} is connected to it")
            return await _to_pixels(images, self._stopwatch)
        except InvalidInput as error:
            raise type(error)(f"The input {input_id!r} cannot be sent: {error}", input_id=input_id) from error


def _checked(deployment: Deployment, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """The values brought to the types that the deployment declares, before anything is uploaded."""
    declared = declared_inputs(deployment)
    if declared is None:
        return dict(inputs)
    kinds = {each.input_id: kind_of(each) for each in declared}
    tensors = {name: value for name, value in inputs.items() if media.is_tensor(value)}
    for name in tensors:
        if name in kinds and kinds[name] not in _TAKE_IMAGES:
            raise InvalidInput(f"The input {name!r} ({kinds[name].value}) takes no image", input_id=name)
    stand_ins = {
        name: [_STANDS_FOR_A_TENSOR] if kinds.get(name) is InputKind.IMAGE_BATCH else _STANDS_FOR_A_TENSOR
        for name in tensors
    }
    return {**check_inputs(declared, {**inputs, **stand_ins}), **tensors}


_TAKE_IMAGES = (InputKind.IMAGE, InputKind.IMAGE_BATCH, InputKind.FILE)


def _node_ids(deployment: Deployment) -> list[str]:
    return list((deployment.version and deployment.version.workflow_api) or ())


def _in_order(run: Run, deployment: Deployment) -> list[RunOutput]:
    """The outputs in the order of the deployment's nodes; a platform tells them in the order in which they came."""
    places = {node_id: place for place, node_id in enumerate(_node_ids(deployment))}
    return sorted(run.outputs, key=lambda output: places.get(output.node_id or "", len(places)))
