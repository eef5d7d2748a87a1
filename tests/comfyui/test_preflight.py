"""What real ComfyUIs lack for a graph is named, and what they take is not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from comfyui_outpost.api.inputs import with_widgets
from comfyui_outpost.api.server.editor_graph import classes_of_workflow, graph_of_classes
from comfyui_outpost.api.server.machines import MachineSettings
from comfyui_outpost.api.server.machines.comfyui import ComfyUIMachine
from comfyui_outpost.api.server.node_info import required_inputs
from comfyui_outpost.api.server.preflight import MAX_LACKS, lacks_of
from comfyui_outpost.tests.fakes.templates import templates
from comfyui_outpost.tests.machines.jobs import Trial, external, node

from .installations import PYPI_VERSION, Installation
from .instance import Instance
from .process import ComfyUIError
from .test_machines import diffusion
from .tiny_checkpoint import CHECKPOINT

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def machine(stock: Instance) -> AsyncIterator[ComfyUIMachine]:
    machine = ComfyUIMachine(MachineSettings("m", "comfyui", endpoint=stock.url))
    yield machine
    await machine.close()


async def test_a_model_that_is_not_there_is_named_with_the_one_that_was_meant(machine: ComfyUIMachine):
    [lack] = await machine.lacks(
        with_widgets(diffusion(seed=1), {"1.ckpt_name": "sd-15.safetensors"}), {"prompt": "a cat"}
    )
    assert (lack.node_id, lack.node_class, lack.kind) == ("1", "CheckpointLoaderSimple", "choice")
    assert (lack.input_name, lack.value) == ("ckpt_name", "sd-15.safetensors")
    assert lack.near == [str(CHECKPOINT)]


async def test_a_sampler_that_is_not_there_is_named_with_those_that_are_alike(machine: ComfyUIMachine):
    sampler = next(node_id for node_id, each in diffusion(seed=1).items() if each["class_type"] == "KSampler")
    [lack] = await machine.lacks(with_widgets(diffusion(seed=1), {f"{sampler}.sampler_name": "dpm++_2m"}), {})
    assert (lack.node_id, lack.input_name) == (sampler, "sampler_name")
    assert "dpmpp_2m" in lack.near


async def test_a_class_that_is_not_there_is_named_with_those_that_are_alike(machine: ComfyUIMachine):
    graph = {"1": node("EmptyImages", width=8), "2": node("SaveImage", images=["1", 0], filename_prefix="x")}
    [lack] = await machine.lacks(graph, None)
    assert (lack.node_id, lack.kind, lack.near[0]) == ("1", "node_class", "EmptyImage")
    failure = (await Trial(graph, run_id="lacking").failure_on(machine)).failure
    assert failure.message == lack.message


async def test_an_input_that_is_not_given_is_named(stock: Instance, machine: ComfyUIMachine):
    graph = {"1": node("EmptyImage", width=8, height=8, color=0), "2": node("SaveImage", images=["1", 0])}
    found = await machine.lacks(graph, None)
    assert {(lack.node_id, lack.kind, lack.input_name) for lack in found} == {
        ("1", "required_input", "batch_size"),
        ("2", "required_input", "filename_prefix"),
    }
    with pytest.raises(ComfyUIError, match="Required input is missing"):
        await stock.queue(graph)


async def test_for_what_it_takes_nothing_is_lacking(stock: Instance, machine: ComfyUIMachine):
    empty = {"1": node("EmptyImage", width=8, height=8, batch_size=1, color=0)}
    graphs = [
        diffusion(seed=1),
        {**empty, "2": node("SaveImage", images=["1", 0], filename_prefix="x")},
        {**empty, "2": node("PreviewImage", images=["1", 0])},
        {**empty, "2": node("ComfyDeployOutputImage", images=["1", 0], filename_prefix="x", output_id="o")},
        {
            **empty,
            "2": node("ImageInvert", image=["1", 0]),
            "3": node("SaveImage", images=["2", 0], filename_prefix="x"),
        },
        *({"1": external(kind, "x"), "2": node("SaveImage", images=["1", 0], filename_prefix="x")} for kind in _IMAGES),
    ]
    for graph in graphs:
        assert await machine.lacks(graph, None) == [], graph
    assert (await stock.get("/queue"))["queue_pending"] == []


_IMAGES = ("Image", "ImageAlpha", "ImageBatch")


async def test_its_own_defaults_are_never_lacking(stock: Instance):
    """Every class that it has, with every widget as the editor would fill it in."""
    info = await stock.get("/object_info")
    wrong: list[str] = []
    for name, about in info.items():
        required = about["input"].get("required", {})
        fields = {each: _filled(spec) for each, spec in required.items()}
        graph = {"1": {"class_type": name, "inputs": fields}, "2": node("EmptyImage"), "3": node("Sink", x=["1", 0])}
        found = lacks_of(graph, None, {**info, "Sink": {"output_node": True}})
        # A model of which it has none cannot be filled in.
        wrong += [lack.message for lack in found if lack.node_id == "1" and not lack.message.endswith("It has none")]
        assert set(required_inputs(info, name)) <= set(required)
    assert wrong == []


def _filled(spec: list[Any]) -> Any:
    """What the editor gives an input that nobody has touched; a connection for what is no widget."""
    options = spec[1] if len(spec) > 1 and isinstance(spec[1], dict) else {}
    choices = spec[0] if isinstance(spec[0], list) else options.get("options")
    if isinstance(choices, list) and choices and not isinstance(choices[0], dict):
        return choices[0] if options.get("default") is None else options["default"]
    return options.get("default", ["2", 0] if not isinstance(spec[0], list) else "")


async def test_of_every_template_the_nodes_that_it_lacks_are_named(stock: Instance, installation: Installation):
    info = await stock.get("/object_info")
    complete = 0
    for template in templates():
        for graph in template.executable():
            named = [lack.node_class for lack in lacks_of(graph, None, info, info.keys()) if lack.kind == "node_class"]
            assert not set(named) & info.keys(), template.name
        classes = classes_of_workflow(template.content) if template.is_editors else {}
        found = lacks_of(graph_of_classes(classes), None, info, info.keys())
        missing = {lack.node_id for lack in found if lack.kind == "node_class"}
        expected = {node_id for node_id, name in classes.items() if name not in info}
        assert missing <= expected, template.name
        assert len(missing) == min(len(expected), MAX_LACKS), template.name
        complete += not missing
    assert complete > (5 if installation.version == PYPI_VERSION else 100)
