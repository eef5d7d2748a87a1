"""OpenEXR: images as floating point values, exactly, also below 0 and above 1.

The values of a file are those of the tensor: no transfer curve (gamma, sRGB) is applied and no alpha multiplied in or
out, neither here nor there. Programs that follow OpenEXR's convention take them for linear light, with colours that are
multiplied by alpha.
"""

from __future__ import annotations

import struct
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ...api.errors import InvalidInput, UnsupportedMedia
from .files import looks_like

CONTENT_TYPE = "image/x-exr"
SUFFIX = ".exr"

MAX_PIXELS = 2**27
"""Pixels that a file may have unless the caller says otherwise: 1.5 GiB of three channels."""

_MAX_HALF = float(np.finfo(np.float16).max)
# By number of channels: FFmpeg's name of their planes, and which channel each plane holds.
_PLANES = {1: ("gray", (0,)), 3: ("gbrp", (1, 2, 0)), 4: ("gbrap", (1, 2, 0, 3))}
_READABLE = {
    f"{name}{kind}": (channels, np.dtype(dtype))
    for name, channels in _PLANES.values()
    for kind, dtype in (("f32le", "<f4"), ("f16le", "<f2"))
}


def encode(image: torch.Tensor, *, is_half: bool = False) -> bytes:
    """An EXR file of an image `[H, W, C]` with 1, 3 or 4 channels: float32 exactly, or the nearest half floats.

    Raises InvalidInput for what is no such image, and for values that a half float cannot hold.
    """
    import av

    values = _values(image)
    if is_half:
        if np.abs(values[np.isfinite(values)]).max(initial=0) > _MAX_HALF:
            raise InvalidInput(f"The image has values above {_MAX_HALF:.0f}, the most that a half float holds.")
        values = values.astype(np.float16).astype(np.float32)  # FFmpeg would cut off instead of rounding
    height, width, count = values.shape
    name, channels = _PLANES[count]
    context: Any = av.CodecContext.create("exr", "w")  # half of what PyAV says of its types here is unknown
    context.width, context.height, context.pix_fmt, context.time_base = width, height, f"{name}f32le", Fraction(1)
    context.options = {"compression": "zip16", "format": "half" if is_half else "float"}
    frame = av.VideoFrame(width, height, f"{name}f32le")
    for plane, channel in zip(frame.planes, channels, strict=True):
        rows = np.zeros((height, plane.line_size // 4), "<f4")
        rows[:, :width] = values[..., channel]
        plane.update(rows.tobytes())
    frame.pts = 0
    return b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "The file") -> torch.Tensor:
    """The image `[H, W, C]` in an EXR file: float32 with 1 channel (Y), 3 (RGB) or 4 (RGBA).

    Raises UnsupportedMedia for bytes that are no whole such image, and above `max_pixels`. Of pixels that were changed
    in the middle of a file FFmpeg says nothing.
    """
    from av.error import FFmpegError

    cause = None
    try:
        frame = _frame(data, max_pixels)
        if not _is_whole(data):
            reason = "its end is missing, or it was never finished"
        elif frame is None:
            reason = "there is no image in it"
        elif frame.width * frame.height > max_pixels:
            reason = f"it has {frame.width}x{frame.height} pixels, more than the {max_pixels} pixels allowed"
        elif frame.format.name not in _READABLE:
            reason = f"its channels are of a kind that is not read here ({frame.format.name})"
        else:
            return torch.as_tensor(_image(frame))
    except FFmpegError as error:
        reason, cause = f"it is damaged, incomplete, or has more than {max_pixels} pixels ({error.strerror})", error
    raise UnsupportedMedia(f"{name} ({len(data)} bytes, {looks_like(data)}) cannot be read: {reason}.") from cause


def _frame(data: bytes, max_pixels: int) -> Any:
    import av

    context: Any = av.CodecContext.create("exr", "r")  # as above
    context.options = {"max_pixels": str(2 * max_pixels + 2**16)}  # FFmpeg rounds the width up before it compares
    return next(iter([*context.decode(av.Packet(data)), *context.decode(None)]), None)


def _is_whole(data: bytes) -> bool:
    """Whether every block of pixels that a file lists is there: FFmpeg leaves out those that are not, and says nothing.

    A file is headers, a list of where its blocks are, and the blocks, the first one right after the list.
    """
    flags = int.from_bytes(data[4:8], "little")
    is_tiled, has_parts = bool(flags & 0x200), bool(flags & 0x1000)
    size_at = (16 if is_tiled else 4) + (4 if has_parts else 0)
    try:
        place, first, is_complete = _end_of_headers(data, has_parts=has_parts), len(data), True
        while place < first:
            (block,) = struct.unpack_from("<Q", data, place)
            (size,) = struct.unpack_from("<i", data, block + size_at)
            is_complete = is_complete and size >= 0 and block > 0 and block + size_at + 4 + size <= len(data)
            place, first = place + 8, min(first, block)
    except (struct.error, ValueError, OverflowError):
        return False
    return is_complete and place == first


def _end_of_headers(data: bytes, *, has_parts: bool) -> int:
    """Where the headers end. ValueError or struct.error where the file does first."""
    place, is_first = 8, True
    while data[place : place + 1] != b"\0":
        while data[place : place + 1] != b"\0":
            place = data.index(b"\0", data.index(b"\0", place) + 1) + 1  # the name of an attribute, and its type
            (size,) = struct.unpack_from("<I", data, place)
            place += 4 + size
        place, is_first = place + 1, False
        if not has_parts:
            return place
    if is_first:
        raise ValueError
    return place + 1


def _values(image: torch.Tensor) -> NDArray[np.float32]:
    if image.ndim != 3 or not image.numel():
        raise InvalidInput(f"An image is [H, W, C] with at least one pixel, but this one is {list(image.shape)}.")
    if image.shape[2] not in _PLANES:
        raise UnsupportedMedia(f"An EXR image has 1, 3 or 4 channels, but this one {list(image.shape)} has none such.")
    if not image.is_floating_point():
        raise InvalidInput(f"An EXR image has floating point values, but this one has {image.dtype}.")
    return image.detach().to("cpu", torch.float32).numpy()


def _image(frame: Any) -> NDArray[np.float32]:
    channels, kind = _READABLE[frame.format.name]
    image = np.empty((frame.height, frame.width, len(channels)), np.float32)
    for plane, channel in zip(frame.planes, channels, strict=True):
        image[..., channel] = np.frombuffer(plane, kind).reshape(frame.height, -1)[:, : frame.width]
    return image
