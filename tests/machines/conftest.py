"""A small ComfyUI, and machines that use it or start it."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine, Patience
from comfyui_outpost.api.server.machines.managed import ManagedMachine
from comfyui_outpost.tests.fakes import comfyui_main
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve

Make = Callable[..., ManagedMachine]

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


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a ComfyUI."""
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    shutil.copy(comfyui_main.__file__, folder / "main.py")
    return folder


@pytest.fixture
async def make(folder: Path, tmp_path: Path) -> AsyncIterator[Make]:
    """Makes machines of that folder, which are closed after the test."""
    made: list[ManagedMachine] = []

    def make(
        *,
        start_seconds: float = 20,
        retry_seconds: float = 0.01,
        look_seconds: float = 0.1,
        environment: dict[str, str] | None = None,
        python: Path | None = Path(sys.executable),
        **settings: Any,
    ) -> ManagedMachine:
        machine = ManagedMachine(
            MachineSettings(**{"id": "m", "type": "managed", "folder": folder, **settings}),
            python=python,
            log_folder=tmp_path / "logs",
            arguments=["--cpu"],
            work_folder=tmp_path / "machines",
            environment={**os.environ, **(environment or {})},
            patience=HASTE,
            start_seconds=start_seconds,
            retry_seconds=retry_seconds,
            look_seconds=look_seconds,
        )
        made.append(machine)
        return machine

    yield make
    for machine in made:
        await machine.close()
