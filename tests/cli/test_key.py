"""`outpost key`: making, listing and revoking the API keys of a platform, also of one that is at work."""

from __future__ import annotations

import asyncio
import os
import re
from pathlib import Path

import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import Forbidden, Unauthorized
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import open_platform
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.backings import NO_POSTGRES, POSTGRES_VARIABLE, Remote
from comfyui_outpost.tests.fakes.bucket import BucketServer

from .conftest import Said, Terminal

KEY = re.compile(r"outpost_[\w-]{20,}")


async def made(terminal: Terminal, data: Path, name: str, *options: str) -> str:
    """Make a key; it has to be shown."""
    said = await asyncio.to_thread(terminal.run_here, "key", "create", name, "--data", str(data), *options)
    assert said.code == 0, said.err
    [key] = KEY.findall(said.out)
    return key


async def listed(terminal: Terminal, data: Path) -> Said:
    return await terminal.run("key", "list", "--data", str(data))


def line_of(said: Said, name: str) -> list[str]:
    [line] = [line for line in said.lines if line.endswith(f"  {name}")]
    return line.split()


async def test_a_key_can_be_made_listed_and_revoked_while_the_server_is_at_work(platform, terminal: Terminal):
    data = platform.parts.config.data
    key = await made(terminal, data, "for the shop")
    async with Client(Connection(platform.url, key)) as client:
        assert [each.id for each in await client.deployments.list()] == [platform.owner.deployment_id]
        key_id, scope, state, *_ = line_of(await listed(terminal, data), "for the shop")
        assert (scope, state) == ("full", "works")
        assert (await terminal.run("key", "revoke", key_id, "--data", str(data))).code == 0
        with pytest.raises(Unauthorized):
            await client.deployments.list()
    assert line_of(await listed(terminal, data), "for the shop")[2] == "revoked"


async def test_a_limited_key_is_limited_and_says_until_when_it_works(platform, terminal: Terminal):
    data = platform.parts.config.data
    key = await made(terminal, data, "on a wall", "--scope", "read", "--days", "3")
    async with Client(Connection(platform.url, key)) as client:
        deployments = await client.deployments.list()
        assert deployments
        with pytest.raises(Forbidden, match="'read'"):
            await client.deployments.delete(deployments[0].id)
    assert line_of(await listed(terminal, data), "on a wall")[1:3] == ["read", "until"]


async def test_the_secret_of_a_keys_webhooks_can_be_looked_up(platform, terminal: Terminal):
    data = platform.parts.config.data
    await made(terminal, data, "for the shop")
    key_id = line_of(await listed(terminal, data), "for the shop")[0]
    said = await terminal.run("key", "webhook-secret", key_id, "--data", str(data))
    assert said.lines == [platform.parts.webhooks.secret_of(key_id)]
    assert said.lines[0].startswith("whsec_")


async def test_the_secret_of_webhooks_is_read_and_never_made(platform, terminal: Terminal, tmp_path: Path):
    data = platform.parts.config.data
    await made(terminal, data, "for the shop")
    key_id = line_of(await listed(terminal, data), "for the shop")[0]
    (data / "secret").rename(tmp_path / "elsewhere")
    said = await terminal.run("key", "webhook-secret", key_id, "--data", str(data))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("outpost: ")
    assert "has no secret" in said.err
    assert "--data" in said.err
    assert not (data / "secret").exists()


async def test_a_key_that_is_not_there_is_said_so_in_one_sentence(platform, terminal: Terminal):
    said = await terminal.run("key", "revoke", "nothing", "--data", str(platform.parts.config.data))
    assert (said.code, said.out) == (1, "")
    assert said.err == "outpost: There is no key nothing\n"


@pytest.mark.parametrize(
    ("name", "days", "says"),
    [
        ("x", "0", "A key works for more than 0 and at most 3660 days"),
        ("x", "-1", "A key works for more than 0 and at most 3660 days"),
        ("x", "nan", "A key works for more than 0 and at most 3660 days"),
        ("x", "3660.1", "A key works for more than 0 and at most 3660 days"),
        ("", "1", "The name of a key is one line of 1 to 200 characters"),
        ("x" * 201, "1", "The name of a key is one line of 1 to 200 characters"),
        ("two\nlines", "1", "The name of a key is one line of 1 to 200 characters"),
    ],
)
async def test_a_key_that_cannot_be_is_not_made(platform, terminal: Terminal, name: str, days: str, says: str):
    data = platform.parts.config.data
    before = (await listed(terminal, data)).lines
    said = await terminal.run("key", "create", name, "--data", str(data), f"--days={days}")
    assert (said.code, said.out, said.err) == (1, "", f"outpost: {says}\n")
    assert (await listed(terminal, data)).lines == before


async def test_a_key_may_have_the_longest_name_and_time(platform, terminal: Terminal):
    data = platform.parts.config.data
    await made(terminal, data, "x" * 200, "--days", "3660")
    assert line_of(await listed(terminal, data), "x" * 200)[2] == "until"


async def test_a_folder_without_a_platform_stays_as_it_is(terminal: Terminal, tmp_path: Path):
    said = await terminal.run("key", "list", "--data", str(tmp_path / "nothing"))
    assert said.code == 1
    assert "outpost serve" in said.err
    assert not (tmp_path / "nothing").exists()


async def test_with_a_database_the_secret_is_still_that_of_the_servers_folder(
    terminal: Terminal, buckets: BucketServer, tmp_path: Path
):
    if not os.environ.get(POSTGRES_VARIABLE):
        pytest.skip(NO_POSTGRES)
    async with Remote.of_environment(buckets).empty() as settings:
        async with open_platform(ServerConfig(tmp_path / "data", **settings)) as platform:
            assert platform.first_start
            owner = await platform.store.keys.holder_of(platform.first_start.api_key)
            assert owner
        command = ["key", "webhook-secret", owner.key_id, "--database", settings["database_url"], "--data"]
        other, missing = tmp_path / "other", tmp_path / "missing"
        other.mkdir()
        for folder in (other, missing):
            said = await terminal.run(*command, str(folder))
            assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
            assert said.err.startswith(f"outpost: {folder} has no secret")
        assert (list(other.iterdir()), missing.exists()) == ([], False)
        said = await terminal.run(*command, str(tmp_path / "data"))
        assert said.lines == [platform.webhooks.secret_of(owner.key_id)]
