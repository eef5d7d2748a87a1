"""Connections as people give them: an address without a scheme is completed, and what can be no key is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from comfyui_outpost.api.client.redaction import Redaction
from comfyui_outpost.api.connection import SHORTEST_KEY, Connection, completed
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.settings import load_connection, save_connection

KEY = "key-that-nobody-may-see"


@pytest.mark.parametrize(
    ("address", "whole"),
    [
        ("127.0.0.1:8190", "http://127.0.0.1:8190"),
        ("localhost:8190", "http://localhost:8190"),
        ("[::1]:8190", "http://[::1]:8190"),
        ("192.168.1.4:8190/outpost", "http://192.168.1.4:8190/outpost"),
        ("10.0.0.7", "http://10.0.0.7"),
        ("gpu-box:8190", "http://gpu-box:8190"),
        (" gpu-box.local:8190 ", "http://gpu-box.local:8190"),
        ("outpost.example.com", "https://outpost.example.com"),
        ("outpost.example.com:8443/api", "https://outpost.example.com:8443/api"),
        ("8.8.8.8:8190", "https://8.8.8.8:8190"),
        ("[2606:4700::1111]", "https://[2606:4700::1111]"),
        ("not-local.example.com", "https://not-local.example.com"),
        ("http://outpost.example.com", "http://outpost.example.com"),
        ("https://127.0.0.1:8190", "https://127.0.0.1:8190"),
    ],
)
def test_an_address_gets_the_scheme_that_it_needs(address: str, whole: str):
    assert completed(address) == whole
    assert Connection.given(address, KEY).base_url == whole


@pytest.mark.parametrize(
    "address",
    ["", "two words", "user:password@host", "ftp://host", "a:b", "://host", "file:///etc", "host?x=1", "$(id)"],
)
def test_what_is_no_address_is_refused_as_it_was(address: str):
    assert completed(address) == address
    with pytest.raises(ConfigurationError):
        Connection.given(address, KEY)


@pytest.mark.parametrize("key", ["k", "wrong", "x" * (SHORTEST_KEY - 1)])
def test_what_is_too_short_for_a_key_is_refused_without_repeating_it(key: str):
    with pytest.raises(ConfigurationError) as caught:
        Connection.given("http://host", key)

    assert str(caught.value) == (
        f"The API key has {len(key)} characters, and a key has at least {SHORTEST_KEY}. Copy all of it."
    )


def test_a_key_of_the_environment_is_looked_at_as_well(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="at least"):
        load_connection({"OUTPOST_API_KEY": "wrong"}, tmp_path / "none")
    with pytest.raises(ConfigurationError, match="at least"):
        load_connection({"OUTPOST_API_KEY": "wrong", "OUTPOST_BASE_URL": "http://host"}, tmp_path / "none")

    assert load_connection({"OUTPOST_API_KEY": KEY, "OUTPOST_BASE_URL": "host:8190"}, tmp_path / "none") == Connection(
        "http://host:8190", KEY
    )


def test_a_short_key_that_was_kept_before_can_still_be_read(tmp_path: Path):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://host", "short"), path)

    assert load_connection({}, path).api_key == "short"
    assert load_connection({"OUTPOST_BASE_URL": "host"}, path).api_key == "short"


def test_a_short_key_spoils_no_word_that_it_is_a_part_of():
    redaction = Redaction("wrong")

    assert (
        redaction.of_error(b"It went wrongly: wrong_type, wrong-doing") == b"It went wrongly: wrong_type, wrong-doing"
    )
    assert redaction.of_error(b'{"sent": "Bearer wrong"}').decode() == '{"sent": "Bearer …"}'


@pytest.mark.parametrize("text", ["<{}>", "x{}x", "Bearer%20{}", "\\n{}\\n"])
def test_a_key_that_is_long_enough_is_hidden_whatever_is_around_it(text: str):
    key = "k" * SHORTEST_KEY

    assert Redaction(key).of_error(text.format(key).encode()).decode() == text.format("…")
