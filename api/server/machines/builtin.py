"""The built-in machine: a handful of image nodes, executed in the server's own process with NumPy and Pillow.

It exists so that everything can be tried and tested without a GPU and without ComfyUI. It is small on purpose and stays
so; graphs that do real work belong on a machine that runs ComfyUI.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from ...errors import OutpostError, quote
from ...events import ExecutionStarted, ExecutionSucceeded, LiveStatus, NodeProgress, NodeStarted
from ...inputs import PREFIX, InputKind, input_kind, is_link
from ...models import Failure, Graph, Lack, MachineLog
from ...shapes import is_array, is_object
from ..graph import class_of
from ..preflight import class_lacks
from . import Emit, Job, MachineError, MachineSettings, OutputBytes
from .fields import Fields
from .picture import MAX_PIXELS, Picture, Pixels
from .pixel_budget import PixelBudget

MAX_BATCH = 256
"""Most images in one batch."""
MAX_FILE_BYTES = 256 * 1024 * 1024
MAX_RUN_PIXELS = 4 * MAX_PIXELS
"""Pixels that one run may compute in all."""
PIXELS_AT_WORK = 2 * MAX_PIXELS
"""Pixels that runs may compute at a time: the largest image, and the largest one that becomes of it."""
SLEEP_STEP = 0.05
"""Seconds between two steps of progress of the sleep node."""


T = TypeVar("T")


class BuiltinMachine:
    """Executes API-format graphs made of the nodes in `NODES` and the External inputs.

    `budget` bounds what is computed at a time; machines in one process share it.
    """

    def __init__(self, budget: PixelBudget | None = None) -> None:
        self._budget = budget or PixelBudget(PIXELS_AT_WORK)

    async def run(self, job: Job, emit: Emit) -> None:
        await _Execution(job, emit, self._budget).run()

    async def health(self) -> None:
        """It can always take a run."""

    def adopt(self, settings: MachineSettings) -> None:
        """It has no settings of its own."""

    async def start(self) -> None:
        """It is there as long as the server is."""

    async def stop(self, *, force: bool) -> None:
        """It goes on."""

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        """Its node classes are checked and nothing else: they have no choices, and every input can be left out."""
        classes = {node_id: class_of(node) for node_id, node in graph.items()}
        missing = {node_id: name for node_id, name in classes.items() if not _is_known(name)}
        return class_lacks(missing, NODES)

    async def executes(self, prompt_id: str) -> bool:
        """It is no ComfyUI."""
        return False

    async def logs(self, limit_bytes: int) -> list[MachineLog]:
        """It has no process of its own."""
        return []

    async def close(self) -> None:
        """It holds nothing."""


class _Execution:
    def __init__(self, job: Job, emit: Emit, budget: PixelBudget) -> None:
        self.job = job
        self.emit = emit
        self._budget = budget
        self._results: dict[str, tuple[Any, ...]] = {}
        self._pixels = 0

    def spend(self, pixels: int) -> None:
        """Count pixels that are about to be computed; ValueError when they are more than one run may have."""
        self._pixels += pixels
        if self._pixels > MAX_RUN_PIXELS:
            raise ValueError(f"the run computes more than {MAX_RUN_PIXELS} pixels, the most on the built-in machine")

    async def compute(self, work: Callable[[], T], *, pixels: int) -> T:
        """The result of work on so many pixels, which waits for its turn."""
        async with self._budget.taken(pixels):
            return await _on_a_thread(work)

    async def run(self) -> None:
        order = _order(self.job.workflow_api)
        self.emit(ExecutionStarted(self.job.run_id))
        for index, node_id in enumerate(order):
            node_class = self.job.workflow_api[node_id]["class_type"]
            self.emit(NodeStarted(self.job.run_id, node_id))
            self.emit(LiveStatus(self.job.run_id, f"Executing {node_class}", index / len(order)))
            self._results[node_id] = await self._execute(node_id, node_class)
            await asyncio.sleep(0)  # a graph of many small nodes leaves room for others, and for its cancellation
        self.emit(NodeStarted(self.job.run_id, None))
        self.emit(ExecutionSucceeded(self.job.run_id))

    async def _execute(self, node_id: str, node_class: str) -> tuple[Any, ...]:
        fields = Fields(self._resolve(self.job.workflow_api[node_id].get("inputs") or {}))
        node = _external if node_class.startswith(PREFIX) else NODES[node_class]
        try:
            return await node(Call(self, node_id, node_class, fields))
        except (ValueError, TypeError, OverflowError, OutpostError) as error:
            input_id, kind = fields.get("input_id"), type(error).__name__
            is_named = node is _external and isinstance(input_id, str) and input_id
            message = f"{quote(input_id)}: {error}" if is_named else str(error)
            failure = Failure(message=message, node_id=node_id, node_class=node_class, exception_type=kind)
            raise MachineError(failure) from error

    def _resolve(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: self._linked(value) if is_link(value) else value for name, value in inputs.items()}

    def _linked(self, link: list[Any]) -> Any:
        results = self._results[link[0]]
        return results[link[1]] if 0 <= link[1] < len(results) else None


@dataclass(frozen=True)
class Call:
    """One execution of one node."""

    execution: _Execution
    node_id: str
    node_class: str
    fields: Fields


Node = Callable[[Call], Awaitable[tuple[Any, ...]]]


async def _load_image(call: Call) -> tuple[Any, ...]:
    return ((await _read_picture(call, call.fields.get("image")),),)


async def _external(call: Call) -> tuple[Any, ...]:
    fields, kind = call.fields, input_kind(call.node_class)
    value = call.execution.job.inputs.get(fields.get("input_id"))
    if kind not in (InputKind.IMAGE, InputKind.IMAGE_BATCH):
        return (fields.get("default_value") if value is None else value,)
    if value is None and isinstance(fields.get("default_value"), tuple):
        return (fields.get("default_value"),)
    urls = value or fields.get("default_value_url")
    if kind is InputKind.IMAGE:
        return ((await _read_picture(call, urls),),)
    return (tuple([await _read_picture(call, url) for url in _json_list(urls)]),)


def _json_list(text: Any) -> list[Any]:
    value: Any = json.loads(text) if isinstance(text, str) else text
    if not is_array(value) or not value:
        raise ValueError("a batch is a list of the URLs of images")
    return value


async def _read_picture(call: Call, url: Any) -> Picture:
    if not isinstance(url, str) or not url:
        raise ValueError("there is no image: give the URL of an uploaded file")
    data = _data_url(url) if url.startswith("data:") else await _read_bytes(call, url)
    return await _on_a_thread(partial(Picture.from_file, data))


async def _read_bytes(call: Call, url: str) -> bytes:
    data = bytearray()
    async with aclosing(call.execution.job.read_file(url)) as chunks:
        async for chunk in chunks:
            data += chunk
            if len(data) > MAX_FILE_BYTES:
                raise ValueError(f"the file has more than {MAX_FILE_BYTES} bytes, the most on the built-in machine")
    return bytes(data)


async def _on_a_thread(work: Callable[[], T]) -> T:
    """The result of work on a thread. A thread cannot be stopped, so a cancellation waits until it is done."""
    job = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(job)
    except asyncio.CancelledError:
        await asyncio.wait({job})
        raise


def _data_url(url: str) -> bytes:
    try:
        return base64.b64decode(url.partition(",")[2], validate=True)
    except binascii.Error as error:
        raise ValueError("the data: URL is not valid base64") from error


async def _empty_image(call: Call) -> tuple[Any, ...]:
    width, height = int(call.fields.number("width", 512)), int(call.fields.number("height", 512))
    count, colour = int(call.fields.number("batch_size", 1)), int(call.fields.number("color", 0))
    if min(width, height, count) < 1 or width * height > MAX_PIXELS or count > MAX_BATCH:
        limits = f"1 to {MAX_PIXELS} pixels and 1 to {MAX_BATCH} images"
        raise ValueError(f"{count} images of {width} x {height} pixels are outside of {limits}")
    call.execution.spend(width * height)
    fill = (colour >> 16 & 255, colour >> 8 & 255, colour & 255)
    fill_image = partial(np.full, (height, width, 3), fill, np.uint8)
    pixels = await call.execution.compute(fill_image, pixels=width * height)
    return ((Picture.from_pixels(pixels),) * count,)


def _same_size(picture: Picture, fields: Fields) -> int:
    return picture.size


def _each(compute: Callable[[Pixels, Fields], Pixels], *, size: Callable[[Picture, Fields], int] = _same_size) -> Node:
    """A node that computes every image of its input `image` by itself; `size` is how many pixels it has then."""

    async def node(call: Call) -> tuple[Any, ...]:
        def work(picture: Picture) -> Picture:
            computed = Picture.from_pixels(compute(picture.pixels(), call.fields))
            call.execution.spend(computed.size)
            return computed

        async def one(picture: Picture) -> Picture:
            pixels = picture.size + size(picture, call.fields)
            return await call.execution.compute(partial(work, picture), pixels=pixels)

        return (tuple([await one(each) for each in call.fields.images("image")]),)

    return node


def _invert(pixels: Pixels, fields: Fields) -> Pixels:
    colour = 255 - pixels[..., :3]
    return np.concatenate([colour, pixels[..., 3:]], axis=-1)


_RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def _wanted_size(fields: Fields) -> tuple[int, int]:
    """Width and height; 0 means: whatever keeps the proportions."""
    return int(fields.number("width")), int(fields.number("height"))


def _scaled_size(picture: Picture, fields: Fields) -> int:
    """The most that it may be: which side of a file is up, and so its proportions, is known when it has been read."""
    width, height = _wanted_size(fields)
    return width * height if 0 < width * height < MAX_PIXELS else MAX_PIXELS


def _scale(pixels: Pixels, fields: Fields) -> Pixels:
    width, height = _wanted_size(fields)
    method = fields.get("upscale_method") or "bilinear"
    if method not in _RESAMPLING:
        raise ValueError(f"the upscale_method is one of {', '.join(_RESAMPLING)}, not {quote(repr(method))}")
    image = Image.fromarray(pixels)
    size = (
        width or max(1, round(image.width * height / image.height)),
        height or max(1, round(image.height * width / image.width)),
    )
    if min(width, height) < 0 or not (width or height) or size[0] * size[1] > MAX_PIXELS:
        raise ValueError(f"{size[0]} x {size[1]} pixels are outside of 1 to {MAX_PIXELS} pixels")
    if fields.get("crop") == "center":
        return np.asarray(ImageOps.fit(image, size, _RESAMPLING[method]))
    if size[0] > image.width and size[1] < image.height:
        # Older releases of Pillow begin with the width, and have an image in between that is far larger than both.
        image = image.resize((image.width, size[1]), _RESAMPLING[method])
    return np.asarray(image.resize(size, _RESAMPLING[method]))


def _blur(pixels: Pixels, fields: Fields) -> Pixels:
    radius = fields.number("blur_radius", 1)
    if not 0 <= radius <= 100:
        raise ValueError(f"the blur_radius goes from 0 to 100, not {radius}")
    return np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(radius)))


async def _sleep(call: Call) -> tuple[Any, ...]:
    seconds = call.fields.number("seconds", 1)
    steps = max(1, round(seconds / SLEEP_STEP))
    for step in range(steps):
        await asyncio.sleep(seconds / steps)
        progress = NodeProgress(call.execution.job.run_id, call.node_id, step + 1, steps)
        call.execution.emit(progress)
    return (call.fields.get("image"),)


async def _save_image(call: Call) -> tuple[Any, ...]:
    await _put_out_images(call, prefix=str(call.fields.get("filename_prefix") or "ComfyUI"))
    return ()


async def _preview_image(call: Call) -> tuple[Any, ...]:
    if call.execution.job.temporary_files:
        await _put_out_images(call, prefix="ComfyUI_temp", type="temp")
    else:
        call.fields.images("images")  # a preview is for the screen: it is looked at and not an output
    return ()


async def _put_out_images(call: Call, *, prefix: str, type: str = "output") -> None:
    batch = enumerate(call.fields.images("images"), start=1)
    await _put_out(call, files=[_png_file(call, each, f"{prefix}_{number:05}_.png", type) for number, each in batch])


def _png_file(call: Call, picture: Picture, filename: str, type: str) -> OutputBytes:
    async def chunks() -> AsyncIterator[bytes]:
        yield await call.execution.compute(picture.to_png, pixels=picture.size)

    return OutputBytes("images", filename, "image/png", chunks(), type)


async def _preview_any(call: Call) -> tuple[Any, ...]:
    await _put_out(call, texts=[str(call.fields.get("source"))])
    return ()


async def _put_out(call: Call, *, files: list[OutputBytes] | None = None, texts: list[str] | None = None) -> None:
    output_id = call.fields.get("output_id")
    await call.execution.job.outputs.add(
        call.node_id,
        call.node_class,
        output_id=output_id if isinstance(output_id, str) and output_id else None,
        files=files or [],
        texts=texts or [],
    )


NODES: dict[str, Node] = {
    "LoadImage": _load_image,
    "EmptyImage": _empty_image,
    "ImageInvert": _each(_invert),
    "ImageScale": _each(_scale, size=_scaled_size),
    "ImageBlur": _each(_blur),
    "OutpostSleep": _sleep,
    "SaveImage": _save_image,
    "ComfyDeployOutputImage": _save_image,
    "PreviewImage": _preview_image,
    "PreviewAny": _preview_any,
}


def _order(graph: Mapping[str, Any]) -> list[str]:
    """Every node after the ones that it takes something from. MachineError for a graph that cannot be executed."""
    try:
        return list(TopologicalSorter({node_id: _sources(graph, node_id) for node_id in graph}).static_order())
    except CycleError as error:
        node_id = error.args[1][0]
        node_class = graph[node_id]["class_type"]
        failure = Failure(message="The graph goes round in a circle", node_id=node_id, node_class=node_class)
        raise MachineError(failure) from error


def _is_known(node_class: str) -> bool:
    return node_class in NODES or node_class.startswith(PREFIX)


def _sources(graph: Mapping[str, Any], node_id: str) -> list[str]:
    """The nodes that a node is connected to."""
    node: Any = graph[node_id]
    node_class = node.get("class_type") if is_object(node) else None
    if not isinstance(node_class, str) or not _is_known(node_class):
        message = f"The built-in machine has no such node. It is for trying out and knows: {', '.join(NODES)}."
        raise MachineError(Failure(message=message, node_id=node_id, node_class=str(node_class)))
    fields: Any = node.get("inputs") or {}
    if not is_object(fields):
        message = "Its inputs are not a JSON object"
        raise MachineError(Failure(message=message, node_id=node_id, node_class=node_class))
    sources = [value[0] for value in fields.values() if is_link(value)]
    for source in sources:
        if source not in graph:
            message = f"It is connected to the node {source}, which is not in the graph"
            raise MachineError(Failure(message=message, node_id=node_id, node_class=node_class))
    return sources
