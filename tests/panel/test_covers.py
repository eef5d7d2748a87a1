"""What workflows and runs look like on the page: found, remembered for a while, and never fetched from anywhere."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.panel.covers import BLANK, Covers
from comfyui_outpost.api.panel.files.thumbnails import Thumbnails
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page
from PIL import Image

RED, BLUE = (250, 0, 0), (0, 0, 250)
RUN = "0b3c2a10-0000-4000-8000-000000000001"
LIST = "/outpost/workflows"
GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
}


def png(colour: tuple[int, int, int]) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (600, 300), colour).save(content, "PNG")
    return content.getvalue()


def colour_of(picture: bytes) -> tuple[int, ...]:
    image = Image.open(io.BytesIO(picture))
    assert image.format == "WEBP"
    assert max(image.size) <= 256
    return tuple(round(each / 50) * 50 for each in image.convert("RGB").getpixel((0, 0)))  # type: ignore[union-attr]


@dataclass
class Covered:
    """A workflow on the hosted platform, whose runs and cover a test chooses."""

    page: Page
    server: HostedPlatform
    workflow_id: str
    connection: Connection

    def has_made(self, status: str, *names: str) -> None:
        """Its only run put out files of these names; one that begins with `temp` is only for a look."""
        types = {name: "temp" if name.startswith("temp") else "output" for name in names}
        store = f"{self.connection.base_url}/store"
        files = [{"url": f"{store}/{name}", "filename": name, "type": types[name]} for name in names]
        self.server.run = {"id": RUN, "status": status, "outputs": [{"data": {"images": files}}]}
        self.server.runs_of_workflow = [self.server.run]

    def choose(self, url: str) -> None:
        self.server.workflows.rows[self.workflow_id]["cover_image"] = url

    async def cover(self) -> bytes:
        """What is found by somebody who has seen nothing of it yet."""
        async with Client(self.connection) as client:
            return await Covers(Thumbnails()).of_workflow(client, self.workflow_id)

    async def cover_of_run(self) -> bytes:
        async with Client(self.connection) as client:
            return await Covers(Thumbnails()).of_run(client, RUN)


@pytest.fixture
async def covered(page: Page) -> AsyncIterator[Covered]:
    """A workflow on the hosted platform, with pictures in its store."""
    server = HostedPlatform()
    server.workflows.rows.clear()
    server.library.objects |= {
        "red.png": png(RED),
        "blue.png": png(BLUE),
        "temp.png": png(BLUE),
        "text.png": b"no picture at all",
        "clip.mp4": png(BLUE),
    }
    async with served(server.app) as url:
        page.connect(url, KEY)
        body = {"name": "Portrait", "workflow": {"nodes": []}, "workflow_api": GRAPH, "key": "key-of-the-first-deed"}
        made = await page.done("POST", LIST, body)
        yield Covered(page, server, made["id"], Connection(url, KEY))


async def test_a_cover_is_what_the_newest_successful_run_has_made(page: Page, platform: Any):
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        await _is_blue_after_a_run(page, client, platform)


async def _is_blue_after_a_run(page: Page, client: Client, platform: Any) -> None:
    made = await client.workflows.create("Blue", {}, workflow_api=GRAPH)
    cover = f"{LIST}/{made.workflow_id}/cover"
    assert (await page.get(cover)).body == BLANK
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=str(made.workflow_version_id),
        machine_id=platform.owner.machine_id,
    )
    await client.runs.execute(deployment, {})

    assert (await page.get(cover)).body == BLANK  # that there was none is remembered
    covers = Covers(Thumbnails())
    assert colour_of(await covers.of_workflow(client, made.workflow_id)) == BLUE
    async with Client(Connection(platform.url, platform.stranger.api_key)) as stranger:
        with pytest.raises(NotFound):
            await covers.of_workflow(stranger, made.workflow_id)


async def test_a_cover_is_remembered_for_a_while(covered: Covered):
    covered.has_made("success", "red.png")
    now = [0.0]
    covers = Covers(Thumbnails(), clock=lambda: now[0])
    async with Client(covered.connection) as client:
        first = await covers.of_workflow(client, covered.workflow_id)
        asked = len(covered.server.log.requests)
        covered.has_made("success", "blue.png")
        assert await covers.of_workflow(client, covered.workflow_id) == first
        assert len(covered.server.log.requests) == asked
        now[0] = 301.0
        assert colour_of(await covers.of_workflow(client, covered.workflow_id)) == BLUE
    assert colour_of(first) == RED


async def test_runs_that_failed_or_made_no_picture_give_no_cover(covered: Covered):
    assert await covered.cover() == BLANK
    covered.has_made("failed", "red.png")
    assert await covered.cover() == BLANK
    for name in ("notes.txt", "text.png", "gone.png"):
        covered.has_made("success", name)
        assert await covered.cover() == BLANK


async def test_the_picture_that_somebody_has_chosen_comes_first(covered: Covered):
    covered.has_made("success", "red.png")
    covered.choose(f"{covered.connection.base_url}/store/blue.png")
    assert colour_of(await covered.cover()) == BLUE
    covered.choose(f"{covered.connection.base_url}/store/gone.png")
    assert colour_of(await covered.cover()) == RED


async def test_a_cover_is_not_fetched_from_the_network_that_comfyui_is_in(covered: Covered):
    covered.has_made("success", "red.png")
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(body=png(BLUE))

    inside = web.Application()
    inside.router.add_get("/{path:.*}", answer)
    async with served(inside) as url:
        for chosen in (f"{url}/secret.png", "http://169.254.169.254/latest", "file:///etc/passwd", "nonsense"):
            covered.choose(chosen)
            assert colour_of(await covered.cover()) == RED
    assert asked == []


async def test_a_cover_that_takes_too_long_holds_nothing_up(covered: Covered):
    async def get(workflow_id: str, *, versions: int) -> None:
        await asyncio.Event().wait()

    covers = Covers(Thumbnails(), patience=0.05)
    silent: Any = SimpleNamespace(connection=covered.connection, workflows=SimpleNamespace(get=get))

    found = await asyncio.gather(*(covers.of_workflow(silent, f"workflow {number}") for number in range(20)))

    assert found == [BLANK] * 20


async def test_the_cover_of_a_run_is_kept_for_good_and_that_it_has_none_is_not(covered: Covered):
    now = [0.0]
    covers = Covers(Thumbnails(), clock=lambda: now[0])
    covered.has_made("success", "gone.png")
    async with Client(covered.connection) as client:
        assert await covers.of_run(client, RUN) == BLANK
        covered.has_made("success", "red.png")
        assert await covers.of_run(client, RUN) == BLANK
        now[0] = 61.0
        assert colour_of(await covers.of_run(client, RUN)) == RED
        now[0], asked = 1e9, len(covered.server.log.requests)
        assert colour_of(await covers.of_run(client, RUN)) == RED
        assert len(covered.server.log.requests) == asked


async def test_a_picture_that_is_gone_damaged_or_for_a_look_only_gives_way_to_another(covered: Covered):
    covered.has_made("success", "temp.png", "gone.png", "text.png", "red.png")
    assert colour_of(await covered.cover_of_run()) == RED
    covered.has_made("success", "temp.png")
    assert colour_of(await covered.cover_of_run()) == BLUE
    covered.has_made("success", "notes.txt", "clip.mp4")
    assert await covered.cover_of_run() == BLANK


async def test_a_run_that_goes_on_has_no_cover_yet(covered: Covered):
    covered.has_made("running", "red.png")
    assert await covered.cover_of_run() == BLANK


async def test_what_came_too_late_is_asked_for_again_soon(covered: Covered):
    covered.has_made("success", "red.png")
    now = [0.0]
    covers = Covers(Thumbnails(), clock=lambda: now[0], patience=0.05)

    async def get(run_id: str, **_: Any) -> None:
        await asyncio.Event().wait()

    silent: Any = SimpleNamespace(connection=covered.connection, runs=SimpleNamespace(get=get))
    assert await covers.of_run(silent, RUN) == BLANK
    now[0] = 11.0
    patient = Covers(covers._thumbnails, clock=lambda: now[0])
    async with Client(covered.connection) as client:
        assert colour_of(await patient.of_run(client, RUN)) == RED
