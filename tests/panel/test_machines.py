"""Machines, as the page is told of them, on a platform at work and on the hosted one."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.client.machines import Machines
from comfyui_outpost.api.errors import Forbidden
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page

MACHINES = "/outpost/machines"
TOKEN = "a-token-that-the-page-gave"
UNKNOWN = "0b3c2a10-0000-4000-8000-000000000001"


@pytest.fixture
async def client(page: Page, platform: Any) -> AsyncGenerator[Client, None]:
    """The platform that the page is connected with."""
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client


@pytest.fixture
async def comfyui() -> AsyncGenerator[str, None]:
    async with serve(FakeComfyUI()) as url:
        yield url


def _names(told: Any) -> list[str]:
    return [each["name"] for each in told["machines"]]


async def test_machines_are_told_with_what_can_be_done_with_them(page: Page, platform: Any, client: Client):
    told = await page.told(MACHINES)

    [built_in] = told["machines"]
    assert (built_in["name"], built_in["kind"], built_in["status"]) == ("built-in", "builtin", "ready")
    assert set(built_in["can"]) == {"edit", "check", "delete"}
    assert told["offers"] == ["comfyui", "managed", "pool", "builtin"]
    assert platform.stranger.machine_id not in str(told)
    detail = await page.told(f"{MACHINES}/{built_in['id']}")
    assert [each["id"] for each in detail["deployments"]] == [platform.owner.deployment_id]
    assert detail["members"] == []


async def test_a_comfyui_is_added_by_its_address_and_its_token_is_never_told_again(
    page: Page, client: Client, comfyui: str
):
    wish = {"kind": "comfyui", "name": "Studio", "endpoint": comfyui, "auth_token": TOKEN, "concurrency_limit": 2}

    made = await page.done("POST", MACHINES, wish)

    assert (made["name"], made["kind"], made["slots"], made["status"]) == ("Studio", "comfyui", 2, "ready")
    detail = await page.told(f"{MACHINES}/{made['id']}")
    assert detail["endpoint"].rstrip("/") == comfyui
    assert TOKEN not in str([detail, made, await page.told(MACHINES)])
    assert {"edit", "check", "delete"} == set(detail["can"])


async def test_a_pool_is_told_with_its_members(page: Page, client: Client, comfyui: str):
    one, two = [
        await page.done("POST", MACHINES, {"kind": "comfyui", "name": name, "endpoint": comfyui})
        for name in ("one", "two")
    ]
    ids = [one["id"], two["id"]]

    made = await page.done(
        "POST", MACHINES, {"kind": "pool", "name": "both", "machine_ids": ids, "endpoint": "http://x"}
    )

    detail = await page.told(f"{MACHINES}/{made['id']}")
    assert [(each["name"], each["status"]) for each in detail["members"]] == [("one", "ready"), ("two", "ready")]
    assert detail["machine_ids"] == ids
    member = await page.told(f"{MACHINES}/{one['id']}")
    assert [each["name"] for each in member["pools"]] == ["both"]
    await page.done("POST", MACHINES, {"kind": "builtin", "name": "small", "concurrency_limit": 3})
    assert _names(await page.told(MACHINES)) == ["built-in", "one", "two", "both", "small"]


# What is wished for, and what the answer says.
BAD: list[tuple[Any, str]] = [
    ({"kind": "comfyui", "name": "x", "endpoint": "http://127.0.0.1:1"}, "endpoint"),
    ({"kind": "comfyui", "name": "x", "endpoint": "file:///etc/passwd"}, "endpoint"),
    ({"kind": "comfyui", "name": "", "endpoint": "http://127.0.0.1:1"}, "name"),
    ({"kind": "comfyui", "endpoint": "http://127.0.0.1:1"}, "name"),
    ({"kind": "comfyui", "name": "x"}, "endpoint"),
    ({"kind": "builtin", "name": "x", "concurrency_limit": 0}, "concurrency_limit"),
    ({"kind": "pool", "name": "x", "machine_ids": [UNKNOWN]}, "machine"),
    ({"kind": "pool", "name": "x", "machine_ids": []}, "machine_ids"),
    ({"kind": "rocket", "name": "x"}, "kind"),
    ({"kind": "managed", "name": "x"}, "--comfyui-folder"),
]


@pytest.mark.parametrize(("wish", "words"), BAD)
async def test_what_is_no_machine_is_refused_in_a_sentence(page: Page, client: Client, wish: Any, words: str):
    answer = await page.send("POST", MACHINES, wish)

    assert (answer.status, words in answer.data["detail"]) == (422, True), answer.data
    assert "passwd" not in answer.data["detail"]
    assert len(await client.machines.list()) == 1


async def test_a_machine_that_is_used_is_deleted_only_by_force(page: Page, platform: Any, client: Client):
    path = f"{MACHINES}/{platform.owner.machine_id}"

    refused = await page.send("DELETE", path)
    await page.done("DELETE", path, {"force": True})

    assert (refused.status, refused.data["code"]) == (409, "conflict")
    assert await client.machines.list() == []
    assert (await page.get(path)).status == 404
    told = await page.told(MACHINES)
    assert (told["machines"], told["offers"][0]) == ([], "comfyui")


async def test_what_a_machine_lacks_for_a_graph_is_named_with_what_is_near(page: Page, client: Client, comfyui: str):
    made = await page.done("POST", MACHINES, {"kind": "comfyui", "name": "Studio", "endpoint": comfyui})
    check = f"{MACHINES}/{made['id']}/check"
    graph = {
        "1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "base.safetensors"}},
        "2": {"class_type": "RocketSampler", "inputs": {}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
    }

    lacking = await page.done("POST", check, {"workflow_api": graph, "workflow": {"nodes": []}})
    whole = await page.done(
        "POST", check, {"workflow_api": {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}}}}
    )
    nothing = await page.send("POST", check, {})

    assert lacking["is_known"] and whole == {"is_known": True, "reason": None, "lacks": []}
    by_kind = {each["kind"]: each for each in lacking["lacks"]}
    assert by_kind["node_class"]["node_class"] == "RocketSampler"
    assert by_kind["choice"]["value"] == "base.safetensors"
    assert by_kind["choice"]["near"][0] == "xl\\base.safetensors"
    assert nothing.status == 422


async def test_a_machine_that_is_away_is_told_with_its_reason(page: Page, client: Client):
    async with serve(FakeComfyUI()) as url:
        made = await page.done("POST", MACHINES, {"kind": "comfyui", "name": "Studio", "endpoint": url})
    detail = await page.told(f"{MACHINES}/{made['id']}")
    graph = {"1": {"class_type": "EmptyImage", "inputs": {}}}
    verdict = await page.done("POST", f"{MACHINES}/{made['id']}/check", {"workflow_api": graph})

    assert detail["status"] == "error" and detail["reason"]
    assert not verdict["is_known"] and verdict["reason"] and verdict["lacks"] == []


async def test_one_on_demand_is_added_changed_started_and_stopped(page: Page, start_platform: Any, tmp_path: Path):
    (tmp_path / "stable").mkdir()
    (tmp_path / "stable" / "main.py").touch()
    async with start_platform(comfyui_folders={"stable": tmp_path / "stable"}) as platform:
        page.connect(platform.url, platform.owner.api_key)
        told = await page.told(MACHINES)
        made = await page.done("POST", MACHINES, {"kind": "managed", "name": "on demand", "comfyui": "stable"})
        path = f"{MACHINES}/{made['id']}"
        changed = await page.done("PATCH", path, {"name": "bigger", "idle_timeout": 5, "keep_warm": False})
        started = await page.send("POST", f"{path}/start")
        await page.done("POST", f"{path}/stop", {"force": True})
        detail = await page.told(path)

    assert told["comfyuis"] == ["stable"]
    assert {"edit", "start", "stop", "logs"} <= set(made["can"])
    assert (changed["name"], detail["idle_timeout"], detail["keep_warm"]) == ("bigger", 5, False)
    assert started.status in (200, 409, 502), started.data
    assert str(tmp_path) not in str([told, made, detail])


async def test_what_was_said_of_a_machine_is_changed_and_its_token_kept(page: Page, client: Client, comfyui: str):
    wish = {"kind": "comfyui", "name": "Studio", "endpoint": comfyui, "auth_token": TOKEN}
    made = await page.done("POST", MACHINES, wish)

    changed = await page.done("PATCH", f"{MACHINES}/{made['id']}", {"name": "Atelier", "concurrency_limit": 3})
    refused = await page.send("PATCH", f"{MACHINES}/{made['id']}", {"endpoint": "http://127.0.0.1:1"})
    nothing = await page.send("PATCH", f"{MACHINES}/{made['id']}", {})

    assert (changed["name"], changed["slots"]) == ("Atelier", 3)
    assert (refused.status, nothing.status) == (422, 422)
    detail = await page.told(f"{MACHINES}/{made['id']}")
    assert (detail["name"], detail["endpoint"].rstrip("/")) == ("Atelier", comfyui)
    assert TOKEN not in str([changed, refused.data, detail])

    # A token that is not needed any more is taken away by naming it, and the machine may then be at another address.
    elsewhere = comfyui.replace("127.0.0.1", "localhost")
    path = f"{MACHINES}/{made['id']}"
    assert (await page.send("PATCH", path, {"endpoint": elsewhere})).status == 422
    await page.done("PATCH", path, {"endpoint": elsewhere, "auth_token": ""})
    assert (await page.told(path))["endpoint"].rstrip("/") == elsewhere


async def test_the_machines_are_told_although_the_platform_does_not_say_what_it_can_start(
    page: Page, platform: Any, client: Client, monkeypatch: pytest.MonkeyPatch
):
    async def refused(_: Any) -> list[str]:
        raise Forbidden("not for this key")

    monkeypatch.setattr(Machines, "comfyuis", refused)
    told = await page.told(MACHINES)
    assert platform.owner.machine_id in {each["id"] for each in told["machines"]}
    assert told["comfyuis"] is None


async def test_what_has_no_logs_has_none(page: Page, platform: Any, client: Client):
    assert await page.told(f"{MACHINES}/{platform.owner.machine_id}/logs") == {"logs": []}
    assert (await page.get(f"{MACHINES}/{platform.owner.machine_id}/logs?limit=999999999")).status == 422
    assert (await page.get(f"{MACHINES}/{UNKNOWN}/logs")).status == 404
    assert (await page.get(f"{MACHINES}/abc/logs")).status == 422


async def test_the_hosted_platform_is_offered_what_it_has(page: Page):
    server = HostedPlatform()
    async with served(server.app) as url:
        page.connect(url, KEY)
        told = await page.told(MACHINES)
        used = await page.told(f"{MACHINES}/{server.machine['id']}")
        verdict = await page.done("POST", f"{MACHINES}/{server.machine['id']}/check", {"workflow_api": {}})
        classic = await page.done(
            "POST", MACHINES, {"kind": "comfyui", "name": "mine", "endpoint": "https://x.example", "auth_token": TOKEN}
        )
        serverless = await page.done("POST", MACHINES, {"kind": "serverless", "name": "big", "gpu": "H100"})
        started = await page.send("POST", f"{MACHINES}/{serverless['id']}/start")
        refused = [await page.send("POST", MACHINES, {"kind": kind, "name": "x"}) for kind in ("builtin", "pool")]
        conflict = await page.send("DELETE", f"{MACHINES}/{server.machine['id']}")
        logs = await page.get(f"{MACHINES}/{server.machine['id']}/logs")

    assert told["offers"] == ["serverless", "comfyui"] and told["comfyuis"] == []
    assert all("check" not in each["can"] and "start" not in each["can"] for each in told["machines"])
    assert len(used["deployments"]) == len(server.deployments.rows)
    assert not verdict["is_known"] and "Run it" in verdict["reason"]
    assert (classic["kind"], serverless["status"]) == ("classic", "building")
    assert TOKEN not in str(classic)
    assert (started.status, "A run starts it" in started.data["detail"]) == (501, True)
    assert [(each.status, each.data["code"]) for each in refused] == [(501, "not_supported")] * 2
    assert (conflict.status, conflict.data["code"]) == (409, "conflict")
    assert logs.status == 501
