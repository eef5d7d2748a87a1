"""Machines that are changed, started and stopped after they were made, and what is known of them."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.account_events import MachineChanged
from comfyui_outpost.tests.fakes import comfyui_main
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI
from comfyui_outpost.tests.fakes.serving import served

from .account import following
from .gpus import boxes, deploy_on, diffusion, pool_of, work_for_ever
from .graphs import ECHO
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

GIB = 1024**3
STATS = {
    "system": {"comfyui_version": "0.33.0", "python_version": "3.12.3 (main)", "pytorch_version": "2.13.0"},
    "devices": [{"name": "cuda:0 NVIDIA L4 : native", "type": "cuda", "vram_total": 24 * GIB, "vram_free": 20 * GIB}],
}
TOKEN = "token-that-nobody-may-see"


@pytest.fixture
async def guarded() -> AsyncGenerator[tuple[FakeComfyUI, str], None]:
    """A ComfyUI that wants to be told the token."""
    fake = FakeComfyUI()

    @web.middleware
    async def guard(request: web.Request, handler: Any) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {TOKEN}":
            return web.json_response({}, status=401)
        return await handler(request)

    app = fake.app
    app.middlewares.append(guard)
    async with served(app) as url:
        yield fake, url


class TestWhatIsKnown:
    async def test_a_comfyui_tells_its_gpu_and_versions_and_the_platform_what_it_has_to_do(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            one.comfyui.stats = two.comfyui.stats = STATS
            seen = await owner.get(f"/machine/{one.machine_id}")
            await owner.get(f"/machine/{two.machine_id}")
            facts = {
                "gpu": "NVIDIA L4",
                "vram_total": 24 * GIB,
                "vram_free": 20 * GIB,
                "comfyui_version": "0.33.0",
                "python_version": "3.12.3",
                "pytorch_version": "2.13.0",
            }
            assert seen.items() >= {**facts, "queue": 0, "working": 0, "processes": None}.items()
            pool_id = await pool_of(owner, one, two)
            both = await owner.get(f"/machine/{pool_id}")
            assert (both["gpu"], both["vram_total"], both["vram_free"]) == ("2 x NVIDIA L4", 48 * GIB, 40 * GIB)
            assert both["comfyui_version"] == "0.33.0"
            one.comfyui.script = two.comfyui.script = work_for_ever
            deployment_id = await deploy_on(owner, pool_id, diffusion(), check_machine=False)
            runs = [await owner.queue(deployment_id) for _ in range(4)]
            for run_id in runs[:2]:
                await owner.until(run_id, "running")
            listed = {each["id"]: each for each in await owner.get("/machines")}
            assert [(listed[each]["queue"], listed[each]["working"]) for each in (pool_id, one.machine_id)] == [
                (2, 2),
                (0, 1),
            ]
            for run_id in reversed(runs):
                await owner.post(f"/run/{run_id}/cancel", None)

    async def test_a_machine_that_is_down_has_no_free_memory_and_stays_what_it_was(self, owner: Talker, allow_log):
        async with boxes(owner, "one") as (one,):
            one.comfyui.stats = STATS
            await owner.get(f"/machine/{one.machine_id}")
            one.comfyui.is_down = True
            seen = await owner.get(f"/machine/{one.machine_id}")
            assert (seen["status"], seen["gpu"], seen["vram_free"]) == ("error", "NVIDIA L4", None)

    async def test_the_built_in_machine_tells_only_what_it_has_to_do(self, owner: Talker):
        (machine,) = await owner.get("/machines")
        assert (machine["gpu"], machine["comfyui_version"]) == (None, None)
        assert (machine["queue"], machine["working"]) == (0, 0)


class TestChanging:
    async def test_what_is_absent_stays_and_new_runs_go_to_the_new_address(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            before = await owner.get(f"/machine/{one.machine_id}")
            two_url = (await owner.get(f"/machine/{two.machine_id}"))["endpoint"]
            path = f"/machine/custom/{one.machine_id}"
            assert (await owner.patch(path, {}))["name"] == "one"
            assert (await owner.patch(path, {"name": "eins", "concurrency_limit": 3})).items() >= {
                "name": "eins",
                "concurrency_limit": 3,
                "endpoint": before["endpoint"],
            }.items()
            await owner.patch(path, {"endpoint": two_url})
            deployment_id = await deploy_on(owner, one.machine_id, diffusion(), check_machine=False)
            await owner.end_of(await owner.queue(deployment_id))
            assert (one.sent, two.sent) == (0, 1)

    async def test_an_address_where_nothing_answers_is_not_kept(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            path = f"/machine/custom/{one.machine_id}"
            said = await owner.refused(422, "PATCH", path, {"endpoint": "http://127.0.0.1:9"})
            assert said.startswith("body.endpoint: ")
            assert (await owner.get(f"/machine/{one.machine_id}"))["endpoint"] != "http://127.0.0.1:9"

    async def test_a_token_is_kept_taken_away_and_never_sent_to_another_host(
        self, platform, guarded: tuple[FakeComfyUI, str], allow_log
    ):
        _, url = guarded
        key = platform.owner.api_key
        async with talkers(platform.url, key, secrets=[key, TOKEN]) as (owner,), boxes(owner, "other") as (other,):
            body = {"name": "mine", "endpoint": url, "auth_token": TOKEN}
            machine_id = (await owner.post("/machine/custom", body))["id"]
            path, other_url = f"/machine/custom/{machine_id}", (await owner.get(f"/machine/{other.machine_id}"))
            said = await owner.refused(422, "PATCH", path, {"endpoint": other_url["endpoint"]})
            assert said.startswith("body.auth_token: has to be there with another address")
            assert (await owner.patch(path, {"endpoint": f"{url}/"}))["status"] == "ready"
            said = await owner.refused(422, "PATCH", path, {"endpoint": f"{url}/somebody-elses"})
            assert said.startswith("body.auth_token: ")
            assert (await owner.refused(422, "PATCH", path, {"auth_token": "wrong"})).startswith("body.auth_token: ")
            for empty in (None, ""):
                await owner.refused(422, "PATCH", path, {"auth_token": empty})
            moved = await owner.patch(path, {"endpoint": other_url["endpoint"], "auth_token": None})
            assert moved["status"] == "ready"
            assert (await owner.patch(path, {"endpoint": url, "auth_token": TOKEN}))["status"] == "ready"

    async def test_a_pool_has_exactly_the_machines_that_it_was_given_last(self, owner: Talker, stranger: Talker):
        foreign = (await stranger.get("/machines"))[0]["id"]
        async with boxes(owner, "one", "two") as (one, two):
            pool_id = await pool_of(owner, one)
            path = f"/machine/pool/{pool_id}"
            changed = await owner.patch(path, {"machine_ids": [two.machine_id], "name": "the other"})
            assert (changed["name"], changed["machine_ids"]) == ("the other", [two.machine_id])
            for wrong in ([foreign], [pool_id]):
                said = await owner.refused(422, "PATCH", path, {"machine_ids": wrong})
                assert said.startswith("body.machine_ids: ")
            assert (await owner.get(f"/machine/{pool_id}"))["machine_ids"] == [two.machine_id]
            deployment_id = await deploy_on(owner, pool_id, diffusion(), check_machine=False)
            await owner.end_of(await owner.queue(deployment_id))
            assert (one.sent, two.sent) == (0, 1)

    async def test_a_call_for_another_type_of_machine_changes_nothing_and_says_so(self, owner: Talker):
        builtin = (await owner.get("/machines"))[0]["id"]
        for method, path in (
            ("PATCH", f"/machine/serverless/{builtin}"),
            ("PATCH", f"/machine/pool/{builtin}"),
            ("POST", f"/machine/{builtin}/start"),
            ("POST", f"/machine/{builtin}/stop"),
        ):
            said = await owner.refused(409, method, path, {})
            assert "is a machine of the type 'builtin'" in said
        said = await owner.refused(422, "PATCH", f"/machine/custom/{builtin}", {"endpoint": "http://127.0.0.1:9"})
        assert "is nothing that a built-in machine has" in said
        assert (await owner.patch(f"/machine/custom/{builtin}", {"name": "mine"}))["name"] == "mine"


@pytest.mark.one_backing
class TestStartingAndStopping:
    @pytest.fixture
    async def managing(self, start_platform, tmp_path: Path) -> AsyncGenerator[tuple[Talker, str], None]:
        """Somebody with a machine whose ComfyUI the server starts."""
        folder = tmp_path / "ComfyUI"
        folder.mkdir()
        shutil.copy(comfyui_main.__file__, folder / "main.py")
        async with (
            start_platform(comfyui_folders={"main": folder}) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[str(tmp_path)]) as (owner,),
        ):
            assert await owner.get("/machines/comfyuis") == ["main"]
            yield owner, (await owner.post("/machine/serverless", {"name": "mine", "idle_timeout": 600}))["id"]

    async def test_it_is_started_used_and_stopped_and_whoever_follows_is_told(self, managing: tuple[Talker, str]):
        owner, machine_id = managing
        async with following(owner) as told:
            assert (await owner.post(f"/machine/{machine_id}/start", None))["type"] == "managed"

            await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id, processes=1))
            assert (await owner.get(f"/machine/{machine_id}"))["processes"] == 1
            assert (await owner.get(f"/machine/{machine_id}"))["comfyui_version"] == "0.9.9"
            changed = await owner.patch(f"/machine/serverless/{machine_id}", {"concurrency_limit": 2, "name": "ours"})
            assert (changed["name"], changed["concurrency_limit"], changed["idle_timeout"]) == ("ours", 2, 600)
            assert (await owner.post(f"/machine/{machine_id}/stop", {"force": True}))["processes"] == 0
            await told.until(lambda told: told.of(MachineChanged, machine_id=machine_id)[-1].processes == 0)
            assert (await owner.get(f"/machine/{machine_id}/logs"))[0]["is_running"] is False

    async def test_a_run_in_the_middle_of_a_forced_stop_fails_with_the_reason(
        self, managing: tuple[Talker, str], allow_log
    ):
        allow_log("could not be stopped on its machine")  # which is there no more
        owner, machine_id = managing
        deployment_id = await deploy_on(owner, machine_id, diffusion(text="work for ever"), check_machine=False)
        run_id = await owner.queue(deployment_id)
        await owner.until(run_id, "running")
        await owner.post(f"/machine/{machine_id}/stop", {"force": True})
        run = await owner.end_of(run_id)
        assert run["status"] == "failed"
        assert "in the middle of the run" in run["error"]["message"]


async def test_runs_of_the_built_in_machine_are_at_work_in_its_figures(owner: Talker):
    run_id = await owner.queue(await owner.deploy(ECHO))
    await owner.end_of(run_id)
    (machine,) = await owner.get("/machines")
    assert (machine["queue"], machine["working"]) == (0, 0)
