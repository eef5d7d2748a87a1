"""The pictures that a run shows while it works: each in time to be of use, or not at all."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..api.errors import UnsupportedMedia
from ..api.events import PreviewImage, RunEvent
from . import media

if TYPE_CHECKING:
    from PIL import Image

log = logging.getLogger("outpost.runs")


class Previews:
    """Shows the previews of one run, one after the other. Of those that come meanwhile only the latest is kept."""

    def __init__(self, show: Callable[[Image.Image], None]) -> None:
        self._show = show
        self._latest = b""
        self._showing: asyncio.Task[None] | None = None

    def on_event(self, event: RunEvent) -> None:
        """Show what an event brings, soon."""
        if not isinstance(event, PreviewImage):
            return
        self._latest = event.data
        if self._showing is None or self._showing.done():
            self._showing = asyncio.ensure_future(self._show_latest())

    async def close(self) -> None:
        """Show no more."""
        if self._showing:
            self._showing.cancel()
            await asyncio.gather(self._showing, return_exceptions=True)

    async def _show_latest(self) -> None:
        while data := self._latest:
            self._latest = b""
            try:
                picture = await asyncio.to_thread(media.decode_preview, data)
            except UnsupportedMedia as error:
                log.debug("a preview is passed over: %s", error)
            else:
                self._show(picture)
