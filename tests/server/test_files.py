"""Files: uploaded to a signed URL or in a form, fetched from a URL, read about and renamed."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from aiohttp import web
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.server.objects import Objects
from comfyui_outpost.api.server.store.tables import assets, files
from comfyui_outpost.tests.fakes.serving import served

from .graphs import SAVE_IMAGE, png
from .talking import Talker

pytestmark = pytest.mark.shared_platform


async def test_a_file_is_there_once_its_bytes_have_arrived(owner: Talker):
    ticket = await owner.announce(png())
    path = f"/file/{ticket['file_id']}"
    for method, rest, body in (("GET", "", None), ("POST", "/rename", {"name": "new"})):
        assert "There is no file" in await owner.refused(404, method, path + rest, body)
    await owner.ask("PUT", ticket["upload_url"], content=png(), headers={"Content-Type": "image/png"})
    file = await owner.get(path)
    assert file.items() >= {"name": "picture.png", "type": "image/png", "size": len(png())}.items()
    assert file["created_at"] < file["expires_at"]
    assert (await owner.ask("GET", file["url"])).content == png()


async def test_a_file_in_a_form_is_whole_at_once_and_an_input_of_a_run(owner: Talker):
    file = await owner.send("/file", png(), name="folder/own name.png")
    assert file.items() >= {"name": "own name.png", "type": "image/png", "size": len(png())}.items()
    again = await owner.get(f"/file/{file['id']}")
    assert {**again, "url": "", "expires_at": ""} == {**file, "url": "", "expires_at": ""}
    run = await owner.run(SAVE_IMAGE, {"image": file["url"]})
    assert run["status"] == "success", run["error"]


async def test_a_file_gets_another_name_by_any_word_for_it_and_keeps_its_urls(owner: Talker):
    file = await owner.send("/file", png())
    for word in ("name", "new_name", "filename", "file_name"):
        renamed = await owner.post(f"/file/{file['id']}/rename", {word: f"{word} 🙂.png"})
        assert (renamed["id"], renamed["name"]) == (file["id"], f"{word} 🙂.png")
    assert (await owner.get(f"/file/{file['id']}"))["name"] == "file_name 🙂.png"
    assert (await owner.ask("GET", file["url"])).content == png()
    for name in ("../../etc/passwd", "a\\b\\passwd", "pass\x00wd"):
        assert (await owner.post(f"/file/{file['id']}/rename", {"name": name}))["name"] == "passwd"
    for name in ("", "x" * 256, None, 7):
        assert "body.name" in await owner.refused(422, "POST", f"/file/{file['id']}/rename", {"name": name})
    assert (await owner.get(f"/file/{file['id']}"))["name"] == "passwd"


@pytest.mark.own_platform
@pytest.mark.parametrize("path", ["/file", "/file/upload", "/assets/upload"])
async def test_a_form_whose_content_is_of_another_type_is_refused_and_not_kept(platform, owner: Talker, path: str):
    for name in ("picture.png", "picture.PNG", "film.mp4", "sound.flac"):
        answer = await owner.ask("POST", path, files={"file": (name, b"%PDF-1.7 and so on", "image/png")})
        assert answer.status_code == 422
        assert "does not begin as one; nothing was kept" in answer.text
    assert await owner.get("/assets") == []
    assert not await _stored(platform)


@pytest.mark.own_platform
async def test_a_signed_url_takes_no_content_of_another_type(platform, owner: Talker):
    ticket = await owner.announce(b"GIF89a and so on")
    headers = {"Content-Type": "image/png"}
    answer = await owner.ask("PUT", ticket["upload_url"], content=b"GIF89a and so on", headers=headers)
    assert answer.status_code == 422
    await owner.refused(404, "GET", f"/file/{ticket['file_id']}")
    assert not await _stored(platform)


async def _stored(platform) -> list[str]:
    """The keys of the objects behind files and assets, wherever the platform keeps them."""
    return [key for key in await _keys(platform) if await _is_there(platform.parts.objects, key)]


async def _keys(platform) -> list[str]:
    rows = [await platform.parts.store.database.rows(sa.select(table.c.object_key)) for table in (files, assets)]
    return [row["object_key"] for found in rows for row in found]


async def _is_there(objects: Objects, key: str) -> bool:
    try:
        await objects.size(key)
    except NotFound:
        return False
    return True


class TestFetching:
    async def test_a_file_comes_from_a_url_with_its_name_or_the_one_that_is_asked_for(self, as_owner):
        async with served(_host()) as host, as_owner(allow_private_addresses=True) as owner:
            file = await owner.post("/file", {"url": f"{host}/a/red.png?secret=word"})
            assert file.items() >= {"name": "red.png", "type": "image/png", "size": len(png())}.items()
            assert (await owner.ask("GET", file["url"])).content == png()
            for word in ("file_name", "filename"):
                named = await owner.post("/file", {"url": f"{host}/a/red.png", word: "x/mine.png"})
                assert named["name"] == "mine.png"
            asset = await owner.post("/assets/add", {"url": f"{host}/a/red.png"})
            assert asset.items() >= {"name": "red.png", "mime_type": "image/png"}.items()

    async def test_what_cannot_be_had_is_told_without_the_urls_query(self, as_owner):
        async with served(_host()) as host, as_owner(allow_private_addresses=True) as owner:
            owner.secrets = [*owner.secrets, "secret"]
            for path in ("/file", "/assets/add"):
                said = await owner.refused(400, "POST", path, {"url": f"{host}/missing?secret=word"})
                assert said == "127.0.0.1 answered 404 instead of the file"
                said = await owner.refused(422, "POST", path, {"url": f"{host}/lie.png?secret=word"})
                assert "does not begin as one" in said
                assert "body.url" in await owner.refused(422, "POST", path, {"url": "ftp://host/secret"})
            assert await owner.get("/assets") == []

    async def test_a_file_over_the_limit_is_413(self, as_owner):
        settings = {"allow_private_addresses": True, "max_file_bytes": 10}
        async with served(_host()) as host, as_owner(**settings) as owner:
            for path in ("/file", "/assets/add"):
                assert "the 10 bytes" in await owner.refused(413, "POST", path, {"url": f"{host}/a/red.png"})
            body = {"type": "image/png", "file_size": 11}
            assert "at most 10" in await owner.refused(413, "POST", "/file/upload", body)
            query = "file_name=a.png&type=image/png&size=11"
            assert "at most 10" in await owner.refused(413, "GET", f"/assets/presigned-url?{query}")
            for path in ("/file", "/file/upload", "/assets/upload"):
                answer = await owner.ask("POST", path, files={"file": ("a.png", png(), "image/png")})
                assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert await owner.get("/assets") == []

    async def test_the_servers_own_network_is_out_of_reach(self, owner: Talker):
        asked: list[str] = []
        async with served(_host(asked)) as host:
            port = host.rpartition(":")[2]
            for address in ("127.0.0.1", "localhost", "[::1]", "127.1", "2130706433"):
                for path in ("/file", "/assets/add"):
                    said = await owner.refused(422, "POST", path, {"url": f"http://{address}:{port}/a/red.png"})
                    assert said.startswith("body.url: ")
        assert not asked


def _host(asked: list[str] | None = None) -> web.Application:
    """Somebody's server with a picture on it."""

    async def red(request: web.Request) -> web.Response:
        if asked is not None:
            asked.append(request.path)
        return web.Response(body=png(), content_type="image/png")

    async def lie(request: web.Request) -> web.Response:
        return web.Response(body=b"GIF89a is no PNG", content_type="image/png")

    app = web.Application()
    app.router.add_get("/a/red.png", red)
    app.router.add_get("/lie.png", lie)
    return app
