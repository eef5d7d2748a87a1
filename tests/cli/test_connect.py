"""`outpost connect` tries the key, keeps it in a private file, and shows it to nobody."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.settings import load_connection

posix = pytest.mark.skipif(os.name != "posix", reason="terminals and file modes are POSIX's")
WRONG = "outpost_a-key-that-nobody-has-made"


async def test_a_key_that_works_is_saved_for_its_owner_alone_and_never_shown(terminal, platform):
    key = platform.owner.api_key

    said = await terminal.run("connect", platform.url, stdin=key + "\n")

    assert said.code == 0
    assert said.lines == [
        f"Connected to {platform.url}; deployments: 1. Saved in {terminal.settings}, readable by you alone."
    ]
    assert stat.S_IMODE(terminal.settings.stat().st_mode) == 0o600
    assert stat.S_IMODE(terminal.settings.parent.stat().st_mode) == 0o700
    saved = load_connection({}, terminal.settings)
    assert (saved.base_url, saved.api_key) == (platform.url, key)


async def test_a_second_connection_replaces_the_first(terminal, platform):
    await terminal.run("connect", platform.url, stdin=platform.owner.api_key)
    await terminal.run("connect", platform.url, stdin=platform.stranger.api_key)

    assert load_connection({}, terminal.settings).api_key == platform.stranger.api_key
    names = {each.name for each in terminal.settings.parent.iterdir()}
    assert names - {".connection.json.lock"} == {"connection.json"}


async def test_several_connections_are_kept_by_name_and_one_of_them_is_used(terminal, platform):
    await terminal.run("connect", platform.url, "--name", "mine", stdin=platform.owner.api_key)
    await terminal.run("connect", platform.url, "--name", "theirs", stdin=platform.stranger.api_key)
    assert load_connection({}, terminal.settings).api_key == platform.stranger.api_key

    said = await terminal.run("connect", "--use", "mine")
    assert said.lines == [f"Using mine, {platform.url}."]
    assert load_connection({}, terminal.settings).api_key == platform.owner.api_key

    said = await terminal.run("connect", "--list")
    assert said.lines == [
        f"* mine  {platform.url}  key …{platform.owner.api_key[-4:]}",
        f"  theirs  {platform.url}  key …{platform.stranger.api_key[-4:]}",
    ]
    said = await terminal.run("connect", "--use", "another")
    assert (said.code, said.err) == (1, "outpost: No connection is called 'another'; there are: mine, theirs.\n")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (WRONG, "The API key is missing, wrong, revoked or expired (GET /deployments answered 401)"),
        ("", "The API key is empty."),
        ("two words", "The API key holds a blank, a line break or a letter outside of ASCII. Copy it again."),
    ],
)
async def test_a_key_that_does_not_work_is_refused_and_nothing_is_saved(terminal, platform, key: str, message: str):
    said = await terminal.run("connect", platform.url, stdin=key + "\n")

    assert (said.code, said.out, said.err) == (1, "", f"outpost: {message}\n")
    assert not terminal.settings.exists()


async def test_what_is_no_platform_is_refused_and_nothing_is_saved(terminal, platform):
    said = await terminal.run("connect", f"{platform.url}/objects", stdin=WRONG)
    assert (said.code, terminal.settings.exists()) == (1, False)

    said = await terminal.run("connect", "not a url", stdin=WRONG)
    assert said.err == "outpost: The base URL must begin with http:// or https://, such as http://127.0.0.1:8190\n"
    assert not terminal.settings.exists()


async def test_a_settings_file_that_cannot_be_written_is_one_sentence(terminal, platform, tmp_path: Path):
    (tmp_path / "settings").write_text("a file where a folder has to be")

    said = await terminal.run("connect", platform.url, stdin=platform.owner.api_key)

    assert said.code == 1
    assert said.err.startswith(f"outpost: {terminal.settings} cannot be written: ")
    assert len(said.err.splitlines()) == 1


@contextmanager
def asking(url: str, settings: Path) -> Generator[tuple[subprocess.Popen[bytes], Any], None, None]:
    """`outpost connect` on a terminal of its own, at the moment when it asks for the key."""
    screen, terminal = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "comfyui_outpost.api.cli", "connect", url],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "OUTPOST_SETTINGS": str(settings)},
        start_new_session=True,
    )
    os.close(terminal)
    with process, os.fdopen(screen, "r+b", buffering=0) as file:
        shown = b""
        while b"API key" not in shown:
            shown += file.read(1000)
        yield process, file
        process.kill()


def rest_of(file: Any) -> str:
    """Everything that is still shown until the program ends."""
    shown = b""
    try:
        while part := file.read(1000):
            shown += part
    except OSError:
        pass  # Linux tells the end of a terminal like this
    return shown.decode()


@posix
def test_the_key_is_not_shown_while_it_is_typed(tmp_path: Path):
    with asking("http://127.0.0.1:9", tmp_path / "connection.json") as (process, file):
        file.write(b"secret-words with-blank\n")
        shown = rest_of(file)

        assert process.wait(20) == 1
    assert "The API key holds a blank" in shown
    assert "secret-words" not in shown


@posix
def test_ctrl_c_ends_the_question_at_once(tmp_path: Path):
    with asking("http://127.0.0.1:9", tmp_path / "connection.json") as (process, file):
        # One that arrives just before the process begins to read is noticed only with the next.
        while process.poll() is None:
            process.send_signal(signal.SIGINT)
            with suppress(subprocess.TimeoutExpired):
                process.wait(5)
        shown = rest_of(file)

        assert process.wait(20) == 130
    assert "Traceback" not in shown


@posix
def test_ctrl_d_is_no_key(tmp_path: Path):
    with asking("http://127.0.0.1:9", tmp_path / "connection.json") as (process, file):
        file.write(b"\x04")
        shown = rest_of(file)

        assert process.wait(20) == 1
    assert "outpost: The API key is empty." in shown
