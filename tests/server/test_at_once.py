"""Several who change the same thing at once: nothing is lost, nothing is there twice, and nobody is told an error of
the server's."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import httpx
import pytest

from .graphs import ECHO, png, sleep
from .talking import Talker

pytestmark = pytest.mark.shared_platform


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


async def at_once(owner: Talker, *calls: tuple[str, str, Any]) -> list[httpx.Response]:
    """The answers to requests that are sent together: method, path and body."""
    return await asyncio.gather(*(owner.ask(method, path, json=body) for method, path, body in calls))


async def test_versions_that_are_added_at_once_have_numbers_of_their_own(owner: Talker):
    workflow = (await owner.post("/workflow", {"name": "a workflow"}))["workflow_id"]
    path = f"/workflow/{workflow}/version"
    answers = await at_once(owner, *(("POST", path, {"workflow": {"number": n}}) for n in range(15)))
    assert statuses(answers) == {200: 15}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(2, 17))
    pages = [await owner.get(f"/workflow/{workflow}/versions?include_graphs=true&offset={start}") for start in (0, 10)]
    kept = [each for page in pages for each in page]
    assert sorted(each["workflow"]["number"] for each in kept if each["version"] > 1) == list(range(15))


async def test_a_workflow_that_is_deployed_at_once_has_one_deployment(owner: Talker):
    made = await owner.post("/workflow", {"name": "a workflow", "workflow_api": ECHO})
    ids = {"workflow_id": made["workflow_id"], "version_id": made["workflow_version_id"]}
    ids["machine_id"] = (await owner.get("/machines"))[0]["id"]
    answers = await at_once(owner, *(("POST", "/deployment", {**ids, "name": f"n{n}"}) for n in range(10)))
    found = statuses(answers)
    assert found[200] >= 1
    assert set(found) <= {200, 409}
    for answer in answers:
        assert answer.status_code == 200 or "try again" in answer.json()["detail"]
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 200}) == 1
    kept = [each for each in await owner.get("/deployments") if each["workflow_id"] == made["workflow_id"]]
    assert len(kept) == 1


async def test_changes_of_different_fields_at_once_are_all_kept(owner: Talker):
    deployment = await owner.deploy(ECHO)
    workflow = (await owner.get(f"/deployment/{deployment}"))["workflow_id"]
    changes = {"name": "new", "description": "told", "pinned": True, "cover_image": "http://host/a.png"}
    limits = {"name": "new", "run_timeout": 5.0, "concurrency_limit": 3, "environment": "staging"}
    answers = await at_once(
        owner,
        *(("PATCH", f"/workflow/{workflow}", {name: value}) for name, value in changes.items()),
        *(("PATCH", f"/deployment/{deployment}", {name: value}) for name, value in limits.items()),
    )
    assert statuses(answers) == {200: 8}
    assert (await owner.get(f"/workflow/{workflow}")).items() >= changes.items()
    assert (await owner.get(f"/deployment/{deployment}")).items() >= limits.items()


@pytest.mark.parametrize("what", ["workflow", "deployment", "machine"])
async def test_of_several_who_delete_one_is_told_that_it_was(owner: Talker, what: str):
    deployment = await owner.get(f"/deployment/{await owner.deploy(sleep(60))}")
    runs = [await owner.queue(deployment["id"]) for _ in range(4)]
    path = f"/{what}/{deployment['id' if what == 'deployment' else f'{what}_id']}"
    answers = await at_once(owner, *(("DELETE", f"{path}?force=true", None) for _ in range(6)))
    assert statuses(answers) == {200: 1, 404: 5}
    await asyncio.gather(*(owner.ask("POST", f"/run/{run_id}/cancel") for run_id in runs))
    ended = [await owner.end_of(run_id) for run_id in runs]
    assert {run["status"] for run in ended} <= {"cancelled", "failed"}


async def test_a_queue_and_the_end_of_its_deployment_at_once_leave_no_run_without_an_end(owner: Talker):
    deployment = await owner.deploy(ECHO)
    body = {"deployment_id": deployment}
    calls: list[tuple[str, str, Any]] = [("POST", "/run/deployment/queue", body) for _ in range(12)]
    calls.insert(6, ("DELETE", f"/deployment/{deployment}", None))
    answers = await at_once(owner, *calls)
    assert set(statuses(answers)) <= {200, 404}
    for answer in answers:
        if run_id := answer.json().get("run_id"):
            run = await owner.end_of(run_id)
            assert run["status"] in ("success", "failed")
            assert run["status"] == "success" or "was deleted" in run["error"]["message"]


class TestFolders:
    async def test_one_of_several_of_the_same_name_is_made(self, owner: Talker):
        answers = await at_once(owner, *(("POST", "/assets/folder", {"name": "refs"}) for _ in range(8)))
        assert statuses(answers) == {200: 1, 409: 7}
        assert [each["name"] for each in await owner.get("/assets")] == ["refs"]

    async def test_two_that_are_moved_into_one_another_do_not_leave_the_library(self, owner: Talker):
        for number in range(5):
            made = [await owner.post("/assets/folder", {"name": f"{name}{number}"}) for name in "ab"]
            await at_once(
                owner,
                *(("PATCH", f"/assets/{one['id']}", {"path": other["path"]}) for one, other in (made, made[::-1])),
            )
            assert set(await _paths(owner)) >= {each["name"] for each in made}
            paths = await _paths(owner)
            assert sorted(len(paths[each["name"]]) for each in made) == [1, 2], paths

    async def test_what_comes_into_one_that_is_deleted_or_moved_is_where_it_can_be_found(self, platform, owner: Talker):
        for number in range(6):
            parent = await owner.post("/assets/folder", {"name": f"in{number}"})
            inner = await owner.post("/assets/folder", {"name": "inner", "parent_path": parent["path"]})
            path, end = f"/assets/upload?parent_path={inner['path']}", f"/assets/{parent['id']}"
            new = {"name": "new", "parent_path": inner["path"]}
            moved = owner.ask("DELETE", end) if number % 2 else owner.ask("PATCH", end, json={"name": f"out{number}"})
            files = [owner.ask("POST", path, files={"file": (f"{n}.png", png())}) for n in range(4)]
            answers = await asyncio.gather(*files[:2], moved, *files[2:], owner.ask("POST", "/assets/folder", json=new))
            assert set(statuses(answers)) <= {200, 404}
        everything = {each["id"] for each in await owner.get("/assets/search?query=&limit=1000")}
        assert everything == set(await _walk(owner))


async def _paths(owner: Talker) -> dict[str, list[str]]:
    """The parts of the path of each folder that can be reached from the top, by its name."""
    return {each["name"]: each["path"].split("/") for each in (await _walk(owner)).values() if each["is_folder"]}


async def _walk(owner: Talker, path: str = "") -> dict[str, Any]:
    """Everything that is in a folder, at any depth, by its id."""
    found = {each["id"]: each for each in await owner.get("/assets", params={"path": path})}
    for each in list(found.values()):
        if each["is_folder"]:
            found |= await _walk(owner, each["path"])
    return found
