"""The files of a run: to look at, to save, and to be brought to ComfyUI."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import Field

from ...client.border import allows_private_addresses
from ...client.foreign import ForeignFiles
from ...errors import InvalidInput, NotFound, UnsupportedMedia
from ...models import Record
from ...outputs import OutputKind, kind_of_file
from ..call import Call
from ..files.bringing import MAX_BYTES as BRINGING_BYTES
from ..files.bringing import bring
from ..files.copies import identity_of
from ..files.spool import MAX_UPLOAD, downloaded, passed_on
from ..files.thumbnails import MAX_BYTES
from ..routes import picture
from .contents import item_of, name_in, urls_in


class Showing(Record):
    """How an output is asked for."""

    small: bool = False
    """As a small picture."""
    save: bool = False
    """Whether it is to be saved, whatever it is."""


class Which(Record):
    """One of the files of an input."""

    index: int = Field(default=0, ge=0, le=10_000)


async def show_output(call: Call) -> web.StreamResponse:
    """A file that a run has put out, or a small picture of an image. Raises OutpostError."""
    showing, run_id, number = call.query(Showing), call.id("run_id"), call.id("number")
    pictures = call.desk.pictures
    async with call.client() as client:
        key = "output", client.connection.id, run_id, number
        if showing.small and (known := pictures.get(key)):
            return picture(known)
        item = item_of(await client.runs.get(run_id, queue_position=False), number)
        if item.url is None:
            raise NotFound("This output is a text, and there is no file of it.")
        if showing.small:
            if item.kind is not OutputKind.IMAGE:
                raise UnsupportedMedia(f"{item.name} is no image, so there is no picture of it.")
            data = await client.files.download(item.url, max_bytes=MAX_BYTES)
            return picture(pictures.keep(key, await call.desk.thumbnails.small(data)))
        identity = identity_of(*key, item.name, urlsplit(item.url).path)
    download = downloaded(call, item.url, max_bytes=MAX_UPLOAD)
    return await passed_on(call, identity, download, name=item.name, is_saved=showing.save)


async def bring_output(call: Call) -> dict[str, Any]:
    """Put a file that a run has put out into ComfyUI's input folder. Raises OutpostError."""
    folder = call.comfyui.input_folder()
    async with call.client() as client:
        item = item_of(await client.runs.get(call.id("run_id"), queue_position=False), call.id("number"))
        if item.url is None:
            raise NotFound("This output is a text, and there is no file of it.")
        download = partial(client.files.download_to, item.url, max_bytes=BRINGING_BYTES)
        name = await bring(download, name=item.name, kind=item.kind, input_folder=folder)
    return {"name": name, "kind": item.kind.value}


async def bring_input(call: Call) -> dict[str, Any]:
    """Put a file that a run was given into ComfyUI's input folder. Raises OutpostError."""
    folder, which, input_id = call.comfyui.input_folder(), call.query(Which), call.id("input_id")
    async with call.client() as client:
        run = await client.runs.get(call.id("run_id"), queue_position=False)
        urls = urls_in((run.workflow_inputs or {}).get(input_id))
        if which.index >= len(urls):
            raise NotFound(f"The run {run.id} was given no file for {input_id!r}.")
        url = urls[which.index]
        if url.startswith("data:"):
            raise InvalidInput(f"The file for {input_id!r} was sent within the request, and is not kept by itself.")
        name = name_in(url)
        # Whoever started the run has written this address, and not the platform.
        files = ForeignFiles(trusted_url=client.connection.base_url, allow_private=allows_private_addresses())
        download = partial(files.get_to, url, max_bytes=BRINGING_BYTES)
        brought = await bring(download, name=name, kind=None, input_folder=folder)
    return {"name": brought, "kind": kind_of_file(name).value}
