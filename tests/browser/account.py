"""An account with something of everything in it, so that every view of the panel has something to show."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from comfyui_outpost.api.client import Client
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.comfyui.lane import external, node
from PIL import Image, ImageOps

COLOURS = {
    "dusk.png": ("#2a1a3a", "#ff9e6b"),
    "sea.png": ("#06202e", "#8fe3ff"),
    "forest.png": ("#0d2412", "#c9f08a"),
    "paper.png": ("#241c10", "#fff1d0"),
}


@dataclass(frozen=True)
class Account:
    """What there is, by its ids."""

    workflows: list[str]
    deployments: list[str]
    runs: list[str]
    assets: list[str]


async def fill(
    client: Client,
    *,
    names: list[str],
    comfyui_url: str,
    machine_name: str = "Studio",
    folder_names: tuple[str, ...] = ("References", "Finished"),
    comment: str = "Softer light",
) -> Account:
    """Workflows of these names, each with two versions, a deployment and a run, and a library with pictures."""
    machine = (await client.machines.list())[0].id
    await client.machines.create(machine_name, "comfyui", endpoint=comfyui_url)
    pictures = {name: _tinted(*colours) for name, colours in COLOURS.items()}
    assets = await _library(client, folder_names, pictures)
    workflows, deployments, runs = [], [], []
    for index, name in enumerate(names):
        graph = _graph(index)
        made = await client.workflows.create(name, _editor_graph(name), workflow_api=graph)
        await client.workflows.add_version(made.workflow_id, _editor_graph(name), workflow_api=graph, comment=comment)
        version = (await client.workflows.versions(made.workflow_id))[0]
        deployment = await client.deployments.create(
            workflow_id=made.workflow_id,
            workflow_version_id=version.id,
            machine_id=machine,
            environment="staging" if index % 3 == 2 else "production",
        )
        workflows.append(made.workflow_id)
        deployments.append(deployment.id)
        picture = list(pictures.items())[index % len(pictures)]
        sent = await client.files.upload(picture[1], content_type="image/png", name=picture[0])
        runs.append(await client.runs.queue(deployment.id, {"image": sent.url}))
    for run in runs:
        await client.runs.follow(run)
    return Account(workflows, deployments, runs, assets)


async def _library(client: Client, folders: tuple[str, ...], pictures: dict[str, bytes]) -> list[str]:
    assets = [(await client.assets.create_folder(name)).id for name in folders]
    for name, data in pictures.items():
        assets.append((await client.assets.upload(data, content_type="image/png", name=name)).id)
    return assets


def _graph(index: int) -> dict[str, Any]:
    return {
        "1": external("Image", "image", display_name="Photo"),
        "2": external("Text", "prompt", default_value="a quiet evening by the lake"),
        "3": node("ImageBlur", image=["1", 0], blur_radius=index, sigma=1.0),
        "4": node("ImageInvert", image=["3", 0]),
        "5": node("SaveImage", images=["3" if index % 2 else "4", 0], output_id="picture"),
    }


def _editor_graph(name: str) -> dict[str, Any]:
    return {"nodes": [], "links": [], "groups": [], "extra": {"name": name}, "version": 0.4}


def _tinted(dark: str, light: str) -> bytes:
    with Image.open(io.BytesIO(contact_sheet.made_up_picture())) as picture:
        toned = ImageOps.colorize(ImageOps.grayscale(picture), dark, light)
    data = io.BytesIO()
    toned.save(data, "PNG")
    return data.getvalue()
