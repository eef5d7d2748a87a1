"""Live news of runs: nothing that is logged is lost, only the latest progress is kept, and many cost as much as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from comfyui_outpost.api.events import (
    Accepted,
    LiveStatus,
    NodeProgress,
    OutputReady,
    PreviewImage,
    RunEvent,
    StatusChanged,
    encode,
    to_sse,
)
from comfyui_outpost.api.models import RunStatus
from comfyui_outpost.api.server.feed import SILENCE, Feed, Stream, Tail

HERE, THERE = "http://here/api", "http://there/api"
BEGIN = [Accepted("r"), StatusChanged("r", RunStatus.QUEUED)]
END = StatusChanged("r", RunStatus.SUCCESS)


class Log:
    """The log of run `r`."""

    def __init__(self, *events: RunEvent) -> None:
        self.events = list(events)
        self.reads: list[int] = []
        """After which event it was read, each time."""
        self.error: Exception | None = None

    async def __call__(self, run_id: str, *, after: int) -> list[tuple[int, Any]]:
        assert run_id == "r"
        self.reads.append(after)
        await asyncio.sleep(0)
        if self.error:
            raise self.error
        return [(number, encode(event)[1]) for number, event in enumerate(self.events, start=1) if number > after]


class Shown:
    """Shows events to whoever comes by a base URL, and counts how often."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.count = 0

    def __call__(self, event: RunEvent) -> RunEvent:
        self.count += 1
        return replace(event, output={"text": [self.base_url]}) if isinstance(event, OutputReady) else event


def _feed(log: Log, *, keep_alive_seconds: float = 60) -> Feed:
    return Feed(log, keep_alive_seconds=keep_alive_seconds)


def _stream(tail: Tail, *, after: int = 0, show: Shown | None = None) -> Stream:
    show = show or Shown(HERE)
    return tail.stream(show, base_url=show.base_url, after=after)


def _sse(*logged: RunEvent, after: int = 0) -> bytes:
    return b"".join(to_sse(event, number=number) for number, event in enumerate(logged, start=after + 1))


def _step(value: int, node: str = "1") -> NodeProgress:
    return NodeProgress("r", node, value, 10)


async def _all(stream: Stream) -> AsyncIterator[bytes]:
    while chunk := await stream.next():
        yield chunk


async def test_a_stream_begins_with_the_log_and_ends_with_the_run():
    log = Log(*BEGIN)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        stream = _stream(tail)
        assert await stream.next() == _sse(*BEGIN)
        log.events.append(END)
        feed.wake("r")
        assert await stream.next() == _sse(END, after=2)
        assert [await stream.next(), await stream.next()] == [b"", b""]
        assert await asyncio.wait_for(tail.end(), 20) is None


async def test_many_streams_read_the_log_once_and_are_given_the_same_bytes():
    log, show = Log(*BEGIN), Shown(HERE)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        streams = [_stream(tail, show=show) for _ in range(100)]
        first = [await stream.next() for stream in streams]
        waiting = [asyncio.ensure_future(stream.next()) for stream in streams]
        await asyncio.sleep(0)
        log.events.append(END)
        feed.wake("r")
        last = await asyncio.gather(*waiting)
    assert {id(chunk) for chunk in first} == {id(first[0])}
    assert {id(chunk) for chunk in last} == {id(last[0])}
    assert last[0] == _sse(END, after=2)
    assert log.reads == [0, 2]
    assert show.count == 3


async def test_whoever_comes_late_is_told_everything_from_where_they_left_off_and_the_log_is_not_read_again():
    log = Log(*BEGIN)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        await _stream(tail).next()
        log.events.append(StatusChanged("r", RunStatus.STARTED))
        feed.wake("r")
        async with feed.follow("r") as same:
            assert same is tail
            early = _stream(same, after=2)
            while (chunk := await early.next()) == SILENCE:
                pass
            assert chunk == _sse(*log.events[2:], after=2)
            for after in range(3):
                assert await _stream(same, after=after).next() == _sse(*log.events[after:], after=after)
        assert log.reads == [0, 2]


async def test_everybody_sees_the_outputs_as_their_own_base_url_has_it():
    log = Log(*BEGIN, OutputReady("r", "1", {"text": ["?"]}), END)
    here, there = Shown(HERE), Shown(THERE)
    async with _feed(log).follow("r") as tail:
        for show in (here, there, here, there):
            (chunk,) = [chunk async for chunk in _all(_stream(tail, show=show))]
            other = {HERE: THERE, THERE: HERE}[show.base_url]
            assert show.base_url.encode() in chunk
            assert other.encode() not in chunk
    assert (here.count, there.count) == (4, 4)


async def test_what_was_written_for_one_is_not_kept_for_those_who_come_much_later():
    # It may hold signed URLs, which end some time after they were made.
    log, show = Log(*BEGIN, OutputReady("r", "1", {})), Shown(HERE)
    async with _feed(log, keep_alive_seconds=0.01).follow("r") as tail:
        stream = _stream(tail, show=show)
        await stream.next()
        assert await stream.next() == SILENCE
        before = show.count
        await _stream(tail, show=show).next()
        assert show.count == before + 3


async def test_only_the_latest_of_each_sort_is_told_in_the_order_of_the_latest():
    feed = _feed(Log(*BEGIN))
    async with feed.follow("r") as tail:
        stream = _stream(tail, after=2)
        for event in (_step(1), _step(1, "2"), LiveStatus("r", "a", 0.1), _step(2), LiveStatus("r", "b", 0.2)):
            feed.publish("r", event)
        latest = (_step(1, "2"), _step(2), LiveStatus("r", "b", 0.2))
        assert await stream.next() == b"".join(map(to_sse, latest))


async def test_a_slow_reader_misses_steps_in_between_and_no_event_and_holds_nobody_up():
    log = Log(*BEGIN)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        slow, quick = _stream(tail), _stream(tail)
        await slow.next()
        await quick.next()
        for value in range(10):
            feed.publish("r", _step(value))
            assert await quick.next() == to_sse(_step(value))
        log.events.append(StatusChanged("r", RunStatus.RUNNING))
        feed.wake("r")
        assert await quick.next() == _sse(log.events[-1], after=2)
        assert await slow.next() == _sse(log.events[-1], after=2) + to_sse(_step(9))


async def test_only_the_latest_preview_is_kept_whichever_node_it_is_from_and_nothing_waits_for_it():
    def preview(number: int) -> PreviewImage:
        return PreviewImage("r", str(number % 3), "image/jpeg", bytes([number]) * 1000)

    feed = _feed(Log(*BEGIN))
    async with feed.follow("r") as tail:
        slow, quick = _stream(tail, after=2), _stream(tail, after=2)
        for number in range(10):
            feed.publish("r", preview(number))
            assert await quick.next() == to_sse(preview(number))
        feed.publish("r", _step(1))
        assert await quick.next() == to_sse(_step(1))
        assert await slow.next() == to_sse(preview(9)) + to_sse(_step(1))
        feed.publish("r", preview(10))
        feed.publish("r", preview(11))
        assert await slow.next() == to_sse(preview(11))
    assert feed.live("r") is None


async def test_progress_that_was_before_a_stream_is_not_told():
    feed = _feed(Log(*BEGIN))
    async with feed.follow("r") as tail:
        feed.publish("r", _step(1))
        stream = _stream(tail)
        assert await stream.next() == _sse(*BEGIN)
        feed.publish("r", _step(2))
        assert await stream.next() == to_sse(_step(2))


async def test_news_that_come_while_a_chunk_is_being_sent_are_not_slept_through():
    feed = _feed(Log(*BEGIN))
    async with feed.follow("r") as tail:
        stream = _stream(tail)
        await stream.next()
        feed.publish("r", _step(1))
        assert await asyncio.wait_for(stream.next(), 20) == to_sse(_step(1))


async def test_after_silence_there_is_a_comment_and_the_log_is_looked_into_for_another_process_may_have_written():
    log = Log(*BEGIN)
    async with _feed(log, keep_alive_seconds=0.01).follow("r") as tail:
        stream = _stream(tail)
        assert [await stream.next(), await stream.next()] == [_sse(*BEGIN), SILENCE]
        log.events.append(END)
        rest = [chunk async for chunk in _all(stream) if chunk != SILENCE]
        assert rest == [_sse(END, after=2)]


async def test_a_wake_without_news_says_nothing():
    log = Log(*BEGIN)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        stream = _stream(tail)
        await stream.next()
        following = asyncio.ensure_future(stream.next())
        for _ in range(3):
            reads = len(log.reads)
            feed.wake("r")
            while len(log.reads) == reads or tail._may_have_grown.is_set():
                await asyncio.sleep(0)
        assert not following.done()
        feed.publish("r", _step(1))
        assert await following == to_sse(_step(1))


async def test_a_log_that_cannot_be_read_is_everybodys_error_and_the_next_one_tries_anew():
    log = Log(*BEGIN)
    feed = _feed(log)
    async with feed.follow("r") as tail:
        streams = [_stream(tail) for _ in range(3)]
        for stream in streams:
            await stream.next()
        log.error = OSError("the disk is gone")
        feed.wake("r")
        for stream in streams:
            with pytest.raises(OSError, match="the disk is gone"):
                await stream.next()
        with pytest.raises(OSError, match="the disk is gone"):
            await tail.end()
    with pytest.raises(OSError, match="the disk is gone"):
        async with feed.follow("r"):
            pytest.fail("nothing can be followed")
    log.error = None
    async with feed.follow("r") as tail:
        assert await _stream(tail).next() == _sse(*BEGIN)
    assert feed._tails == {}


async def test_one_who_goes_away_takes_nothing_from_the_others():
    log = Log(*BEGIN)
    feed = _feed(log)

    async def follow() -> list[bytes]:
        async with feed.follow("r") as tail:
            return [chunk async for chunk in _all(_stream(tail))]

    staying, going = asyncio.create_task(follow()), asyncio.create_task(follow())
    while len(log.reads) == 0 or not feed._tails["r"]._events:
        await asyncio.sleep(0)
    going.cancel()
    await asyncio.wait({going})
    log.events.append(END)
    feed.wake("r")
    assert b"".join(await staying) == _sse(*log.events)
    assert feed._tails == {}


async def test_runs_do_not_hear_of_each_other_and_nothing_stays_behind():
    feed = _feed(Log(*BEGIN))
    feed.publish("b", LiveStatus("b", "nobody listens", 0.5))
    async with feed.follow("r") as tail:
        stream = _stream(tail, after=2)
        feed.publish("b", LiveStatus("b", "x", 0.5))
        feed.wake("b")
        feed.publish("r", LiveStatus("r", "y", 0.5))
        assert await stream.next() == to_sse(LiveStatus("r", "y", 0.5))
    assert feed.live("b") == LiveStatus("b", "x", 0.5)
    feed.forget("b")
    feed.forget("r")
    assert feed.live("b") is None
    assert (feed._tails, feed._live) == ({}, {})
