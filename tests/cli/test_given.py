"""`outpost connect` with what people have at hand: an address without a scheme, half a key."""

from __future__ import annotations

from typing import Any

from comfyui_outpost.api.settings import load_connection


async def test_an_address_needs_no_scheme(terminal: Any, platform: Any):
    address = platform.url.removeprefix("http://")

    said = await terminal.run("connect", address, stdin=platform.owner.api_key)

    assert (said.code, said.err) == (0, "")
    assert load_connection({}, terminal.settings).base_url == platform.url


async def test_half_a_key_is_refused_before_it_is_sent(terminal: Any, platform: Any):
    said = await terminal.run("connect", platform.url, stdin=platform.owner.api_key[:7])

    assert (said.code, said.out) == (1, "")
    assert said.err == "outpost: The API key has 7 characters, and a key has at least 8. Copy all of it.\n"
    assert not terminal.settings.exists()
