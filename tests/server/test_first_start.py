"""The very first start makes a key, and tells it once."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from comfyui_outpost.api.errors import ConfigurationError
from comfyui_outpost.api.server.config import ServerConfig
from comfyui_outpost.api.server.platform import open_platform


async def test_the_first_start_makes_a_key_that_works_and_the_second_makes_none(tmp_path: Path):
    async with open_platform(ServerConfig(tmp_path / "data")) as platform:
        assert platform.first_start is not None
        key = platform.first_start.api_key
        holder = await platform.store.keys.holder_of(key)
        owner = holder and holder.owner
    async with open_platform(ServerConfig(tmp_path / "data")) as platform:
        assert platform.first_start is None
        assert owner is not None
        assert await platform.store.keys.holder_of(key) == holder
        assert len(await platform.store.deployments.list(owner)) == 1


async def test_the_key_is_nowhere_in_the_folder_and_not_in_what_the_platform_prints_of_itself(tmp_path: Path):
    async with open_platform(ServerConfig(tmp_path / "data")) as platform:
        assert platform.first_start is not None
        key = platform.first_start.api_key
        assert key not in repr(platform.first_start)
        assert key not in repr(platform)
        for file in (tmp_path / "data").rglob("*"):
            assert file.is_dir() or key.encode() not in file.read_bytes(), file


async def test_the_folder_and_the_secret_are_readable_by_the_servers_user_alone(tmp_path: Path):
    async with open_platform(ServerConfig(tmp_path / "data")):
        assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "data" / "secret").stat().st_mode) == 0o600
        assert len((tmp_path / "data" / "secret").read_bytes()) == 32


async def test_two_platforms_never_work_in_one_folder(tmp_path: Path):
    config = ServerConfig(tmp_path / "data")
    async with open_platform(config):
        with pytest.raises(ConfigurationError, match=r"Another server uses .* Stop it, or give --data another folder"):
            async with open_platform(config):
                pass
    async with open_platform(config):
        pass  # the first one let go of it


async def test_every_key_is_different_and_a_part_of_one_opens_nothing(tmp_path: Path):
    async with open_platform(ServerConfig(tmp_path / "data")) as platform:
        keys = platform.store.keys
        made = {(await keys.create("another"))[1] for _ in range(5)}
        assert len(made) == 5
        for key in made:
            assert await keys.holder_of(key[:-1]) is None
            assert await keys.holder_of(key.upper()) is None
            assert await keys.holder_of(key + " ") is None
