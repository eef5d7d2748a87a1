"""What a machine is: its GPU and versions, as its ComfyUI tells them, and how many processes it has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ...shapes import is_array, is_object

_LONGEST = 100
_DEVICE = re.compile(r"^\w+:\d+ (?P<name>.+?)(?: : \w+)?$")
"""How ComfyUI calls a GPU: `cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync`."""
_UNPRINTABLE = re.compile(r"[^\x20-\x7e]+")


@dataclass(frozen=True)
class Facts:
    """What is known of a machine; None where it is not."""

    gpu: str | None = None
    vram_total: int | None = None
    """In bytes, as `vram_free`."""
    vram_free: int | None = None
    comfyui_version: str | None = None
    python_version: str | None = None
    pytorch_version: str | None = None
    processes: int | None = None
    """Of a machine that the server starts."""
    trouble: str | None = None
    """What went wrong although it can take runs: its last start."""


def read_facts(stats: Any) -> Facts:
    """What ComfyUI's `/system_stats` tells, whatever it is."""
    system, told = (stats.get(name) if is_object(stats) else None for name in ("system", "devices"))
    system = system if is_object(system) else dict[str, Any]()
    devices = [each for each in told if is_object(each)] if is_array(told) else []
    gpus = [each for each in devices if each.get("type") != "cpu"]
    return Facts(
        gpu=_joined(_name(each.get("name")) for each in gpus) or ("CPU" if devices else None),
        vram_total=_sum(_bytes(each.get("vram_total")) for each in gpus),
        vram_free=_sum(_bytes(each.get("vram_free")) for each in gpus),
        comfyui_version=_word(system.get("comfyui_version")),
        python_version=_word(system.get("python_version")),
        pytorch_version=_word(system.get("pytorch_version")),
    )


def together(facts: Sequence[Facts]) -> Facts:
    """What several machines, or processes of one, are together: memory is added, versions are told where all agree."""
    return Facts(
        gpu=_joined(each.gpu for each in facts),
        vram_total=_sum(each.vram_total for each in facts),
        vram_free=_sum(each.vram_free for each in facts),
        comfyui_version=_same(each.comfyui_version for each in facts),
        python_version=_same(each.python_version for each in facts),
        pytorch_version=_same(each.pytorch_version for each in facts),
        processes=_sum(each.processes for each in facts),
    )


def _name(value: Any) -> str | None:
    text = _text(value)
    found = _DEVICE.match(text) if text else None
    return found["name"] if found else text


def _word(value: Any) -> str | None:
    """The version in a text that says more: `3.12.3 (main, Nov 6 2025) [GCC 13.3.0]`."""
    return (_text(value) or "").partition(" ")[0] or None


def _text(value: Any) -> str | None:
    return _UNPRINTABLE.sub(" ", value).strip()[:_LONGEST] or None if isinstance(value, str) else None


def _bytes(value: Any) -> int | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value < 2**53 else None


def _sum(values: Iterable[int | None]) -> int | None:
    known = [each for each in values if each is not None]
    return sum(known) if known else None


def _joined(names: Iterable[str | None]) -> str | None:
    known = [each for each in names if each]
    counted = {each: known.count(each) for each in known}
    return ", ".join(f"{count} x {name}" if count > 1 else name for name, count in counted.items()) or None


def _same(values: Iterable[str | None]) -> str | None:
    known = {each for each in values if each}
    return known.pop() if len(known) == 1 else None
