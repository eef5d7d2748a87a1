"""Videos read into tensors, frame by frame, with as many threads as there are processors.

The values are those that ComfyUI's own VIDEO gives: full scale is 1, colours of a quarter of the resolution (4:2:0) are
interpolated, more than 8 bits are kept, and a film of a telephone that was held upright is upright. Alpha is read where
the codec has it: ProRes 4444, PNG and other RGBA codecs, and VP8 and VP9 in WebM.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from . import audio
from .container import Damaged, opened

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video import VideoStream

MAX_PIXELS = 2**30
"""Pixels that a video may have, all frames together, unless the caller says otherwise: 12 GiB of float32."""

_CUT_OFF_SECONDS = 0.5
"""What a Matroska file may lack of the duration that it announces."""

# FFmpeg's own decoders of these skip the alpha that WebM carries beside the picture.
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}

# How a frame is brought into memory: FFmpeg's name, how many channels it has, and which one each plane holds.
_CHANNELS = {"rgb24": 3, "rgba": 4, "gbrpf32le": 3, "gbrapf32le": 4}
_PLANES = {"gbrpf32le": (1, 2, 0), "gbrapf32le": (1, 2, 0, 3)}
_STEP = 32  # pixels
_FULL_RANGE = ("yuvj420p", "yuvj422p", "yuvj444p", "pal8")

# How FFmpeg numbers the ways of making colours out of brightness and colour differences, in a frame and for the
# conversion; a frame that does not say is taken for the oldest, ITU-R BT.601.
_ITU709, _ITU601 = 1, 5
_MATRICES = {1: _ITU709, 4: 4, 5: _ITU601, 6: _ITU601, 7: 7, 9: 9, 10: 9}
_FULL = 2  # a range of colours, likewise

Values = NDArray[np.float32]
Turn = tuple[bool, int, int]
_UPRIGHT: Turn = (False, 1, 1)


@dataclass(frozen=True)
class Components:
    """What is in a video; the names are those of ComfyUI's VideoComponents."""

    images: torch.Tensor
    """`[F, H, W, 3]` float32 in 0..1."""
    frame_rate: Fraction
    """Frames per second; of a video whose frames follow each other at varying distances, the average."""
    audio: audio.Audio | None = None
    alpha: torch.Tensor | None = None
    """`[F, H, W, 1]`, None where the video has none."""
    metadata: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def mask(self) -> torch.Tensor:
        """The alpha as a MASK `[F, H, W]`: 1 is transparent."""
        return torch.zeros(self.images.shape[:3]) if self.alpha is None else 1 - self.alpha[..., 0]


@dataclass(frozen=True)
class Facts:
    """What a video is, without its pictures."""

    width: int
    height: int
    frame_count: int
    frame_rate: Fraction
    duration: float
    """Seconds."""
    bit_depth: int
    container_format: str


def decode_frames(source: Path | bytes, *, max_pixels: int = MAX_PIXELS, name: str = "The file") -> Components:
    """The frames of a video, with its first sound track.

    Raises UnsupportedMedia for a file that has no pictures, that is damaged, or that has more than `max_pixels`; `name`
    is what the message calls it.
    """
    with opened(source, name=name) as container:
        stream = _pictures(container)
        count, _ = _count(container, stream)
        _check_size(stream.width, stream.height, count, max_pixels)
        frame_rate, metadata = _rate(stream), dict(container.metadata)
    with opened(source, name=name) as container:
        pixels, start = _read(_frames(container, _pictures(container)), count, max_pixels)
    with opened(source, name=name) as container:
        track = audio.sound_track(container)
        sound = audio.read(container, track, max_values=audio.MAX_VALUES, start=start) if track else None
    images = torch.as_tensor(pixels)
    return Components(
        images=images[..., :3],
        alpha=images[..., 3:] if images.shape[3] == 4 else None,
        audio={"waveform": torch.as_tensor(sound[0][None]), "sample_rate": sound[1]} if sound else None,
        frame_rate=frame_rate,
        metadata=metadata,
    )


def look(source: Path | bytes, *, name: str = "The file") -> Facts:
    """What a video is. Raises UnsupportedMedia for a file that is none."""
    with opened(source, name=name) as container:
        stream = _pictures(container)
        count, seconds = _count(container, stream)
        frame_rate, container_format = _rate(stream), container.format.name
    with opened(source, name=name) as container:
        frame = next(_frames(container, _pictures(container)), None)
        if frame is None:
            raise Damaged("there is no picture in it")
        height, width = _turned(np.empty((frame.height, frame.width)), _turn(frame)).shape
    bits = max(part.bits for part in frame.format.components)
    return Facts(width, height, count, frame_rate, seconds or count / float(frame_rate), bits, container_format)


def _pictures(container: InputContainer) -> VideoStream:
    if not container.streams.video:
        raise Damaged("there are no moving pictures in it")
    return container.streams.video[0]


def _rate(stream: VideoStream) -> Fraction:
    return Fraction(stream.average_rate or stream.guessed_rate or 1)


def _count(container: InputContainer, stream: VideoStream) -> tuple[int, float]:
    """How many pictures a video has at most, without decoding them, and how many seconds it lasts (0: not told)."""
    count, end = 0, 0.0
    for packet in container.demux():
        count += packet.stream_index == stream.index and packet.size > 0
        if packet.pts is not None:
            end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base))
    seconds = (container.duration or 0) / 1_000_000
    if "matroska" in container.format.name and end < seconds - _CUT_OFF_SECONDS:
        raise Damaged(f"its end is missing: it has {end:.1f} of {seconds:.1f} seconds")
    return count, seconds


def _check_size(width: int, height: int, count: int, max_pixels: int) -> None:
    if width * height * count > max_pixels:
        raise Damaged(
            f"it has {count} frames of {width}x{height} pixels, more than the {max_pixels} pixels that are brought "
            "into memory at once; make it shorter or smaller, or pass it on as a video, which is not decoded"
        )


def _frames(container: InputContainer, stream: VideoStream) -> Iterator[VideoFrame]:
    import av

    stream.thread_type = "AUTO"
    decoder = _ALPHA_DECODERS.get(stream.codec_context.name)
    if decoder and stream.metadata.get("alpha_mode") == "1" and decoder in av.codecs_available:
        context: Any = av.CodecContext.create(decoder, "r")  # half of what PyAV says of its types here is unknown
        for packet in container.demux(stream):
            yield from context.decode(packet)
    else:
        yield from container.decode(stream)


def _read(frames: Iterator[VideoFrame], count: int, max_pixels: int) -> tuple[Values, float]:
    """The values `[F, H, W, C]` of all frames, and when the first one is shown, in seconds."""
    first = next(frames, None)
    if first is None:
        raise Damaged("there is no picture in it")
    film = _Film(first, count, max_pixels)
    for frame in frames:
        film.add(frame)
    return film.values[: film.count], first.time or 0.0


class _Film:
    """The frames of one video as they are decoded, in one piece of memory."""

    def __init__(self, first: VideoFrame, expected: int, max_pixels: int) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()
        self._edges = _Edges()
        self._kind = _kind(first)
        self._size = (first.width, first.height)
        self._turn = _turn(first)
        self._max_pixels = max_pixels
        height, width = _turned(np.empty((first.height, first.width, 0)), self._turn).shape[:2]
        self._shape = (height, width, _CHANNELS[self._kind])
        self.values: Values = np.empty((0, *self._shape), np.float32)
        self.count = 0
        self._make_room(max(1, expected))
        self.add(first)

    def add(self, frame: VideoFrame) -> None:
        if (frame.width, frame.height) != self._size or _turn(frame) != self._turn:
            before, after = f"{self._size[0]}x{self._size[1]}", f"{frame.width}x{frame.height}"
            raise Damaged(f"its pictures change from {before} to {after}, or are turned, at frame {self.count}")
        if self.count == len(self.values):  # some packets hold more than one frame
            self._make_room(2 * self.count)
        self._write(frame, self.values[self.count])
        self.count += 1

    def _make_room(self, frames: int) -> None:
        _check_size(*self._size, frames, self._max_pixels)
        values: Values = np.empty((frames, *self._shape), np.float32)
        values[: self.count] = self.values
        self.values = values

    def _write(self, frame: VideoFrame, values: Values) -> None:
        if frame.format.name != self._kind:
            colours = _colours(frame)
            wide = self._edges.widened(frame) if self._kind in _PLANES else frame
            frame = self._reformatter.reformat(wide, format=self._kind, **colours)
        kind, (width, height) = "<f4" if self._kind in _PLANES else "u1", self._size
        for plane, channels in zip(frame.planes, _PLANES.get(self._kind, (slice(None),)), strict=True):
            memory: Any = plane  # its type does not say that it can be read as a buffer
            # A row in memory is longer than the picture is wide.
            rows: NDArray[Any] = np.frombuffer(memory, kind).reshape(frame.height, -1)
            if kind == "u1":
                rows = rows[:, : width * self._shape[2]].reshape(height, width, -1)
                np.divide(_turned(rows, self._turn), np.float32(255), out=values, dtype=np.float32)
            else:
                values[..., channels] = _turned(rows[:height, :width], self._turn)


class _Edges:
    """Makes frames as wide as FFmpeg's conversion to floats needs them, by repeating what is at their edges.

    At other widths it reads beyond the end of a row, so that the first columns are now and then those of nowhere.
    """

    def __init__(self) -> None:
        self._graph: Any = None  # half of what PyAV says of its types here is unknown

    def widened(self, frame: VideoFrame) -> VideoFrame:
        if frame.width % _STEP == 0:
            return frame
        if self._graph is None:
            self._graph = _edge_filter(frame)
        self._graph.push(frame)
        return self._graph.pull()


def _edge_filter(frame: VideoFrame) -> Any:
    from av.filter import Graph

    right, below = -frame.width % _STEP, -frame.height % _STEP
    graph: Any = Graph()  # as above
    steps = (
        graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format.name, time_base=frame.time_base or Fraction(1)
        ),
        graph.add("pad", f"{frame.width + right}:{frame.height + below}:0:0"),
        graph.add("fillborders", f"left=0:right={right}:top=0:bottom={below}:mode=smear"),
        graph.add("buffersink"),
    )
    for step, following in pairwise(steps):
        step.link_to(following)
    graph.configure()
    return graph


def _kind(frame: VideoFrame) -> str:
    """How a frame is read: 8 bits of full range as they are, everything else as floats; the smallest in 8 bits too."""
    parts = frame.format.components
    has_alpha = frame.format.name == "pal8" or any(part.is_alpha for part in parts)
    is_rgb = frame.format.is_rgb and max(part.bits for part in parts) <= 8
    is_tiny = min(frame.width, frame.height) < _STEP // 2  # less than half of what _Edges would make of it
    if is_rgb or is_tiny or frame.format.name in _FULL_RANGE:
        return "rgba" if has_alpha else "rgb24"
    return "gbrapf32le" if has_alpha else "gbrpf32le"


def _colours(frame: VideoFrame) -> dict[str, int]:
    """How the colours of a frame are meant, for the reformatter.

    PyAV up to 16 looks at it only where source and result differ, so it is told of a difference that RGB does not have.
    """
    if frame.format.is_rgb:
        return {}
    matrix = _MATRICES.get(int(frame.colorspace), _ITU601)
    return {
        "src_colorspace": matrix,
        "dst_colorspace": _ITU709 if matrix == _ITU601 else _ITU601,
        "src_color_range": int(frame.color_range),
        "dst_color_range": _FULL,
    }


def _turn(frame: VideoFrame) -> Turn:
    """How a frame is turned upright: swap the axes, then go through the rows and the columns in these steps."""
    from av.sidedata.sidedata import Type

    side_data: Any = frame.side_data  # its type says that it has texts as keys
    matrix = side_data.get(Type.DISPLAYMATRIX)
    if matrix is None:
        return _UPRIGHT
    right_right, right_down, _, down_right, down_down = struct.unpack("<5i", bytes(matrix)[:20])
    if right_right and down_down and not (right_down or down_right):
        return False, _sign(down_down), _sign(right_right)
    if right_down and down_right and not (right_right or down_down):
        return True, _sign(right_down), _sign(down_right)
    return _UPRIGHT  # an angle between: players do not turn it either


def _sign(value: int) -> int:
    return 1 if value > 0 else -1


def _turned(picture: NDArray[Any], turn: Turn) -> NDArray[Any]:
    is_swapped, rows, columns = turn
    return (picture.swapaxes(0, 1) if is_swapped else picture)[::rows, ::columns]
