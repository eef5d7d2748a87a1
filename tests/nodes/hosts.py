"""A stand-in for ComfyUI as the flow of a run sees it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from PIL import Image

WAIT_SECONDS = 20


class Interrupted(Exception):
    """The host's own exception for a user who wants to stop."""


class FakeHost:
    """Keeps what it was told to show, and wants to stop when `stop()` was called."""

    def __init__(self, folder: Path | None = None) -> None:
        self.prompt_id: str | None = None
        self.folder = folder
        self.shares: list[float] = []
        self.texts: list[str] = []
        self.pictures: list[Image.Image] = []
        self.was_asked = False
        """Whether somebody has been told that the user wants to stop."""
        self._interrupt: Interrupted | None = None
        self._news = asyncio.Event()

    def progress(self, share: float) -> None:
        self.shares.append(share)

    def text(self, text: str) -> None:
        self.texts.append(text)
        self._news.set()

    def preview(self, picture: Image.Image) -> None:
        self.pictures.append(picture)
        self._news.set()

    def check_interrupted(self) -> None:
        if self._interrupt:
            self.was_asked = True
            raise self._interrupt

    def stop(self) -> None:
        """The user presses the button."""
        self._interrupt = Interrupted("the user pressed the button")

    async def showed(self, count: int) -> None:
        """Wait for so many pictures."""
        while len(self.pictures) < count:
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), WAIT_SECONDS)

    async def told(self, part: str) -> None:
        """Wait for a text with this part."""
        while not any(part in text for text in self.texts):
            self._news.clear()
            await asyncio.wait_for(self._news.wait(), WAIT_SECONDS)
