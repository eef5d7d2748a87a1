"""Where the platform is and the key for it."""

import os
import stat
import sys
from pathlib import Path

import pytest
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.settings import DEFAULT_BASE_URL, Connection, load_connection, save_connection, settings_path

KEY = "key-that-nobody-may-see"
posix = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")


@pytest.mark.parametrize(
    ("given", "base_url", "api_root", "origin"),
    [
        (
            "https://API.Example.com/",
            "https://api.example.com",
            "https://api.example.com/api",
            "https://api.example.com",
        ),
        ("http://host:8000", "http://host:8000", "http://host:8000/api", "http://host:8000"),
        ("https://host:443/x//", "https://host/x", "https://host/x/api", "https://host"),
        (" http://host/api/ ", "http://host/api", "http://host/api", "http://host"),
        ("http://[::1]:80/", "http://[::1]", "http://[::1]/api", "http://[::1]"),
        (
            "http://127.0.0.1:3000/a/b",
            "http://127.0.0.1:3000/a/b",
            "http://127.0.0.1:3000/a/b/api",
            "http://127.0.0.1:3000",
        ),
    ],
)
def test_a_base_url_is_brought_to_one_spelling(given, base_url, api_root, origin):
    connection = Connection(given, KEY)

    assert (connection.base_url, connection.api_root, connection.origin) == (base_url, api_root, origin)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host",
        "ftp://host",
        "file:///etc",
        "http://",
        "http://user:secret@host",
        "http://host?secret=1",
        "http://host/#secret",
        "http://host:port",
        "http://host:99999",
        "http://ho st",
        "http://host/a b",
        "http://host/ä",
        "http://host\\@other",
        "http://[::1",
    ],
)
def test_what_is_no_base_url_is_refused_without_repeating_it(url):
    with pytest.raises(ConfigurationError) as caught:
        Connection(url, KEY)

    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("key", ["", "secret key", "secret\n", "secret\t", "sécret", "secret\0", " secret"])
def test_what_is_no_key_is_refused_without_repeating_it(key):
    with pytest.raises(ConfigurationError) as caught:
        Connection("http://host", key)

    assert "cret" not in str(caught.value)


def test_the_key_is_in_no_text_about_a_connection():
    connection = Connection("http://host", KEY)

    assert KEY not in repr(connection) + str(connection)
    assert KEY not in connection.id


def test_the_id_names_the_pair_of_platform_and_key():
    assert Connection("http://host", KEY).id == Connection("http://HOST/", KEY).id
    assert Connection("http://host", KEY).id != Connection("http://host", "other").id
    assert Connection("http://host", KEY).id != Connection("http://other", KEY).id


def test_the_environment_comes_first(tmp_path: Path):
    save_connection(Connection("http://saved", "saved"), tmp_path / "connection.json")

    loaded = load_connection({"OUTPOST_BASE_URL": "http://host", "OUTPOST_API_KEY": KEY}, tmp_path / "connection.json")

    assert loaded == Connection("http://host", KEY)


def test_a_key_alone_is_for_the_hosted_platform(tmp_path: Path):
    assert load_connection({"OUTPOST_API_KEY": KEY}, tmp_path / "none") == Connection(DEFAULT_BASE_URL, KEY)


def test_the_file_is_used_when_the_environment_says_nothing(tmp_path: Path):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://saved", KEY), path)

    assert load_connection({}, path) == Connection("http://saved", KEY)
    assert load_connection({"OUTPOST_SETTINGS": str(path)}) == Connection("http://saved", KEY)


def test_the_key_of_the_file_goes_only_to_the_platform_of_the_file(tmp_path: Path):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://saved", KEY), path)

    assert load_connection({"OUTPOST_BASE_URL": "http://SAVED/"}, path).api_key == KEY
    with pytest.raises(ConfigurationError, match=r"no API key for http://elsewhere\. Set OUTPOST_API_KEY") as caught:
        load_connection({"OUTPOST_BASE_URL": "http://elsewhere"}, path)
    assert KEY not in str(caught.value)


def test_no_settings_at_all_say_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="Set OUTPOST_BASE_URL and OUTPOST_API_KEY"):
        load_connection({}, tmp_path / "none")


@pytest.mark.parametrize(
    "content", ["", "{", f'"{KEY}"', f'{{"api_key": "{KEY}"', '{"base_url": "http://host"}', '{"api_key": 3}', "\x80"]
)
def test_a_broken_file_is_an_error_that_does_not_show_it(tmp_path: Path, content: str):
    path = tmp_path / "connection.json"
    path.write_bytes(content.encode("latin-1"))
    path.chmod(0o600)

    with pytest.raises(ConfigurationError, match="save the connection again") as caught:
        load_connection({}, path)

    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_file_with_a_key_alone_is_for_the_hosted_platform(tmp_path: Path):
    path = tmp_path / "connection.json"
    path.write_text(f'{{"api_key": "{KEY}"}}')
    path.chmod(0o600)

    assert load_connection({}, path).base_url == DEFAULT_BASE_URL


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_a_file_that_others_can_read_is_refused_with_the_command_that_helps(tmp_path: Path, mode: int):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://host", KEY), path)
    path.chmod(mode)

    with pytest.raises(ConfigurationError, match=f"chmod 600 '{path}'"):
        load_connection({}, path)


@posix
def test_a_saved_file_and_its_folder_belong_to_their_owner_alone(tmp_path: Path):
    path = tmp_path / "new" / "comfyui-outpost" / "connection.json"
    before = os.umask(0)
    try:
        save_connection(Connection("http://host", KEY), path)
    finally:
        os.umask(before)

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_saving_again_replaces_the_file_and_leaves_nothing_else(tmp_path: Path):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://one", "one"), path)
    save_connection(Connection("http://two", "two"), path)

    assert load_connection({}, path) == Connection("http://two", "two")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("platform", "environ", "expected"),
    [
        ("linux", {"XDG_CONFIG_HOME": "/config"}, Path("/config/comfyui-outpost/connection.json")),
        ("linux", {}, Path.home() / ".config/comfyui-outpost/connection.json"),
        ("darwin", {}, Path.home() / "Library/Application Support/comfyui-outpost/connection.json"),
        ("win32", {"APPDATA": "/roaming"}, Path("/roaming/comfyui-outpost/connection.json")),
        ("win32", {}, Path.home() / "AppData/Roaming/comfyui-outpost/connection.json"),
        (sys.platform, {"OUTPOST_SETTINGS": "~/mine.json"}, Path.home() / "mine.json"),
    ],
)
def test_the_file_is_where_each_operating_system_keeps_settings(platform, environ, expected):
    assert settings_path(environ, platform=platform) == expected


def test_a_key_that_does_not_say_for_which_platform_is_not_sent_to_a_guess(tmp_path: Path):
    path = tmp_path / "connection.json"
    save_connection(Connection("http://127.0.0.1:8190", "mine"), path)
    with pytest.raises(ConfigurationError, match="does not say for which platform") as caught:
        load_connection({"OUTPOST_API_KEY": "another"}, path)
    assert "another" not in str(caught.value)
