"""A small ComfyUI, and a machine that uses it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, Patience
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve

HASTE = Patience(away=1.0, retry=0.01, quiet=0.1, stop=2.0, answer=1.0)
"""Patience for a ComfyUI that is never slow."""


@pytest.fixture
def comfyui() -> FakeComfyUI:
    return FakeComfyUI()


@pytest.fixture
async def url(comfyui: FakeComfyUI) -> AsyncIterator[str]:
    """Where the small ComfyUI answers."""
    async with serve(comfyui) as url:
        yield url


@pytest.fixture
async def machine(url: str) -> AsyncIterator[ComfyUIMachine]:
    """A machine that uses the small ComfyUI, and does not wait long for it."""
    machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=url), patience=HASTE)
    yield machine
    await machine.close()
