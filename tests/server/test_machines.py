"""Machines: made of every type, checked before they are kept, listed, and deleted with or without force."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from comfyui_outpost.api.server.machines.process_logs import ProcessLogs
from comfyui_outpost.tests.fakes.comfyui import FakeComfyUI, serve

from .graphs import ECHO, sleep
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

TOKEN = "token-that-nobody-may-see"


@pytest.fixture
async def endpoint() -> AsyncGenerator[str, None]:
    """A ComfyUI that runs already."""
    async with serve(FakeComfyUI()) as url:
        yield url


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    """Two ComfyUIs that the operator has allowed; one of them has gone since."""
    (tmp_path / "stable").mkdir()
    (tmp_path / "stable" / "main.py").touch()
    return {"stable": tmp_path / "stable", "gone": tmp_path / "gone"}


async def names(owner: Talker, query: str = "") -> list[str]:
    return [each["name"] for each in await owner.get(f"/machines{query}")]


class TestLists:
    async def test_they_come_oldest_first_in_pages_and_by_a_part_of_the_name(self, owner: Talker):
        for name in ("GPU eins", "ЖЕЛЕЗО", "100%"):
            await owner.post("/machine/create", {"name": name, "type": "builtin"})
        assert await names(owner) == ["built-in", "GPU eins", "ЖЕЛЕЗО", "100%"]
        assert await names(owner, "?limit=2&offset=1") == ["GPU eins", "ЖЕЛЕЗО"]
        for words, found in (("gpu", "GPU eins"), ("железо", "ЖЕЛЕЗО"), ("%", "100%")):
            assert [each["name"] for each in await owner.get("/machines", params={"search": words})] == [found]
        assert await names(owner, "?search=_") == []


class TestCreating:
    @pytest.mark.parametrize(
        ("path", "kind"),
        [("create", "comfyui"), ("create", "classic"), ("custom", "comfyui"), ("custom", "classic"), ("custom", None)],
    )
    async def test_a_comfyui_that_runs_is_added_by_its_address(
        self, owner: Talker, endpoint: str, path: str, kind: Any
    ):
        body = {"name": "mine", "endpoint": endpoint, "auth_token": TOKEN, "concurrency_limit": 2}
        made = await owner.post(f"/machine/{path}", body | ({"type": kind} if kind else {}))
        assert made.items() >= {"name": "mine", "type": "comfyui", "status": "ready", "endpoint": endpoint}.items()
        assert made["concurrency_limit"] == 2
        for answer in (made, await owner.get("/machines"), await owner.get(f"/machine/{made['id']}")):
            assert TOKEN not in json.dumps(answer)
            assert "auth_token" not in json.dumps(answer)

    @pytest.mark.one_backing
    @pytest.mark.parametrize("path", ["create", "custom"])
    async def test_what_is_no_comfyui_is_refused_and_not_kept(
        self, platform, owner: Talker, path: str, unused_tcp_port
    ):
        before = await names(owner)
        for address, says in (
            (platform.url, "is no ComfyUI"),
            (f"http://127.0.0.1:{unused_tcp_port}", ""),
            ("http://host.invalid", ""),
            ("ftp://127.0.0.1", "pattern"),
            ("not a URL", "pattern"),
            ("file:///etc/passwd", "pattern"),
        ):
            body = {"name": "mine", "type": "comfyui", "endpoint": address, "auth_token": TOKEN}
            said = await owner.refused(422, "POST", f"/machine/{path}", body)
            assert said.startswith("body.endpoint: ")
            assert says in said
            assert TOKEN not in said
        assert await names(owner) == before

    @pytest.mark.one_backing
    async def test_which_fields_a_type_needs_is_told(self, owner: Talker):
        said = await owner.refused(422, "POST", "/machine/create", {"name": "mine", "type": "comfyui"})
        assert said == "body.endpoint: Field required"
        said = await owner.refused(422, "POST", "/machine/create", {"name": "mine", "type": "gpu"})
        assert said.startswith("body.type: Input should be 'builtin', 'comfyui'")

    @pytest.mark.one_backing
    @pytest.mark.parametrize("body", [{}, {"type": "managed"}, {"type": "serverless"}], ids=str)
    async def test_one_that_is_started_on_demand_is_from_an_allowed_folder(self, as_owner, folders, body):
        path = "/machine/create" if body else "/machine/serverless"
        async with as_owner(comfyui_folders={"stable": folders["stable"]}) as owner:
            wanted = {**body, "name": "mine", "idle_timeout": 5, "keep_warm": True, "concurrency_limit": 2}
            made = await owner.post(path, wanted)
            assert made.items() >= {"type": "managed", "status": "ready", "idle_timeout": 5}.items()
            assert (made["keep_warm"], made["endpoint"], made["concurrency_limit"]) == (True, None, 2)
            for name in (str(folders["stable"]), "../stable", "/etc", "other"):
                said = await owner.refused(422, "POST", path, {**wanted, "comfyui": name})
                assert said == "body.comfyui: has to be one that the server may start: 'stable'"
            wanted["folder"] = str(folders["gone"])
            assert (await owner.post(path, wanted))["status"] == "ready", "what is not known is kept out"
            (folders["stable"] / "main.py").unlink()
            broken = await owner.get(f"/machine/{made['id']}")
            assert (broken["status"], "no main.py" in broken["status_reason"]) == ("error", True)

    @pytest.mark.one_backing
    async def test_of_several_folders_one_has_to_be_named(self, as_owner, folders):
        async with as_owner(comfyui_folders=folders) as owner:
            said = await owner.refused(422, "POST", "/machine/serverless", {"name": "mine"})
            assert said == "body.comfyui: has to be one that the server may start: 'stable', 'gone'"
            made = await owner.post("/machine/serverless", {"name": "mine", "comfyui": "gone"})
            assert made["status"] == "error"
            assert "no main.py" in made["status_reason"]

    @pytest.mark.one_backing
    async def test_without_an_allowed_folder_nothing_is_started(self, owner: Talker):
        before = await names(owner)
        said = await owner.refused(422, "POST", "/machine/serverless", {"name": "mine", "comfyui": "stable"})
        assert "--comfyui-folder" in said
        assert await names(owner) == before

    async def test_a_machine_works_at_once(self, owner: Talker):
        made = await owner.post("/machine/create", {"name": "mine", "type": "builtin", "concurrency_limit": 3})
        deployment = await owner.deploy(ECHO)
        await owner.patch(f"/deployment/{deployment}", {"machine_id": made["id"]})
        run = await owner.end_of(await owner.queue(deployment))
        assert (run["status"], run["machine_id"]) == ("success", made["id"])


class TestLogs:
    async def test_the_ends_of_the_logs_come_newest_first_and_are_the_owners_alone(self, start_platform):
        async with start_platform() as platform:
            machine_id = await platform.parts.store.machines.add(
                platform.owner.owner, name="on demand", kind="managed", slots=1, comfyui="gone"
            )
            await platform.parts.fleet.refresh()
            logs = ProcessLogs(platform.parts.config.data / "logs", machine_id)
            logs.new().parent.mkdir()
            for text in ("of the first process", "of the second"):
                logs.new().write_text(text)
            path, keys = f"/machine/{machine_id}/logs", (platform.owner.api_key, platform.stranger.api_key)
            async with talkers(platform.url, *keys, secrets=[*keys, str(platform.parts.config.data)]) as people:
                owner, stranger = people
                found = await owner.get(f"{path}?limit_bytes=6")
                assert [(log["text"], log["is_running"]) for log in found] == [("second", False), ("rocess", False)]
                assert [log["name"] for log in found] == [each.name for each in logs.files()]
                assert found[0]["started_at"] > found[1]["started_at"]
                for wrong in ("0", "1048577", "all"):
                    assert "limit_bytes" in await owner.refused(422, "GET", f"{path}?limit_bytes={wrong}")
                await stranger.refused(404, "GET", path)

    async def test_other_machines_and_pools_have_none(self, platform, owner: Talker, endpoint: str):
        custom = await owner.post("/machine/custom", {"name": "mine", "endpoint": endpoint})
        ids = [platform.owner.machine_id, custom["id"]]
        pool = await owner.post("/machine/create", {"name": "all", "type": "pool", "machine_ids": ids})
        for machine_id in (*ids, pool["id"]):
            assert await owner.get(f"/machine/{machine_id}/logs") == []


class TestDeleting:
    async def test_one_that_deployments_use_stays_and_they_are_named(self, platform, owner: Talker):
        machine = platform.owner.machine_id
        for number in range(7):
            await owner.deploy(ECHO, name=f"user {number}")
        said = await owner.refused(409, "DELETE", f"/machine/{machine}")
        assert "'user 6', 'user 5', 'user 4', 'user 3', 'user 2', …" in said
        assert "force=true" in said
        assert (await owner.get(f"/machine/{machine}"))["status"] == "ready"

    async def test_one_that_nobody_uses_is_gone(self, owner: Talker):
        made = await owner.post("/machine/create", {"name": "mine", "type": "builtin"})
        deployment = await owner.deploy(ECHO)
        await owner.patch(f"/deployment/{deployment}", {"machine_id": made["id"]})
        await owner.delete(f"/deployment/{deployment}")
        await owner.delete(f"/machine/{made['id']}")
        for method in ("GET", "DELETE"):
            said = await owner.refused(404, method, f"/machine/{made['id']}")
            assert said == f"There is no machine {made['id']}"
        assert await names(owner) == ["built-in"]

    async def test_by_force_its_waiting_runs_fail_and_those_at_work_finish(self, platform, owner: Talker):
        machine, deployment = platform.owner.machine_id, await owner.deploy(sleep(2))
        runs = [await owner.queue(deployment) for _ in range(3)]
        for run_id in runs[:2]:
            await owner.until(run_id, "running")
        await owner.delete(f"/machine/{machine}?force=true")
        ended = [await owner.end_of(run_id) for run_id in runs]
        assert [run["status"] for run in ended] == ["success", "success", "failed"]
        assert ended[2]["error"]["message"] == "The machine was deleted before the run began"

        said = await owner.refused(404, "POST", "/run/deployment/queue", {"deployment_id": deployment})
        assert said == f"The machine of the deployment {deployment} was deleted, so it cannot run any more"
        made = await owner.post("/machine/create", {"name": "another", "type": "builtin"})
        await owner.patch(f"/deployment/{deployment}", {"machine_id": made["id"]})
        assert (await owner.end_of(await owner.queue(deployment)))["status"] == "success"

    async def test_it_is_no_choice_any_more(self, owner: Talker):
        made = await owner.post("/machine/create", {"name": "mine", "type": "builtin"})
        workflow = (await owner.post("/workflow", {"name": "a workflow"}))["workflow_id"]
        await owner.delete(f"/machine/{made['id']}")
        chosen = {"selected_machine_id": made["id"]}
        await owner.refused(404, "PATCH", f"/workflow/{workflow}", chosen)
        await owner.refused(404, "POST", "/workflow", {"name": "a workflow", "machine_id": made["id"]})

    async def test_a_machine_that_never_was_is_not_there(self, owner: Talker):
        for query in ("", "?force=true"):
            await owner.refused(404, "DELETE", f"/machine/{uuid4()}{query}")
        await owner.refused(422, "DELETE", f"/machine/{uuid4()}?force=perhaps")
