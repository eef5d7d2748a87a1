"""Workflows and their versions: kept in both dialects, found, changed, copied and deleted."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from .graphs import ECHO, sleep
from .talking import Talker

pytestmark = pytest.mark.shared_platform

EDITOR = {"nodes": [{"id": 1, "title": "what stands in the editor"}], "links": []}


async def create(owner: Talker, name: str = "a workflow", **more: Any) -> str:
    """A new workflow; its id."""
    return (await owner.post("/workflow", {"name": name, **more}))["workflow_id"]


async def add_version(owner: Talker, workflow_id: str, comment: str, **more: Any) -> Any:
    body = {"workflow": EDITOR, "workflow_api": ECHO, "comment": comment, **more}
    return await owner.post(f"/workflow/{workflow_id}/version", body)


async def names(owner: Talker, query: str = "") -> list[str]:
    return [each["name"] for each in await owner.get(f"/workflows{query}")]


class TestCreating:
    @pytest.mark.parametrize("name", ["workflow", "workflow_json"])
    @pytest.mark.parametrize("write", [json.dumps, lambda graph: graph], ids=["text", "object"])
    async def test_graphs_are_taken_in_both_dialects_and_answered_as_objects(self, owner: Talker, name: str, write):
        graphs = {name: write(EDITOR), "workflow_api": write(ECHO)}
        made = await owner.post("/workflow", {"name": "a workflow", "description": "for a test", **graphs})
        assert (made["version"], made["machine_id"]) == (1, None)
        whole = await owner.get(f"/workflow/{made['workflow_id']}")
        assert (whole["name"], whole["description"], whole["pinned"]) == ("a workflow", "for a test", False)
        (version,) = whole["versions"]
        assert (version["id"], version["workflow"]) == (made["workflow_version_id"], EDITOR)
        assert version["workflow_api"] == ECHO

        added = await owner.post(f"/workflow/{made['workflow_id']}/version", graphs)
        assert (added["version"], added["workflow"], added["workflow_api"]) == (2, EDITOR, ECHO)

    async def test_fields_that_are_not_known_are_kept_out(self, owner: Talker):
        workflow = await create(
            owner, id=str(uuid4()), pinned=True, owner_id="somebody", deleted_at="now", nonsense=[1]
        )
        whole = await owner.get(f"/workflow/{workflow}")
        assert whole["pinned"] is False
        assert not {"nonsense", "deleted_at", "owner_id"} & set(whole)

    async def test_a_version_needs_one_of_the_two_graphs(self, owner: Talker):
        workflow = await create(owner)
        said = await owner.refused(422, "POST", f"/workflow/{workflow}/version", {"comment": "nothing"})
        assert said == "body: a version has a workflow, a workflow_api, or both"
        assert len(await owner.get(f"/workflow/{workflow}/versions")) == 1

    async def test_with_a_machine_each_new_version_can_be_run_at_once(self, platform, owner: Talker):
        machine = {"machine_id": platform.owner.machine_id}
        made = await owner.post("/workflow", {"name": "a workflow", "workflow_api": {}, **machine})
        assert made["machine_id"] == machine["machine_id"]
        (first,) = await owner.get("/deployments?environment=preview")
        version = await add_version(owner, made["workflow_id"], "better", **machine)
        (second,) = await owner.get("/deployments?environment=preview")
        assert (second["id"], second["workflow_version_id"]) == (first["id"], version["id"])
        assert (await owner.end_of(await owner.queue(first["id"])))["status"] == "success"

    async def test_with_a_machine_that_is_not_there_nothing_is_kept(self, platform, owner: Talker):
        workflow, before = await create(owner), len(await owner.get("/workflows")) + 1
        for machine in (str(uuid4()), platform.stranger.machine_id):
            body = {"name": "a workflow", "workflow": EDITOR, "machine_id": machine}
            for path in ("/workflow", f"/workflow/{workflow}/version"):
                assert await owner.refused(404, "POST", path, body) == f"There is no machine {machine}"
        assert len(await owner.get("/workflows")) + 1 == before
        assert len(await owner.get(f"/workflow/{workflow}/versions")) == 1


class TestLists:
    async def test_the_pinned_come_first_and_then_the_newest_change(self, owner: Talker):
        ids = {name: await create(owner, name) for name in "abcd"}
        assert (await names(owner))[:4] == ["d", "c", "b", "a"]
        await owner.patch(f"/workflow/{ids['b']}", {"pinned": True})
        assert (await names(owner))[:4] == ["b", "d", "c", "a"]
        await add_version(owner, ids["a"], "newer")
        assert (await names(owner))[:4] == ["b", "a", "d", "c"]
        await owner.patch(f"/workflow/{ids['b']}", {"pinned": False})
        assert (await names(owner))[:4] == ["a", "d", "c", "b"], "pinning is no change"

    async def test_a_list_comes_in_pages_and_without_versions(self, owner: Talker):
        for number in range(4):
            await create(owner, f"n{number}", workflow=EDITOR)
        everything = await owner.get("/workflows")
        pages = [await owner.get(f"/workflows?limit=2&offset={offset}") for offset in (0, 2, 4)]
        assert [each for page in pages for each in page] == everything
        assert await owner.get("/workflows?limit=0") == []
        assert await owner.get("/workflows?offset=1000000") == []
        assert "the editor" not in json.dumps(everything)

    @pytest.mark.parametrize(
        ("words", "found"),
        [
            ("flux", ["Flux fill"]),
            ("FLUX", ["Flux fill"]),
            ("größen", ["GRÖßENWAHN"]),
            ("ÑANDÚ", ["el ñandú"]),
            ("привет", ["ПРИВЕТ мир"]),
            ("🙂", ["smile 🙂"]),
            ("50%", ["50% off"]),
            ("%", ["50% off"]),
            ("_", ["under_score"]),
            ("\\", ["back\\slash"]),
            ("/", ["a/b"]),
            ("'", ["it's"]),
            ("nothing of this", []),
        ],
    )
    async def test_a_search_is_for_a_part_of_the_name_in_any_script(self, owner: Talker, words: str, found: list[str]):
        for name in ("Flux fill", "GRÖßENWAHN", "el ñandú", "ПРИВЕТ мир", "smile 🙂", "50% off", "under_score"):
            await create(owner, name)
        for name in ("back\\slash", "a/b", "it's"):
            await create(owner, name)
        answer = await owner.get("/workflows", params={"search": words})
        assert [each["name"] for each in answer] == found


class TestChanging:
    async def test_what_is_named_changes_and_the_rest_stays(self, platform, owner: Talker):
        workflow, machine = await create(owner, description="old"), platform.owner.machine_id
        before = await owner.get(f"/workflow/{workflow}")
        values = {"name": "new", "cover_image": "https://host.example/a.png", "selected_machine_id": machine}
        changed = await owner.patch(f"/workflow/{workflow}", {**values, "pinned": True})
        assert changed.items() >= {**values, "pinned": True, "description": "old"}.items()
        assert changed["updated_at"] > before["updated_at"]
        assert (await owner.get(f"/workflow/{workflow}"))["created_at"] == before["created_at"]

    async def test_null_clears_what_may_be_empty_and_leaves_what_may_not(self, platform, owner: Talker):
        workflow = await create(owner, "kept", description="old")
        cover = {"cover_image": "https://host.example/a.png", "selected_machine_id": platform.owner.machine_id}
        await owner.patch(f"/workflow/{workflow}", {**cover, "pinned": True})
        nothing = dict.fromkeys([*cover, "description", "name", "pinned"])
        cleared = await owner.patch(f"/workflow/{workflow}", nothing)
        assert cleared.items() >= {**nothing, "name": "kept", "pinned": True}.items()
        assert await owner.patch(f"/workflow/{workflow}", {}) == cleared

    async def test_somebody_elses_machine_cannot_be_chosen(self, platform, owner: Talker):
        workflow, machine = await create(owner), platform.stranger.machine_id
        body = {"selected_machine_id": machine, "name": "new"}
        assert await owner.refused(404, "PATCH", f"/workflow/{workflow}", body) == f"There is no machine {machine}"
        assert (await owner.get(f"/workflow/{workflow}"))["name"] == "a workflow"


class TestVersions:
    async def test_they_come_newest_first_and_without_their_graphs_unless_these_are_asked_for(self, owner: Talker):
        workflow = await create(owner, workflow=EDITOR)
        for comment in ("Second", "third 100%"):
            await add_version(owner, workflow, comment)
        path = f"/workflow/{workflow}/versions"
        light = await owner.get(path)
        assert [(each["version"], each["comment"]) for each in light] == [(3, "third 100%"), (2, "Second"), (1, None)]
        assert {(each["workflow"], each["workflow_api"]) for each in light} == {(None, None)}
        heavy = await owner.get(f"{path}?include_graphs=true")
        assert [each["workflow"] for each in heavy] == [EDITOR] * 3
        assert [each["version"] for each in await owner.get(f"{path}?limit=1&offset=1")] == [2]
        assert [each["version"] for each in await owner.get(f"{path}?search=SECOND")] == [2]
        assert [each["version"] for each in await owner.get(f"{path}?search=%25")] == [3]

    async def test_one_is_found_by_its_number_and_by_its_id_as_a_whole(self, owner: Talker):
        workflow = await create(owner)
        added = await add_version(owner, workflow, "second")
        assert await owner.get(f"/workflow/{workflow}/version/2") == added
        assert await owner.get(f"/workflow-version/{added['id']}") == added
        assert (added["workflow"], added["workflow_api"]) == (EDITOR, ECHO)
        said = await owner.refused(404, "GET", f"/workflow/{workflow}/version/3")
        assert said == f"The workflow {workflow} has no version 3"
        for number in ("0", "-1", "x", "2.5", "9" * 30, "%00"):
            await owner.refused(404, "GET", f"/workflow/{workflow}/version/{number}")

    async def test_a_workflow_shows_as_many_of_its_newest_as_are_asked_for(self, owner: Talker):
        workflow = await create(owner)
        await add_version(owner, workflow, "second")
        for limit, numbers in ((0, []), (1, [2]), (5, [2, 1])):
            whole = await owner.get(f"/workflow/{workflow}?limit={limit}")
            assert [each["version"] for each in whole["versions"]] == numbers


class TestCloning:
    async def test_a_copy_has_the_newest_version_as_its_first(self, owner: Talker):
        workflow = await create(owner, "echo", description="says it")
        await owner.patch(f"/workflow/{workflow}", {"pinned": True})
        await add_version(owner, workflow, "second")
        # The hosted platform wants a body, the seed has none.
        for options in ({}, {"json": {}}):
            clone = (await owner.ask("POST", f"/workflow/{workflow}/clone", **options)).json()
            assert (clone["name"], clone["description"], clone["pinned"]) == ("echo (Cloned)", "says it", False)
            (version,) = clone["versions"]
            assert (version["version"], version["comment"], version["workflow_api"]) == (1, "second", ECHO)
            assert version["workflow_id"] == clone["id"] != workflow
        assert len(await owner.get(f"/workflow/{workflow}/versions")) == 2

    async def test_a_copy_has_all_versions_with_their_numbers_when_they_are_asked_for(self, owner: Talker):
        workflow = await create(owner)
        await add_version(owner, workflow, "second")
        clone = await owner.post(f"/workflow/{workflow}/clone", {"all_versions": True, "name": "a copy"})
        assert clone["name"] == "a copy"
        mine = await owner.get(f"/workflow/{workflow}/versions?include_graphs=true")
        copies = await owner.get(f"/workflow/{clone['id']}/versions?include_graphs=true")
        assert [each["version"] for each in copies] == [2, 1]
        for copy, original in zip(copies, mine, strict=True):
            assert (copy["workflow"], copy["workflow_api"]) == (original["workflow"], original["workflow_api"])
            assert copy["id"] != original["id"]

    async def test_a_copy_lives_on_when_its_original_is_deleted_and_its_long_name_fits(self, owner: Talker):
        workflow = await create(owner, "x" * 200)
        clone = await owner.post(f"/workflow/{workflow}/clone", {})
        assert clone["name"] == f"{'x' * 190} (Cloned)"
        await owner.delete(f"/workflow/{workflow}")
        assert await owner.get(f"/workflow/{clone['id']}") == clone


class TestDeleting:
    async def test_what_is_deleted_is_nowhere(self, owner: Talker):
        workflow = await create(owner, "to be deleted")
        version = await add_version(owner, workflow, "second")
        await owner.delete(f"/workflow/{workflow}")
        this = f"/workflow/{workflow}"
        for method, path in (
            *(("GET", f"{this}{rest}") for rest in ("", "/versions", "/version/2", "/runs")),
            *(("DELETE", this), ("POST", f"{this}/clone"), ("GET", f"/workflow-version/{version['id']}")),
        ):
            assert "There is no workflow" in await owner.refused(404, method, path)
        assert "There is no workflow" in await owner.refused(404, "PATCH", this, {"name": "back again"})
        assert "There is no workflow" in await owner.refused(404, "POST", f"{this}/version", {"workflow": {}})
        assert "to be deleted" not in await names(owner)

    async def test_its_deployments_take_no_more_runs_and_say_why(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        workflow = (await owner.get(f"/deployment/{deployment}"))["workflow_id"]
        ended = await owner.end_of(await owner.queue(deployment))
        await owner.delete(f"/workflow/{workflow}")
        for kind in ("queue", "sync", "stream"):
            said = await owner.refused(404, "POST", f"/run/deployment/{kind}", {"deployment_id": deployment})
            assert said == f"The workflow of the deployment {deployment} was deleted, so it cannot run any more"
        assert deployment not in [each["id"] for each in await owner.get("/deployments")]
        await owner.refused(404, "GET", f"/deployment/{deployment}")
        assert (await owner.get(f"/run/{ended['id']}"))["status"] == "success", "what was done stays"

    async def test_runs_that_wait_fail_with_the_reason_and_those_at_work_finish(self, owner: Talker):
        deployment = await owner.deploy(sleep(0.5))
        workflow = (await owner.get(f"/deployment/{deployment}"))["workflow_id"]
        runs = [await owner.queue(deployment) for _ in range(4)]
        for run_id in runs[:2]:
            await owner.until(run_id, "running")
        await owner.delete(f"/workflow/{workflow}")
        ended = [await owner.end_of(run_id) for run_id in runs]
        assert [run["status"] for run in ended] == ["success", "success", "failed", "failed"]
        for run in ended[2:]:
            assert run["error"]["message"] == "The workflow was deleted before the run began"
            assert (run["started_at"], run["outputs"]) == (None, [])
