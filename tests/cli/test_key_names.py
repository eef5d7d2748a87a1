"""`outpost key` where several keys have one name: which is which is always told."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

KEY_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")
MADE = re.compile(r"made \d{4}-\d\d-\d\d \d\d:\d\d UTC")


async def make(terminal: Any, data: Path, name: str) -> tuple[str, list[str]]:
    """The id of a new key, and what else is said after it."""
    said = await asyncio.to_thread(terminal.run_here, "key", "create", name, "--data", str(data))  # it has to be shown
    assert (said.code, said.err) == (0, "")
    made, _, more = said.out.partition("`outpost key revoke`: ")[2].partition("\n")
    return made, more.strip().splitlines()


async def test_a_second_key_of_a_name_is_made_and_the_first_is_told(terminal: Any, platform: Any):
    data = platform.parts.config.data
    first, nothing = await make(terminal, data, "the shop")
    second, more = await make(terminal, data, "the shop")

    assert nothing == []
    [line] = more
    assert line.startswith("More keys with this name are not revoked: ")
    assert KEY_ID.findall(line) == [first]
    assert MADE.search(line)
    assert second not in line

    await terminal.run("key", "revoke", first, "--data", str(data))
    await terminal.run("key", "revoke", second, "--data", str(data))
    assert (await make(terminal, data, "the shop"))[1] == [], "what is revoked needs no word"


async def test_the_list_tells_keys_of_one_name_apart(terminal: Any, platform: Any):
    data = platform.parts.config.data
    ids = {(await make(terminal, data, "the shop"))[0] for _ in range(2)}

    said = await terminal.run("key", "list", "--data", str(data))

    lines = [line for line in said.lines if line.endswith("  the shop")]
    assert {line.split()[0] for line in lines} == ids
    assert all(MADE.search(line) for line in lines)


async def test_a_name_revokes_nothing_and_its_ids_are_told(terminal: Any, platform: Any):
    data = platform.parts.config.data
    ids = {(await make(terminal, data, "the shop"))[0] for _ in range(2)}

    said = await terminal.run("key", "revoke", "the shop", "--data", str(data))
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("outpost: 'the shop' is a name, and a key is revoked by its id: ")
    assert set(KEY_ID.findall(said.err)) == ids
    assert "revoked" not in (await terminal.run("key", "list", "--data", str(data))).out

    this = min(ids)
    said = await terminal.run("key", "revoke", this, "--data", str(data))
    assert said.lines == [f"The key {this} is revoked: the shop"]
    listed = (await terminal.run("key", "list", "--data", str(data))).lines
    assert [line.split()[0] for line in listed if "  revoked  " in line] == [this]
