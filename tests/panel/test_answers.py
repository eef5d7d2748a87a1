"""Answers that are on their way: whatever happens then, nothing that is no part of them is written into them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.panel import deployments
from comfyui_outpost.api.panel.files import spool
from comfyui_outpost.api.panel.routes import Panel
from comfyui_outpost.api.panel.table import ROUTES, Kind, Route
from comfyui_outpost.tests.fakes.serving import served

SIZE = 24 * 1024 * 1024
"""More than what the kernel keeps for a reader that pauses."""
_Answer = Callable[[Any], Awaitable[Any]]


@asynccontextmanager
async def _asked(
    answer: _Answer, monkeypatch: pytest.MonkeyPatch, *, kind: Kind, patience: float = 0.2
) -> AsyncGenerator[asyncio.StreamReader, None]:
    """What a page reads of a route, by hand: only so one sees each byte, and reads when one wants to."""
    monkeypatch.setattr(deployments, "list_deployments", answer)
    app = web.Application()
    panel = Panel(patience=patience)
    app.router.add_get("/x", panel.handler(Route("GET", "/x", "deployments.list_deployments", kind)))
    async with served(app) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=2**16)
        writer.write(f"GET /x HTTP/1.1\r\nHost: {host}:{port}\r\nOutpost-Page: 1\r\nConnection: close\r\n\r\n".encode())
        yield reader
        writer.close()
        await panel.aclose()


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """All that still comes, until the connection ends in one way or another."""
    data = b""
    try:
        while piece := await asyncio.wait_for(reader.read(2**20), 10):
            data += piece
    except ConnectionError:
        pass
    return data


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


async def test_a_file_takes_as_long_as_its_reader_does(file: Path, monkeypatch: pytest.MonkeyPatch):
    async def answer(call: Any) -> Any:
        return await spool.sent(call, file, identity="x", name="x.mp4", is_saved=True)

    async with _asked(answer, monkeypatch, kind=Kind.FILE) as reader:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.sleep(0.6)  # longer than the panel's patience
        body = await _rest(reader)

    assert (len(body), b"HTTP/1.1" in body) == (SIZE, False)


async def test_a_reader_that_takes_nothing_is_given_up(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(spool, "UNREAD", 0.2)
    done = asyncio.Event()

    async def answer(call: Any) -> Any:
        try:
            return await spool.sent(call, file, identity="x", name="x.mp4")
        finally:
            done.set()

    async with _asked(answer, monkeypatch, kind=Kind.FILE) as reader:
        await reader.readuntil(b"\r\n\r\n")
        await asyncio.wait_for(done.wait(), 20)
        body = await _rest(reader)

    assert (len(body) < SIZE, b"HTTP/1.1" in body) == (True, False)
    assert "Traceback" not in caplog.text


async def _breaks() -> None:
    raise OSError("the disk is gone")


async def _goes_on() -> None:
    await asyncio.sleep(30)


@pytest.mark.parametrize("then", [_breaks, _goes_on])
async def test_what_fails_after_an_answer_has_begun_cuts_it_off_and_adds_nothing(
    then: Callable[[], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
):
    async def answer(call: Any) -> Any:
        response = web.StreamResponse()
        response.content_length = 1000
        await response.prepare(call.request)
        await response.write(b"begun")
        await then()

    async with _asked(answer, monkeypatch, kind=Kind.JSON) as reader:
        await reader.readuntil(b"\r\n\r\n")
        assert await _rest(reader) == b"begun"


async def test_a_page_that_leaves_is_nothing_for_the_log(
    file: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    done = asyncio.Event()

    async def answer(call: Any) -> Any:
        try:
            call.request.transport.abort()
            return await spool.sent(call, file, identity="x", name="x.mp4")
        finally:
            done.set()

    async with _asked(answer, monkeypatch, kind=Kind.FILE) as reader:
        assert await _rest(reader) == b""
        await asyncio.wait_for(done.wait(), 20)

    assert "failed" not in caplog.text


def test_whole_files_are_not_held_to_the_time_of_small_answers():
    kinds = {
        route.path: route.kind for route in ROUTES if route.answer.rpartition(".")[2] in ("show_file", "show_output")
    }
    assert set(kinds.values()) == {Kind.FILE}
    assert len(kinds) == 2


@pytest.mark.parametrize("name", ["\ud800.png", "a\r\nX: y.png", "x.png\0"])
def test_whatever_a_file_is_called_its_headers_are_headers(name: str):
    for value in spool.headers_of(name).values():
        assert value.isascii()
        assert value.isprintable()


async def test_the_page_is_not_told_where_the_settings_file_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OUTPOST_SETTINGS", str(tmp_path / "inner" / "connection.json"))

    async def answer(call: Any) -> Any:
        raise ConfigurationError(f"Others can read {tmp_path / 'inner' / 'connection.json'}: make it yours alone.")

    async with _asked(answer, monkeypatch, kind=Kind.JSON) as reader:
        body = await _rest(reader)

    assert b"Others can read the settings file: make it yours alone." in body
    assert str(tmp_path).encode() not in body
