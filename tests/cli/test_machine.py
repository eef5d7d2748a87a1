"""`outpost machine`: how the machines are, and what their ComfyUIs have printed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from comfyui_outpost.api.server.machines.process_logs import ProcessLogs

from .conftest import Terminal

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
async def patient(terminal: Terminal, site: Any, platform: Any) -> Terminal:
    """Somebody whose connection works."""
    terminal.use(site.url, platform.owner.api_key)
    return terminal


async def managed(platform: Any) -> str:
    """A machine whose folder has gone; its id."""
    owner = platform.owner.owner
    return await platform.parts.store.machines.add(owner, name="on demand", kind="managed", slots=1, comfyui="gone")


async def test_the_machines_are_listed_with_how_they_are(patient: Terminal, platform: Any):
    machine_id = await managed(platform)
    await platform.parts.fleet.examine(await platform.parts.store.machines.row(platform.owner.owner, machine_id))

    said = await patient.run("machine", "list")

    assert (said.code, said.err) == (0, "")
    builtin, broken = said.lines
    assert builtin.split()[:2] == [platform.owner.machine_id, "builtin"]
    assert broken.split()[:3] == [machine_id, "managed", "error"]
    assert "on demand" in broken
    assert broken.endswith("named no such ComfyUI: start the server with --comfyui-folder gone=PATH")


async def test_the_newest_log_is_shown_or_all_and_nothing_in_it_steers_the_terminal(patient: Terminal, platform: Any):
    machine_id = await managed(platform)
    await platform.parts.fleet.refresh()
    folder: Path = platform.parts.config.data / "logs"
    folder.mkdir()
    logs = ProcessLogs(folder, machine_id)
    for text in ("the first process\n", "\x1b[2J\x1b]0;title\x07the second\r 10%\r 20%\n\tdone\n"):
        logs.new().write_text(text)

    newest = await patient.run("machine", "logs", machine_id)
    every = await patient.run("machine", "logs", machine_id, "--all")

    assert (newest.code, newest.err) == (0, "")
    assert newest.lines[0].startswith(f"{machine_id}-")
    assert newest.lines[0].endswith(" UTC, ended")
    assert newest.lines[2:] == ["the second", " 10%", " 20%", "\tdone", ""]
    assert "\x1b" not in newest.out
    assert every.out.index("the first process") < every.out.index("the second")
    assert str(folder) not in every.out


async def test_a_machine_that_starts_nothing_has_no_logs(patient: Terminal, platform: Any):
    said = await patient.run("machine", "logs", platform.owner.machine_id)
    assert said.code == 0
    assert said.lines == ["This machine has no logs here: it has started no ComfyUI yet, or somebody else starts it."]


@pytest.mark.parametrize(
    ("machine_id", "says"), [(UNKNOWN, f"There is no machine {UNKNOWN}"), ("mine", "is not an id")]
)
async def test_a_machine_that_there_is_not_is_one_sentence(patient: Terminal, machine_id: str, says: str):
    said = await patient.run("machine", "logs", machine_id)
    assert said.code == 1
    assert says in said.err
    assert len(said.err.splitlines()) == 1


async def test_a_machine_is_deleted_and_named_once_more(patient: Terminal, platform: Any):
    machine_id = await managed(platform)

    said = await patient.run("machine", "delete", machine_id)

    assert (said.code, said.err) == (0, "")
    assert said.lines == [f"The machine {machine_id} is deleted: on demand"]
    assert machine_id not in (await patient.run("machine", "list")).out


async def test_a_machine_that_is_used_is_deleted_only_by_force(patient: Terminal, platform: Any):
    used = platform.owner.machine_id

    refused = await patient.run("machine", "delete", used)
    assert (refused.code, refused.out) == (1, "")
    assert "Deployments use the machine" in refused.err
    assert "outpost machine delete --force" in refused.err
    assert len(refused.err.splitlines()) == 1
    assert used in (await patient.run("machine", "list")).out

    forced = await patient.run("machine", "delete", used, "--force")
    assert (forced.code, forced.err) == (0, "")
    assert used not in (await patient.run("machine", "list")).out


async def test_a_machine_that_there_is_not_cannot_be_deleted(patient: Terminal, site: Any):
    said = await patient.run("machine", "delete", UNKNOWN)
    assert (said.code, said.out) == (1, "")
    assert f"There is no machine {UNKNOWN}" in said.err
    assert site.url in said.err
