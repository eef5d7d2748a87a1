"""Runs that the page asks for: each once, however often it asks."""

from __future__ import annotations

import asyncio
import json
from collections import OrderedDict
from collections.abc import Coroutine, Mapping
from typing import Any

from ...client import Client
from ...errors import NotFound
from ..files.sent import SentFiles

_KEPT = 500

Chosen = Mapping[str, str | list[str]]
"""The id of a file, or those of a batch, by the input that it is for."""


class Starts:
    """Knows which run each deed of the page has started, so that a repetition of its request starts none."""

    def __init__(self) -> None:
        self._runs: OrderedDict[tuple[str, str], asyncio.Task[tuple[str, str]]] = OrderedDict()

    async def once(self, client: Client, key: str, start: Coroutine[Any, Any, tuple[str, str]]) -> tuple[str, str]:
        """The ids of the run of this deed and of its deployment. A start that has failed may be tried again."""
        place = client.connection.id, key
        task = self._runs.get(place)
        if task is None:
            # The page may go away in between; the run is on its way all the same.
            task = self._runs[place] = asyncio.create_task(start)
            task.add_done_callback(lambda done: self._forget_failed(place, done))
        else:
            start.close()
        while len(self._runs) > _KEPT:
            self._runs.popitem(last=False)
        return await asyncio.shield(task)

    def _forget_failed(self, place: tuple[str, str], done: asyncio.Task[tuple[str, str]]) -> None:
        if done.cancelled() or done.exception():
            self._runs.pop(place, None)


async def with_files(
    client: Client, inputs: Mapping[str, Any], *, files: Chosen, assets: Chosen, sent: SentFiles
) -> dict[str, Any]:
    """The values of a run, in which files and assets are where they can be read. Raises OutpostError."""

    async def file(file_id: str) -> str:
        return await sent.url_of(client, file_id)

    async def asset(asset_id: str) -> str:
        found = await client.assets.get(asset_id)
        if found.is_folder or not found.url:
            raise NotFound(f"The asset {asset_id} is no file that a run could read.")
        return found.url

    values = dict(inputs)
    for chosen, read in ((files, file), (assets, asset)):
        for input_id, ids in chosen.items():
            # A batch of images travels as a text that holds a list.
            values[input_id] = (
                await read(ids) if isinstance(ids, str) else json.dumps([await read(each) for each in ids])
            )
    return values
