"""PNG, written as fast as NumPy and zlib allow, and read where Pillow would drop half of every sample.

`encode` cuts the rows into strips and makes each one a piece of a single deflate stream. NumPy and zlib work without
the GIL, so the strips are filtered and compressed on all cores. Every strip looks at a sample of itself and chooses one
filter and one way of compressing: noise gains nothing from searching for repeats, drawings gain everything.

`decode16` reads 16 bits per sample; Pillow keeps 8 of them for colour images.

PNG: https://www.w3.org/TR/png-3/ · zlib's stream: RFC 1950 · deflate: RFC 1951
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedMedia

Bytes = NDArray[np.uint8]
Predictor = Callable[[Bytes, Bytes, Bytes, Bytes], Bytes]

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_PIXELS = 2**27
"""Pixels that one image may have unless the caller says otherwise: 16384 x 8192."""
STRIP_BYTES = 2**21
"""Pixels' bytes in one strip: many strips for many cores, and few enough that starting afresh costs nothing."""

_BLOCK_BYTES = 2**16
"""What is filtered at once: it stays in a core's cache until zlib reads it."""
_PLACES, _PLACE_BYTES = 16, 2**10
"""What is looked at to choose how a strip is written."""
_RUNS_SAVE = 0.98
"""Runs take a tenth longer to find; below this share of the size without them, they are worth it."""
_REPEATS_MAY_SAVE = 0.9
"""Below this share of it, runs or a search promise enough to be tried on more than a sample."""
_COLOUR_TYPE = {1: 0, 2: 4, 3: 2, 4: 6}
_CHANNELS = {colour_type: channels for channels, colour_type in _COLOUR_TYPE.items()}
_ADLER_MODULUS = 65521


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


def encode(pixels: Bytes, *, strip_bytes: int = STRIP_BYTES) -> bytes:
    """A PNG file of `[H, W]` or `[H, W, C]` uint8 pixels, with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.

    Uses all cores and, beside the pixels, little more than the file's own size. Raises UnsupportedMedia for anything
    that is not such an array.
    """
    height, width, channels = _shape(pixels)
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    step = max(1, strip_bytes // rows.shape[1])
    bounds = list(pairwise([*range(0, height, step), height]))
    pack = partial(_pack, rows, channels)
    if len(bounds) == 1:
        strips = [pack(bounds[0])]
    else:
        with ThreadPoolExecutor(min(len(bounds), os.cpu_count() or 1)) as pool:
            strips = list(pool.map(pack, bounds))
    start = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPE[channels], 0, 0, 0)
    head = struct.pack(">I4s13sI", 13, b"IHDR", start, zlib.crc32(b"IHDR" + start))
    end = struct.pack(">I4sI", 0, b"IEND", zlib.crc32(b"IEND"))
    return b"".join([SIGNATURE, head, *_image_data(strips), end])


def _shape(pixels: Bytes) -> tuple[int, int, int]:
    height, width, channels = (*pixels.shape, 1)[:3] if pixels.ndim in (2, 3) else (0, 0, 0)
    if pixels.dtype != np.uint8 or channels not in _COLOUR_TYPE or not height or not width:
        raise UnsupportedMedia(
            f"A PNG is written from uint8 [H, W] or [H, W, 1 to 4], not from {pixels.dtype} {list(pixels.shape)}."
        )
    return height, width, channels


class _Strip(NamedTuple):
    parts: list[bytes]
    """Deflate data that ends on a byte: it can be followed by the next strip's, or by the end."""
    length: int
    """Bytes before compression."""
    adler: int
    """Checksum of the bytes before compression."""


def _pack(rows: Bytes, channels: int, bounds: tuple[int, int]) -> _Strip:
    """Filter and compress some of the rows, as one piece of the image's deflate stream."""
    start, stop = bounds
    step = min(stop - start, max(1, _BLOCK_BYTES // rows.shape[1]))
    filtered = _Filter(rows, channels, step)
    kind, compression = _choose(filtered, start, stop)
    deflate = _deflate(compression)
    parts: list[bytes] = []
    length, adler = 0, 1
    for first in range(start, stop, step):
        block = filtered(first, min(first + step, stop), kind)
        parts.append(deflate.compress(block.data))
        adler = zlib.adler32(block.data, adler)
        length += block.size
    parts.append(deflate.flush(zlib.Z_FINISH if stop == len(rows) else zlib.Z_FULL_FLUSH))
    return _Strip(parts, length, adler)


def _image_data(strips: list[_Strip]) -> Iterator[bytes]:
    """One IDAT chunk for each strip; together they are one zlib stream."""
    strips[0].parts.insert(0, b"\x78\x01")
    adler = 1
    for strip in strips:
        adler = adler32_combine(adler, strip.adler, strip.length)
    strips[-1].parts.append(struct.pack(">I", adler))
    for strip in strips:
        crc = zlib.crc32(b"IDAT")
        for part in strip.parts:
            crc = zlib.crc32(part, crc)
        yield struct.pack(">I4s", sum(map(len, strip.parts)), b"IDAT")
        yield from strip.parts
        yield struct.pack(">I", crc)


def adler32_combine(first: int, second: int, length: int) -> int:
    """The Adler-32 of two pieces of data from the checksum of each; `length` is the second's, in bytes.

    The low half is 1 + the sum of the bytes, and the high half is the sum of what the low half was after each byte. So
    every byte of the second piece adds the first piece's sum to the high half once more.
    """
    sum_before = (first & 0xFFFF) - 1
    low = ((second & 0xFFFF) + sum_before) % _ADLER_MODULUS
    high = ((first >> 16) + (second >> 16) + length * sum_before) % _ADLER_MODULUS
    return high << 16 | low


class _Filter:
    """Rows as PNG stores them: the filter's number, then every byte less what its neighbours predict.

    The memory for one block of rows is taken once and used for every block: asking for fresh memory takes several times
    as long as the arithmetic.
    """

    def __init__(self, rows: Bytes, channels: int, most: int) -> None:
        """`most` is how many rows a call may ask for."""
        width = rows.shape[1]
        self.rows, self.channels, self.most, self.pitch = rows, channels, most, channels + width
        # Every row with a pixel of zeros on its left, below one more row. Seen as one line of bytes, all neighbours lie
        # at fixed distances, so that each step of a filter is one pass.
        self._line = np.zeros(channels + (most + 1) * self.pitch, np.uint8)
        self._work = np.empty((5, most * self.pitch), np.uint8)
        self._stored = np.empty((most, 1 + width), np.uint8)

    def __call__(self, start: int, stop: int, kind: int) -> Bytes:
        """The rows from `start` up to `stop` after filter `kind`, in memory that the next call writes over."""
        count, size = stop - start, (stop - start) * self.pitch
        stored = self._stored[:count]
        stored[:, 0] = kind
        if kind == _NONE:
            stored[:, 1:] = self.rows[start:stop]
            return stored
        padded = self._line[self.channels :].reshape(-1, self.pitch)[: count + 1, self.channels :]
        padded[0] = self.rows[start - 1] if start else 0
        padded[1:] = self.rows[start:stop]
        left, above, corner = (self._line[at : at + size] for at in (self.pitch, self.channels, 0))
        prediction = _PREDICTORS[kind](left, above, corner, self._work[:, :size])
        np.subtract(padded[1:], prediction.reshape(count, -1)[:, self.channels :], out=stored[:, 1:])
        return stored


def _left(left: Bytes, above: Bytes, corner: Bytes, work: Bytes) -> Bytes:
    return left


def _above(left: Bytes, above: Bytes, corner: Bytes, work: Bytes) -> Bytes:
    return above


def _average(left: Bytes, above: Bytes, corner: Bytes, work: Bytes) -> Bytes:
    """Half of left + above, without the ninth bit of the sum."""
    both, either = work[0], work[1]
    np.bitwise_and(left, above, out=both)
    np.bitwise_xor(left, above, out=either)
    np.right_shift(either, 1, out=either)
    return np.add(both, either, out=both)


def _paeth(left: Bytes, above: Bytes, corner: Bytes, work: Bytes) -> Bytes:
    """Of the three neighbours the nearest to left + above - corner, which does not fit into a byte and is not needed.

    Left is |above - corner| away from it and above is |left - corner| away. The corner is as far away as the difference
    of these two where it lies between left and above, and where it does not, their sum: then it is never the nearest.
    """
    to_left, to_above, spare, is_corner, is_left = work
    _distance(above, corner, to_left, spare)
    _distance(left, corner, to_above, spare)
    np.less_equal(to_left, to_above, out=is_left.view(np.bool_))
    nearest = np.minimum(to_left, to_above, out=spare)
    to_corner = np.maximum(to_left, to_above, out=to_left)
    to_corner -= nearest
    np.less(to_corner, nearest, out=is_corner.view(np.bool_))
    prediction = _select(is_left, left, above, to_above)
    for bound, is_inside in ((np.minimum, np.less), (np.maximum, np.greater)):
        bound(left, above, out=spare)
        is_corner &= is_inside(spare, corner, out=to_left.view(np.bool_)).view(np.uint8)
    return _select(is_corner, corner, prediction, spare)


def _distance(one: Bytes, other: Bytes, out: Bytes, spare: Bytes) -> None:
    np.maximum(one, other, out=out)
    out -= np.minimum(one, other, out=spare)


def _select(condition: Bytes, yes: Bytes, no: Bytes, out: Bytes) -> Bytes:
    """np.where for bytes, at several times its speed; `condition` is 0 or 1, and is written over."""
    mask = np.negative(condition, out=condition)
    mask &= np.bitwise_xor(yes, no, out=out)
    return np.bitwise_xor(mask, no, out=out)


_NONE, _ABOVE = 0, 2
_PREDICTORS: dict[int, Predictor] = {1: _left, _ABOVE: _above, 3: _average, 4: _paeth}


class _Compression(NamedTuple):
    level: int
    strategy: int


_CODES = _Compression(1, zlib.Z_HUFFMAN_ONLY)
_RUNS = _Compression(1, zlib.Z_RLE)
_REPEATS = _Compression(4, zlib.Z_DEFAULT_STRATEGY)


def _deflate(compression: _Compression) -> zlib._Compress:  # pyright: ignore[reportPrivateUsage]: it has no other name
    return zlib.compressobj(compression.level, zlib.DEFLATED, -zlib.MAX_WBITS, 9, compression.strategy)


def _choose(filtered: _Filter, start: int, stop: int) -> tuple[int, _Compression]:
    """The filter and the compression that suit these rows, judged by a few of them.

    The filter is the one whose bytes have the least entropy. Then, where nothing repeats, codes alone are fastest;
    where bytes do, runs; and a search is worth a trial only where much repeats, as in drawings.
    """
    samples = [_sample(filtered, start, stop, kind) for kind in range(5)]
    kind = min(range(5), key=lambda kind: sum(map(_entropy, samples[kind])))
    in_codes, in_runs = _packed_size(samples[kind], _CODES), _packed_size(samples[kind], _RUNS)
    if min(in_runs, _packed_size(samples[_NONE], _REPEATS)) > _REPEATS_MAY_SAVE * in_codes:
        return kind, _RUNS if in_runs < _RUNS_SAVE * in_codes else _CODES
    first = start + (stop - start - filtered.most) // 2
    trials = [(kind, _RUNS), *((searched, _REPEATS) for searched in sorted({_NONE, _ABOVE, kind}))]
    sizes = [_packed_size([filtered(first, first + filtered.most, kind)], way) for kind, way in trials]
    return trials[sizes.index(min(sizes))]


def _sample(filtered: _Filter, start: int, stop: int, kind: int) -> list[Bytes]:
    """Some of the stored bytes, from places on a line through the rows from one corner to the other."""
    count = min(filtered.most, max(1, _PLACE_BYTES // filtered.pitch))
    sample: list[Bytes] = []
    for place in range(_PLACES):
        first = start + (stop - start - count) * place // (_PLACES - 1)
        stored = filtered(first, first + count, kind).reshape(-1)
        at = max(0, stored.size - _PLACE_BYTES) * place // (_PLACES - 1)
        sample.append(stored[at : at + _PLACE_BYTES].copy())
    return sample


def _entropy(stored: Bytes) -> float:
    """Bits for one place, with the best possible codes for its values: deflate has new ones every few rows as well."""
    counts = np.bincount(stored)
    counts = counts[counts > 0]
    return -float((counts * np.log2(counts / stored.size)).sum())


def _packed_size(parts: list[Bytes], compression: _Compression) -> int:
    deflate = _deflate(compression)
    return sum([len(deflate.compress(part.data)) for part in parts]) + len(deflate.flush())


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
    if about.bit_depth != 16 or about.is_interlaced or about.colour_type not in _CHANNELS:
        how = "interlaced" if about.is_interlaced else f"of {about.bit_depth} bits and colour type {about.colour_type}"
        raise UnsupportedMedia(f"The PNG is {how}; what is read here is 16 bits per sample and not interlaced.")
    if about.width * about.height > max_pixels:
        raise UnsupportedMedia(f"The PNG has {about.width}x{about.height} pixels, more than the {max_pixels} allowed.")
    chunks = [(kind, body) for kind, body in _chunks(data) if kind in (b"IDAT", b"tRNS")]
    channels = _CHANNELS[about.colour_type]
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
            np.add(row, above if kind == _ABOVE else 0, out=into)
        above = into
    return out


def _unfiltered_by_diagonals(kinds: Bytes, rows: Bytes, distance: int) -> Bytes:
    """Undo the filters where a pixel needs its neighbours on the left, above and in the corner.

    Pixel x of row y is ready when x + y steps are done, so one step does the pixels of a whole diagonal: H + W steps
    instead of H x W. Of a row of pixels, the diagonal through it is every (pitch - 1)th one.
    """
    height, width = len(rows), rows.shape[1] // distance
    pixels = rows.copy().reshape(-1, distance)
    masks = {kind: np.repeat(np.where(kinds == kind, 255, 0).astype(np.uint8), distance) for kind in _PREDICTORS}
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
            prediction = _PREDICTORS[kind](last[here], last[up], before[up], work[:, : up.stop - up.start])
            out[here] += prediction & mask[up]
        diagonal[:] = out[here].reshape(-1, distance)
        last, before, out = out, last, before
    return pixels.reshape(height, -1)
