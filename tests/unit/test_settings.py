"""Where the platform is and the key for it."""

import os
import stat
import sys
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, ThreadingTCPServer
from threading import Event, Thread

import pytest
from comfyui_outpost.api import here
from comfyui_outpost.api.connections import HERE, Saved, change_book, read_book
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.here import PROOF_PATH, leave_address, proof_of
from comfyui_outpost.api.settings import DEFAULT_BASE_URL, Connection, load_connection, save_connection, settings_path

KEY = "key-that-nobody-may-see"
LOCK = ".connection.json.lock"
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
        "http://host/$(id)",
        "http://host/`id`",
        'http://host/";import os',
        "http://host/';id",
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
    with pytest.raises(ConfigurationError, match="by OUTPOST_BASE_URL and OUTPOST_API_KEY"):
        load_connection({}, tmp_path / "none")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        f'"{KEY}"',
        f'{{"api_key": "{KEY}"',
        '{"base_url": "http://host"}',
        '{"api_key": 3}',
        "\x80",
        "[" * 200_000,
    ],
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
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, LOCK}


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
    assert "remove" not in str(caught.value), "the keys in the file are not to be thrown away"


def test_the_file_of_one_connection_is_read_and_written_anew_with_the_next(tmp_path: Path):
    path = tmp_path / "connection.json"
    path.write_text(f'{{"base_url": "http://old", "api_key": "{KEY}"}}')
    path.chmod(0o600)
    save_connection(Connection("http://new", "new"), path, name="new")

    book = read_book(path)

    assert [(each.name, each.connection.base_url) for each in book.entries] == [
        ("old", "http://old"),
        ("new", "http://new"),
    ]
    assert load_connection({}, path).base_url == "http://new"
    change_book(path, lambda before: before.using(before.entries[0].id))
    assert load_connection({}, path) == Connection("http://old", KEY)


def test_no_connection_is_lost_when_many_are_saved_at_once(tmp_path: Path):
    path = tmp_path / "connection.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: save_connection(Connection(f"http://host{n}", KEY), path), range(24)))

    assert len(read_book(path).entries) == 24
    assert {each.name for each in tmp_path.iterdir()} <= {path.name, LOCK}


def test_a_lock_that_somebody_who_was_killed_has_left_loses_no_connection(tmp_path: Path):
    path = tmp_path / "connection.json"
    (tmp_path / LOCK).touch()
    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: save_connection(Connection(f"http://host{n}", KEY), path), range(40)))

    assert len(read_book(path).entries) == 40
    assert time.monotonic() - began < 4, "nobody waits for the dead"


@contextmanager
def listening(answer: Callable[[str], str]) -> Generator[str, None, None]:
    """The address of something that answers each path with a text."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert "Authorization" not in self.headers
            said = answer(self.path).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def proving(key: str) -> AbstractContextManager[str]:
    """A platform that knows this key."""
    return listening(lambda path: proof_of(key, path.removeprefix(PROOF_PATH)))


def silent() -> AbstractContextManager[str]:
    """Something else, which repeats what it is asked."""
    return listening(lambda path: path.removeprefix(PROOF_PATH))


def test_the_platform_of_this_computer_gets_its_key_only_if_it_proves_to_be_it(tmp_path: Path):
    path, folder = tmp_path / "connection.json", tmp_path / "here"
    folder.mkdir()
    with proving(KEY) as url, proving("another-key") as elsewhere, silent() as nobody:
        ours = Saved(HERE, "here", Connection(url, KEY))
        change_book(path, lambda book: book.having(ours).using(HERE))
        with pytest.raises(ConfigurationError, match="does not run"):
            load_connection({}, path)
        for other in (elsewhere, nobody, "http://127.0.0.1:9", "http://[::", "no address", ""):
            leave_address(folder, other)
            with pytest.raises(ConfigurationError, match="does not run"):
                load_connection({}, path)
        leave_address(folder, url)
        assert load_connection({}, path) == ours.connection


@contextmanager
def talking(first: bytes, again: bytes, *, seconds: float) -> Generator[str, None, None]:
    """The address of something that says one thing and then another, again and again, for half a minute."""
    is_over = Event()

    class Handler(BaseRequestHandler):
        def handle(self) -> None:
            began = time.monotonic()
            with suppress(OSError):
                self.request.sendall(first)
                while time.monotonic() - began < 30 and not is_over.wait(seconds):
                    self.request.sendall(again)

    with ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            is_over.set()
            server.shutdown()


@pytest.mark.parametrize(
    ("first", "again", "seconds"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.05),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100, 0),
        (b"HTTP/1.1 200 OK\r\n", b"X: x\r\n", 0.05),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n", b"x", 0.1),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 10_000, 0),
        (b"", b"", 0.05),
    ],
    ids=["continues", "continues fast", "drips its head", "drips its body", "says too much", "silent"],
)
def test_who_has_no_proof_and_goes_on_talking_holds_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: bytes, again: bytes, seconds: float
):
    monkeypatch.setattr(here, "_PATIENCE", 0.5)
    with talking(first, again, seconds=seconds) as url:
        leave_address(tmp_path, url)
        began = time.monotonic()
        assert here.address_in(tmp_path, KEY) is None
        assert time.monotonic() - began < 4


def test_a_connection_that_is_not_chosen_is_not_used(tmp_path: Path):
    path = tmp_path / "connection.json"
    saved = save_connection(Connection("http://one", KEY), path)
    save_connection(Connection("http://two", KEY), path)
    change_book(path, lambda book: book.without(book.current or ""))

    with pytest.raises(ConfigurationError, match="None of the connections is chosen"):
        load_connection({}, path)
    assert [each.id for each in read_book(path).entries] == [saved.id]


def test_of_a_key_its_end_may_be_shown_and_of_a_short_one_nothing():
    assert Connection("http://host", "abcdefghijkl").key_ending == "ijkl"
    assert Connection("http://host", "abcdefghijk").key_ending is None
