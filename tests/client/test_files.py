"""Uploads and downloads, over real sockets."""

import hashlib
import json
import traceback
from pathlib import Path

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.client import ContentCache
from comfyui_outpost.api.client.transfers import expiry_of
from comfyui_outpost.tests.fakes.flaky import Flaky, answer, break_off_after, text
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.fakes.storage import SIGNATURE

PNG = b"\x89PNG" + bytes(range(256)) * 3000
LIMIT = 1 << 30


async def test_bytes_go_to_the_presigned_url_without_the_key(outpost):
    server, client = await outpost()

    stored = await client.files.upload(PNG, content_type="image/png", name="a.png")

    [ticket] = server.log.named("POST", "/api/file/upload")
    assert json.loads(ticket.body) == {"type": "image/png", "file_size": len(PNG), "file_name": "a.png"}
    [put] = server.storage.log.requests
    assert put.headers["Content-Type"] == "image/png"
    assert put.headers["Content-Length"] == str(len(PNG))
    assert "Authorization" not in put.headers
    assert put.path == f"/inputs/file_1?X-Amz-Signature={SIGNATURE}%2F%2b+~"
    assert server.storage.objects["inputs/file_1"] == PNG
    assert (stored.file_id, stored.size) == ("file_1", len(PNG))


async def test_a_file_is_sent_from_the_disk(outpost, tmp_path: Path):
    server, client = await outpost()
    path = tmp_path / "big.bin"
    path.write_bytes(PNG)

    await client.files.upload(path, content_type="video/mp4", name="big.mp4")

    assert server.storage.objects["inputs/file_1"] == PNG
    assert server.storage.types["inputs/file_1"] == "video/mp4"


async def test_an_empty_file_is_a_file(outpost):
    server, client = await outpost()

    assert (await client.files.upload(b"", content_type="image/png", name="a.png")).size == 0

    assert server.storage.objects["inputs/file_1"] == b""


@pytest.mark.parametrize("fault", ["reset", 500, 503])
async def test_an_upload_that_breaks_is_sent_again_whole_with_the_same_ticket(outpost, fault):
    server, client = await outpost()
    server.storage.faults.extend([fault, fault])

    await client.files.upload(PNG, content_type="image/png", name="a.png")

    assert server.storage.objects["inputs/file_1"] == PNG
    assert len(server.log.named("POST", "/api/file/upload")) == 1


@pytest.mark.parametrize("status", [403, 410])
async def test_an_upload_to_an_expired_url_gets_a_new_ticket_twice_at_most(outpost, status):
    server, client = await outpost()
    server.storage.faults.extend([status, status])

    stored = await client.files.upload(PNG, content_type="image/png", name="a.png")
    assert stored.file_id == "file_3"

    server.storage.faults.extend([status] * 3)
    with pytest.raises(errors.UrlExpired):
        await client.files.upload(PNG, content_type="image/png", name="a.png")


async def test_an_upload_that_keeps_breaking_is_an_error_without_the_signature(outpost):
    server, client = await outpost()
    server.storage.faults.extend(["reset"] * 3)

    with pytest.raises(errors.TransferError, match="3 attempts") as caught:
        await client.files.upload(PNG, content_type="image/png", name="a.png")

    shown = "".join(traceback.format_exception(caught.value))
    assert SIGNATURE not in shown
    assert KEY not in shown


async def test_our_own_server_that_refuses_a_file_is_not_asked_in_the_other_form(outpost):
    server, client = await outpost()

    with pytest.raises(errors.Unprocessable, match="not taken"):
        await client.files.upload(PNG, content_type="bad/type", name="a.bad")

    assert len(server.log.named("POST", "/api/file/upload")) == 1


async def test_the_hosted_platform_gets_a_form_and_is_not_asked_again_for_a_ticket(hosted, connect):
    contents = ContentCache()
    server, client = await hosted(contents=contents)

    stored = await client.files.upload(PNG, content_type="image/png", name='quo"te.png')
    assert server.library.uploaded == PNG
    assert await client.files.download(stored.url, max_bytes=LIMIT) == PNG

    later = await connect(client.connection.base_url, contents=contents)
    await later.files.upload(PNG, content_type="image/png", name="no-extension")

    kinds = [each.headers["Content-Type"].partition(";")[0] for each in server.log.requests if each.method == "POST"]
    assert kinds == ["application/json", "multipart/form-data", "multipart/form-data"]
    assert b'filename="no-extension.png"' in server.log.requests[-1].body


async def test_a_file_that_the_hosted_platform_refuses_is_an_error(hosted):
    _, client = await hosted()

    with pytest.raises(errors.BadRequest, match="Unsupported file type"):
        await client.files.upload(b"text", content_type="text/plain", name="a.txt")


@pytest.mark.parametrize("status", [401, 413, 402])
async def test_other_refusals_do_not_lead_to_the_other_form(flaky, status):
    server, client = await flaky(answer({"detail": "no"}, status))

    with pytest.raises(errors.ApiError):
        await client.files.upload(b"x", content_type="image/png", name="a.png")

    assert len(server.log.requests) == 1


async def test_the_same_content_is_made_and_uploaded_once_by_all_clients_of_a_cache(outpost, connect):
    contents = ContentCache()
    server, client = await outpost(contents=contents)
    later = await connect(client.connection.base_url, contents=contents)
    digest, made = hashlib.sha256(PNG).digest(), []

    async def make() -> bytes:
        made.append(1)
        return PNG

    first = await client.files.upload_once(digest, make, content_type="image/png", name="a.png")
    second = await later.files.upload_once(digest.hex(), make, content_type="image/png", name="a.png")
    assert first == second
    assert made == [1]

    later.files.forget(first.url)
    third = await client.files.upload_once(digest, make, content_type="image/png", name="a.png")
    assert third.url != first.url
    assert len(server.storage.log.requests) == 2


async def test_a_url_that_is_about_to_expire_is_not_used_again(outpost):
    server, client = await outpost()
    server.expires_at = "2020-01-01T00:00:00Z"

    async def make() -> bytes:
        return PNG

    for _ in range(2):
        await client.files.upload_once("digest", make, content_type="image/png", name="a.png")

    assert len(server.storage.log.requests) == 2


def test_a_presigned_url_tells_when_it_expires():
    url = "https://bucket.example/x?X-Amz-Date=20260101T000000Z&X-Amz-Expires=3600&X-Amz-Signature=x"

    assert expiry_of(url).isoformat() == "2026-01-01T01:00:00+00:00"
    assert expiry_of("https://bucket.example/x?X-Amz-Date=soon&X-Amz-Expires=3600") is None
    assert expiry_of("https://bucket.example/x") is None


async def test_a_download_carries_no_key_and_keeps_the_query_as_it_is(outpost, storage):
    _, client = await outpost()
    storage.objects["a"] = PNG

    assert await client.files.download(storage.url("a"), max_bytes=LIMIT) == PNG

    [seen] = storage.log.requests
    assert "Authorization" not in seen.headers
    assert seen.path == f"/a?X-Amz-Signature={SIGNATURE}%2F%2b+~"


async def test_a_download_to_a_file_appears_when_it_is_whole(outpost, storage, tmp_path):
    _, client = await outpost()
    storage.objects["a"] = PNG * 3
    storage.faults.append("short")
    path = tmp_path / "a.png"

    assert await client.files.download_to(storage.url("a"), path, max_bytes=LIMIT) == len(PNG * 3)

    assert path.read_bytes() == PNG * 3
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("fault", ["short", "reset", 503, 429])
async def test_a_download_that_breaks_is_begun_anew(outpost, storage, fault):
    _, client = await outpost()
    storage.objects["a"] = PNG
    storage.faults.extend([fault, fault])

    assert await client.files.download(storage.url("a"), max_bytes=LIMIT) == PNG


async def test_a_download_that_stays_short_is_an_error_and_leaves_no_file(outpost, storage, tmp_path):
    _, client = await outpost()
    storage.objects["a"] = PNG
    storage.faults.extend(["short"] * 3)

    with pytest.raises(errors.TransferError) as caught:
        await client.files.download_to(storage.url("a"), tmp_path / "a.png", max_bytes=LIMIT)

    assert list(tmp_path.iterdir()) == []
    assert SIGNATURE not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_download_that_the_store_refuses_has_an_expired_url(outpost, storage, status):
    _, client = await outpost()
    storage.faults.append(status)

    with pytest.raises(errors.UrlExpired) as caught:
        await client.files.download(storage.url("a"), max_bytes=LIMIT)

    assert SIGNATURE not in str(caught.value)
    assert len(storage.log.requests) == 1


async def test_more_bytes_than_allowed_are_refused_before_they_come_and_while_they_come(outpost, storage, stack):
    _, client = await outpost()
    storage.objects["a"] = PNG
    endless = Flaky(text(PNG, headers={"Transfer-Encoding": "chunked"}), break_off_after(PNG, announced=len(PNG) * 9))
    base_url = await stack.enter_async_context(served(endless.app))

    for url in (storage.url("a"), base_url, base_url):
        with pytest.raises(errors.SizeLimitExceeded, match="1000 bytes"):
            await client.files.download(url, max_bytes=1000)


async def test_a_store_may_redirect_a_download_but_not_for_ever(outpost, storage, stack):
    _, client = await outpost()
    storage.objects["a"] = PNG
    redirecting = Flaky(text("", 302, headers={"Location": storage.url("a")}))
    base_url = await stack.enter_async_context(served(redirecting.app))

    assert await client.files.download(base_url, max_bytes=LIMIT) == PNG
    assert "Authorization" not in redirecting.log.requests[0].headers

    redirecting.acts[0] = text("", 302, headers={"Location": "/again"})
    with pytest.raises(errors.TransferError, match="redirected"):
        await client.files.download(base_url, max_bytes=LIMIT)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/x", "data:text/plain,x", "//host/x", "http://", ""])
async def test_only_web_addresses_are_opened(outpost, url):
    _, client = await outpost()

    with pytest.raises(errors.OutpostError, match="http"):
        await client.files.download(url, max_bytes=LIMIT)
