"""Connections in a real page: from none at all to one that is started here, tested, joined by others and removed."""

from __future__ import annotations

import json

import pytest
from comfyui_outpost.api.connections import Book, change_book, read_book
from comfyui_outpost.api.settings import load_connection
from playwright.async_api import expect

from .desk import CHROMIUM, Desk

pytestmark = [
    pytest.mark.asyncio(loop_scope="session"),
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this computer: apt install chromium"),
]
STOP = """
async () => { const { routes } = document.querySelector("outpost-panel").state.panel;
              await (await routes.open("/here/stop", { method: "POST" })).text(); }
"""
HOSTILE = "<img src=x onerror=alert(1)> \u202eabc " + "long " * 30


async def test_from_no_connection_to_a_platform_that_is_started_here_and_tested(panel_desk: Desk) -> None:
    desk, settings = panel_desk, panel_desk.settings
    assert settings
    server = load_connection({}, settings)
    book = read_book(settings)
    desk.expected.extend(["status of 502", "status of 503"])  # while nothing is connected, and for a wrong key
    change_book(settings, lambda _: Book())
    try:
        await desk.show("machines")
        nothing = desk.panel.locator(".outpost-state")
        await nothing.get_by_text("Not connected").wait_for()
        assert "outpost connect" not in await nothing.inner_text()  # who is here need not open a terminal
        await nothing.get_by_role("button", name="Connections").click()
        await desk.panel.get_by_role("button", name="Start one here").click()
        await desk.panel.get_by_role("status").filter(has_text="Starting").wait_for()
        await desk.panel.get_by_role("radio", name="On this computer", checked=True).wait_for(timeout=60_000)
        here = load_connection({}, settings)
        assert here.base_url.startswith("http://127.0.0.1:")
        await desk.panel.get_by_role("button", name="Connection: On this computer").wait_for()

        await desk.panel.get_by_role("button", name="More for On this computer").click()
        await desk.page.get_by_role("menuitem", name="Test the whole way").click()
        await desk.panel.get_by_text("Everything works.").wait_for(timeout=40_000)
        await desk.panel.get_by_role("region", name="Test of").get_by_role("button", name="Close").click()

        await desk.panel.get_by_role("button", name="Another server").click()
        form = desk.page.locator(".outpost-dialog")
        await form.get_by_role("textbox", name="Address", exact=True).fill(server.base_url)
        await form.get_by_label("API key").fill("a-key-that-nobody-has-made")
        await form.get_by_role("button", name="Connect").click()
        await form.get_by_role("alert").filter(has_text="The API key is missing, wrong").wait_for()
        assert await form.get_by_role("button", name="Keep it anyway").count() == 0
        # What the page sends once, as the person at it has typed it, is looked at no further.
        sent = len(desk.sent)
        await form.get_by_label("API key").fill(server.api_key)
        await form.get_by_role("textbox", name="Name", exact=False).last.fill(HOSTILE[:200])
        await form.get_by_role("button", name="Connect").click()
        await form.wait_for(state="detached")
        assert load_connection({}, settings) == server
        assert sum(server.api_key in each for each in desk.sent[sent:]) == 1

        rows = desk.panel.get_by_role("radio")
        await desk.panel.get_by_role("radio", name="<img src=x", checked=True).wait_for()
        await expect(rows).to_have_count(2)
        assert await desk.panel.locator("img").count() == 0
        await desk.panel.get_by_role("radio", name="On this computer").check()
        await desk.panel.get_by_role("button", name="Connection: On this computer").wait_for()
        assert load_connection({}, settings) == here

        await desk.panel.get_by_role("button", name="More for <img").click()
        await desk.page.get_by_role("menuitem", name="Remove").click()
        await desk.page.get_by_role("button", name="Cancel", exact=True).click()
        assert len(read_book(settings).entries) == 2
        page = await desk.page.content() + json.dumps(
            await desk.page.evaluate("() => ({...localStorage, ...sessionStorage})")
        )
        assert here.api_key not in page
        assert server.api_key not in page
        assert not any(here.api_key in each for each in desk.sent)
    finally:
        await desk.show("connect")
        await desk.page.evaluate(STOP)
        change_book(settings, lambda _: book)
        await desk.hide()
