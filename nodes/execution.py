"""The flow of one run inside a graph: tensors are uploaded, a deployment runs, its outputs come back as tensors.

Knows nothing of ComfyUI: whoever executes a node is a `Host`.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..api.errors import InvalidInput, RunFailed, TransferError, Unprocessable, UrlExpired
from ..api.inputs import InputKind, check_inputs, declared_inputs, kind_of
from ..api.models import Deployment, OutputFile, Run, RunOutput
from . import media
from .progress import RunProgress

if TYPE_CHECKING:
    from ..api.client import Client

T = TypeVar("T")

PARALLEL_IMAGES = 4
"""Images that are encoded, sent or fetched at the same time; bounds memory."""
INTERRUPT_SECONDS = 0.1
"""How often the host is asked whether its user wants to stop."""
MAX_DOWNLOAD_BYTES = 2 * 1024**3
_STANDS_FOR_A_TENSOR = "https://tensor.invalid/"


class Host(Protocol):
    """Whoever executes a node, and shows how it goes. Nothing here blocks."""

    def progress(self, share: float) -> None:
        """Show how much is done, 0 to 1. Never raises."""
        ...

    def text(self, text: str) -> None:
        """Show a line on the node. Never raises."""
        ...

    def check_interrupted(self) -> None:
        """Raise the host's own exception when its user wants to stop."""
        ...


@dataclass
class Stopwatch:
    """Where the time of a run went, in seconds by stage. Parallel work on several images adds up."""

    seconds: dict[str, float] = field(default_factory=dict[str, float])
    sent_bytes: int = 0

    @contextmanager
    def measure(self, stage: str) -> Generator[None, None, None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - start)

    def add(self, stage: str, seconds: float) -> None:
        self.seconds[stage] = self.seconds.get(stage, 0.0) + seconds


@dataclass(frozen=True)
class OutputPart:
    """One image, or one text, that a run has put out."""

    output_id: str | None
    node_id: str | None
    image: media.Decoded | None = None
    text: str | None = None

    def is_from(self, name: str) -> bool:
        """Whether this belongs to the output with that output_id or node id."""
        return name in (self.output_id, self.node_id)


@dataclass(frozen=True, repr=False)
class RunResult:
    """A run that has succeeded, with its outputs as tensors and texts, in the order of its nodes."""

    run: Run
    parts: tuple[OutputPart, ...]
    stopwatch: Stopwatch

    def __repr__(self) -> str:
        # ComfyUI writes the inputs of a node that fails into its history; the URLs of a run's outputs are secrets.
        return f"<run {self.run.id}: {len(self.images)} images, {len(self.texts)} texts>"

    def pick(self, name: str) -> RunResult:
        """Only the outputs with that output_id or node id. InvalidInput, with the list of those there are, if none."""
        parts = tuple(part for part in self.parts if part.is_from(name))
        if not parts:
            names = {part.output_id or part.node_id for part in self.parts}
            known = ", ".join(sorted(repr(each) for each in names if each)) or "none at all"
            raise InvalidInput(f"Run {self.run.id} has no output {name!r}. Its outputs are: {known}.")
        return RunResult(self.run, parts, self.stopwatch)

    @property
    def images(self) -> list[media.Decoded]:
        return [part.image for part in self.parts if part.image]

    @property
    def texts(self) -> list[str]:
        return [part.text for part in self.parts if part.text is not None]


async def upload_images(client: Client, images: Sequence[Any], *, stopwatch: Stopwatch) -> list[str]:
    """The URLs of images after their upload; each is [H, W, C] or a mask [H, W], float 0..1.

    Raises InvalidInput before anything is sent when one of them cannot be sent.
    """
    return await _upload(client, await _to_pixels(images, stopwatch), stopwatch)


async def _to_pixels(images: Sequence[Any], stopwatch: Stopwatch) -> list[media.Pixels]:
    """The pixels of all images: only then is it known that each of them can be sent."""
    limit = asyncio.Semaphore(PARALLEL_IMAGES)

    async def convert(image: Any) -> media.Pixels:
        async with limit:
            with stopwatch.measure("encode"):
                return await asyncio.to_thread(media.to_pixels, image)

    return await gather_or_cancel([convert(image) for image in images])


async def _upload(client: Client, pictures: Sequence[media.Pixels], stopwatch: Stopwatch) -> list[str]:
    """Their URLs. Pictures are encoded on threads while others are on their way, and the same pixels travel once."""
    limit = asyncio.Semaphore(PARALLEL_IMAGES)

    async def upload(pixels: media.Pixels) -> str:
        async with limit:
            return await _upload_one(client, pixels, stopwatch)

    return await gather_or_cancel([upload(pixels) for pixels in pictures])


async def _upload_one(client: Client, pixels: media.Pixels, stopwatch: Stopwatch) -> str:
    with stopwatch.measure("encode"):
        digest = await asyncio.to_thread(media.digest, pixels)
    encoding = 0.0

    async def encode() -> bytes:
        nonlocal encoding
        start = time.perf_counter()
        data = await asyncio.to_thread(media.encode_png, pixels)
        encoding = time.perf_counter() - start
        stopwatch.sent_bytes += len(data)
        return data

    start = time.perf_counter()
    stored = await client.files.upload_once(digest, encode, content_type="image/png", name="image.png")
    stopwatch.add("encode", encoding)
    stopwatch.add("upload", time.perf_counter() - start - encoding)
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
    return await interruptible(host, flow.run(deployment_id, inputs))


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
        run = await self._execute(deployment, values)
        self._host.text("downloading the outputs")
        parts = await self._parts(run, _in_order(run, deployment))
        self._show(1.0, f"run {run.id}: {run.status.value}")
        return RunResult(run, parts, self._stopwatch)

    async def _execute(self, deployment: Deployment, values: Mapping[str, Any]) -> Run:
        progress = RunProgress(len(_node_ids(deployment)), show=self._show, clock=time.perf_counter)
        try:
            return await self._client.runs.execute(
                deployment, values, on_event=progress.on_event, deadline=self._deadline
            )
        except (Unprocessable, RunFailed):
            # The reason may be a file that the platform has lost: the next run sends its files anew.
            for value in values.values():
                self._client.files.forget(str(value))
            raise
        finally:
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

    async def _parts(self, run: Run, outputs: Sequence[RunOutput]) -> tuple[OutputPart, ...]:
        limit = asyncio.Semaphore(PARALLEL_IMAGES)
        images = [
            self._image_part(run, output, index, limit)
            for output in outputs
            for index in range(len(_image_files(output)))
        ]
        texts = [OutputPart(output.output_id, output.node_id, text=text) for output in outputs for text in output.texts]
        return (*await gather_or_cancel(images), *texts)

    async def _image_part(self, run: Run, output: RunOutput, index: int, limit: asyncio.Semaphore) -> OutputPart:
        name = f"output {output.output_id or output.node_id!r} of run {run.id}"
        async with limit:
            with self._stopwatch.measure("download"):
                try:
                    data = await self._download(run, output, index)
                except TransferError as error:
                    raise type(error)(f"The {name} did not arrive: {error}") from error
            with self._stopwatch.measure("decode"):
                image = await asyncio.to_thread(media.decode, data, name=name)
        return OutputPart(output.output_id, output.node_id, image=image)

    async def _download(self, run: Run, output: RunOutput, index: int) -> bytes:
        url = _image_files(output)[index].url
        try:
            return await self._client.files.download(url, max_bytes=MAX_DOWNLOAD_BYTES)
        except UrlExpired:
            # Each reading of a run signs its URLs anew. Outputs have no fixed order, so this one is found by its id.
            fresh = next(
                (each for each in (await self._client.runs.get(run.id)).outputs if each.id == output.id), output
            )
            return await self._client.files.download(_image_files(fresh)[index].url, max_bytes=MAX_DOWNLOAD_BYTES)


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


def _image_files(output: RunOutput) -> list[OutputFile]:
    """The files of an output that are images: by the list they are in, else by their name."""
    return [
        item
        for kind, items in output.data.items()
        for item in items
        if isinstance(item, OutputFile) and (kind == "images" or item.filename.lower().endswith(_IMAGE_SUFFIXES))
    ]


_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


async def gather_or_cancel(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of all of them, side by side; when one fails the others are cancelled and have ended."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def interruptible(host: Host, coroutine: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine, which is cancelled, and has ended, when the host's user wants to stop."""
    task = asyncio.ensure_future(coroutine)
    try:
        host.check_interrupted()
        while not task.done():
            await asyncio.wait({task}, timeout=INTERRUPT_SECONDS)
            host.check_interrupted()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
