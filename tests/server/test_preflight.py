"""What a machine lacks is said before a deployment is kept and before a run is queued."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any
from uuid import uuid4

import pytest
from comfyui_outpost.api.server import checking
from comfyui_outpost.tests.fakes.comfyui import node_class

from .gpus import QUICK, Box, boxes, deploy_on, diffusion, impatient, pool_of
from .graphs import ECHO, Graph, external, node
from .talking import Talker

# What a graph lacks is found in what the machine says.
pytestmark = pytest.mark.one_backing

GONE = "plane.safetensors"
HINT = "which is not on this machine. Written alike there: 'plain.safetensors'"
CHOOSING: Graph = {
    **diffusion(),
    "1": node("CheckpointLoaderSimple", ckpt_name=["5", 0]),
    "5": external("Checkpoint", "model", default_value="plain.safetensors"),
    "6": external("Text", "prompt"),
    "2": node("KSampler", seed=1, text=["6", 0], model=["1", 0]),
}
"""A graph whose model a run may choose."""


@pytest.fixture
async def gpu_owner(as_owner) -> AsyncGenerator[Talker, None]:
    """The owner of a platform that soon notices what happens to its machines."""
    async with as_owner(kinds={"comfyui": impatient}, health=QUICK) as owner:
        yield owner


@pytest.fixture
async def box(gpu_owner: Talker) -> AsyncGenerator[Box, None]:
    async with boxes(gpu_owner, "gpu box") as (box,):
        yield box


async def problems(owner: Talker, method: str, path: str, body: Any) -> list[Any]:
    """The place and reason of everything for which a request is refused."""
    response = await owner.ask(method, path, json=body)
    assert response.status_code == 422, response.text
    return [(".".join(each["loc"]), each["msg"]) for each in response.json()["detail"]]


async def kept(owner: Talker, graph: Graph) -> dict[str, str]:
    """A workflow's ids, as a deployment names them."""
    made = await owner.post("/workflow", {"name": "a test's graph", "workflow_json": {}, "workflow_api": graph})
    return {"workflow_id": made["workflow_id"], "workflow_version_id": made["workflow_version_id"]}


class TestDeployments:
    async def test_one_whose_model_is_not_there_is_refused_with_the_name_that_was_meant(self, gpu_owner, box: Box):
        wanted = {**await kept(gpu_owner, diffusion(GONE)), "machine_id": box.machine_id}
        [(place, reason)] = await problems(gpu_owner, "POST", "/deployment", wanted)
        assert place == "body.machine_id"
        what = f"node 1 (CheckpointLoaderSimple) needs ckpt_name '{GONE}', {HINT}"
        assert reason == f"the machine 'gpu box' cannot execute it: {what}"
        assert all(each["machine_id"] != box.machine_id for each in await gpu_owner.get("/deployments"))
        assert box.sent == 0

    async def test_everything_that_is_lacking_is_named_at_once(self, gpu_owner, box: Box):
        graph = {"1": node("ImageInvrt"), "2": node("SaveImage", images=["1", 0]), "3": node("KSampler", seed=1)}
        graph["4"] = node("SaveImage", images=["3", 0], filename_prefix="x")
        wanted = {**await kept(gpu_owner, graph), "machine_id": box.machine_id}
        reasons = [reason for _, reason in await problems(gpu_owner, "POST", "/deployment", wanted)]
        assert len(reasons) == 3
        assert "Written alike there: 'ImageInvert'" in reasons[0]
        assert "'filename_prefix' is missing" in reasons[1]
        assert "'text' is missing" in reasons[2]

    async def test_it_is_kept_all_the_same_where_no_check_is_wanted(self, gpu_owner, box: Box):
        graph = diffusion(GONE)
        deployment_id = await deploy_on(gpu_owner, box.machine_id, graph, check_machine=False)
        run_id = await gpu_owner.queue(deployment_id)
        assert (await gpu_owner.end_of(run_id))["status"] == "success", "the machine itself took it"

    async def test_a_setting_that_is_there_counts_where_none_is_given(self, gpu_owner, box: Box):
        ids = {**await kept(gpu_owner, diffusion(GONE)), "machine_id": box.machine_id}
        deployment = await gpu_owner.post("/deployment", {**ids, "check_machine": False})
        assert (await gpu_owner.post("/deployment", ids))["id"] == deployment["id"]
        assert await problems(gpu_owner, "POST", "/deployment", {**ids, "environment": "staging"})
        path = f"/deployment/{deployment['id']}"
        assert (await gpu_owner.patch(path, {"name": "another", "run_timeout": 9}))["name"] == "another"
        [(place, _)] = await problems(gpu_owner, "PATCH", path, {"check_machine": True})
        assert place == "body.check_machine"
        assert (await gpu_owner.get(path))["check_machine"] is False

    async def test_a_change_of_machine_or_version_is_checked_and_one_of_limits_is_not(self, gpu_owner, box: Box):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, diffusion())
        path = f"/deployment/{deployment_id}"
        workflow_id = (await gpu_owner.get(path))["workflow_id"]
        bad = await gpu_owner.post(f"/workflow/{workflow_id}/version", {"workflow_api": diffusion(GONE)})
        [(place, reason)] = await problems(gpu_owner, "PATCH", path, {"workflow_version_id": bad["id"]})
        assert (place, reason.endswith(HINT)) == ("body.workflow_version_id", True)
        async with boxes(gpu_owner, "without models") as (other,):
            other.comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[[]])
            [(place, reason)] = await problems(gpu_owner, "PATCH", path, {"machine_id": other.machine_id})
            assert (place, reason.endswith("It has none")) == ("body.machine_id", True)
        box.comfyui.classes.clear()
        assert (await gpu_owner.patch(path, {"run_timeout": 10}))["run_timeout"] == 10

    async def test_a_workflow_that_is_kept_with_a_machine_is_checked_on_it(self, gpu_owner, box: Box):
        body = {"name": "mine", "machine_id": box.machine_id}
        [(place, _)] = await problems(gpu_owner, "POST", "/workflow", {**body, "workflow_api": diffusion(GONE)})
        assert place == "body.workflow_api"
        assert all(each["name"] != "mine" for each in await gpu_owner.get("/workflows"))
        made = await gpu_owner.post("/workflow", {**body, "workflow_api": diffusion()})
        path, version = f"/workflow/{made['workflow_id']}/version", {"machine_id": box.machine_id}
        await problems(gpu_owner, "POST", path, {**version, "workflow_api": diffusion(GONE)})
        assert (await gpu_owner.post(path, {**version, "workflow_api": diffusion()}))["version"] == 2

    async def test_on_a_machine_that_cannot_say_it_is_kept(self, gpu_owner, box: Box, allow_log):
        box.comfyui.is_down = True
        assert await deploy_on(gpu_owner, box.machine_id, diffusion(GONE))

    async def test_a_machine_of_somebody_elses_is_not_asked(self, owner: Talker, stranger: Talker):
        async with boxes(owner, "gpu box") as (box,):
            body = {"name": "x", "workflow_api": diffusion(GONE), "machine_id": box.machine_id}
            assert "There is no machine" in await stranger.refused(404, "POST", "/workflow", body)
            assert not any("object_info" in seen.path for seen in box.comfyui.log.requests)


class TestRuns:
    async def test_one_that_chooses_a_model_that_is_not_there_is_refused_at_its_input(self, gpu_owner, box: Box):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, CHOOSING)
        body = {"deployment_id": deployment_id, "inputs": {"model": GONE, "prompt": "a cat"}}
        for kind in ("queue", "sync", "stream"):
            [(place, reason)] = await problems(gpu_owner, "POST", f"/run/deployment/{kind}", body)
            assert (place, reason.endswith(HINT)) == ("body.inputs.model", True)
        assert await gpu_owner.get("/runs") == []
        assert box.sent == 0

    async def test_one_that_sets_a_widget_is_refused_at_that(self, gpu_owner, box: Box):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, diffusion())
        body = {"deployment_id": deployment_id, "inputs": {"1.ckpt_name": GONE, "2.text": "a dog"}}
        [(place, _)] = await problems(gpu_owner, "POST", "/run/deployment/queue", body)
        assert place == "body.inputs.1.ckpt_name"

    async def test_a_model_that_was_added_since_makes_it_possible_at_once(self, gpu_owner, box: Box):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, CHOOSING)
        body = {"deployment_id": deployment_id, "inputs": {"model": GONE}}
        await problems(gpu_owner, "POST", "/run/deployment/queue", body)
        box.comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[[GONE, "plain.safetensors"]])
        run = await gpu_owner.end_of(await gpu_owner.queue(deployment_id, body["inputs"]))
        assert run["status"] == "success"

    async def test_what_the_graph_itself_lacks_is_said_of_the_deployment(self, gpu_owner, box: Box, allow_log):
        box.comfyui.is_down = True
        deployment_id = await deploy_on(gpu_owner, box.machine_id, diffusion(GONE))
        box.comfyui.is_down = False
        await gpu_owner.get(f"/machine/{box.machine_id}")
        body = {"deployment_id": deployment_id, "inputs": {"2.text": "a dog"}}
        [(place, reason)] = await problems(gpu_owner, "POST", "/run/deployment/queue", body)
        assert (place, reason.endswith(HINT)) == ("body.deployment_id", True)

    async def test_to_what_has_been_checked_a_machine_is_not_asked_again(self, gpu_owner, box: Box):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, CHOOSING)
        await gpu_owner.end_of(await gpu_owner.queue(deployment_id, {"prompt": "a cat"}))
        box.comfyui.log.requests.clear()
        for number in range(3):
            run_id = await gpu_owner.queue(deployment_id, {"prompt": f"cat {number}"})
            assert (await gpu_owner.end_of(run_id))["status"] == "success"
        assert not any("object_info" in seen.path for seen in box.comfyui.log.requests)

    async def test_for_a_machine_that_cannot_say_it_waits(self, gpu_owner, box: Box, allow_log):
        deployment_id = await deploy_on(gpu_owner, box.machine_id, CHOOSING)
        box.comfyui.is_down = True
        await gpu_owner.get(f"/machine/{box.machine_id}")
        assert (await gpu_owner.get(f"/run/{await gpu_owner.queue(deployment_id)}"))["status"] in (
            "not-started",
            "queued",
        )


class TestPools:
    async def test_one_machine_that_has_everything_is_enough(self, gpu_owner):
        async with boxes(gpu_owner, "one", "two") as (one, two):
            one.comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[[GONE]])
            pool_id = await pool_of(gpu_owner, one, two)
            for model in (GONE, "plain.safetensors"):
                deployment_id = await deploy_on(gpu_owner, pool_id, diffusion(model), environment=f"on-{model[:5]}")
                run = await gpu_owner.end_of(await gpu_owner.queue(deployment_id))
                assert run["status"] == "success"

    async def test_else_the_one_that_lacks_least_is_named(self, gpu_owner):
        async with boxes(gpu_owner, "one", "two") as (one, two):
            del one.comfyui.classes["KSampler"]
            pool_id = await pool_of(gpu_owner, one, two)
            wanted = {**await kept(gpu_owner, diffusion(GONE)), "machine_id": pool_id}
            [(_, reason)] = await problems(gpu_owner, "POST", "/deployment", wanted)
            assert reason.startswith("the machine 'two' cannot")

    async def test_what_a_run_may_choose_is_what_any_machine_of_it_has(self, gpu_owner):
        async with boxes(gpu_owner, "one", "two") as (one, two):
            del one.comfyui.classes["CheckpointLoaderSimple"]
            deployment_id = await deploy_on(gpu_owner, await pool_of(gpu_owner, one, two), CHOOSING)
            await gpu_owner.end_of(await gpu_owner.queue(deployment_id, {"model": "plain.safetensors"}))
            body = {"deployment_id": deployment_id, "inputs": {"model": GONE}}
            assert await problems(gpu_owner, "POST", "/run/deployment/queue", body)


class TestTheQuestionItself:
    async def test_a_graph_is_checked_without_being_kept(self, gpu_owner, box: Box):
        path = f"/machine/{box.machine_id}/check"
        assert await gpu_owner.post(path, {"workflow_api": diffusion()}) == {
            "is_known": True,
            "reason": None,
            "lacks": [],
        }
        answer = await gpu_owner.post(path, {"workflow_api": diffusion(GONE)})
        [lack] = answer["lacks"]
        assert {name: lack[name] for name in ("node_id", "node_class", "kind", "input_name", "value", "near")} == {
            "node_id": "1",
            "node_class": "CheckpointLoaderSimple",
            "kind": "choice",
            "input_name": "ckpt_name",
            "value": GONE,
            "near": ["plain.safetensors"],
        }
        assert lack["message"].endswith(HINT)

    async def test_of_the_editors_graph_the_classes_are_checked_and_no_more(self, gpu_owner, box: Box):
        workflow = {
            "nodes": [
                {"id": 1, "type": "CheckpointLoaderSimple", "widgets_values": [GONE]},
                {"id": 2, "type": "ImageInvrt", "mode": 0},
                {"id": 3, "type": "NotThere", "mode": 4},
                {"id": 4, "type": "MarkdownNote"},
                {"id": 5, "type": "a-subgraph"},
            ],
            "definitions": {"subgraphs": [{"id": "a-subgraph", "nodes": [{"id": 8, "type": "SaveImag"}]}]},
        }
        answer = await gpu_owner.post(f"/machine/{box.machine_id}/check", {"workflow": workflow})
        assert [(lack["node_id"], lack["near"]) for lack in answer["lacks"]] == [
            ("2", ["ImageInvert"]),
            ("5:8", ["SaveImage"]),
        ]

    async def test_a_pool_is_asked_as_one_and_a_machine_that_is_down_cannot_say(self, gpu_owner, allow_log):
        async with boxes(gpu_owner, "one", "two") as (one, two):
            pool_id = await pool_of(gpu_owner, one, two)
            one.comfyui.is_down = True
            answer = await gpu_owner.post(f"/machine/{pool_id}/check", {"workflow_api": diffusion()})
            assert (answer["is_known"], answer["lacks"]) == (True, [])
            answer = await gpu_owner.post(f"/machine/{one.machine_id}/check", {"workflow_api": diffusion()})
            assert (answer["is_known"], answer["lacks"]) == (False, [])
            assert "cannot be reached" in answer["reason"]
            assert one.comfyui.submitted == []

    @pytest.mark.parametrize("body", [{}, {"workflow_api": 5}, {"workflow_api": {"nodes": []}}, {"workflow": "{"}])
    async def test_a_body_without_a_graph_is_refused(self, owner: Talker, body: Any):
        machine_id = (await owner.get("/machines"))[0]["id"]
        await owner.refused(422, "POST", f"/machine/{machine_id}/check", body)

    async def test_the_built_in_machine_and_one_that_is_not_there_answer_too(self, owner: Talker):
        machine_id = (await owner.get("/machines"))[0]["id"]
        assert (await owner.post(f"/machine/{machine_id}/check", {"workflow_api": ECHO}))["lacks"] == []
        await owner.refused(404, "POST", f"/machine/{uuid4()}/check", {"workflow_api": ECHO})


async def test_what_is_remembered_of_very_many_graphs_is_let_go(gpu_owner, box: Box, monkeypatch):
    monkeypatch.setattr(checking, "_MAX_REMEMBERED", 1)
    first = await deploy_on(gpu_owner, box.machine_id, CHOOSING)
    second = await deploy_on(gpu_owner, box.machine_id, diffusion())
    for deployment_id in (first, second, first):
        assert (await gpu_owner.end_of(await gpu_owner.queue(deployment_id)))["status"] == "success"
