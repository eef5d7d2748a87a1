"""The command line against a platform at work, in this process."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.cli import main
from comfyui_outpost.tests.nodes.sites import Site

SECRETS = re.compile(r"outpost_[\w-]{20,}|[?&]s=[\w-]{20,}")
"""A key, or the signature of a URL."""


@dataclass(frozen=True)
class Said:
    """What a command has said, and how it ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


class Terminal:
    """Somebody at a terminal, with settings of their own and nothing in the environment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], settings: Path) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys
        self.settings = settings
        monkeypatch.setenv("OUTPOST_SETTINGS", str(settings))
        self.use(None, None)

    def use(self, url: str | None, key: str | None) -> None:
        """Set the connection in the environment."""
        for name, value in (("OUTPOST_BASE_URL", url), ("OUTPOST_API_KEY", key)):
            if value is None:
                self._monkeypatch.delenv(name, raising=False)
            else:
                self._monkeypatch.setenv(name, value)

    async def run(self, *arguments: str, stdin: str = "") -> Said:
        """Run a command to its end. It has an event loop of its own, so it runs on a thread."""
        self._monkeypatch.setattr(sys, "stdin", StringIO(stdin))
        said = self._said(await asyncio.to_thread(main, arguments))
        assert not SECRETS.search(said.out + said.err)
        return said

    def run_here(self, *arguments: str) -> Said:
        """The same, in a test that needs no event loop itself."""
        return self._said(main(arguments))

    def _said(self, code: int) -> Said:
        out, err = self._capsys.readouterr()
        assert "Traceback" not in out + err
        return Said(code, out, err)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    return Terminal(monkeypatch, capsys, tmp_path / "settings" / "connection.json")


@pytest.fixture
async def site(platform: Any) -> AsyncGenerator[Site, None]:
    """The platform on a socket where requests can be made to fail."""
    site = Site(platform.parts)
    await site.open()
    yield site
    await site.kill()


@pytest.fixture(autouse=True)
def other_loggers_stay_as_they_were() -> Generator[None, None, None]:
    """`outpost serve` sets how much other packages log, which is its own business in a process of its own."""
    loggers = [logging.getLogger(name) for name in ("alembic", "aiohttp.server")]
    levels = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
