"""Runs on the page: what its routes tell of them, and start, on a platform at work and on the hosted one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import RunFailed
from comfyui_outpost.api.panel import ComfyUI
from comfyui_outpost.api.panel.covers import BLANK
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.nodes import contact_sheet
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import OWN, Page, opened
from comfyui_outpost.tests.server.gpus import diffusion
from comfyui_outpost.tests.server.graphs import ECHO, SAVE_IMAGE, sleep

RUNS, FILES = "/outpost/runs", "/outpost/files"
DEED = "a-deed-of-the-page"
UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"
PICTURE = contact_sheet.made_up_picture()


@pytest.fixture
async def client(platform: Any):
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client


@pytest.fixture
async def connected(page: Page, tmp_path: Path, platform: Any):
    """A page of a ComfyUI with an input folder."""
    folder = tmp_path / "input"
    comfyui = ComfyUI(input_folder=lambda: folder, folder=lambda: tmp_path)
    async with opened(page._settings, comfyui=comfyui) as page:
        page.connect(platform.url, platform.owner.api_key)
        yield page


async def deployed(client: Client, platform: Any, graph: Any, name: str = "Portraits") -> str:
    drawn = {"nodes": [{"id": 1}], "links": []}
    made = await client.workflows.create(name, drawn, workflow_api=graph)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=made.workflow_version_id or "",
        machine_id=platform.owner.machine_id,
    )
    return deployment.id


async def sent(page: Page, data: bytes, name: str) -> Any:
    answer = await page.get(f"{FILES}?name={quote(name)}&size={len(data)}", method="POST", body=data)
    assert answer.status == 200, answer.body
    return answer.data


async def started(page: Page, client: Client, deployment_id: str, **more: Any) -> Any:
    """A run of the page that has ended well."""
    run = await page.done("POST", RUNS, {"deployment_id": deployment_id, "key": DEED, **more})
    await client.runs.follow(run["id"])
    return await page.told(f"{RUNS}/{run['id']}")


async def test_a_run_takes_a_file_of_the_page_and_its_output_is_seen_saved_and_brought(
    connected: Page, client: Client, platform: Any, tmp_path: Path
):
    file = await sent(connected, PICTURE, "Über 猫.png")
    assert (file["name"], file["kind"], file["size"]) == ("Über 猫.png", "image", len(PICTURE))

    run = await started(
        connected, client, await deployed(client, platform, SAVE_IMAGE), files={"image": file["file_id"]}
    )

    [given], [made] = run["inputs"], run["outputs"]
    assert (given["input_id"], given["files"][0]["kind"]) == ("image", "image")
    assert (made["kind"], made["output_id"], made["text"]) == ("image", "result", None)
    small = await connected.get(f"{RUNS}/{run['id']}/outputs/0?small=true")
    assert (small.status, small.headers["Content-Type"], small.body[:4]) == (200, "image/webp", b"RIFF")
    assert (await connected.get(f"{RUNS}/{run['id']}/cover")).body == small.body
    for query, where in (("", "inline"), ("?save=true", "attachment")):
        async with aiohttp.request("GET", f"{connected.url}{RUNS}/{run['id']}/outputs/0{query}", headers=OWN) as whole:
            assert (await whole.read())[:4] == b"\x89PNG"
            assert whole.headers["Content-Disposition"].startswith(where)
            assert whole.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    names = [
        (await connected.done("POST", f"{RUNS}/{run['id']}/{what}/bring"))["name"]
        for what in ("outputs/0", "outputs/0", "inputs/image")
    ]
    assert names[0] == names[1]
    assert all((tmp_path / "input" / name).read_bytes()[:4] == b"\x89PNG" for name in names)
    assert len(list((tmp_path / "input").iterdir())) == len(set(names))


async def test_a_list_says_why_runs_wait(connected: Page, client: Client):
    comfyui = FakeComfyUI()
    async with serve(comfyui) as url:
        machine = await client.machines.create_custom("Down", url)
        made = await client.workflows.create("Waits", {}, workflow_api=diffusion())
        deployment = await client.deployments.create(
            workflow_id=made.workflow_id,
            workflow_version_id=made.workflow_version_id or "",
            machine_id=machine.id,
        )
        comfyui.is_down = True
        assert (await client.machines.get(machine.id)).status == "error"
        run = await connected.done("POST", RUNS, {"deployment_id": deployment.id, "key": DEED})
        [row] = (await connected.told(f"{RUNS}?deployment_id={deployment.id}"))["runs"]
        assert (row["id"], row["status"]) == (run["id"], "queued")
        assert row["doing"].startswith("Waiting: The machine's ComfyUI cannot be reached")
        await client.runs.cancel(run["id"])


async def test_a_run_takes_an_asset_and_a_number_that_a_page_cannot_count_to(
    connected: Page, client: Client, platform: Any
):
    asset = await client.assets.upload(PICTURE, content_type="image/png", name="a.png")
    graph = {
        **SAVE_IMAGE,
        "9": {"class_type": "ComfyUIDeployExternalSeed", "inputs": {"input_id": "seed", "default_value": 1}},
    }
    seed = "18446744073709551615"

    run = await started(
        connected,
        client,
        await deployed(client, platform, graph),
        assets={"image": asset.id},
        inputs={"seed": seed},
    )

    assert run["status"] == "success"
    assert {each["input_id"]: each.get("value") for each in run["inputs"]}["seed"] in (int(seed), seed)


async def test_a_request_that_is_repeated_starts_no_second_run(connected: Page, client: Client, platform: Any):
    body = {"deployment_id": await deployed(client, platform, ECHO), "key": DEED}

    first, second = [await connected.done("POST", RUNS, body) for _ in range(2)]
    third = await connected.done("POST", RUNS, {**body, "key": "another-deed"})

    assert first["id"] == second["id"] != third["id"]
    assert len(await client.runs.list(deployment_id=body["deployment_id"])) == 2


async def test_a_start_that_was_refused_may_be_tried_again_with_the_same_key(
    connected: Page, client: Client, platform: Any
):
    deployment_id = await deployed(client, platform, ECHO)

    refused = await connected.send(
        "POST", RUNS, {"deployment_id": deployment_id, "key": DEED, "inputs": {"nonsense": 1}}
    )

    assert refused.status == 422
    assert "nonsense" in refused.data["detail"]
    assert (await connected.done("POST", RUNS, {"deployment_id": deployment_id, "key": DEED}))["status"]


async def test_a_run_is_cancelled_repeated_and_told_with_its_text(connected: Page, client: Client, platform: Any):
    run = await connected.done(
        "POST", RUNS, {"deployment_id": await deployed(client, platform, sleep(30)), "key": DEED}
    )
    assert (await connected.done("POST", f"{RUNS}/{run['id']}/cancel"))["status"] == "cancelled"
    assert (await connected.send("POST", f"{RUNS}/{run['id']}/cancel")).status in (200, 409)

    said = await started(
        connected, client, await deployed(client, platform, ECHO), inputs={"text": "<b>hello</b>"}, key="the-echo-deed"
    )
    again = await connected.done("POST", f"{RUNS}/{said['id']}/again", {"key": "the-second-echo"})
    await client.runs.follow(again["id"])

    told = await connected.told(f"{RUNS}/{again['id']}")
    assert [each["text"] for each in told["outputs"]] == ["<b>hello</b>"]
    assert told["inputs"] == [{"input_id": "text", "value": "<b>hello</b>"}]
    assert (await connected.get(f"{RUNS}/{said['id']}/outputs/0")).status == 404
    assert (await connected.get(f"{RUNS}/{said['id']}/cover")).body == BLANK
    graph = await connected.told(f"{RUNS}/{said['id']}/graph")
    assert (graph["workflow"]["nodes"], graph["workflow_api"], graph["version"]) == ([{"id": 1}], ECHO, 1)
    assert graph["inputs"] == told["inputs"]


async def test_a_run_that_failed_tells_its_node_and_its_whole_error(connected: Page, client: Client, platform: Any):
    graph = {**ECHO, "2": {"class_type": "PreviewAny", "inputs": {"source": ["7", 0]}}}
    run = await connected.done("POST", RUNS, {"deployment_id": await deployed(client, platform, graph), "key": DEED})
    with pytest.raises(RunFailed):
        await client.runs.follow(run["id"])

    told = await connected.told(f"{RUNS}/{run['id']}")

    assert told["status"] == "failed"
    assert told["error"]


async def test_the_list_is_filtered_and_comes_in_pages(connected: Page, client: Client, platform: Any):
    echo, slow = [await deployed(client, platform, graph) for graph in (ECHO, sleep(30))]
    ended = await started(connected, client, echo)
    going = await connected.done("POST", RUNS, {"deployment_id": slow, "key": "the-slow-deed"})

    async def ids(query: str) -> list[str]:
        return [each["id"] for each in (await connected.told(f"{RUNS}{query}"))["runs"]]

    assert await ids("") == [going["id"], ended["id"]]
    assert await ids("?status=active") == [going["id"]]
    assert await ids("?status=done") == [ended["id"]]
    assert await ids("?status=failed") == []
    assert await ids(f"?deployment_id={echo}") == [ended["id"]]
    assert await ids(f"?workflow_id={going['workflow_id']}&status=active") == [going["id"]]
    assert await ids("?offset=1") == [ended["id"]]
    assert (await connected.get(f"{RUNS}?status=nonsense")).status == 422
    await connected.done("POST", f"{RUNS}/{going['id']}/cancel")


BAD = [
    {"deployment_id": "http://evil.example"},
    {"files": {"image": "http://evil.example/x"}},
    {"files": {"image": "../../x"}},
    {"assets": {"image": UNKNOWN}},
    {"key": "x"},
    {"inputs": {"text": {"an": "object"}}},
]


@pytest.mark.parametrize("wrong", BAD)
async def test_what_cannot_be_run_is_refused(connected: Page, client: Client, platform: Any, wrong: Any):
    body = {"deployment_id": platform.owner.deployment_id, "key": DEED}
    assert (await connected.send("POST", RUNS, {**body, **wrong})).status in (404, 422)
    assert await client.runs.list() == []


async def test_a_run_of_somebody_else_is_none(connected: Page, platform: Any):
    async with Client(Connection(platform.url, platform.stranger.api_key)) as stranger:
        run_id = await stranger.runs.queue(await deployed_by(stranger, platform), {})
    for path in ("", "/graph", "/preview", "/cover", "/outputs/0"):
        assert (await connected.get(f"{RUNS}/{run_id}{path}")).status == 404
    assert (await connected.send("POST", f"{RUNS}/{run_id}/cancel")).status == 404


async def deployed_by(client: Client, platform: Any) -> str:
    made = await client.workflows.create("Theirs", {}, workflow_api=ECHO)
    deployment = await client.deployments.create(
        workflow_id=made.workflow_id,
        workflow_version_id=made.workflow_version_id or "",
        machine_id=platform.stranger.machine_id,
    )
    return deployment.id


async def test_the_hosted_platform_lists_and_runs_what_it_can(page: Page):
    server = HostedPlatform()
    server.runs_of_workflow = [
        {**server.run, "id": UNKNOWN, "status": "failed", "outputs": [], "created_at": "2026-11-23T17:51:45.467480Z"}
    ]
    async with served(server.app) as url:
        page.connect(url, KEY)
        assert [each["id"] for each in (await page.told(RUNS))["runs"]] == [UNKNOWN]
        assert (await page.told(f"{RUNS}?status=done"))["runs"] == []
        before = len(server.log.named("GET", "/api/workflows"))
        assert (await page.told(f"{RUNS}?status=active"))["runs"] == []
        assert len(server.log.named("GET", "/api/workflows")) == before + 1
        run = await page.done("POST", RUNS, {"deployment_id": server.deployment["id"], "key": DEED})
        told = await page.told(f"{RUNS}/{run['id']}")
        assert told["outputs"]
        assert "url" not in json.dumps(told["outputs"])
        cancelled = await page.send("POST", f"{RUNS}/{run['id']}/cancel")
        assert cancelled.status == 409
