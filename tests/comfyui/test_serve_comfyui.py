"""`outpost serve --comfyui FOLDER` with every ComfyUI found on this machine: one command, and graphs run on it."""

from __future__ import annotations

import io
import os
import re
import shlex
import signal
from pathlib import Path

import psutil
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.server.process import started
from PIL import Image

from .installations import Installation, provide
from .lane import node
from .process import prepare_environment
from .workspace import lay_out, page_options

pytestmark = pytest.mark.skipif(os.name != "posix", reason="Windows has no signal that ends a server cleanly")

COLOUR = 0x336699
GRAPH = {
    "1": node("EmptyImage", width=8, height=8, batch_size=1, color=COLOUR),
    "2": node("SaveImage", images=["1", 0], filename_prefix="served"),
}
MACHINE = re.compile(r"^Machine ComfyUI, ([0-9a-f-]{36}): is being started$", re.MULTILINE)


def interpreter(python: Path, folder: Path, at: Path) -> Path:
    """The interpreter of the lane, as a program: with what it needs without a GPU and without a page's package."""
    variables = prepare_environment({}, {"CUDA_VISIBLE_DEVICES": ""})
    words = ["exec", "env", *(f"{name}={value}" for name, value in variables.items()), str(python)]
    line, options = shlex.join(words), shlex.join(page_options(folder))
    # Only ComfyUI itself takes its options: the same interpreter is asked for devices first.
    at.write_text(f'#!/bin/sh\ncase "$1" in\n  *guard.py) {line} "$@" {options} ;;\n  *) {line} "$@" ;;\nesac\n')
    at.chmod(0o700)
    return at


def comfyuis_in(folder: Path) -> list[int]:
    """The processes of the ComfyUI in a folder."""
    return [each.pid for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(folder)]


async def test_a_graph_runs_on_it_and_no_process_is_left(installation: Installation, python: Path, tmp_path: Path):
    folder = tmp_path / "ComfyUI"
    folder.mkdir()
    lay_out(folder, provide(installation), {})
    options = ["--comfyui", str(folder), "--comfyui-python", str(interpreter(python, folder, tmp_path / "python"))]

    async with started(tmp_path / "data", *options) as server:
        await server.begin()
        await server.said("Deploy a graph there")
        [machine_id] = MACHINE.findall("".join(server.output))
        assert server.api_key
        async with Client(Connection(server.url, server.api_key)) as client:
            made = await client.workflows.create("a graph", {}, workflow_api=GRAPH)
            deployment = await client.deployments.create(
                workflow_id=made.workflow_id, workflow_version_id=made.workflow_version_id or "", machine_id=machine_id
            )
            run = await client.runs.execute(deployment, {}, deadline=120)
            picture = Image.open(io.BytesIO(await client.files.download(run.outputs[0].files[0].url, max_bytes=10_000)))
            assert picture.convert("RGB").getpixel((3, 3)) == (0x33, 0x66, 0x99)
            [log] = await client.machines.logs(machine_id)
            assert log.is_running
            assert "got prompt" in log.text
            assert "outpost_" not in log.text
        assert comfyuis_in(folder)
        assert await server.end(signal.SIGTERM) == 0
    assert comfyuis_in(folder) == []
