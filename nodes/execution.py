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

from ..api.errors import InvalidInput, UrlExpired
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


@dataclass(frozen=True)
class RunResult:
    """A run that has succeeded, with its outputs as tensors and texts, in the order of its nodes."""

    run: Run
    parts: tuple[OutputPart, ...]
    stopwatch: Stopwatch

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

    Images are encoded on threads while others are on their way, and the same pixels travel once.
    """
    limit = asyncio.Semaphore(PARALLEL_IMAGES)

    async def upload(image: Any) -> str:
        async with limit:
            return await _upload_image(client, image, stopwatch)

    return list(await gather_or_cancel([upload(image) for image in images]))


async def _upload_image(client: Client, image: Any, stopwatch: Stopwatch) -> str:
    with stopwatch.measure("encode"):
        pixels = await asyncio.to_thread(media.to_pixels, image)
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
        progress = RunProgress(_node_count(deployment), show=self._show, clock=time.perf_counter)
        run = await self._client.runs.execute(deployment, values, on_event=progress.on_event, deadline=self._deadline)
        self._stopwatch.seconds.update(progress.seconds)
        self._host.text("downloading the outputs")
        parts = await self._parts(run)
        self._show(1.0, f"run {run.id}: {run.status.value}")
        return RunResult(run, parts, self._stopwatch)

    def _show(self, share: float, text: str) -> None:
        self._host.progress(share)
        self._host.text(text)

    async def _uploaded(self, deployment: Deployment, inputs: Mapping[str, Any]) -> dict[str, Any]:
        kinds = {each.input_id: kind_of(each) for each in declared_inputs(deployment) or ()}
        names = list(inputs)
        values = [self._value(inputs[name], name, kinds.get(name)) for name in names]
        return dict(zip(names, await gather_or_cancel(values), strict=True))

    async def _value(self, value: Any, input_id: str, kind: InputKind | None) -> Any:
        if not media.is_tensor(value):
            return value
        images = media.images_or_masks(value)
        if kind is not InputKind.IMAGE_BATCH and len(images) != 1:
            raise InvalidInput(
                f"The input {input_id!r} takes one image, and a batch of {len(images)} is connected to it",
                input_id=input_id,
            )
        urls = await upload_images(self._client, images, stopwatch=self._stopwatch)
        # A batch travels as text: ComfyUI takes a list for a link to another node.
        return json.dumps(urls) if kind is InputKind.IMAGE_BATCH else urls[0]

    async def _parts(self, run: Run) -> tuple[OutputPart, ...]:
        limit = asyncio.Semaphore(PARALLEL_IMAGES)
        images = [
            self._image_part(run, output, index, limit)
            for output in run.outputs
            for index in range(len(_image_files(output)))
        ]
        texts = [
            OutputPart(output.output_id, output.node_id, text=text) for output in run.outputs for text in output.texts
        ]
        return (*await gather_or_cancel(images), *texts)

    async def _image_part(self, run: Run, output: RunOutput, index: int, limit: asyncio.Semaphore) -> OutputPart:
        name = f"output {output.output_id or output.node_id!r} of run {run.id}"
        async with limit:
            with self._stopwatch.measure("download"):
                data = await self._download(run, output, index)
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
    plain = {name: _STANDS_FOR_A_TENSOR if media.is_tensor(value) else value for name, value in inputs.items()}
    kinds = {each.input_id: kind_of(each) for each in declared}
    for name, value in inputs.items():
        if media.is_tensor(value) and kinds.get(name) is InputKind.IMAGE_BATCH:
            plain[name] = [_STANDS_FOR_A_TENSOR]
    checked = check_inputs(declared, plain)
    for name, value in inputs.items():
        if media.is_tensor(value) and kinds[name] not in _TAKE_IMAGES:
            raise InvalidInput(f"The input {name!r} takes {kinds[name].value}, not an image", input_id=name)
    return {name: inputs[name] if media.is_tensor(inputs[name]) else value for name, value in checked.items()}


_TAKE_IMAGES = (InputKind.IMAGE, InputKind.IMAGE_BATCH, InputKind.FILE)


def _node_count(deployment: Deployment) -> int:
    return len((deployment.version and deployment.version.workflow_api) or ())


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
        while not task.done():
            await asyncio.wait({task}, timeout=INTERRUPT_SECONDS)
            host.check_interrupted()
        return task.result()
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
