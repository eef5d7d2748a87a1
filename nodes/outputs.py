"""The outputs of a run as tensors: what they are, and how they get here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..api.errors import InvalidInput, TransferError, UnsupportedMedia, UrlExpired
from ..api.events import OutputReady, RunEvent
from ..api.models import OutputFile, Run, RunOutput
from . import media
from .stopwatch import Stopwatch
from .waiting import gather_or_cancel

if TYPE_CHECKING:
    from ..api.client import Client

PARALLEL_IMAGES = 4
"""Images that are fetched at the same time; bounds memory."""
MAX_DOWNLOAD_BYTES = 2 * 1024**3
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif")


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


class Outputs:
    """Fetches the images of one run, each as soon as the platform has told of it, while the run goes on."""

    def __init__(self, client: Client, stopwatch: Stopwatch) -> None:
        self._client = client
        self._stopwatch = stopwatch
        self._limit = asyncio.Semaphore(PARALLEL_IMAGES)
        self._early: dict[str, asyncio.Task[media.Decoded]] = {}

    def on_event(self, event: RunEvent) -> None:
        """Begin to fetch what an event tells of."""
        if not isinstance(event, OutputReady):
            return
        try:
            output = RunOutput.model_validate({"data": event.output})
        except ValueError:
            return  # a custom node's own message; the record of the run counts
        for file in _image_files(output):
            key = _without_signature(file.url)
            if key not in self._early:
                self._early[key] = asyncio.ensure_future(self._fetch(file.url, name="An output"))

    async def parts(self, run: Run, outputs: Sequence[RunOutput]) -> tuple[OutputPart, ...]:
        """Every image and every text of a run that has succeeded, in the order of `outputs`."""
        images = [self._image(run, output, index) for output in outputs for index in range(len(_image_files(output)))]
        texts = [OutputPart(output.output_id, output.node_id, text=text) for output in outputs for text in output.texts]
        return (*await gather_or_cancel(images), *texts)

    async def close(self) -> None:
        """Stop fetching what nobody has asked for."""
        for task in self._early.values():
            task.cancel()
        await asyncio.gather(*self._early.values(), return_exceptions=True)

    async def _image(self, run: Run, output: RunOutput, index: int) -> OutputPart:
        image = await self._fetched_early(_image_files(output)[index].url)
        if image is None:
            image = await self._fetch_now(run, output, index)
        return OutputPart(output.output_id, output.node_id, image=image)

    async def _fetched_early(self, url: str) -> media.Decoded | None:
        """The image if it has been fetched, or is on its way; None when that was not begun or did not work."""
        task = self._early.get(_without_signature(url))
        if task is None:
            return None
        try:
            return await asyncio.shield(task)
        except (TransferError, UnsupportedMedia):
            return None  # the second time it works, or says what is wrong with which output

    async def _fetch_now(self, run: Run, output: RunOutput, index: int) -> media.Decoded:
        name = f"output {output.output_id or output.node_id!r} of run {run.id}"
        try:
            try:
                return await self._fetch(_image_files(output)[index].url, name=name)
            except UrlExpired:
                fresh = await self._signed_anew(run, output)
                return await self._fetch(_image_files(fresh)[index].url, name=name)
        except TransferError as error:
            raise type(error)(f"The {name} did not arrive: {error}") from error

    async def _signed_anew(self, run: Run, output: RunOutput) -> RunOutput:
        """Each reading of a run signs its URLs anew. Outputs have no fixed order, so this one is found by its id."""
        outputs = (await self._client.runs.get(run.id)).outputs
        return next((each for each in outputs if each.id == output.id), output)

    async def _fetch(self, url: str, *, name: str) -> media.Decoded:
        async with self._limit:
            with self._stopwatch.measure("download"):
                data = await self._client.files.download(url, max_bytes=MAX_DOWNLOAD_BYTES)
            with self._stopwatch.measure("decode"):
                return await asyncio.to_thread(media.decode, data, name=name)


def _without_signature(url: str) -> str:
    """What stays the same when a URL is signed anew."""
    return url.partition("?")[0]


def _image_files(output: RunOutput) -> list[OutputFile]:
    """The files of an output that are images: by the list they are in, else by their name."""
    return [
        item
        for kind, items in output.data.items()
        for item in items
        if isinstance(item, OutputFile) and (kind == "images" or item.filename.lower().endswith(_IMAGE_SUFFIXES))
    ]
