"""What stays whole in the library when things happen at once, go on for too long or break off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
import sqlalchemy as sa
from aiohttp import web
from comfyui_outpost.api.errors import Conflict, NotFound
from comfyui_outpost.api.models import AssetQuery
from comfyui_outpost.api.server.forms import FormFile, receive
from comfyui_outpost.api.server.problems import problems
from comfyui_outpost.api.server.store.assets import AssetStore
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.api.server.store.tables import assets, files
from comfyui_outpost.tests.fakes.serving import served

from .graphs import ECHO, png
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

ROUNDS = 10
MAX_PATH = 1000
MAX_PATH_BYTES = 1600
UPLOADS = ["/file", "/file/upload", "/assets/upload"]
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n' + png()
TAIL = b"\r\n--x--\r\n"


async def folder(owner: Talker, name: str, parent: str = "") -> Any:
    return await owner.post("/assets/folder", {"name": name, "parent_path": parent})


async def names(owner: Talker, path: str = "") -> list[str]:
    return [each["name"] for each in await owner.get("/assets", params={"path": path})]


async def rows(platform) -> list[str]:
    """The keys of everything that the platform knows of, whether its bytes have arrived or not."""
    known: list[str] = []
    for table in (files, assets):
        found = await platform.parts.store.database.rows(sa.select(table.c.object_key))
        known += [row["object_key"] for row in found if row["object_key"]]
    return known


class TestAtOnce:
    @pytest.mark.own_platform
    async def test_what_comes_into_a_folder_that_goes_is_never_left_without_one(self, platform, owner: Talker):
        library, who = platform.parts.store.assets, platform.owner.owner
        for number in range(ROUNDS):
            made, other = await folder(owner, f"a{number}"), await folder(owner, f"b{number}")
            await _at_once(
                library.delete(who, made["id"]),
                library.change(who, other["id"], name=None, parent_path=made["path"]),
                *(_add(platform, f"inner{each}", parent=made["path"]) for each in range(3)),
            )
        count = await platform.parts.store.database.rows(sa.select(sa.func.count().label("all")).select_from(assets))
        assert count[0]["all"] == len(await _reachable(library, who))


async def _at_once(*doing: Any) -> None:
    """Some of it may be too late, and nothing else may go wrong."""
    for result in await asyncio.gather(*doing, return_exceptions=True):
        if isinstance(result, BaseException) and not isinstance(result, (NotFound, Conflict)):
            raise result


async def _add(platform, name: str, *, parent: str) -> None:
    async with talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,):
        answer = await owner.ask("POST", "/assets/folder", json={"name": name, "parent_path": parent})
        assert answer.status_code in (200, 404), answer.text


async def _reachable(library: AssetStore, owner: Owner) -> list[str]:
    """The paths of everything that can be found from the topmost folder."""
    found, folders = [], [""]
    while folders:
        for row in await library.list(owner, AssetQuery(path=folders.pop())):
            found.append(row.path)
            folders += [row.path] if row.is_folder else []
    return found


class TestLongPaths:
    async def test_a_path_grows_to_its_limit_and_can_be_listed_there(self, owner: Talker):
        parent = await _deep(owner, MAX_PATH - 2)
        made = await folder(owner, "x", parent)
        assert len(made["path"]) == MAX_PATH
        assert await names(owner, made["path"]) == []
        assert await names(owner, parent) == ["x"]

    async def test_what_would_be_deeper_is_refused_and_not_made(self, owner: Talker):
        parent = await _deep(owner, MAX_PATH - 2)
        said = await owner.refused(422, "POST", "/assets/folder", {"name": "xy", "parent_path": parent})
        assert said == "The path would have 1001 characters; it may have 1000 characters, and 1600 bytes as UTF-8"
        answer = await owner.ask("POST", "/assets/upload", params={"parent_path": parent}, files={"file": ("a", b"1")})
        assert (answer.status_code, "The path would have" in answer.text) == (422, True)
        query = {"file_name": "a.png", "type": "image/png", "size": 1, "parent_path": parent}
        answer = await owner.ask("GET", "/assets/presigned-url", params=query)
        assert (answer.status_code, "The path would have" in answer.text) == (422, True)
        assert await names(owner, parent) == []

    async def test_a_folder_is_not_moved_where_what_is_in_it_would_be_too_deep(self, owner: Talker):
        parent = await _deep(owner, 600)
        moved = await folder(owner, "moved")
        inside = await _deep(owner, 402, under="moved")
        said = await owner.refused(422, "PATCH", f"/assets/{moved['id']}", {"path": parent})
        assert said.startswith("body.path: The path would have 1003 characters")
        assert (await names(owner, parent), await names(owner, inside)) == ([], [])
        said = await owner.refused(422, "PATCH", f"/assets/{moved['id']}", {"name": "m" * 200, "path": parent})
        assert said.startswith("body.path: The path would have 1198 characters")
        await owner.patch(f"/assets/{moved['id']}", {"name": "mo", "path": parent})
        assert await names(owner, parent) == ["mo"]
        said = await owner.refused(422, "PATCH", f"/assets/{moved['id']}", {"name": "moved"})
        assert said.startswith("body.name: The path would have 1003 characters")

    async def test_a_path_in_a_wide_script_fits_into_every_database(self, owner: Talker):
        wide = "".join(map(chr, range(0x1F300, 0x1F300 + 199)))
        first = await folder(owner, wide)
        second = await folder(owner, wide, first["path"])
        assert len(second["path"].encode()) == 2 * 4 * 199 + 1 <= MAX_PATH_BYTES
        said = await owner.refused(422, "POST", "/assets/folder", {"name": wide, "parent_path": second["path"]})
        assert said == "The path would have 2390 bytes as UTF-8; it may have 1000 characters, and 1600 bytes as UTF-8"


async def _deep(owner: Talker, length: int, *, under: str = "") -> str:
    """Folders in folders; the path of the innermost, which has this many characters."""
    path = under
    while len(path) < length:
        name = "d" * min(200, length - len(path) - 1 if path else 200)
        path = (await folder(owner, name, path))["path"]
    assert len(path) == length
    return path


class TestBrokenUploads:
    @pytest.mark.parametrize("path", UPLOADS)
    async def test_a_file_that_is_too_large_leaves_no_trace(self, start_platform, path: str):
        async with (
            start_platform(max_file_bytes=10) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
        ):
            answer = await owner.ask("POST", path, files={"file": ("a.png", png(), "image/png")})
            assert answer.status_code == 413
            assert await rows(platform) == []

    @pytest.mark.own_platform
    @pytest.mark.parametrize("path", UPLOADS)
    async def test_a_form_that_breaks_off_leaves_no_trace(self, platform, owner: Talker, path: str):
        answer = await owner.ask("POST", path, content=HEAD, headers=FORM)
        assert (answer.status_code, "is not a whole form" in answer.text) == (422, True)
        assert await rows(platform) == []

    @pytest.mark.one_backing
    @pytest.mark.own_platform
    @pytest.mark.parametrize(
        "part",
        [b'name="_charset_"\r\n\r\n' + b"x" * 40, b"name=\"file\"; filename*=no-such-thing''a.png\r\n\r\n1"],
        ids=["a charset that is too long", "a name in a charset that there is not"],
    )
    async def test_a_form_that_cannot_be_read_is_no_fault_of_the_server(self, platform, owner: Talker, part: bytes):
        body = b"--x\r\nContent-Disposition: form-data; " + part + TAIL
        answer = await owner.ask("POST", "/file", content=body, headers=FORM)
        assert (answer.status_code, await rows(platform)) == (422, [])

    @pytest.mark.own_platform
    async def test_a_file_that_was_announced_may_still_come_after_a_failure(self, platform, owner: Talker):
        ticket = await owner.announce(png())
        for data, status in ((png()[:-1], 400), (png(), 200)):
            headers = {"Content-Type": "image/png"}
            assert (await owner.ask("PUT", ticket["upload_url"], content=data, headers=headers)).status_code == status
        assert len(await rows(platform)) == 1

    @pytest.mark.own_platform
    async def test_an_asset_that_is_deleted_while_it_comes_leaves_no_bytes(self, platform, owner: Talker):
        deleted: list[str] = []

        async def body() -> AsyncIterator[bytes]:
            yield HEAD
            while not deleted:
                for row in await platform.parts.store.database.rows(sa.select(assets.c.id, assets.c.object_key)):
                    await owner.delete(f"/assets/{row['id']}")
                    deleted.append(row["object_key"])
            yield TAIL

        answer = await owner.ask("POST", "/assets/upload", content=body(), headers=FORM)
        assert answer.status_code == 404
        assert await rows(platform) == []
        with pytest.raises(NotFound):
            await platform.parts.objects.size(deleted[0])

    @pytest.mark.own_platform
    async def test_bytes_that_come_for_an_asset_that_was_deleted_are_not_kept(self, platform, owner: Talker):
        query = {"file_name": "a.png", "type": "image/png", "size": len(png())}
        ticket = await owner.get("/assets/presigned-url", params=query)
        [key] = await rows(platform)
        await owner.delete(f"/assets/{ticket['file_id']}")
        answer = await owner.ask("PUT", ticket["url"], content=png(), headers={"Content-Type": "image/png"})
        assert answer.status_code == 404
        assert answer.json()["detail"] == "The file was deleted before its bytes had come; nothing was kept"
        with pytest.raises(NotFound):
            await platform.parts.objects.size(key)


async def test_a_failure_of_the_server_is_not_blamed_on_the_form(expect_log):
    async def take(file: FormFile) -> Any:
        raise ValueError("the server's own")

    async def answer(request: web.Request) -> web.Response:
        return await receive(request, take)

    app = web.Application(middlewares=[problems(max_body_bytes=1000)])
    app.router.add_post("/form", answer)
    async with served(app) as host, talkers(host, None, secrets=[]) as (somebody,):
        response = await somebody.http.post("/form", files={"file": ("a.png", png())})
    assert (response.status_code, response.json()["code"]) == (500, "server_error")
    assert "own" not in response.text
    expect_log("POST /form failed")


async def test_a_wrong_field_is_named_by_its_whole_name_also_where_that_has_dots(owner: Talker):
    deployment = await owner.deploy(ECHO)
    body = {"deployment_id": deployment, "inputs": {"1.default.value": "x"}}
    answer = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "inputs", "1.default.value"]]
    body = {"deployment_id": deployment, "inputs": {"1.2": None}}
    answer = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert {tuple(each["loc"][:3]) for each in answer.json()["detail"]} == {("body", "inputs", "1.2")}
