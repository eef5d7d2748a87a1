"""Files behind signed URLs: what each URL allows, and what becomes of uploads that go wrong."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from functools import partial
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from comfyui_outpost.tests.fakes.bucket import Place

from .graphs import png
from .talking import Talker, local, talkers

# Files lie beside the database, whichever that is.
pytestmark = pytest.mark.one_backing

ANY = "application/x-anything"
"""A type whose files may begin in any way."""


CHANGES: list[dict[str, str | None]] = [
    {"m": "PUT"},
    {"m": "DELETE"},
    {"e": "99999999999"},
    {"e": "x"},
    {"e": "9" * 5000},
    {"e": "-1"},
    {"t": "text/html"},
    {"t": ""},
    {"t": "image/png\r\nX-Evil: 1"},
    {"n": "1"},
    {"n": "x"},
    {"s": ""},
    {"s": "x"},
    {"s": "ключ"},
    *({name: None} for name in "mets"),
]
"""What somebody may try with a signed URL; None leaves a parameter out."""


@pytest.fixture
def start_platform(start_platform, kept_in: Place):
    """A platform whose objects are in a folder, and one whose objects are in a bucket."""
    return partial(start_platform, objects_url=kept_in.url)


def everything(kept_in: Place) -> list[str]:
    """What is stored, whole or not."""
    return kept_in.keys() + kept_in.unfinished()


async def announce(owner: Talker, data: bytes) -> dict[str, str]:
    return await owner.announce(data, kind=ANY)


async def put(owner: Talker, ticket: dict[str, str], data, *, kind: str = ANY):
    return await owner.ask("PUT", ticket["upload_url"], content=data, headers={"Content-Type": kind})


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 1000):
        yield data[start : start + 1000]


class TestUploading:
    async def test_what_was_sent_comes_back_with_its_type_and_cannot_run_as_a_page(self, owner: Talker, guest: Talker):
        answer = await guest.ask("GET", await owner.upload(png()))
        assert (answer.status_code, answer.content) == (200, png())
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == "inline"
        assert answer.headers["Content-Security-Policy"].startswith("sandbox;")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "private" in answer.headers["Cache-Control"]

    @pytest.mark.parametrize(
        "kind", ["text/html", "image/svg+xml", "Image/SVG+XML", "application/javascript", "text/xml", "multipart/x"]
    )
    async def test_what_a_browser_would_execute_is_a_download(self, owner: Talker, kind: str):
        page = b"<script>alert(1)</script>"
        answer = await owner.ask("GET", await owner.upload(page, kind=kind))
        assert answer.headers["Content-Disposition"] == "attachment"
        assert answer.headers["Content-Type"] == kind.lower()

    async def test_pieces_of_unknown_length_are_taken_when_they_add_up(self, kept_in: Place, owner: Talker):
        data = bytes(2_500_000)
        ticket = await announce(owner, data)
        assert (await put(owner, ticket, pieces(data))).status_code == 200
        assert len(kept_in.keys()) == 1
        assert (await owner.ask("GET", ticket["download_url"])).content == data

    async def test_an_empty_file_is_a_file(self, owner: Talker):
        assert (await owner.ask("GET", await owner.upload(b"", kind=ANY))).content == b""

    async def test_the_same_upload_again_replaces_it(self, kept_in: Place, owner: Talker):
        ticket = await announce(owner, b"12345")
        for data in (b"12345", b"abcde"):
            assert (await put(owner, ticket, data)).status_code == 200
        assert (await owner.ask("GET", ticket["download_url"])).content == b"abcde"
        assert len(everything(kept_in)) == 1

    @pytest.mark.parametrize(
        ("sent", "status", "says"), [(4, 400, "4 bytes arrived of the 5"), (6, 413, "5 bytes"), (0, 400, "0 bytes")]
    )
    @pytest.mark.parametrize("in_pieces", [False, True])
    async def test_fewer_or_more_bytes_than_announced_leave_nothing(
        self, kept_in: Place, owner: Talker, sent: int, status: int, says: str, in_pieces: bool
    ):
        ticket, data = await announce(owner, b"12345"), b"x" * sent
        answer = await put(owner, ticket, pieces(data) if in_pieces else data)
        assert answer.status_code == status
        assert says in answer.json()["detail"]
        assert everything(kept_in) == []
        assert (await owner.ask("GET", ticket["download_url"])).status_code == 404
        assert (await put(owner, ticket, b"12345")).status_code == 200

    async def test_another_type_than_announced_is_refused(self, kept_in: Place, owner: Talker):
        ticket = await announce(owner, b"12345")
        for headers in ({"Content-Type": "text/html"}, {}):
            answer = await owner.ask("PUT", ticket["upload_url"], content=b"12345", headers=headers)
            assert answer.status_code == 400
            assert f"was announced as {ANY}" in answer.json()["detail"]
        assert everything(kept_in) == []

    async def test_a_client_that_goes_away_leaves_nothing_on_the_disk_and_no_word_in_the_log(
        self, kept_in: Place, owner: Talker
    ):
        data = b"x" * 20_000_000
        ticket = await announce(owner, data)
        parts = urlsplit(ticket["upload_url"])
        head = f"PUT {local(ticket['upload_url'])} HTTP/1.1\r\nHost: x\r\nContent-Type: {ANY}\r\n"
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.write(f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data[:19_000_000])
        await writer.drain()
        await _until(lambda: kept_in.unfinished())
        assert kept_in.keys() == []
        writer.transport.abort()
        await _until(lambda: not everything(kept_in))
        assert (await put(owner, ticket, data)).status_code == 200

    async def test_a_client_that_sends_half_and_closes_properly_leaves_nothing_either(
        self, kept_in: Place, owner: Talker
    ):
        ticket = await announce(owner, b"1234567890")
        parts = urlsplit(ticket["upload_url"])
        head = f"PUT {local(ticket['upload_url'])} HTTP/1.1\r\nHost: x\r\nContent-Type: {ANY}\r\n"
        with socket.create_connection((parts.hostname, parts.port)) as connection:
            connection.sendall(f"{head}Content-Length: 10\r\n\r\n12345".encode())
        assert (await owner.get("/health"))["status"] == "ok"
        await _until(lambda: not everything(kept_in))

    async def test_any_name_can_be_uploaded_and_read(self, kept_in: Place, owner: Talker):
        for name in ["あ" * 200 + ".png", "é" * 255, "a" * 255, ".png", "..", "COM1.png", "🙂.png", "\0.png"]:
            answer = await owner.ask("GET", await owner.upload(b"12345", name=name, kind=ANY))
            assert answer.content == b"12345"
        for key in everything(kept_in):
            assert len(key.rpartition("/")[2].encode()) <= 100
            assert "/." not in key


class TestForms:
    """The hosted platform's multipart upload."""

    async def test_a_form_is_taken_and_answers_in_the_hosted_platforms_words(self, owner: Talker, guest: Talker):
        answer = await owner.ask("POST", "/api/file/upload", files={"file": ("cat.png", png(), "image/png")})
        body = answer.json()
        assert body["file_name"] == "cat.png"
        assert body["file_id"].startswith("img_")
        assert (await guest.ask("GET", body["file_url"])).content == png()

    @pytest.mark.parametrize(
        "name", ["../../../evil.png", "/etc/evil.png", "..\\evil.png", "a\r\nX: y.png", "あ" * 200 + ".png"]
    )
    async def test_a_name_in_a_form_is_never_a_path(self, kept_in: Place, owner: Talker, name: str):
        answer = await owner.ask("POST", "/file/upload", files={"file": (name, png(), "image/png")})
        assert answer.status_code == 200
        (key,) = kept_in.keys()
        assert re.fullmatch(r"files/[\w]+/[\w][\w.-]*", key)
        assert (await owner.ask("GET", answer.json()["file_url"])).content == png()

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("multipart/form-data", b""),
            ("multipart/form-data", b"--x\r\n\r\n--x--"),
            ("multipart/form-data; boundary=x", b""),
            ("multipart/form-data; boundary=x", b"no boundary at all"),
            ("multipart/form-data; boundary=x", b"--x--\r\n"),
            (
                "multipart/form-data; boundary=x",
                b'--x\r\nContent-Disposition: form-data; name="other"\r\n\r\n1\r\n--x--\r\n',
            ),
            ("multipart/form-data; boundary=x", b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\n123'),
            ("multipart/form-data; boundary=x", b"--x\r\nbroken header\r\n\r\n1\r\n--x--\r\n"),
            ("multipart/form-data; boundary=" + "x" * 71, b"--x--"),
            ("multipart/mixed; boundary=x", b"--x\r\nContent-Type: multipart/mixed\r\n\r\n1\r\n--x--\r\n"),
        ],
    )
    async def test_a_form_that_is_none_is_422_and_leaves_nothing(
        self, kept_in: Place, owner: Talker, kind: str, body: bytes
    ):
        answer = await owner.ask("POST", "/file/upload", content=body, headers={"Content-Type": kind})
        assert answer.status_code == 422, answer.text
        assert answer.json()["detail"][0]["loc"][0] == "body"
        assert everything(kept_in) == []

    async def test_a_form_over_the_limit_is_413_names_the_limit_and_leaves_nothing(
        self, start_platform, kept_in: Place
    ):
        async with (
            start_platform(max_file_bytes=1000, max_body_bytes=100) as platform,
            talkers(platform.url, platform.owner.api_key, secrets=[]) as (owner,),
        ):
            answer = await owner.ask("POST", "/file/upload", files={"file": ("a.bin", b"x" * 1001, "image/png")})
            assert answer.status_code == 413
            assert "1000 bytes" in answer.json()["detail"]
            assert everything(kept_in) == []
            answer = await owner.ask("POST", "/file/upload", json={"type": "a/b", "file_size": 1001})
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
            assert "1000" in answer.json()["detail"]
            answer = await owner.ask("POST", "/file/upload", files={"file": ("a.bin", b"x" * 1000, "image/png")})
            assert (await owner.ask("GET", answer.json()["file_url"])).content == b"x" * 1000


class TestSignedUrls:
    async def test_a_url_works_until_it_expires_and_then_says_so(self, platform, owner: Talker, guest: Talker):
        url, now = await owner.upload(png()), platform.parts.objects._clock()
        expires = int(parse_qs(urlsplit(url).query)["e"][0])
        assert 0 <= expires - now <= platform.parts.config.url_seconds
        for moment, status in ((expires, 200), (expires + 1, 403)):
            platform.parts.objects._clock = lambda moment=moment: moment
            answer = await guest.ask("GET", url)
            assert answer.status_code == status
        assert answer.json() == {"detail": "This URL has expired. Ask for a new one.", "code": "forbidden"}

    async def test_an_expired_upload_url_stores_nothing(self, platform, kept_in: Place, owner: Talker):
        ticket = await announce(owner, b"12345")
        platform.parts.objects._clock = lambda: 10**12
        assert (await put(owner, ticket, b"12345")).status_code == 403
        assert everything(kept_in) == []

    async def test_a_run_may_still_use_a_file_whose_url_has_expired(self, platform, owner: Talker):
        url = await owner.upload(png())
        platform.parts.objects._clock = lambda: 10**10
        run_id = await owner.queue(platform.owner.deployment_id, {"image": url})
        assert (await owner.end_of(run_id))["status"] == "success"

    async def test_a_url_that_was_changed_opens_nothing(self, owner: Talker, guest: Talker):
        parts = urlsplit(await owner.upload(png()))
        signed = {name: values[0] for name, values in parse_qs(parts.query).items()}
        for change in CHANGES:
            query = {name: value for name, value in (signed | change).items() if value is not None}
            for method in ("GET", "PUT"):
                answer = await guest.ask(method, f"{parts.path}?{urlencode(query)}")
                assert answer.status_code in (403, 400), change
                assert "X-Evil" not in answer.headers

    async def test_a_signature_is_for_one_object_alone(self, owner: Talker, guest: Talker):
        for path in ["secret", "outpost.sqlite", "../secret", "..%2fsecret", "%2e%2e/secret", "%00", "a" * 3000, "//"]:
            parts = urlsplit(await owner.upload(png()))
            answer = await guest.ask("GET", f"/api/objects/{path}?{parts.query}")
            assert answer.status_code in (403, 404)
            assert answer.json()["code"] in ("forbidden", "not_found")

    async def test_an_upload_url_does_not_read_and_a_download_url_does_not_write(self, kept_in: Place, owner: Talker):
        ticket = await announce(owner, b"12345")
        await put(owner, ticket, b"12345")
        assert (await owner.ask("GET", ticket["upload_url"])).status_code == 403
        answer = await owner.ask("PUT", ticket["download_url"], content=b"abcde", headers={"Content-Type": ANY})
        assert answer.status_code == 403
        assert (await owner.ask("GET", ticket["download_url"])).content == b"12345"

    async def test_a_key_alone_opens_no_object(self, owner: Talker):
        path = urlsplit(await owner.upload(png())).path
        assert (await owner.ask("GET", path)).status_code == 403

    async def test_another_servers_signature_is_worth_nothing(self, platform, owner: Talker, guest: Talker):
        url = await owner.upload(png())
        platform.parts.objects._secret = bytes(32)
        assert (await guest.ask("GET", url)).status_code == 403


class TestContent:
    """The first bytes of a file have to be those of its type."""

    @pytest.mark.parametrize("data", [b"<script>alert(1)</script>" * 100, b"GIF89a" + bytes(5000), b"\x89PN", b"x"])
    async def test_a_file_that_begins_as_another_type_is_refused_and_not_kept(
        self, kept_in: Place, owner: Talker, data: bytes
    ):
        ticket = await owner.announce(data)
        answer = await put(owner, ticket, data, kind="image/png")
        assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable")
        assert "announced as image/png" in answer.json()["detail"][0]["msg"]
        assert "script" not in answer.text
        assert everything(kept_in) == []
        assert (await owner.ask("GET", ticket["download_url"])).status_code == 404

    async def test_a_file_in_the_smallest_pieces_is_looked_at_as_a_whole(self, owner: Talker):
        async def bytewise(data: bytes) -> AsyncIterator[bytes]:
            for start in range(len(data)):
                yield data[start : start + 1]

        ticket = await owner.announce(png())
        answer = await put(owner, ticket, bytewise(png()), kind="image/png")
        assert answer.status_code == 200
        assert (await owner.ask("GET", ticket["download_url"])).content == png()


TEN = b"0123456789"
"""What the tests of ranges read parts of."""


class TestRanges:
    @pytest.mark.parametrize(
        ("wanted", "status", "content", "where"),
        [
            ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
            ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
            ("bytes=-2", 206, b"89", "bytes 8-9/10"),
            ("bytes=-99", 206, TEN, "bytes 0-9/10"),
            ("bytes=8-100", 206, b"89", "bytes 8-9/10"),
            ("bytes=0-9", 206, TEN, "bytes 0-9/10"),
            ("bytes=10-", 416, b"", "bytes */10"),
            ("bytes=x", 416, b"", "bytes */10"),
            ("bytes=5-2", 416, b"", "bytes */10"),
            ("bytes=0-1,3-4", 416, b"", "bytes */10"),
        ],
    )
    async def test_a_part_of_an_object_can_be_asked_for(
        self, owner: Talker, wanted: str, status: int, content: bytes, where: str
    ):
        url = await owner.upload(TEN, kind=ANY)
        answer = await owner.ask("GET", url, headers={"Range": wanted})
        assert (answer.status_code, answer.headers["Content-Range"]) == (status, where)
        assert answer.headers["Content-Security-Policy"]
        if status == 206:
            assert answer.content == content
            assert answer.headers["Content-Length"] == str(len(content))
            assert answer.headers["Accept-Ranges"] == "bytes"
        else:
            assert b"0" not in answer.content.replace(b"416", b"")

    async def test_a_head_tells_everything_but_the_bytes(self, owner: Talker, guest: Talker):
        url = await owner.upload(png())
        whole, head = await guest.ask("GET", url), await guest.ask("HEAD", url)
        assert (head.status_code, head.content) == (200, b"")
        for name in ("Content-Length", "Content-Type", "ETag", "Last-Modified", "Accept-Ranges"):
            assert head.headers[name] == whole.headers[name]
        assert (await guest.ask("HEAD", url, headers={"Range": "bytes=0-1"})).headers["Content-Length"] == "2"
        assert (await guest.http.head(url[:-1])).status_code == 403

    async def test_what_a_client_has_already_is_not_sent_again(self, owner: Talker):
        ticket = await announce(owner, TEN)
        await put(owner, ticket, TEN)
        url = ticket["download_url"]
        first = await owner.ask("GET", url)
        for known in ({"If-None-Match": first.headers["ETag"]}, {"If-Modified-Since": first.headers["Last-Modified"]}):
            answer = await owner.ask("GET", url, headers=known)
            assert (answer.status_code, answer.content) == (304, b"")
        other = {"If-None-Match": '"something-else"'}
        assert (await owner.ask("GET", url, headers=other)).content == TEN
        await put(owner, ticket, TEN[::-1])
        changed = await owner.ask("GET", url, headers={"If-None-Match": first.headers["ETag"]})
        assert (changed.status_code, changed.content) == (200, TEN[::-1])

    async def test_an_empty_object_has_no_parts(self, owner: Talker):
        url = await owner.upload(b"", kind=ANY)
        assert (await owner.ask("GET", url)).headers["Content-Length"] == "0"
        assert (await owner.ask("GET", url, headers={"Range": "bytes=0-"})).status_code == 416

    async def test_a_large_object_comes_whole_and_in_parts(self, owner: Talker):
        data = b"".join(number.to_bytes(4, "big") for number in range(2_500_000))
        url = await owner.upload(data, kind=ANY)
        assert (await owner.ask("GET", url)).content == data
        answer = await owner.ask("GET", url, headers={"Range": "bytes=4000000-8999999"})
        assert answer.content == data[4_000_000:9_000_000]


async def _until(condition) -> None:
    """Wait for something that the server does by itself."""

    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.005)

    await asyncio.wait_for(poll(), 20)
