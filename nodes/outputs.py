"""The outputs of a run: what they are, and how they get here."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ..api.errors import TransferError, UnsupportedMedia, UrlExpired
from ..api.events import OutputReady, RunEvent
from ..api.models import OutputFile, Run, RunOutput
from ..api.outputs import OutputKind, kind_of_class, kind_of_output
from . import media
from .local_files import safe_name
from .results import LocalFile, OutputPart
from .stopwatch import Stopwatch
from .waiting import PARALLEL_FILES, gather_or_cancel

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..api.client import Client

MAX_DOWNLOAD_BYTES = 2 * 1024**3
MAX_TEXT_BYTES = 16 * 1024**2
"""Most bytes of a file that is read as a text."""

T = TypeVar("T")


@dataclass(frozen=True)
class _Item:
    """One file of an output. Its URL is looked up when it is needed: each reading of a run signs it anew."""

    output: RunOutput
    index: int
    kind: OutputKind

    @property
    def file(self) -> OutputFile:
        return self.output.files[self.index]

    @property
    def is_declared_as_file(self) -> bool:
        """Whether its node is of a class that is not known, so that nobody could tell before what it would put out."""
        return self.output.output_id is not None and kind_of_class(_class_of(self.output)) is None

    def part(self, value: media.Decoded | str | LocalFile, *, file: LocalFile | None = None) -> OutputPart:
        return OutputPart(self.output.output_id, self.output.node_id, self.kind, value, file)


class Outputs:
    """Fetches the outputs of one run, each as soon as the platform has told of it, while the run goes on.

    Images come into memory, texts too, and everything else into a new folder in `folder`, or where the system keeps
    temporary files.
    """

    def __init__(self, client: Client, stopwatch: Stopwatch, *, folder: Path | None = None) -> None:
        self._client = client
        self._stopwatch = stopwatch
        self._home = folder
        self._folder: Path | None = None
        self._numbers = count(1)
        self._limit = asyncio.Semaphore(PARALLEL_FILES)
        self._early: dict[str, asyncio.Task[media.Decoded | LocalFile]] = {}
        self._is_complete = False

    def on_event(self, event: RunEvent) -> None:
        """Begin to fetch what an event tells of."""
        if not isinstance(event, OutputReady):
            return
        try:
            output = RunOutput.model_validate({"data": event.output})
        except ValueError:
            return  # a custom node's own message; the record of the run counts
        for item in _items(output):
            key = _without_signature(item.file.url)
            if item.kind is not OutputKind.TEXT and key not in self._early:
                self._early[key] = asyncio.ensure_future(self._fetcher(item)(item.file.url, "An output"))

    async def parts(self, run: Run, outputs: Sequence[RunOutput]) -> tuple[OutputPart, ...]:
        """Everything that a run which has succeeded has put out, in the order of `outputs`."""
        items = [item for output in outputs for item in _items(output)]
        files = iter(await gather_or_cancel([self._part(run, item) for item in items]))
        self._is_complete = True
        parts: list[OutputPart] = []
        for output in outputs:
            parts += [next(files) for _ in output.files]
            parts += [OutputPart(output.output_id, output.node_id, OutputKind.TEXT, text) for text in output.texts]
        return tuple(parts)

    async def close(self) -> None:
        """Stop fetching what nobody has asked for, and delete the files of a run that has not been fetched whole."""
        for task in self._early.values():
            task.cancel()
        await asyncio.gather(*self._early.values(), return_exceptions=True)
        if self._folder and not self._is_complete:
            await asyncio.to_thread(shutil.rmtree, self._folder, ignore_errors=True)

    async def _part(self, run: Run, item: _Item) -> OutputPart:
        if item.kind is OutputKind.TEXT:
            return item.part(await self._fetch(run, item, self._fetch_text))
        value = await self._fetched_early(item)
        if value is None:
            value = await self._fetch(run, item, self._fetcher(item))
        needs_file = item.is_declared_as_file and item.kind is OutputKind.IMAGE
        return item.part(value, file=await self._fetch(run, item, self._saver(item)) if needs_file else None)

    def _fetcher(self, item: _Item) -> Callable[[str, str], Awaitable[media.Decoded | LocalFile]]:
        return self._fetch_image if item.kind is OutputKind.IMAGE else self._saver(item)

    async def _fetched_early(self, item: _Item) -> media.Decoded | LocalFile | None:
        """What has been fetched, or is on its way; None when that was not begun, did not work or was taken for another.

        What an event tells does not always say of which kind a file is.
        """
        task = self._early.get(_without_signature(item.file.url))
        if task is None:
            return None
        try:
            value = await asyncio.shield(task)
        except (TransferError, UnsupportedMedia):
            return None  # the second time it works, or says what is wrong with which output
        return value if isinstance(value, LocalFile) == (item.kind is not OutputKind.IMAGE) else None

    async def _fetch(self, run: Run, item: _Item, fetch: Callable[[str, str], Awaitable[T]]) -> T:
        """What `fetch(url, name)` gives for an item, whose URL is signed anew where it has expired."""
        name = f"output {item.output.output_id or item.output.node_id!r} of run {run.id}"
        try:
            try:
                return await fetch(item.file.url, name)
            except UrlExpired:
                fresh = await self._signed_anew(run, item)
                return await fetch(fresh.url, name)
        except TransferError as error:
            raise type(error)(f"The {name} did not arrive: {error}") from error

    async def _signed_anew(self, run: Run, item: _Item) -> OutputFile:
        """Each reading of a run signs its URLs anew. Outputs have no fixed order, so this one is found by its id."""
        outputs = (await self._client.runs.get(run.id)).outputs
        output = next((each for each in outputs if each.id == item.output.id), item.output)
        return output.files[item.index] if item.index < len(output.files) else item.file

    async def _fetch_image(self, url: str, name: str) -> media.Decoded:
        data = await self._download(url, MAX_DOWNLOAD_BYTES)
        with self._stopwatch.measure("decode"):
            return await asyncio.to_thread(media.decode, data, name=name)

    async def _fetch_text(self, url: str, name: str) -> str:
        data = await self._download(url, MAX_TEXT_BYTES)
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UnsupportedMedia(f"The {name} should be a text, but it is not in UTF-8.") from error

    async def _download(self, url: str, max_bytes: int) -> bytes:
        async with self._limit:
            with self._stopwatch.measure("download"):
                return await self._client.files.download(url, max_bytes=max_bytes)

    def _saver(self, item: _Item) -> Callable[[str, str], Awaitable[LocalFile]]:
        async def save(url: str, name: str) -> LocalFile:
            folder = self._new_folder()
            path = folder / f"{next(self._numbers)}-{safe_name(item.file.filename)}"
            async with self._limit:
                with self._stopwatch.measure("download"):
                    await self._client.files.download_to(url, path, max_bytes=MAX_DOWNLOAD_BYTES)
            return LocalFile(path, item.file.filename)

        return save

    def _new_folder(self) -> Path:
        if self._folder is None:
            if self._home:
                self._home.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(prefix="run-", dir=self._home))
        return self._folder


def _items(output: RunOutput) -> list[_Item]:
    """The files of an output, each with its kind, in the order of `output.files`."""
    names = [
        (name, item.filename) for name, items in output.data.items() for item in items if isinstance(item, OutputFile)
    ]
    kinds = [kind_of_output(filename, in_list=name, class_type=_class_of(output)) for name, filename in names]
    has_texts = bool(output.texts)
    return [
        # Where the text itself has come too, its file is one more file.
        _Item(output, index, OutputKind.FILE if has_texts and kind is OutputKind.TEXT else kind)
        for index, kind in enumerate(kinds)
    ]


def _class_of(output: RunOutput) -> str:
    return (output.node_meta and output.node_meta.node_class) or ""


def _without_signature(url: str) -> str:
    """What stays the same when a URL is signed anew."""
    return url.partition("?")[0]
