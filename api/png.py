"""PNG, written as fast as NumPy and zlib allow.

`encode` cuts the rows into strips and makes each one a piece of a single deflate stream. NumPy and zlib work without
the GIL, so the strips are filtered and compressed on all cores. Every strip looks at a sample of itself and chooses one
filter and one way of compressing: noise gains nothing from searching for repeats, drawings gain everything.

PNG: https://www.w3.org/TR/png-3/ · zlib's stream: RFC 1950 · deflate: RFC 1951
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UnsupportedMedia

if TYPE_CHECKING:
    import zlib
else:
    from zlib_ng import zlib_ng as zlib  # the standard library's functions, twice as fast

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
CHANNELS = {colour_type: channels for channels, colour_type in _COLOUR_TYPE.items()}
_ADLER_MODULUS = 65521


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
        prediction = PREDICTORS[kind](left, above, corner, self._work[:, :size])
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


_NONE, ABOVE = 0, 2
PREDICTORS: dict[int, Predictor] = {1: _left, ABOVE: _above, 3: _average, 4: _paeth}


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
    trials = [(kind, _RUNS), *((searched, _REPEATS) for searched in sorted({_NONE, ABOVE, kind}))]
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
