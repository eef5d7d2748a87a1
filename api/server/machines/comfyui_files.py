"""The files of a run on their way to a ComfyUI, and back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import mimetypes
from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, suppress
from itertools import chain
from pathlib import PurePosixPath
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from ...errors import OutpostError, quote
from ...inputs import PREFIX
from ...models import Failure
from ...shapes import is_array
from ..aside import aside
from ..graph import LOADERS, class_of, classes_of, draft_graph, fields_of
from . import Job, MachineError, MachineLost, OutputBytes
from .comfyui_messages import Narrator, NodeOutput, RemoteFile
from .comfyui_wire import UPLOAD_FOLDER, Unreachable, Wire

UPLOADS_AT_ONCE = 4
TRIES = 3
"""How often an output is fetched when the connection breaks in the middle of it."""
RETRY_SECONDS = 0.2
LETTING_GO = 100
"""Rounds of the event loop that a request may take to end after it was cut off."""
MAX_FILES = 10_000
MAX_TEXT_BYTES = 16 * 1024 * 1024
"""Of one run, in all."""
NAME_CHARACTERS = 32
"""Of a file's SHA-256, in its name on the ComfyUI."""
_CHANGED = "A file of the run has changed while it was sent to the machine: start the run again"
_NO_BASE64 = "the data: URL is not valid base64"
_TYPES = {
    ".exr": "image/x-exr",
    ".flac": "audio/flac",
    ".glb": "model/gltf-binary",
    ".gltf": "model/gltf+json",
    ".mkv": "video/x-matroska",
    ".obj": "model/obj",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".stl": "model/stl",
    ".wav": "audio/wav",
    ".webp": "image/webp",
}
"""Content types that computers do not know, or call by different names."""
T = TypeVar("T")


class Uploads:
    """Brings files to one ComfyUI, each content once: they are named after their content there."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._at_work: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def upload(self, urls: Sequence[str], job: Job) -> dict[str, str]:
        """The name on the ComfyUI of the file behind each URL."""
        names = await _all(self._upload(url, job) for url in urls)
        return dict(zip(urls, names, strict=True))

    async def _upload(self, url: str, job: Job) -> str:
        async with self._slots:
            digest, size = await _measure(url, job)
            lock = self._at_work.setdefault(digest, asyncio.Lock())
            try:
                async with lock:
                    return await self._upload_once(url, job, digest=digest, size=size)
            finally:
                if not lock.locked():
                    self._at_work.pop(digest, None)

    async def _upload_once(self, url: str, job: Job, *, digest: str, size: int) -> str:
        filename = f"{digest}{_suffix(url)}"
        there = await self._wire.uploaded_size(filename)
        if there == size:
            return f"{UPLOAD_FOLDER}/{filename}"
        again = _SecondReading(url, job, digest=digest)
        chunks = again.chunks()
        try:
            # One of another size was cut by a full disk. Else nothing is written over: a run may be reading it.
            return await self._wire.upload(filename, chunks, overwrite=there is not None)
        except MachineError:
            if again.failure:
                raise again.failure from None
            raise
        finally:
            await _close(chunks)


async def check_files(job: Job) -> None:
    """Read the beginning of every file that is certain to be sent, or raise MachineError.

    For a ComfyUI that is not there yet: it need not be started for a run that cannot be executed.
    """
    urls = await aside(lambda: _files_to_send(job), job.workflow_api, job.inputs)
    slots = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def check(url: str) -> None:
        async with slots, aclosing(_read(url, job)) as chunks:
            await anext(chunks, None)

    await _all(check(url) for url in urls)


def _files_to_send(job: Job) -> list[str]:
    """The files that any ComfyUI is sent. One that has an External node of another kind may fetch its file itself."""
    graph = job.workflow_api
    may_be_there = {name: dict[str, Any]() for name in classes_of(graph) - LOADERS.keys() if name.startswith(PREFIX)}
    try:
        return draft_graph(graph, job.inputs, may_be_there).files
    except MachineError:
        return []  # the ComfyUI may know a way


async def _all(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of work that is done at once. When one fails, the others are stopped."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _SecondReading:
    """The bytes of a file on their way to the ComfyUI, where they get the name of what was read before.

    When they are others, the upload breaks off before its end, and the ComfyUI writes nothing. `failure` says so then,
    because whoever uploads sees no more than a request that has failed.
    """

    def __init__(self, url: str, job: Job, *, digest: str) -> None:
        self._url = url
        self._job = job
        self._digest = digest
        self.failure: MachineError | None = None

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        digest = hashlib.sha256()
        try:
            async with aclosing(_read(self._url, self._job)) as chunks:
                async for chunk in chunks:
                    digest.update(chunk)
                    yield chunk
            if digest.hexdigest()[:NAME_CHARACTERS] != self._digest:
                raise MachineError(Failure(message=_CHANGED))
        except MachineError as error:
            self.failure = error
            raise


async def _close(chunks: AsyncGenerator[bytes, None]) -> None:
    """Close what a request was reading, which may have been cut off and not have let go of it yet."""
    for _ in range(LETTING_GO):
        try:
            await chunks.aclose()
            return
        except RuntimeError:
            await asyncio.sleep(0)


async def _measure(url: str, job: Job) -> tuple[str, int]:
    """The name for the content behind a URL, and its bytes."""
    digest, size = hashlib.sha256(), 0
    async with aclosing(_read(url, job)) as chunks:
        async for chunk in chunks:
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest()[:NAME_CHARACTERS], size


async def _read(url: str, job: Job) -> AsyncGenerator[bytes, None]:
    """The bytes behind a URL. MachineError when they cannot be had."""
    try:
        if url.startswith("data:"):
            yield base64.b64decode(url.partition(",")[2], validate=True)
            return
        async with aclosing(job.read_file(url)) as chunks:
            async for chunk in chunks:
                yield chunk
    except (OutpostError, binascii.Error) as error:
        named, reason = _input_with(url, job), error if isinstance(error, OutpostError) else _NO_BASE64
        whose = quote(named) if named else "A file of the run cannot be read"
        raise MachineError(Failure(message=f"{whose}: {reason}")) from error


def _input_with(url: str, job: Job) -> str | None:
    """The id of the input that a URL comes from; None for one that is fixed in the graph."""
    given = (name for name, value in job.inputs.items() if _names(value, url))
    defaults = (
        fields_of(node).get("input_id")
        for node in job.workflow_api.values()
        if class_of(node).startswith(PREFIX) and any(_names(value, url) for value in fields_of(node).values())
    )
    found = next(chain(given, defaults), None)
    return found if isinstance(found, str) and found else None


def _names(value: Any, url: str) -> bool:
    """Whether a value is a URL, or a batch with it, which may be a text of JSON."""
    if isinstance(value, str) and value.startswith("["):
        with suppress(ValueError, RecursionError):
            value = json.loads(value)
    return url in value if is_array(value) else value == url


def _suffix(url: str) -> str:
    """What the name of a file ends with, by which some nodes tell its format."""
    if url.startswith("data:"):
        return mimetypes.guess_extension(url[5:].partition(";")[0]) or ""
    suffix = PurePosixPath(unquote(urlsplit(url).path)).suffix.lower()
    return suffix if suffix[1:].isalnum() and suffix.isascii() and len(suffix) <= 8 else ""


class OutputCollector:
    """Fetches what the nodes of one run put out, one after the other, while the run goes on."""

    def __init__(self, wire: Wire, job: Job, *, narrator: Narrator, output_ids: Mapping[str, str]) -> None:
        self._wire = wire
        self._job = job
        self._narrator = narrator
        self._output_ids = output_ids
        self._known: set[NodeOutput] = set()
        self._waiting: asyncio.Queue[NodeOutput | None] = asyncio.Queue()
        self._files = self._text_bytes = 0

    def add(self, output: NodeOutput) -> None:
        """Fetch this, unless it is known already. MachineError when it is more than a run may put out."""
        if output not in self._known and (output.files or output.texts):
            self._files += len(output.files)
            self._text_bytes += sum(len(text.encode(errors="replace")) for text in output.texts)
            if self._files > MAX_FILES:
                raise self._too_much(output, f"{MAX_FILES} files")
            if self._text_bytes > MAX_TEXT_BYTES:
                raise self._too_much(output, f"{MAX_TEXT_BYTES // 1024**2} MiB of texts")
            self._known.add(output)
            self._waiting.put_nowait(output)

    def finish(self) -> None:
        """Nothing more is added."""
        self._waiting.put_nowait(None)

    async def bring(self) -> None:
        """Bring everything to the job's outputs; returns after `finish`."""
        while output := await self._waiting.get():
            for remaining in reversed(range(TRIES)):
                try:
                    await self._bring(output)
                    break
                except Unreachable as error:
                    if not remaining:
                        raise self._lost(output, error) from error
                await asyncio.sleep(RETRY_SECONDS)

    async def _bring(self, output: NodeOutput) -> None:
        contents = [self._fetch(output, file) for file in output.files]
        files = [
            OutputBytes(file.kind, file.filename, content_type(file.filename), chunks, file.type)
            for file, chunks in zip(output.files, contents, strict=True)
        ]
        try:
            await self._job.outputs.add(
                output.node_id,
                self._narrator.node_class(output.node_id) or "",
                output_id=self._output_ids.get(output.node_id),
                files=files,
                texts=list(output.texts),
            )
        finally:
            for chunks in contents:
                await chunks.aclose()

    async def _fetch(self, output: NodeOutput, file: RemoteFile) -> AsyncGenerator[bytes, None]:
        try:
            async with aclosing(self._wire.view(file)) as chunks:
                async for chunk in chunks:
                    yield chunk
        except Unreachable:
            raise
        except MachineError as error:
            raise self._lost(output, error) from error

    def _too_much(self, output: NodeOutput, limit: str) -> MachineError:
        return MachineError(self._failure(output, f"A run may put out {limit}, and this one puts out more"))

    def _failure(self, output: NodeOutput, message: str) -> Failure:
        node_class = self._narrator.node_class(output.node_id)
        return Failure(message=message, node_id=output.node_id, node_class=node_class)

    def _lost(self, output: NodeOutput, error: MachineError) -> MachineError:
        failure = self._failure(output, f"An output cannot be read: {error.failure.message}")
        return MachineLost(failure, was_sent=True) if isinstance(error, MachineLost) else MachineError(failure)


def content_type(filename: str) -> str:
    """What a file is, by its name."""
    suffix = PurePosixPath(filename).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(filename)[0] or "application/octet-stream"
