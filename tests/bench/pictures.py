"""Pictures to measure with: like photographs, with smooth areas, edges and the noise of a sensor."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def photograph(width: int, height: int, *, seed: int) -> NDArray[np.uint8]:
    """[H, W, 3]; another seed gives other pixels of the same kind."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    layers: list[NDArray[np.float32]] = []
    for _ in range(3):
        layer = np.full((height, width), 128.0, np.float32)
        for octave in range(5):
            fx, fy, phase = random.uniform(-1, 1, 3) * 2**octave
            layer += 48 / 2**octave * np.sin(2 * np.pi * (fx * x / width + fy * y / height) + phase)
        layers.append(layer)
    picture = np.stack(layers, axis=-1)
    picture[(x * 0.6 + y > 0.8 * height)] *= 0.55
    picture += random.normal(0, 1.2, picture.shape).astype(np.float32)
    return picture.clip(0, 255).round().astype(np.uint8)
