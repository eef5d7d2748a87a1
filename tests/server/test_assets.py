"""Assets: a library of files in folders, that are moved, found, announced, registered and deleted."""

from __future__ import annotations

from typing import Any

import pytest

from .graphs import SAVE_IMAGE, png
from .talking import Talker

pytestmark = pytest.mark.shared_platform


async def folder(owner: Talker, name: str, parent: str = "") -> Any:
    return await owner.post("/assets/folder", {"name": name, "parent_path": parent})


async def upload(owner: Talker, folder: str = "", name: str = "picture.png") -> Any:
    return await owner.send(f"/assets/upload?parent_path={folder}", png(), name=name)


async def names(owner: Talker, path: str = "", **more: Any) -> list[str]:
    return [each["name"] for each in await owner.get("/assets", params={"path": path, **more})]


async def announce(owner: Talker, folder: str = "", name: str = "large.png", size: int = len(png())) -> Any:
    query = {"file_name": name, "type": "image/png", "size": size, "parent_path": folder}
    return await owner.get("/assets/presigned-url", params=query)


async def put(owner: Talker, ticket: Any, data: bytes) -> int:
    answer = await owner.ask("PUT", ticket["url"], content=data, headers={"Content-Type": "image/png"})
    return answer.status_code


class TestFolders:
    async def test_a_folder_lists_its_own_folders_and_files_and_no_deeper_ones(self, owner: Talker):
        made = await folder(owner, "refs")
        assert made.items() >= {"name": "refs", "is_folder": True, "path": "refs", "url": None}.items()
        assert (await folder(owner, "faces", "refs"))["path"] == "refs/faces"
        for where, name in (("", "b.png"), ("", "a.png"), ("refs", "c.png"), ("refs/faces", "d.png")):
            await upload(owner, where, name)
        assert await names(owner) == ["refs", "a.png", "b.png"]
        for spelling in ("refs", "/refs", "refs/", "//refs//"):
            assert await names(owner, spelling) == ["faces", "c.png"]
        assert await names(owner, "refs/faces") == ["d.png"]
        assert await names(owner, "ref") == await names(owner, "REFS") == await names(owner, "%") == []
        assert await names(owner, limit=1, offset=1) == ["a.png"]

    async def test_two_folders_of_a_name_are_a_conflict_and_two_files_are_not(self, owner: Talker):
        await folder(owner, "refs")
        said = await owner.refused(409, "POST", "/assets/folder", {"name": "refs"})
        assert said == "There is something at 'refs' already"
        await folder(owner, "refs", "refs")
        first, second = await upload(owner), await upload(owner)
        assert first["path"] != second["path"]
        assert await names(owner) == ["refs", "picture.png", "picture.png"]

    async def test_what_goes_into_a_folder_needs_the_folder(self, platform, owner: Talker, stranger: Talker):
        await folder(stranger, "theirs")
        for parent in ("missing", "theirs", "../..", "refs/../refs"):
            says = "There is no folder"
            assert says in await owner.refused(404, "POST", "/assets/folder", {"name": "a", "parent_path": parent})
            answer = await owner.ask("POST", f"/assets/upload?parent_path={parent}", files={"file": ("a.png", png())})
            assert (answer.status_code, says in answer.text) == (404, True)
            query = f"file_name=a.png&type=image/png&size=1&parent_path={parent}"
            assert says in await owner.refused(404, "GET", f"/assets/presigned-url?{query}")
        assert await names(owner) == []

    @pytest.mark.one_backing
    @pytest.mark.parametrize("name", ["a/b", "a\\b", "", "x" * 201, "two\nlines", "nul\0", None, 7], ids=ascii)
    async def test_a_name_that_is_no_name_is_refused(self, owner: Talker, name: Any):
        assert "body.name" in await owner.refused(422, "POST", "/assets/folder", {"name": name})
        assert await names(owner) == []


class TestMoving:
    async def test_a_file_moves_with_its_url_and_gets_another_name(self, owner: Talker):
        await folder(owner, "refs")
        file = await upload(owner)
        moved = await owner.patch(f"/assets/{file['id']}", {"path": "/refs/", "name": "new 🙂.png"})
        assert moved.items() >= {"id": file["id"], "name": "new 🙂.png", "path": f"refs/{file['path']}"}.items()
        assert (await names(owner), await names(owner, "refs")) == (["refs"], ["new 🙂.png"])
        assert (await owner.ask("GET", file["url"])).content == png()
        back = await owner.patch(f"/assets/{file['id']}", {"path": ""})
        assert (back["path"], back["name"]) == (file["path"], "new 🙂.png")

    async def test_a_folder_moves_with_everything_in_it_and_with_nothing_beside_it(self, owner: Talker):
        for name, parent in (("a", ""), ("b", "a"), ("c", "a/b"), ("a_b", ""), ("ab", ""), ("other", "")):
            await folder(owner, name, parent)
        for where in ("a", "a/b/c", "a_b", "ab"):
            await upload(owner, where, f"{where.replace('/', '-')}.png")
        (a,) = [each for each in await owner.get("/assets") if each["path"] == "a"]
        await owner.patch(f"/assets/{a['id']}", {"name": "z%_", "path": "other"})
        assert await names(owner) == ["a_b", "ab", "other"]
        assert await names(owner, "other/z%_") == ["b", "a.png"]
        assert await names(owner, "other/z%_/b/c") == ["a-b-c.png"]
        assert (await names(owner, "a_b"), await names(owner, "ab")) == (["a_b.png"], ["ab.png"])
        await owner.patch(f"/assets/{a['id']}", {"name": "a", "path": ""})
        assert await names(owner, "a/b/c") == ["a-b-c.png"]
        assert await names(owner, "other") == []

    async def test_what_cannot_be_moved_stays_where_it_is(self, owner: Talker):
        a, _, other = await folder(owner, "a"), await folder(owner, "b", "a"), await folder(owner, "other")
        file = await upload(owner, "a")
        for path in ("a", "a/b"):
            said = await owner.refused(422, "PATCH", f"/assets/{a['id']}", {"path": path})
            assert said == "body.path: The folder 'a' cannot be moved into itself"
        for path in ("missing", "a/missing", file["path"]):
            for asset in (other, file):
                said = await owner.refused(404, "PATCH", f"/assets/{asset['id']}", {"path": path})
                assert said.startswith("There is no folder")
        said = await owner.refused(409, "PATCH", f"/assets/{other['id']}", {"name": "a"})
        assert said == "There is something else in that place already"
        assert "body.name" in await owner.refused(422, "PATCH", f"/assets/{file['id']}", {"name": "a/b"})
        assert (await names(owner), await names(owner, "a")) == (["a", "other"], ["b", "picture.png"])


class TestDeleting:
    async def test_a_file_and_its_bytes_are_gone(self, owner: Talker):
        file = await upload(owner)
        deployment = await owner.deploy(SAVE_IMAGE)
        run = await owner.end_of(await owner.queue(deployment, {"image": file["url"]}))
        assert run["status"] == "success", run["error"]
        await owner.delete(f"/assets/{file['id']}")
        for method in ("GET", "DELETE"):
            said = await owner.refused(404, method, f"/assets/{file['id']}")
            assert said == f"There is no asset '{file['id']}'"
        await owner.refused(404, "GET", file["url"])
        body = {"deployment_id": deployment, "inputs": {"image": file["url"]}}
        said = await owner.refused(422, "POST", "/run/deployment/queue", body)
        assert "Upload the file first." in said

    async def test_a_folder_goes_with_everything_in_it_and_with_nothing_beside_it(self, owner: Talker):
        for name, parent in (("a", ""), ("b", "a"), ("a_", ""), ("ab", "")):
            await folder(owner, name, parent)
        files = {where: await upload(owner, where) for where in ("", "a", "a/b", "a_", "ab")}
        announced = await announce(owner, "a")
        await put(owner, announced, png())
        (a,) = [each for each in await owner.get("/assets") if each["path"] == "a"]
        await owner.delete(f"/assets/{a['id']}")
        for where, file in files.items():
            status = 404 if where in ("a", "a/b") else 200
            for path in (f"/assets/{file['id']}", file["url"]):
                assert (await owner.ask("GET", path)).status_code == status, (where, path)
        assert (await owner.ask("GET", announced["download_url"])).status_code == 404
        assert await names(owner) == ["a_", "ab", "picture.png"]
        assert await names(owner, "a/b") == []
        await folder(owner, "a")
        assert await names(owner, "a") == [], "the same name is a new folder"


class TestSearching:
    async def test_a_part_of_the_name_is_found_in_all_folders_the_newest_first(self, owner: Talker, stranger: Talker):
        await folder(owner, "Größe")
        for where, name in (("", "Größe 1.png"), ("Größe", "GRÖßE 2.png"), ("", "100%_.png"), ("", "other.png")):
            await upload(owner, where, name)
        await upload(stranger, "", "größe of somebody else.png")

        async def found(words: str, **more: Any) -> list[str]:
            answer = await owner.get("/assets/search", params={"query": words, **more})
            return [each["name"] for each in answer]

        assert await found("größe") == ["GRÖßE 2.png", "Größe 1.png", "Größe"]
        assert await found("größe", limit=1) == ["GRÖßE 2.png"]
        assert await found("%") == await found("_") == await found("0%_.p") == ["100%_.png"]
        assert await found("nothing") == []
        assert await found("", limit=0) == []
        assert "query.query" in await owner.refused(422, "GET", "/assets/search")


class TestAnnouncing:
    async def test_a_file_is_there_once_it_has_arrived_and_is_registered(self, owner: Talker):
        await folder(owner, "refs")
        ticket = await announce(owner, "refs")
        assert set(ticket) == {"url", "download_url", "file_id", "db_path", "is_public"}
        assert (ticket["db_path"].startswith("refs/"), ticket["is_public"]) == (True, False)
        # The hosted platform wants to hear it all again.
        body = {"file_id": ticket["file_id"], "file_name": "large.png", "file_size": len(png()), "url": ticket["url"]}
        body |= {"db_path": ticket["db_path"], "mime_type": "image/png"}
        said = await owner.refused(409, "POST", "/assets/register", body)
        assert said == "The file was announced and its bytes have not arrived. PUT them to its URL first."
        assert await put(owner, ticket, png()) == 200
        await owner.refused(404, "GET", f"/assets/{ticket['file_id']}")
        assert await names(owner, "refs") == []

        for _ in range(2):
            asset = await owner.post("/assets/register", body)
            assert asset.items() >= {"id": ticket["file_id"], "name": "large.png", "path": ticket["db_path"]}.items()
            assert (asset["file_size"], asset["mime_type"]) == (len(png()), "image/png")
        assert await names(owner, "refs") == ["large.png"]
        for url in (ticket["download_url"], asset["url"]):
            assert (await owner.ask("GET", url)).content == png()

    async def test_what_somebody_says_at_the_registration_changes_nothing(self, owner: Talker):
        ticket = await announce(owner)
        await put(owner, ticket, png())
        lie = {"file_size": 10**12, "mime_type": "text/html", "db_path": "somewhere/else", "url": "http://host/x"}
        asset = await owner.post("/assets/register", {"file_id": ticket["file_id"], "file_name": "lie.html", **lie})
        assert (asset["name"], asset["mime_type"], asset["file_size"]) == ("large.png", "image/png", len(png()))
        assert asset["path"] == ticket["db_path"]

    async def test_bytes_that_are_not_those_announced_are_refused(self, owner: Talker):
        ticket = await announce(owner)
        for data, status in ((png()[:-1], 400), (png() + b"x", 413), (b"GIF89a" + bytes(len(png()) - 6), 422)):
            assert await put(owner, ticket, data) == status
            await owner.refused(409, "POST", "/assets/register", {"file_id": ticket["file_id"]})

    async def test_only_ones_own_announcement_can_be_registered(self, owner: Talker, stranger: Talker):
        ticket, made = await announce(owner), await folder(owner, "refs")
        await put(owner, ticket, png())
        for who, file_id in ((stranger, ticket["file_id"]), (owner, "img_0"), (owner, made["id"])):
            said = await who.refused(404, "POST", "/assets/register", {"file_id": file_id})
            assert said.startswith(f"There is no asset '{file_id}'")
        await owner.post("/assets/register", {"file_id": ticket["file_id"]})
