"""PNG with 16 bits per sample, read whole: Pillow keeps 8 of them for colour images.

PNG: https://www.w3.org/TR/png-3/
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedMedia
from .png import ABOVE, CHANNELS, MAX_PIXELS, PREDICTORS, SIGNATURE, Bytes

if TYPE_CHECKING:
    import zlib
else:
    from zlib_ng import zlib_ng as zlib  # the standard library's functions, twice as fast


class Header(NamedTuple):
    """What a PNG says about itself in its first chunk."""

    width: int
    height: int
    bit_depth: int
    colour_type: int
    """0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha."""
    is_interlaced: bool


def header(data: bytes) -> Header:
    """The header of a PNG file; raises UnsupportedMedia where there is none."""
    if not data.startswith(SIGNATURE):
        raise UnsupportedMedia(f"This is not a PNG file: it starts with {data[:8]!r}.")
    kind, body = next(_chunks(data))
    if kind != b"IHDR" or len(body) != 13:
        raise UnsupportedMedia("The PNG does not start with a header, so it cannot be read.")
    width, height, bit_depth, colour_type, _, _, interlace = struct.unpack(">IIBBBBB", body)
    if not width or not height:
        raise UnsupportedMedia(f"The PNG says that it is {width}x{height} pixels, which is no image.")
    return Header(width, height, bit_depth, colour_type, bool(interlace))


def _chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """The chunks of a PNG file up to its end, each checked against its own checksum."""
    view, at, kind = memoryview(data), len(SIGNATURE), b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", data, at) if at + 8 <= len(data) else (0, b"")
        end = at + 8 + length
        if end + 4 > len(data):
            raise UnsupportedMedia(f"The PNG is cut off after {len(data)} bytes.")
        if zlib.crc32(view[at + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise UnsupportedMedia(f"The PNG was damaged on its way: the checksum of a {kind!r} chunk is wrong.")
        yield kind, view[at + 8 : end]
        at = end + 4


def decode16(data: bytes, *, max_pixels: int = MAX_PIXELS) -> NDArray[np.uint16]:
    """The pixels `[H, W, C]` of a PNG with 16 bits per sample, with C as in `encode`.

    A colour that the file declares transparent becomes an alpha channel. Raises UnsupportedMedia for a file that is not
    such a PNG, is interlaced, has more than `max_pixels`, or is damaged; never inflates more than the header announces.
    """
    about = header(data)
    if about.bit_depth != 16 or about.is_interlaced or about.colour_type not in CHANNELS:
        how = "interlaced" if about.is_interlaced else f"of {about.bit_depth} bits and colour type {about.colour_type}"
        raise UnsupportedMedia(f"The PNG is {how}; what is read here is 16 bits per sample and not interlaced.")
    if about.width * about.height > max_pixels:
        raise UnsupportedMedia(f"The PNG has {about.width}x{about.height} pixels, more than the {max_pixels} allowed.")
    chunks = [(kind, body) for kind, body in _chunks(data) if kind in (b"IDAT", b"tRNS")]
    channels = CHANNELS[about.colour_type]
    packed = b"".join(body for kind, body in chunks if kind == b"IDAT")
    stored = _inflated(packed, about.height * (1 + about.width * channels * 2))
    rows = np.frombuffer(stored, np.uint8).reshape(about.height, -1)
    samples = _unfiltered(rows, channels * 2).view(">u2").astype(np.uint16)
    pixels = samples.reshape(about.height, about.width, channels)
    transparent = [body for kind, body in chunks if kind == b"tRNS" and len(body) == channels * 2]
    if not transparent or about.colour_type not in (0, 2):
        return pixels
    is_opaque = (pixels != np.frombuffer(transparent[0], ">u2")).any(axis=2, keepdims=True)
    return np.concatenate([pixels, is_opaque * np.uint16(0xFFFF)], axis=2)


def _inflated(packed: bytes, size: int) -> bytes:
    """Exactly `size` bytes; a stream with more or fewer is refused, and is not inflated any further."""
    inflate = zlib.decompressobj()
    try:
        stored = inflate.decompress(packed, size)
        surplus = inflate.decompress(inflate.unconsumed_tail, 1)
    except zlib.error as error:
        raise UnsupportedMedia(f"The PNG's pixels are damaged: {error}.") from error
    if len(stored) != size or surplus or not inflate.eof:
        raise UnsupportedMedia(f"The PNG's pixels do not fit its header, which announces {size} bytes of them.")
    return stored


def _unfiltered(stored: Bytes, distance: int) -> Bytes:
    """Undo the filters of all rows; `distance` is the bytes of a pixel: that far away a byte finds its left one."""
    kinds, rows = stored[:, 0], stored[:, 1:]
    if kinds.max() > 4:
        raise UnsupportedMedia(f"The PNG's pixels are damaged: there is no filter {kinds.max()}.")
    if kinds.max() > 2:
        return _unfiltered_by_diagonals(kinds, rows, distance)
    out = np.empty_like(rows, order="C")
    above = np.zeros_like(out[0])
    for kind, row, into in zip(kinds, rows, out, strict=True):
        if kind == 1:
            np.cumsum(row.reshape(-1, distance), axis=0, dtype=np.uint8, out=into.reshape(-1, distance))
        else:
            np.add(row, above if kind == ABOVE else 0, out=into)
        above = into
    return out


def _unfiltered_by_diagonals(kinds: Bytes, rows: Bytes, distance: int) -> Bytes:
    """Undo the filters where a pixel needs its neighbours on the left, above and in the corner.

    Pixel x of row y is ready when x + y steps are done, so one step does the pixels of a whole diagonal: H + W steps
    instead of H x W. Of a row of pixels, the diagonal through it is every (pitch - 1)th one.
    """
    height, width = len(rows), rows.shape[1] // distance
    pixels = rows.copy().reshape(-1, distance)
    masks = {kind: np.repeat(np.where(kinds == kind, 255, 0).astype(np.uint8), distance) for kind in PREDICTORS}
    masks = {kind: mask for kind, mask in masks.items() if mask.any()}
    # The pixel of row y lies at y + 1, so that row 0 finds zeros above it. A row that has not begun is still zero, too.
    last, before, out = np.zeros((3, (height + 1) * distance), np.uint8)
    work = np.empty((5, height * distance), np.uint8)
    for step in range(height + width - 1):
        top, bottom = max(0, step - width + 1), min(height, step + 1)
        up, here = (slice((top + shift) * distance, (bottom + shift) * distance) for shift in (0, 1))
        first, pitch = top * width + step - top, max(1, width - 1)
        diagonal = pixels[first : first + (bottom - top - 1) * pitch + 1 : pitch]
        out[here] = diagonal.reshape(-1)
        for kind, mask in masks.items():
            prediction = PREDICTORS[kind](last[here], last[up], before[up], work[:, : up.stop - up.start])
            out[here] += prediction & mask[up]
        diagonal[:] = out[here].reshape(-1, distance)
        last, before, out = out, last, before
    return pixels.reshape(height, -1)
