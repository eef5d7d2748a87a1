"""Real sounds and films as other programs write them, made with FFmpeg's libraries."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch

RATE = 44100
SIZE = (48, 64)
LEFT, RIGHT = (255, 40, 0), (0, 40, 255)

# Where a film's header says how it is turned: what right and down become, as (right, down) each.
TURNS = {
    "not": ((1, 0), (0, 1)),
    "right": ((0, 1), (-1, 0)),
    "upside down": ((-1, 0), (0, -1)),
    "left": ((0, -1), (1, 0)),
    "mirrored": ((-1, 0), (0, 1)),
}


def tone(channels: int = 1, seconds: float = 1.0, *, rate: int = RATE) -> np.ndarray:
    """Another tone in each channel, `[C, T]`."""
    time = np.arange(round(seconds * rate)) / rate
    return np.stack([0.5 * np.sin(2 * np.pi * 220 * (1 + channel) * time) for channel in range(channels)])


def write_sound(path: Path, codec: str, samples: np.ndarray, *, kind: str = "fltp", rate: int = RATE) -> Path:
    """A file with the samples `[C, T]`, which have the numbers that FFmpeg's `kind` has; its suffix is its format."""
    layout = {1: "mono", 2: "stereo", 6: "5.1", 8: "7.1"}[len(samples)]
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.codec_context.layout = layout
        frame = av.AudioFrame.from_ndarray(packed, format=kind, layout=layout)
        frame.sample_rate, frame.pts = rate, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def frame(index: int, *, channels: int = 3, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Red on the left, blue on the right, and green that grows with time; alpha is whole on the left."""
    picture = np.zeros((*size, channels), np.uint8)
    half = size[1] // 2
    picture[:, :half, :3], picture[:, half:, :3] = LEFT, RIGHT
    picture[..., 1] += index % 48 * 4
    if channels == 4:
        picture[:, :half, 3], picture[:, half:, 3] = 255, 40
    return picture


def write_film(
    path: Path,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    *,
    count: int = 12,
    channels: int = 3,
    size: tuple[int, int] = SIZE,
    rate: Fraction = Fraction(24),
    sound: np.ndarray | None = None,
    options: dict[str, str] | None = None,
) -> Path:
    with av.open(str(path), "w", options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = size
        stream.pix_fmt = pix_fmt
        if codec == "libvpx":
            stream.options = {"auto-alt-ref": "0"}  # it writes no alpha otherwise
        track = container.add_stream("aac", rate=RATE) if sound is not None else None
        if track is not None:
            track.codec_context.layout = "mono"
        for index in range(count):
            picture = frame(index, channels=channels, size=size)
            image = av.VideoFrame.from_ndarray(picture, format="rgba" if channels == 4 else "rgb24")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
        if track is not None and sound is not None:
            heard = av.AudioFrame.from_ndarray(sound.astype(np.float32), format="fltp", layout="mono")
            heard.sample_rate, heard.pts = RATE, 0
            container.mux(track.encode(heard))
            container.mux(track.encode(None))
    return path


def turn(path: Path, how: str) -> Path:
    """Change how the header of an MP4 says that its pictures are turned."""
    data = bytearray(path.read_bytes())
    place = data.index(b"tkhd") + 4 + 40  # the matrix of version 0 of that part
    (right_right, right_down), (down_right, down_down) = TURNS[how]
    matrix = (right_right << 16, right_down << 16, 0, down_right << 16, down_down << 16, 0, 0, 0, 1 << 30)
    data[place : place + 36] = struct.pack(">9i", *matrix)
    path.write_bytes(data)
    return path


def smooth(count: int = 12, height: int = 64, width: int = 96) -> torch.Tensor:
    """A film that compresses well: colours that change slowly, `[F, H, W, 3]`."""
    rows, columns = np.mgrid[0:height, 0:width]
    frames = [
        np.stack([0.5 + 0.4 * np.sin(columns / 30 + index / 5), 0.5 + 0.4 * np.cos(rows / 25), columns / width], -1)
        for index in range(count)
    ]
    return torch.tensor(np.stack(frames), dtype=torch.float32)
