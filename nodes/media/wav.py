"""WAV files with 32 bit floats: every value of a sound, as it is."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...api.errors import InvalidInput

_FLOAT = 3  # WAVE_FORMAT_IEEE_FLOAT
_MAX_BYTES = 2**32 - 2**16
_BLOCK = 2**16


def write_wav(path: Path, values: NDArray[np.float32], sample_rate: int) -> None:
    """Write the values `[C, T]`. InvalidInput for more than the 4 GiB that such a file can hold."""
    channels, samples = values.shape
    size = channels * samples * 4
    if size > _MAX_BYTES or channels >= 2**14:
        raise InvalidInput(
            f"A sound of {channels} channels and {samples} samples is larger than a WAV file can be (4 GiB); "
            "send it in parts."
        )
    with path.open("wb") as file:
        file.write(_header(channels, samples, sample_rate, size))
        for first in range(0, samples, _BLOCK):
            file.write(np.ascontiguousarray(values[:, first : first + _BLOCK].T.astype("<f4")).data)


def _header(channels: int, samples: int, sample_rate: int, size: int) -> bytes:
    kind = struct.pack(
        "<HHIIHHH", _FLOAT, channels, sample_rate, min(sample_rate * channels * 4, 2**32 - 1), channels * 4, 32, 0
    )
    chunks = (b"fmt " + struct.pack("<I", len(kind)) + kind) + (b"fact" + struct.pack("<II", 4, samples))
    return (
        b"RIFF" + struct.pack("<I", 4 + len(chunks) + 8 + size) + b"WAVE" + chunks + b"data" + struct.pack("<I", size)
    )
