"""Lists of runs, by their workflow, their deployment and their status; and a run's request in both dialects."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from .graphs import ECHO, node, sleep
from .talking import Talker

pytestmark = pytest.mark.shared_platform

BAD_NODE = {"7": node("OutpostSleep", seconds="long")}


async def ids(owner: Talker, path: str) -> list[str]:
    answer = await owner.get(path)
    return [each["id"] for each in (answer["data"] if isinstance(answer, dict) else answer)]


@pytest.fixture
async def runs(owner: Talker) -> dict[str, str]:
    """One of each status, in the order in which they were asked for, and what they belong to."""
    echo, bad, long = await owner.deploy(ECHO), await owner.deploy(BAD_NODE), await owner.deploy(sleep(60))
    found = {"success": await owner.queue(echo, {"text": "what was said"}), "failed": await owner.queue(bad)}
    for run_id in found.values():
        await owner.end_of(run_id)
    found["cancelled"] = await owner.queue(long)
    await owner.post(f"/run/{found['cancelled']}/cancel", None)
    found["again"] = await owner.queue(echo)
    await owner.end_of(found["again"])
    workflow = (await owner.get(f"/deployment/{echo}"))["workflow_id"]
    return {**found, "echo": echo, "workflow": workflow}


class TestLists:
    async def test_they_come_newest_first_in_pages_and_without_their_outputs(self, owner: Talker, runs: dict[str, str]):
        everything = [runs[name] for name in ("again", "cancelled", "failed", "success")]
        assert await ids(owner, "/runs") == everything
        assert await ids(owner, "/runs?limit=2&offset=1") == everything[1:3]
        assert await ids(owner, "/runs?limit=0") == []
        listed = await owner.get("/runs")
        assert [each["outputs"] for each in listed] == [[]] * 4
        assert listed[3]["workflow_inputs"] is None
        assert listed[2]["error"].items() >= {"node_id": "7", "node_class": "OutpostSleep"}.items()

    async def test_each_filter_narrows_the_list(self, owner: Talker, runs: dict[str, str]):
        of_echo = [runs["again"], runs["success"]]
        for query, found in (
            (f"workflow_id={runs['workflow']}", of_echo),
            (f"deployment_id={runs['echo']}", of_echo),
            ("status=success", of_echo),
            ("status=failed", [runs["failed"]]),
            ("status=cancelled", [runs["cancelled"]]),
            ("status=queued", []),
            (f"status=failed&deployment_id={runs['echo']}", []),
            (f"status=success&workflow_id={runs['workflow']}&limit=1&offset=1", [runs["success"]]),
            (f"deployment_id={uuid4()}", []),
        ):
            assert await ids(owner, f"/runs?{query}") == found, query

    async def test_a_workflow_and_a_deployment_have_lists_of_their_own(self, owner: Talker, runs: dict[str, str]):
        of_workflow, of_deployment = f"/workflow/{runs['workflow']}/runs", f"/deployment/{runs['echo']}/runs"
        for path in (of_workflow, of_deployment):
            assert await ids(owner, path) == [runs["again"], runs["success"]]
            assert await ids(owner, f"{path}?status=failed") == []
            assert await ids(owner, f"{path}?limit=1&offset=1") == [runs["success"]]
        assert (await owner.get(f"{of_deployment}?limit=7&offset=1"))["meta"] == {"limit": 7, "offset": 1}

    async def test_of_somebody_elses_things_there_are_none(self, stranger: Talker, runs: dict[str, str]):
        for query in ("", f"?workflow_id={runs['workflow']}", f"?deployment_id={runs['echo']}", "?status=success"):
            assert await stranger.get(f"/runs{query}") == []

    @pytest.mark.one_backing
    @pytest.mark.parametrize(
        ("query", "where"),
        [
            ("status=done", "query.status: is one of not-started, queued"),
            ("workflow_id=x", "query.workflow_id"),
            ("deployment_id=", "query.deployment_id"),
            ("limit=-1", "query.limit"),
            ("limit=1001", "query.limit"),
            ("offset=-1", "query.offset"),
        ],
    )
    async def test_a_filter_that_is_none_is_told(self, owner: Talker, query: str, where: str):
        assert where in await owner.refused(422, "GET", f"/runs?{query}")


class TestRequests:
    @pytest.mark.parametrize("word", ["webhook", "webhook_url"])
    async def test_a_webhook_is_named_as_in_either_dialect(self, owner: Talker, word: str):
        deployment = await owner.deploy(ECHO)
        for url in ("http://127.0.0.1:1/hook?key=word", "http://[::1]/hook", "ftp://host/hook", "no URL"):
            said = await owner.refused(422, "POST", "/run/deployment/queue", {"deployment_id": deployment, word: url})
            assert said.startswith((f"body.{word}: ", "body.webhook: "))
            assert "word" not in said
        assert await owner.get(f"/runs?deployment_id={deployment}") == []

    async def test_fields_that_only_the_hosted_platform_has_are_kept_out(self, owner: Talker):
        more: dict[str, Any] = {
            "gpu": "H100",
            "flags": ["x"],
            "origin": "manual",
            "batch_number": 3,
            "is_native_run": 1,
        }
        run_id = await owner.queue(await owner.deploy(ECHO, name="hosted"), {"text": "hello"})
        body = {"deployment_id": (await owner.get(f"/run/{run_id}"))["deployment_id"], "inputs": {}, **more}
        run = await owner.end_of((await owner.post("/run/deployment/queue", body))["run_id"])
        assert (run["status"], run["gpu"], run["origin"]) == ("success", None, "api")

    async def test_sync_answers_in_the_order_of_the_outputs_and_names_a_run_that_failed(self, owner: Talker):
        two = {name: node("PreviewAny", source=name, output_id=name) for name in ("b", "a")}
        body = {"deployment_id": await owner.deploy(two)}
        outputs = await owner.post("/run/deployment/sync", body)
        assert [each["data"] for each in outputs] == [{"text": ["b"]}, {"text": ["a"]}]
        assert len({each["run_id"] for each in outputs}) == 1

        answer = await owner.ask("POST", "/run/deployment/sync", json={"deployment_id": await owner.deploy(BAD_NODE)})
        assert answer.status_code == 422
        run = await owner.get(f"/run/{answer.json()['run_id']}")
        assert run["status"] == "failed"
        assert run["error"]["message"] in answer.json()["detail"]
