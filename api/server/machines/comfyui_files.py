"""The files of a run on their way to a ComfyUI, and back."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import mimetypes
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from ...errors import OutpostError
from ...models import Failure
from . import Job, MachineError, OutputBytes
from .comfyui_messages import Narrator, NodeOutput, RemoteFile
from .comfyui_wire import UPLOAD_FOLDER, Unreachable, Wire

UPLOADS_AT_ONCE = 4
TRIES = 3
"""How often an output is fetched when the connection breaks in the middle of it."""
RETRY_SECONDS = 0.2
NAME_CHARACTERS = 32
"""Of a file's SHA-256, in its name on the ComfyUI."""
_CHANGED = "A file of the run has changed while it was sent to the machine: start the run again"
_TYPES = {".glb": "model/gltf-binary", ".gltf": "model/gltf+json", ".webp": "image/webp", ".flac": "audio/flac"}
"""Content types that not every computer knows."""


class Uploads:
    """Brings files to one ComfyUI, each content once: they are named after their content there."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._at_work: dict[str, asyncio.Lock] = {}
        self._slots = asyncio.Semaphore(UPLOADS_AT_ONCE)

    async def upload(self, urls: Sequence[str], job: Job) -> dict[str, str]:
        """The name on the ComfyUI of the file behind each URL."""
        tasks = [asyncio.ensure_future(self._upload(url, job)) for url in urls]
        try:
            names = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
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
        try:
            # One of another size was cut by a full disk. Else nothing is written over: a run may be reading it.
            return await self._wire.upload(filename, again.chunks(), overwrite=there is not None)
        except MachineError:
            if again.failure:
                raise again.failure from None
            raise


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

    async def chunks(self) -> AsyncIterator[bytes]:
        digest = hashlib.sha256()
        try:
            async for chunk in _read(self._url, self._job):
                digest.update(chunk)
                yield chunk
            if digest.hexdigest()[:NAME_CHARACTERS] != self._digest:
                raise MachineError(Failure(message=_CHANGED))
        except MachineError as error:
            self.failure = error
            raise


async def _measure(url: str, job: Job) -> tuple[str, int]:
    """The name for the content behind a URL, and its bytes."""
    digest, size = hashlib.sha256(), 0
    async for chunk in _read(url, job):
        digest.update(chunk)
        size += len(chunk)
    return digest.hexdigest()[:NAME_CHARACTERS], size


async def _read(url: str, job: Job) -> AsyncIterator[bytes]:
    """The bytes behind a URL. MachineError when they cannot be had."""
    try:
        if url.startswith("data:"):
            yield base64.b64decode(url.partition(",")[2], validate=True)
            return
        async for chunk in job.read_file(url):
            yield chunk
    except (OutpostError, binascii.Error) as error:
        raise MachineError(Failure(message=f"A file of the run cannot be read: {error}")) from error


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

    def add(self, output: NodeOutput) -> None:
        """Fetch this, unless it is known already."""
        if output not in self._known and (output.files or output.texts):
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
            OutputBytes(file.kind, file.filename, content_type(file.filename), chunks)
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

    def _lost(self, output: NodeOutput, error: MachineError) -> MachineError:
        message = f"An output cannot be read: {error.failure.message}"
        node_class = self._narrator.node_class(output.node_id)
        return MachineError(Failure(message=message, node_id=output.node_id, node_class=node_class))


def content_type(filename: str) -> str:
    """What a file is, by its name."""
    suffix = PurePosixPath(filename).suffix.lower()
    return _TYPES.get(suffix) or mimetypes.guess_type(filename)[0] or "application/octet-stream"
