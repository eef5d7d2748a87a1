"""What is remembered of runs that were checked: little, however large their values, and for a while."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import pytest
from comfyui_outpost.api.errors import Unprocessable
from comfyui_outpost.api.models import Graph, Lack
from comfyui_outpost.api.server import checking
from comfyui_outpost.api.server.checking import RunChecks
from comfyui_outpost.api.server.preflight import lacks_of
from comfyui_outpost.api.server.store.deployments import RunnableDeployment
from comfyui_outpost.tests.fakes.comfyui import STOCK
from comfyui_outpost.tests.machines.jobs import external, node

LARGE = 1_000_000
CHOOSING: Graph = {
    "1": external("Checkpoint", "model", default_value="plain.safetensors"),
    "2": node("CheckpointLoaderSimple", ckpt_name=["1", 0]),
    "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
}


class Fleet:
    """One machine, which counts how often it is asked."""

    asked = 0

    def condition(self, machine_id: str) -> Any:
        return SimpleNamespace(status="ready")

    def of(self, machine_id: str) -> list[Any]:
        return [SimpleNamespace(name="gpu box", machine=self)]

    async def lacks(self, graph: Graph, inputs: Mapping[str, Any] | None, *, may_start: bool = False) -> list[Lack]:
        self.asked += 1
        return lacks_of(graph, inputs, STOCK)


def deployment(number: int) -> RunnableDeployment:
    return RunnableDeployment(
        id=f"deployment {number}",
        workflow_id="w",
        workflow_version_id=f"version {number}",
        machine_id="m",
        run_timeout=None,
        queue_timeout=None,
        check_machine=True,
        workflow_api=CHOOSING,
    )


def kept_by(root: object) -> list[Any]:
    """Everything that an object of ours holds on to: objects of ours, containers and texts."""
    found: dict[int, Any] = {}
    waiting = [root]
    while waiting:
        each = waiting.pop()
        is_ours = type(each).__module__ in (checking.__name__, __name__)
        if id(each) not in found and (is_ours or isinstance(each, (dict, list, tuple, set, str, bytes))):
            found[id(each)] = each
            waiting += gc.get_referents(each)
    return list(found.values())


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


@pytest.fixture
def checks(fleet: Any) -> RunChecks:
    return RunChecks(fleet)


async def test_what_was_fine_is_not_asked_again_and_another_value_is(checks: RunChecks, fleet: Fleet):
    for _ in range(3):
        await checks.check(deployment(1), {"model": "plain.safetensors"})
    assert fleet.asked == 2, "once to find out what matters, and once for the value"
    await checks.check(deployment(1), {"model": "xl/base.safetensors"})
    assert fleet.asked == 3
    with pytest.raises(Unprocessable, match="needs ckpt_name 'gone"):
        await checks.check(deployment(1), {"model": "gone.ckpt"})


async def test_of_a_large_value_no_more_than_a_digest_is_kept(checks: RunChecks, fleet: Fleet):
    value = "a" * LARGE + " [temp]"
    for _ in range(2):
        await checks.check(deployment(1), {"model": value})
    assert fleet.asked == 2
    texts = [each for each in kept_by(checks) if isinstance(each, (str, bytes))]
    assert "model" in texts
    assert sum(map(len, texts)) < LARGE / 100


async def test_what_is_remembered_for_too_long_is_let_go_by_whatever_comes_next(
    checks: RunChecks, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checking, "REMEMBERED_SECONDS", -1)
    for number in range(5):
        await checks.check(deployment(number), {"model": "plain.safetensors"})
    versions = {each for each in kept_by(checks) if isinstance(each, str) and each.startswith("version")}
    assert versions == {"version 4"}


async def test_of_very_many_graphs_the_oldest_are_let_go(checks: RunChecks, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checking, "_MAX_REMEMBERED", 3)
    for number in range(5):
        await checks.check(deployment(number), {"model": "plain.safetensors"})
    versions = {each for each in kept_by(checks) if isinstance(each, str) and each.startswith("version")}
    assert versions == {"version 2", "version 3", "version 4"}
