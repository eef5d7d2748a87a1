"""Going back: to a workflow that was deleted, to a version that was deployed before. And who has made what."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from comfyui_outpost.api.server.store import open_store
from comfyui_outpost.api.server.store.database import MIGRATIONS
from comfyui_outpost.api.server.store.tables import metadata

from .graphs import ECHO, sleep
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform


class TestRestoring:
    async def test_a_workflow_comes_back_with_its_versions_and_its_deployments_as_they_were(self, owner: Talker):
        running = await owner.deploy(ECHO)
        deployment = await owner.get(f"/deployment/{running}")
        workflow_id = deployment["workflow_id"]
        body = {name: deployment[name] for name in ("workflow_id", "workflow_version_id", "machine_id")}
        resting = (await owner.post("/deployment", {**body, "environment": "staging"}))["id"]
        gone = (await owner.post("/deployment", {**body, "environment": "preview"}))["id"]
        await owner.post(f"/deployment/{resting}/deactivate", None)
        await owner.delete(f"/deployment/{gone}")
        before = await owner.get(f"/workflow/{workflow_id}")
        await owner.delete(f"/workflow/{workflow_id}")
        assert (await owner.ask("GET", f"/deployment/{running}")).status_code == 404

        restored = await owner.patch(f"/workflow/{workflow_id}", {"deleted": False})
        assert restored["updated_at"] == before["updated_at"]
        assert await owner.get(f"/workflow/{workflow_id}") == before
        assert (await owner.end_of(await owner.queue(running)))["status"] == "success"
        assert (await owner.get(f"/deployment/{resting}"))["is_active"] is False
        assert (await owner.ask("GET", f"/deployment/{gone}")).status_code == 404
        assert workflow_id in {each["id"] for each in await owner.get("/workflows")}

    async def test_one_that_is_there_stays_as_it_is_and_others_are_not_there(self, owner: Talker, stranger: Talker):
        workflow_id = (await owner.post("/workflow", {"name": "mine", "workflow": {}}))["workflow_id"]
        changed = await owner.patch(f"/workflow/{workflow_id}", {"deleted": False, "name": "renamed"})
        assert changed["name"] == "renamed"
        await owner.delete(f"/workflow/{workflow_id}")
        for who, its_id in ((stranger, workflow_id), (owner, str(uuid4()))):
            assert "There is no workflow" in await who.refused(404, "PATCH", f"/workflow/{its_id}", {"deleted": False})
        assert (await owner.refused(422, "PATCH", f"/workflow/{workflow_id}", {"deleted": True})).startswith(
            "body.deleted"
        )
        assert (await owner.ask("GET", f"/workflow/{workflow_id}")).status_code == 404


class TestHistory:
    async def test_each_change_of_version_or_machine_is_told_with_who_did_it(self, platform, owner: Talker):
        first = await owner.get(f"/deployment/{await owner.deploy(ECHO)}")
        path, workflow_id = f"/deployment/{first['id']}", first["workflow_id"]
        second = await owner.post(f"/workflow/{workflow_id}/version", {"workflow_api": sleep(0)})
        machine_id = (await owner.post("/machine/create", {"name": "other", "type": "builtin"}))["id"]
        key = (await owner.post("/platform/api-keys", {"name": "the night shift"}))["key"]
        await owner.patch(path, {"run_timeout": 7})
        async with talkers(platform.url, key, secrets=[key]) as (other,):
            await other.patch(path, {"version_id": second["id"]})
        body = {"workflow_id": workflow_id, "version_id": second["id"], "machine_id": machine_id}
        assert (await owner.post("/deployment", body))["id"] == first["id"]
        await owner.post("/deployment", body)
        await owner.patch(path, {"version_id": first["workflow_version_id"]})

        history = await owner.get(f"{path}/history")
        assert [(each["version"], each["machine_id"] == machine_id, each["by"]) for each in history] == [
            (1, True, "first key"),
            (2, True, "first key"),
            (2, False, "the night shift"),
            (1, False, "first key"),
        ]
        assert history[-1]["workflow_version_id"] == first["workflow_version_id"]
        assert [each["at"] for each in history] == sorted((each["at"] for each in history), reverse=True)

    async def test_of_deployments_that_were_there_before_it_was_kept_their_present_is_known(self, tmp_path: Path):
        url = f"sqlite:///{tmp_path / 'db.sqlite'}"
        engine = sa.create_engine(url)
        with engine.begin() as connection:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes |= {"connection": connection, "target_metadata": metadata}
            command.upgrade(config, "0003")
            now = "2026-01-02 03:04:05.000000"
            times = f"'{now}', '{now}'"
            for statement in (
                "INSERT INTO machines (id, owner_id, name, type, concurrency_limit, created_at, updated_at) "
                f"VALUES ('m', 'o', 'm', 'builtin', 1, {times})",
                f"INSERT INTO workflows (id, owner_id, name, created_at, updated_at) VALUES ('w', 'o', 'w', {times})",
                f"INSERT INTO workflow_versions (id, workflow_id, version, created_at) VALUES ('v', 'w', 3, '{now}')",
                "INSERT INTO deployments (id, owner_id, workflow_id, workflow_version_id, machine_id, name, "
                f"environment, created_at, updated_at) VALUES ('d', 'o', 'w', 'v', 'm', 'd', 'production', {times})",
            ):
                connection.exec_driver_sql(statement)
        engine.dispose()
        store = await open_store(url)
        rows = await store.database.rows(sa.select(metadata.tables["deployed_versions"]))
        await store.database.close()
        assert [(row["deployment_id"], row["workflow_version_id"], row["machine_id"], row["by"]) for row in rows] == [
            ("d", "v", "m", None)
        ]
        assert rows[0]["at"].isoformat() == "2026-01-02T03:04:05+00:00"


class TestLists:
    async def test_workflows_are_sorted_as_they_are_wanted_with_the_pinned_first(self, owner: Talker):
        ids = {}
        for name in ("banana", "Apple", "cherry"):
            ids[name] = (await owner.post("/workflow", {"name": name, "workflow": {}}))["workflow_id"]
        await owner.post(f"/workflow/{ids['Apple']}/version", {"workflow_api": ECHO, "comment": "better"})
        await owner.patch(f"/workflow/{ids['cherry']}", {"pinned": True})

        async def listed(query: str) -> list[str]:
            return [each["name"] for each in await owner.get(f"/workflows{query}") if each["name"] in ids]

        assert await listed("") == await listed("?sort=updated") == ["cherry", "Apple", "banana"]
        assert await listed("?sort=created") == ["cherry", "Apple", "banana"]
        assert await listed("?sort=name") == ["cherry", "Apple", "banana"]
        await owner.patch(f"/workflow/{ids['banana']}", {"description": "newest change"})
        assert await listed("?sort=updated") == ["cherry", "banana", "Apple"]
        assert await listed("?sort=created&limit=2") == ["cherry", "Apple"]
        assert (await owner.refused(422, "GET", "/workflows?sort=size")).startswith("query.sort")
        versions = {each["name"]: each["latest_version"] for each in await owner.get("/workflows")}
        assert (versions["Apple"], versions["banana"]) == (2, 1)
        assert (await owner.get(f"/workflow/{ids['Apple']}?limit=0"))["latest_version"] == 2

    async def test_a_version_tells_who_has_made_it_and_the_first_has_a_comment(self, owner: Talker):
        body = {"name": "mine", "workflow": {}, "comment": "how it began"}
        made = await owner.post("/workflow", body)
        await owner.post(f"/workflow/{made['workflow_id']}/version", {"workflow_api": ECHO})
        second, first = await owner.get(f"/workflow/{made['workflow_id']}/versions")
        assert (first["comment"], first["user_name"], second["user_name"]) == (
            "how it began",
            "first key",
            "first key",
        )
