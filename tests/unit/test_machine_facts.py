"""What is made of what a ComfyUI tells of itself, however odd."""

from __future__ import annotations

from typing import Any

import pytest
from comfyui_outpost.api.server.machines.facts import Facts, read_facts, together

GIB = 1024**3
GPU = {
    "name": "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync",
    "type": "cuda",
    "vram_total": 24 * GIB,
    "vram_free": 20 * GIB,
}
STATS = {
    "system": {
        "comfyui_version": "0.33.0",
        "python_version": "3.12.3 (main, Nov  6 2025, 13:44:16) [GCC 13.3.0]",
        "pytorch_version": "2.13.0+cu130",
    },
    "devices": [GPU],
}


def test_a_gpu_is_told_by_its_name_and_memory_and_software_by_its_version():
    assert read_facts(STATS) == Facts("NVIDIA GeForce RTX 4090", 24 * GIB, 20 * GIB, "0.33.0", "3.12.3", "2.13.0+cu130")


def test_a_processor_is_no_gpu_and_its_memory_is_none_of_a_gpu():
    told = read_facts({**STATS, "devices": [{"name": "cpu", "type": "cpu", "vram_total": GIB, "vram_free": GIB}]})
    assert (told.gpu, told.vram_total, told.vram_free) == ("CPU", None, None)


def test_an_old_comfyui_that_tells_less_is_known_by_less():
    told = read_facts({"system": {"os": "posix", "python_version": "3.10"}, "devices": [GPU]})
    assert (told.comfyui_version, told.pytorch_version, told.python_version) == (None, None, "3.10")


@pytest.mark.parametrize(
    "stats",
    [
        None,
        [],
        "text",
        {"system": [], "devices": {}},
        {"devices": [None, 7]},
        {"devices": [{"name": 7, "vram_total": "much", "vram_free": -1}]},
        {"devices": [{"vram_total": True, "vram_free": 1e300}], "system": {"comfyui_version": ["0"]}},
    ],
    ids=str,
)
def test_nonsense_is_nothing_that_is_known(stats: Any):
    told = read_facts(stats)
    assert (told.vram_total, told.vram_free, told.comfyui_version) == (None, None, None)


def test_a_name_has_no_end_and_no_control_characters():
    told = read_facts({"devices": [{"name": "cuda:0 \x1b[31m" + "x" * 10_000}]})
    assert told.gpu
    assert len(told.gpu) <= 100
    assert "\x1b" not in told.gpu


def test_several_together_have_all_their_memory_and_what_they_agree_on():
    one = read_facts(STATS)
    other = Facts("CPU", None, None, "0.33.0", "3.10", None)
    both = together([one, one, other])
    assert both.gpu == "2 x NVIDIA GeForce RTX 4090, CPU"
    assert (both.vram_total, both.vram_free) == (48 * GIB, 40 * GIB)
    assert (both.comfyui_version, both.python_version, both.pytorch_version) == ("0.33.0", None, "2.13.0+cu130")
    assert together([]) == Facts()
