"""How long a 4K image takes to become a PNG, and how large that is, against Pillow at compress_level 4."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
from comfyui_outpost.api import png
from figures import Figure, median_ms
from numpy.typing import NDArray
from pictures import photograph
from PIL import Image

PAIRS = 21


async def figures() -> AsyncGenerator[Figure, None]:
    """Ours and Pillow take turns, so that whatever else the computer does disturbs both.

    Baseline of two in parallel: the two one after the other, each as a single strip, which is one core's work.
    """
    first, second = photograph(3840, 2160, seed=1), photograph(3840, 2160, seed=2)
    ours, theirs = png.encode(first), _by_pillow(first)
    with Image.open(BytesIO(ours)) as image:
        assert (np.asarray(image) == first).all(), "the pixels have changed"
    runs = [(_seconds(lambda: png.encode(first)), _seconds(lambda: _by_pillow(first))) for _ in range(PAIRS)]
    one, pillow = (list(each) for each in zip(*runs, strict=True))
    yield Figure("encode_4k", median_ms(one), "ms", median_ms(pillow), 0.25, is_goal_for_ratio=True)
    yield Figure("encode_4k_size", float(len(ours)), "bytes", float(len(theirs)), 1.15, is_goal_for_ratio=True)
    with ThreadPoolExecutor(2) as pool:
        rounds = [
            (
                _seconds(lambda: list(pool.map(png.encode, (first, second)))),
                _seconds(lambda: [png.encode(each, strip_bytes=each.nbytes) for each in (first, second)]),
            )
            for _ in range(PAIRS)
        ]
    both, on_one_core = (median_ms(each) for each in zip(*rounds, strict=True))
    yield Figure("encode_4k_two_in_parallel", both, "ms", on_one_core, 1.0, is_goal_for_ratio=True)


def _by_pillow(pixels: NDArray[np.uint8]) -> bytes:
    file = BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=4)
    return file.getvalue()


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
