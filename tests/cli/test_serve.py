"""`outpost serve`: a first start that shows a key once, clean ends, and one sentence when it cannot start."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from comfyui_outpost import __version__
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.settings import Connection

KEY = re.compile(r"outpost_[\w-]{20,}")
WAIT_SECONDS = 30


@contextmanager
def served(data: Path) -> Generator[tuple[subprocess.Popen[str], str], None, None]:
    """A server in a process of its own, as soon as it says that it serves, and what it has said."""
    command = [sys.executable, "-m", "comfyui_outpost.api.cli", "serve", "--port", "0", "--data", str(data)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout
        said = ""
        try:
            while " serves http" not in said:
                line = process.stdout.readline()
                assert line, process.communicate(timeout=WAIT_SECONDS)
                said += line
            yield process, said
        finally:
            process.kill()


def ended(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """What is still said after the signal; the process has ended well."""
    process.send_signal(number)
    assert process.stdout
    assert process.stderr
    # Not communicate(), which forgets what readline() has read ahead. The test has a time-out of its own.
    out, err = process.stdout.read(), process.stderr.read()
    assert process.wait(WAIT_SECONDS) == 0, err
    assert "Traceback" not in out + err
    assert not KEY.search(err), "a key is in the log"
    return out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
async def test_the_first_start_shows_a_key_that_works_the_second_shows_none_and_both_end_cleanly(tmp_path: Path):
    with served(tmp_path / "data") as (process, said):
        key, url = KEY.findall(said)[0], re.findall(r"serves (http://127\.0\.0\.1:\d+) and keeps", said)[0]
        async with Client(Connection(url, key)) as client:
            [deployment] = await client.deployments.list()
        said += ended(process, signal.SIGTERM)
        assert KEY.findall(said) == [key]
        assert f"outpost connect {url}" in said
        assert f"Hello Outpost, {deployment.id}" in said

    with served(tmp_path / "data") as (process, said):
        said += ended(process, signal.SIGINT)
        assert not KEY.search(said)
        assert [line.split("http")[0] for line in said.splitlines()] == [
            f"ComfyUI-Outpost {__version__} serves ",
            "Its API can be read and tried in a browser: ",
        ]


def test_a_folder_that_another_server_uses_is_one_sentence(terminal, tmp_path: Path):
    with served(tmp_path / "data"):
        said = terminal.run_here("serve", "--port", "0", "--data", str(tmp_path / "data"))

    assert (said.code, said.out) == (1, "")
    assert said.err == f"outpost: Another server uses {tmp_path / 'data'}. Stop it, or give --data another folder.\n"


def test_a_port_that_is_taken_is_one_sentence_and_nothing_is_made(terminal, tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = terminal.run_here("serve", "--port", port, "--data", str(tmp_path / "data"))

    assert said.code == 1
    assert re.fullmatch(rf"outpost: The server cannot start on 127\.0\.0\.1:{port}: .*in use.*\n", said.err)
    assert said.out == ""
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("port", ["70000", "-1"])
def test_a_port_that_there_is_not_is_one_sentence_and_nothing_is_made(terminal, tmp_path: Path, capsys, port: str):
    with pytest.raises(SystemExit) as ended:
        terminal.run_here("serve", f"--port={port}", "--data", str(tmp_path / "data"))

    assert ended.value.code == 2
    assert f"argument --port: {port} is not a port, which is a number from 0 to 65535" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_folder_that_cannot_be_made_is_one_sentence_about_the_folder(terminal, tmp_path: Path):
    (tmp_path / "data").write_text("a file where a folder has to be")

    said = terminal.run_here("serve", "--port", "0", "--data", str(tmp_path / "data"))

    assert (said.code, said.out) == (1, "")
    assert said.err == f"outpost: The platform in {tmp_path / 'data'} cannot be opened: File exists\n"


def test_a_host_that_is_not_this_computer_is_one_sentence(terminal, tmp_path: Path):
    said = terminal.run_here("serve", "--host", "192.0.2.1", "--port", "0", "--data", str(tmp_path / "data"))

    assert said.code == 1
    assert said.err.startswith("outpost: The server cannot start on 192.0.2.1:0: ")
    assert len(said.err.splitlines()) == 1


def test_the_commands_are_these(terminal, capsys):
    with pytest.raises(SystemExit) as ended:
        terminal.run_here("--help")
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert all(f"\n    {command}" in help_text for command in ("serve", "key", "machine", "connect", "demo", "doctor"))
    with pytest.raises(SystemExit) as ended:
        terminal.run_here()
    assert ended.value.code == 2


def test_the_version_is_the_packages(terminal, capsys):
    with pytest.raises(SystemExit):
        terminal.run_here("--version")
    assert capsys.readouterr().out == f"ComfyUI-Outpost {__version__}\n"
