"""Deployments: put in place, listed, changed, switched off and deleted; and what their graphs let a run change."""

from __future__ import annotations

from io import BytesIO
from typing import Any
from uuid import uuid4

import pytest
from PIL import Image

from .graphs import ECHO, EVERY_KIND, external, node, sleep
from .talking import Talker

pytestmark = pytest.mark.shared_platform

OPEN = {
    "1": node("EmptyImage", width=8, height=4, batch_size=1, color=0xFF0000),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept", output_id="result"),
}
"""Has no External node; its widgets are its inputs."""


async def parts(owner: Talker, graph: Any = ECHO, **more: Any) -> dict[str, Any]:
    """What a deployment is made of."""
    made = await owner.post("/workflow", {"name": "a workflow", "workflow_api": graph})
    machine = (await owner.get("/machines"))[0]["id"]
    return {
        "workflow_id": made["workflow_id"],
        "version_id": made["workflow_version_id"],
        "machine_id": machine,
        **more,
    }


async def of_workflow(owner: Talker, workflow_id: str) -> list[Any]:
    return [each for each in await owner.get("/deployments") if each["workflow_id"] == workflow_id]


class TestCreating:
    @pytest.mark.parametrize("name", ["version_id", "workflow_version_id"])
    async def test_the_version_is_named_as_in_either_dialect(self, owner: Talker, name: str):
        body = await parts(owner)
        version = body.pop("version_id")
        made = await owner.post("/deployment", {**body, name: version})
        assert made["workflow_version_id"] == made["version"]["id"] == version
        assert (made["name"], made["environment"], made["is_active"]) == ("a workflow", "production", True)
        assert made["workflow"] == {"id": body["workflow_id"], "name": "a workflow"}
        assert made["machine"] == {"id": body["machine_id"], "name": "built-in", "type": "builtin"}
        assert (made["run_timeout"], made["concurrency_limit"]) == (None, None)
        assert await owner.get(f"/deployment/{made['id']}") == made

    async def test_a_workflow_has_one_in_each_environment_which_the_next_replaces(self, owner: Talker):
        body = await parts(owner)
        first = await owner.post("/deployment", {**body, "name": "first", "run_timeout": 5, "concurrency_limit": 2})
        await owner.ask("POST", f"/deployment/{first['id']}/deactivate")
        again = await owner.post("/deployment", body)
        assert again.items() >= {"id": first["id"], "name": "first", "is_active": True}.items()
        assert (again["run_timeout"], again["concurrency_limit"]) == (5, 2), "what is not named stays"
        other = await owner.post("/deployment", {**body, "environment": "my-own-word"})
        assert {each["id"] for each in await of_workflow(owner, body["workflow_id"])} == {first["id"], other["id"]}

    async def test_one_that_is_named_is_replaced_wherever_it_is(self, owner: Talker):
        body = await parts(owner)
        first = await owner.post("/deployment", {**body, "environment": "staging"})
        moved = await owner.post("/deployment", {**body, "deployment_id": first["id"], "name": "moved"})
        assert (moved["id"], moved["environment"], moved["name"]) == (first["id"], "production", "moved")
        assert len(await of_workflow(owner, body["workflow_id"])) == 1

    async def test_of_what_is_not_there_or_not_ones_own_nothing_is_made(
        self, platform, owner: Talker, stranger: Talker
    ):
        mine, theirs, before = await parts(owner), await parts(stranger), await owner.get("/deployments")
        for wrong in ({"machine_id": str(uuid4())}, {"machine_id": platform.stranger.machine_id}):
            assert "There is no machine" in await owner.refused(404, "POST", "/deployment", {**mine, **wrong})
        for wrong in (
            {"workflow_id": theirs["workflow_id"]},
            {"version_id": theirs["version_id"]},
            {"version_id": (await parts(owner))["version_id"]},
        ):
            assert "There is no version" in await owner.refused(404, "POST", "/deployment", {**mine, **wrong})
        assert "no deployment" in await owner.refused(
            404, "POST", "/deployment", {**mine, "deployment_id": str(uuid4())}
        )
        assert await owner.get("/deployments") == before


class TestLists:
    async def test_without_a_filter_it_is_all_of_them_the_newest_change_first_and_without_graphs(self, owner: Talker):
        made = [await owner.deploy(ECHO, environment=each) for each in ("production", "staging", "preview")]
        listed = await owner.get("/deployments")
        assert [each["id"] for each in listed][:3] == made[::-1]
        assert {(each["version"]["workflow"], each["version"]["workflow_api"]) for each in listed} == {(None, None)}
        await owner.patch(f"/deployment/{made[0]}", {"name": "changed"})
        assert (await owner.get("/deployments"))[0]["id"] == made[0]
        (staging,) = await owner.get("/deployments?environment=staging")
        assert staging["id"] == made[1]
        assert await owner.get("/deployments?environment=never-used") == []

    async def test_it_comes_in_pages_by_either_name(self, owner: Talker):
        made = [await owner.deploy(ECHO) for _ in range(3)][::-1]
        for name in ("limit", "page_size"):
            page = await owner.get(f"/deployments?{name}=2&offset=1")
            assert [each["id"] for each in page][:2] == [*made, None][1:3]
        assert await owner.get("/deployments?page_size=0") == []

    @pytest.mark.own_platform
    async def test_is_fluid_tells_those_on_machines_that_are_started_on_demand(self, platform, owner: Talker):
        machines = platform.parts.store.machines
        machine = await machines.add(platform.owner.owner, name="on demand", kind="managed", slots=1)
        fluid = (await owner.post("/deployment", {**await parts(owner), "machine_id": machine}))["id"]
        found = {query: {each["id"] for each in await owner.get(f"/deployments{query}")} for query in FLUID}
        assert found["?is_fluid=true"] == {fluid}
        assert found["?is_fluid=false"] == found[""] - {fluid}
        assert fluid in found[""]


FLUID = ("", "?is_fluid=true", "?is_fluid=false")


class TestChanging:
    async def test_what_is_named_changes_and_the_rest_stays(self, platform, owner: Talker):
        body = await parts(owner)
        made = await owner.post("/deployment", body)
        version = await owner.post(f"/workflow/{body['workflow_id']}/version", {"workflow_api": OPEN})
        machine = (await owner.post("/machine/create", {"name": "another", "type": "builtin"}))["id"]
        for name in ("workflow_version_id", "version_id"):
            change = {"name": "new", "environment": "staging", "machine_id": machine, name: version["id"]}
            changed = await owner.patch(f"/deployment/{made['id']}", {**change, "run_timeout": 7})
            assert (changed["id"], changed["name"], changed["environment"]) == (made["id"], "new", "staging")
            assert (changed["machine_id"], changed["workflow_version_id"]) == (machine, version["id"])
            assert (changed["run_timeout"], changed["concurrency_limit"]) == (7, None)
            assert changed["input_types"] != made["input_types"]
            await owner.patch(f"/deployment/{made['id']}", {"version_id": body["version_id"]})

    async def test_null_takes_a_limit_away_and_leaves_what_cannot_be_empty(self, owner: Talker):
        made = await owner.post("/deployment", await parts(owner, run_timeout=5, concurrency_limit=1, name="kept"))
        nothing = dict.fromkeys(["run_timeout", "concurrency_limit", "name", "environment", "machine_id", "version_id"])
        changed = await owner.patch(f"/deployment/{made['id']}", nothing)
        kept = {name: made[name] for name in ("name", "environment", "machine_id", "workflow_version_id")}
        assert changed.items() >= {**kept, "run_timeout": None, "concurrency_limit": None}.items()

    async def test_what_cannot_be_is_refused_and_changes_nothing(self, platform, owner: Talker):
        body = await parts(owner)
        made = await owner.post("/deployment", body)
        await owner.post("/deployment", {**body, "environment": "staging"})
        before = await owner.get(f"/deployment/{made['id']}")
        for status, change in (
            (404, {"machine_id": platform.stranger.machine_id}),
            (404, {"machine_id": str(uuid4())}),
            (404, {"version_id": (await parts(owner))["version_id"]}),
            (404, {"version_id": str(uuid4())}),
            (409, {"environment": "staging"}),
            (422, {"concurrency_limit": 0}),
            (422, {"run_timeout": -1}),
            (422, {"name": "two\nlines"}),
        ):
            await owner.refused(status, "PATCH", f"/deployment/{made['id']}", {"name": "new", **change})
        assert await owner.get(f"/deployment/{made['id']}") == before


class TestSwitching:
    async def test_one_that_is_off_takes_no_runs_until_it_is_on_again(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        for _ in range(2):
            assert (await owner.post(f"/deployment/{deployment}/deactivate", None))["is_active"] is False
        body = {"deployment_id": deployment}
        for kind in ("queue", "sync", "stream"):
            said = await owner.refused(409, "POST", f"/run/deployment/{kind}", body)
            assert said == f"The deployment {deployment} is deactivated. Activate it, then run it."
        assert await owner.get(f"/runs?deployment_id={deployment}") == []
        for _ in range(2):
            assert (await owner.post(f"/deployment/{deployment}/activate", None))["is_active"] is True
        assert (await owner.end_of(await owner.queue(deployment)))["status"] == "success"

    async def test_runs_that_were_accepted_go_on(self, owner: Talker):
        deployment = await owner.deploy(sleep(0.3))
        runs = [await owner.queue(deployment) for _ in range(3)]
        await owner.post(f"/deployment/{deployment}/deactivate", None)
        assert [(await owner.end_of(run_id))["status"] for run_id in runs] == ["success"] * 3


class TestDeleting:
    @pytest.mark.parametrize("environment", ["production", "staging", "preview", "public-share"])
    async def test_one_in_any_environment_is_gone_and_its_place_is_free(self, owner: Talker, environment: str):
        body = await parts(owner, environment=environment)
        first = (await owner.post("/deployment", body))["id"]
        await owner.delete(f"/deployment/{first}")
        for method, path in (("GET", ""), ("DELETE", ""), ("POST", "/activate"), ("GET", "/runs")):
            said = await owner.refused(404, method, f"/deployment/{first}{path}")
            assert said == f"There is no deployment {first}"
        await owner.refused(404, "POST", "/run/deployment/queue", {"deployment_id": first})
        assert (await owner.post("/deployment", body))["id"] != first
        assert len(await of_workflow(owner, body["workflow_id"])) == 1

    async def test_runs_that_wait_fail_with_the_reason_and_those_at_work_finish(self, owner: Talker):
        deployment = await owner.deploy(sleep(0.5))
        runs = [await owner.queue(deployment) for _ in range(3)]
        for run_id in runs[:2]:
            await owner.until(run_id, "running")
        await owner.delete(f"/deployment/{deployment}")
        ended = [await owner.end_of(run_id) for run_id in runs]
        assert [run["status"] for run in ended] == ["success", "success", "failed"]
        assert ended[2]["error"]["message"] == "The deployment was deleted before the run began"


class TestLimits:
    async def test_no_more_runs_work_at_once_than_the_deployment_allows_and_others_pass_them(self, owner: Talker):
        deployment = await owner.deploy(sleep(60), concurrency_limit=1)
        first, second = [await owner.queue(deployment) for _ in range(2)]
        await owner.until(first, "running")
        assert (await owner.run(ECHO))["status"] == "success", "the machine has two places"
        assert (await owner.get(f"/run/{second}"))["status"] == "queued"
        await owner.post(f"/run/{first}/cancel", None)
        await owner.until(second, "running")
        await owner.post(f"/run/{second}/cancel", None)

    async def test_a_limit_that_is_taken_away_lets_the_next_run_begin(self, owner: Talker):
        deployment = await owner.deploy(sleep(60), concurrency_limit=1)
        runs = [await owner.queue(deployment) for _ in range(2)]
        await owner.until(runs[0], "running")
        await owner.patch(f"/deployment/{deployment}", {"concurrency_limit": None})
        await owner.until(runs[1], "running")
        for run_id in runs:
            await owner.post(f"/run/{run_id}/cancel", None)


class TestInputs:
    @pytest.mark.one_backing
    async def test_external_nodes_are_the_inputs_with_their_types_and_limits(self, owner: Talker):
        found = await owner.get(f"/deployment/{await owner.deploy(EVERY_KIND)}")
        inputs = {each["input_id"]: each for each in found["input_types"]}
        assert list(inputs) == ["image", "text", "steps", "strength", "loud", "size"]
        assert [each["type"] for each in inputs.values()] == [
            "string",
            "string",
            "integer",
            "float",
            "boolean",
            "string",
        ]
        assert [name for name, each in inputs.items() if each["required"]] == ["image"]
        assert inputs["steps"].items() >= {"default_value": 1, "min_value": 1, "max_value": 100}.items()
        assert inputs["size"]["enum_options"] == ["small", "large"]
        assert found["output_types"] == []

    @pytest.mark.one_backing
    async def test_without_any_the_graphs_open_widgets_are_the_inputs(self, owner: Talker):
        found = await owner.get(f"/deployment/{await owner.deploy(OPEN)}")
        inputs = {each["input_id"]: each for each in found["input_types"]}
        assert list(inputs) == ["1.width", "1.height", "1.batch_size", "1.color", "2.filename_prefix"]
        assert inputs["1.width"].items() >= {"type": "float", "default_value": 8, "required": False}.items()
        assert inputs["2.filename_prefix"].items() >= {"type": "string", "class_type": "SaveImage"}.items()
        (output,) = found["output_types"]
        assert output == {"output_id": "result", "class_type": "SaveImage", "node_id": "2"}

    async def test_a_value_for_a_widget_changes_the_run_and_not_the_next_one(self, owner: Talker):
        deployment = await owner.deploy(OPEN)
        changed = await self._picture(owner, deployment, {"1.width": 20, "1.color": 255, "2.filename_prefix": "mine"})
        assert changed == ((20, 4), (0, 0, 255), "mine_00001_.png")
        assert await self._picture(owner, deployment, {}) == ((8, 4), (255, 0, 0), "kept_00001_.png")

    async def test_widgets_can_be_set_beside_external_nodes_as_well(self, owner: Talker):
        graph = {**OPEN, "3": external("Text", "text", default_value="")}
        deployment = await owner.deploy(graph)
        found = await owner.get(f"/deployment/{deployment}")
        assert [each["input_id"] for each in found["input_types"]] == ["text"]
        size, *_ = await self._picture(owner, deployment, {"1.height": 9, "text": "x"})
        assert size == (8, 9)

    @pytest.mark.one_backing
    @pytest.mark.parametrize(
        ("input_id", "value", "says"),
        [
            ("1.width", "wide", "takes a number, not 'wide'"),
            ("1.width", True, "takes a number"),
            ("1.width", [1], "takes a number"),
            ("2.filename_prefix", False, "takes a text"),
            ("1.depth", 1, "There is no input '1.depth'"),
            ("2.images", "x", "There is no input '2.images'"),
            ("2.output_id", "x", "There is no input '2.output_id'"),
            ("9.width", 1, "There is no input '9.width'"),
            ("width", 1, "There is no input 'width'"),
        ],
        ids=str,
    )
    async def test_a_wrong_value_is_named_before_anything_runs(
        self, owner: Talker, input_id: str, value: Any, says: str
    ):
        deployment = await owner.deploy(OPEN)
        body = {"deployment_id": deployment, "inputs": {input_id: value}}
        answer = await owner.ask("POST", "/run/deployment/queue", json=body)
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert says in problem["msg"]
        assert await owner.get(f"/runs?deployment_id={deployment}") == []

    async def _picture(self, owner: Talker, deployment: str, inputs: Any) -> tuple[Any, Any, str]:
        run = await owner.end_of(await owner.queue(deployment, inputs))
        assert run["status"] == "success", run["error"]
        (file,) = run["outputs"][0]["data"]["images"]
        image = Image.open(BytesIO((await owner.ask("GET", file["url"])).content))
        return image.size, image.getpixel((0, 0)), file["filename"]
