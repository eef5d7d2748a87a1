"""Live news of runs: nothing important is lost, and only the latest of each sort is kept."""

from __future__ import annotations

from comfyui_outpost.api.events import LiveStatus, NodeProgress
from comfyui_outpost.api.server.feed import Feed


def _step(value: int, node: str = "1") -> NodeProgress:
    return NodeProgress("r", node, value, 10)


def test_a_new_subscription_first_looks_into_the_log():
    with Feed().subscribe("r") as subscription:
        assert subscription.take() == (True, [])
        assert subscription.take() == (False, [])


def test_only_the_latest_of_each_sort_is_told_in_the_order_of_the_latest():
    feed = Feed()
    with feed.subscribe("r") as subscription:
        for event in (_step(1), _step(1, "2"), LiveStatus("r", "a", 0.1), _step(2), LiveStatus("r", "b", 0.2)):
            feed.publish("r", event)
        assert subscription.take()[1] == [_step(1, "2"), _step(2), LiveStatus("r", "b", 0.2)]


async def test_news_that_come_between_looking_and_waiting_are_not_slept_through():
    feed = Feed()
    with feed.subscribe("r") as subscription:
        subscription.take()
        feed.wake("r")
        assert await subscription.wait(seconds=60)
        assert subscription.take() == (True, [])


async def test_after_silence_the_log_is_looked_into_for_another_process_may_have_written():
    with Feed().subscribe("r") as subscription:
        subscription.take()
        assert not await subscription.wait(seconds=0)
        assert subscription.take() == (True, [])


def test_runs_do_not_hear_of_each_other_and_nothing_stays_behind():
    feed = Feed()
    with feed.subscribe("a") as first, feed.subscribe("a"), feed.subscribe("b") as other:
        feed.publish("a", LiveStatus("a", "x", 0.5))
        assert first.take()[1] == [LiveStatus("a", "x", 0.5)]
        assert other.take()[1] == []
        assert feed.live("a") == LiveStatus("a", "x", 0.5)
    feed.forget("a")
    assert feed.live("a") is None
    assert (feed._subscriptions, feed._live) == ({}, {})
