"""Everything that the hosted platform was recorded to answer, read by the client over a socket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from comfyui_outpost.api.client import Client, ContentCache
from comfyui_outpost.api.client.contents import UploadForm
from comfyui_outpost.api.errors import from_response
from comfyui_outpost.api.events import Accepted, Phase, StatusChanged, Unknown
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.contract.calls import ID, ROWS, STORE_ROWS, Ask, row_for
from comfyui_outpost.tests.contract.meanings import EVERYWHERE, MEANINGS, meaning_of
from comfyui_outpost.tests.contract.replay import Exchange, Replay
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.flaky import Flaky, answer, text
from comfyui_outpost.tests.fakes.serving import KEY, FakeTime, served

NAMES = sorted(path.stem for path in recordings.FOLDER.glob("*.json"))
EXCHANGES = [Exchange.read(name, each) for name in NAMES for each in recordings.exchanges(name)]
STREAMS = sorted(path.stem.removeprefix("stream_") for path in recordings.FOLDER.glob("*.sse"))
WITHOUT_END = {"without_terminal_event", "unknown_node"}
# Not an exchange: what the platform's database held.
NOT_ON_THE_WIRE = {"status transitions of a serverless run, sampled from the database"}


@asynccontextmanager
async def client_for(base_url: str) -> AsyncIterator[Client]:
    """A client that knows already that this platform takes files as forms."""
    connection, contents, time = Connection(base_url, KEY), ContentCache(), FakeTime()
    contents.learn_form(connection.id, UploadForm.MULTIPART)
    async with Client(connection, contents=contents, sleep=time.sleep, clock=time.clock) as client:
        yield client


def is_of(value: Any, kind: Any) -> bool:
    if isinstance(kind, list):
        return isinstance(value, list) and all(isinstance(each, kind[0]) for each in value)
    return isinstance(value, kind)


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
async def test_what_was_answered_is_a_record_or_the_error_that_it_means(exchange: Exchange) -> None:
    row, meaning = row_for(exchange), meaning_of(exchange)
    replay = Replay(exchange, row.method, row.asks or (".+" if exchange.is_with_store else row.path), meaning.then)

    async with served(replay.app) as base_url, client_for(base_url) as client:
        replay.base_url = base_url
        ask = Ask(client, exchange, base_url)
        if meaning.error:
            with pytest.raises(meaning.error) as caught:
                await row.call(ask)
            assert type(caught.value) is meaning.error
            assert KEY not in str(caught.value)
        else:
            assert is_of(await row.call(ask), row.gives)

    assert bool(replay.asked) == meaning.is_sent


@pytest.mark.parametrize("exchange", EXCHANGES, ids=str)
def test_nothing_recorded_reaches_a_message_whole(exchange: Exchange) -> None:
    if exchange.status >= 400:
        body = recordings.encoded(exchange.answer)
        error = from_response(exchange.status, body, method="GET", path="/x")
        assert len(str(error)) < 300
        assert "[SQL:" not in str(error)


def test_everything_recorded_is_replayed() -> None:
    for name in NAMES:
        for case in recordings.cases(name):
            is_covered = "response" in case or "final" in case or case["case"] in NOT_ON_THE_WIRE
            assert is_covered, f"{name}: {case['case']}"


def test_no_row_and_no_meaning_is_left_from_what_is_not_recorded() -> None:
    used = {id(row_for(each)) for each in EXCHANGES}
    assert [row.path for row in (*ROWS, *STORE_ROWS) if id(row) not in used] == []
    for name, case in MEANINGS:
        assert any(each.name == name and each.case.startswith(case) for each in EXCHANGES), (name, case)
    for case in EVERYWHERE:
        assert any(each.case.startswith(case) for each in EXCHANGES), case


POLLED = [each for each in recordings.cases("get_run_run_id") if "final" in each]


@pytest.mark.parametrize("case", POLLED, ids=lambda case: case["case"])
async def test_every_state_that_polling_saw_is_read(case: dict[str, Any]) -> None:
    states = [each for each in case["snapshots"] if "outputs" in each] + [case["final"]]
    server = Flaky(*(answer(case["final"] | state) for state in states))

    async with served(server.app) as base_url, client_for(base_url) as client:
        runs = [await client.runs.get(ID) for _ in states]

    assert [run.status.value for run in runs] == [state["status"] for state in states]
    assert len(runs[-1].outputs) == len(case["final"]["outputs"])


@pytest.mark.parametrize("name", STREAMS)
async def test_every_recorded_stream_is_read_to_its_end(name: str) -> None:
    data = recordings.stream(name)
    blocks = [json.loads(line[6:]) for line in data.decode().splitlines() if line.startswith("data: ")]

    async with (
        served(Flaky(text(data, content_type="text/event-stream")).app) as base_url,
        client_for(base_url) as client,
    ):
        events = [event async for event in client.runs.stream(ID, {})]

    assert len(events) == len(blocks)
    assert events[0] == Phase("queuing")
    assert not any(isinstance(event, Unknown) and event.name is None for event in events)
    has_id = any("prompt_id" in block and "number" in block for block in blocks)
    assert any(isinstance(event, Accepted) for event in events) == has_id
    ends = [event.status for event in events if isinstance(event, StatusChanged) and event.status.is_terminal]
    assert len(ends) == (0 if name in WITHOUT_END else 1)
