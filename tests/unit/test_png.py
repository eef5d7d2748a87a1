"""The PNG writer against readers that know nothing of it, and the 16-bit reader against files made in plain loops."""

from __future__ import annotations

import shutil
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from comfyui_outpost.api import png, png_reader
from comfyui_outpost.api.errors import UnsupportedMedia
from PIL import Image

SHAPES = [(1, 1), (1, 61), (67, 1), (2, 2), (31, 37), (97, 89), (3, 30011)]
COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}


def noise(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(5).integers(0, 256, (height, width, channels), dtype=np.uint8)


def flat(height: int, width: int, channels: int) -> np.ndarray:
    return np.full((height, width, channels), 77, np.uint8)


def gradient(height: int, width: int, channels: int) -> np.ndarray:
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return (x * 2 + y * 3 + c * 40).astype(np.uint8)


def drawing(height: int, width: int, channels: int) -> np.ndarray:
    """The same few glyphs again and again, as on a page of text."""
    glyphs = np.random.default_rng(6).integers(0, 2, (16, 48, channels), dtype=np.uint8) * 255
    return np.tile(glyphs, (height // 16 + 1, width // 48 + 1, 1))[:height, :width]


def soft(height: int, width: int, channels: int) -> np.ndarray:
    """Smooth and without noise, like what comes from a blur."""
    y, x, c = np.mgrid[0:height, 0:width, 0:channels]
    return (128 + 60 * np.sin(x / 31 + c) + 60 * np.cos(y / 23)).astype(np.uint8)


def predicted(kind: int, left: int, above: int, corner: int) -> int:
    """What a filter subtracts, as section 9 of the standard says it."""
    if kind < 4:
        return (0, left, above, (left + above) // 2)[kind]
    estimate = left + above - corner
    return min((left, above, corner), key=lambda neighbour: abs(estimate - neighbour))


def unfiltered(stored: bytes, height: int, distance: int) -> bytes:
    """The rows of a PNG without their filters, byte by byte."""
    width = len(stored) // height - 1
    rows = [bytearray(width)]
    for y in range(height):
        kind, *row = stored[y * (width + 1) : (y + 1) * (width + 1)]
        for x in range(width):
            left, corner = (row[x - distance], rows[-1][x - distance]) if x >= distance else (0, 0)
            row[x] = (row[x] + predicted(kind, left, rows[-1][x], corner)) % 256
        rows.append(bytearray(row))
    return b"".join(rows[1:])


def filtered(raw: bytes, kinds: list[int], distance: int) -> bytes:
    """The rows as a PNG stores them; row y gets filter `kinds[y]`."""
    width = len(raw) // len(kinds)
    out = bytearray()
    for y, kind in enumerate(kinds):
        out.append(kind)
        row, previous = raw[y * width : (y + 1) * width], raw[(y - 1) * width : y * width] if y else bytes(width)
        for x in range(width):
            left, corner = (row[x - distance], previous[x - distance]) if x >= distance else (0, 0)
            out.append((row[x] - predicted(kind, left, previous[x], corner)) % 256)
    return bytes(out)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """The chunks of a file; fails where the standard is not kept."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    found: list[tuple[bytes, bytes]] = []
    at = 8
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        kind, body = data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        assert data[at : at + 12 + size] == chunk(kind, body)
        found.append((kind, body))
        at += 12 + size
    return found


def stored_in(data: bytes) -> bytes:
    """The inflated image data; zlib checks the checksum of all of it."""
    return zlib.decompress(b"".join(body for kind, body in chunks(data) if kind == b"IDAT"))


def file16(pixels: np.ndarray, kinds: list[int], *, interlace: int = 0, extra: bytes = b"") -> bytes:
    """A PNG with 16 bits per sample."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, COLOUR_TYPES[channels], 0, 0, interlace)
    stored = filtered(pixels.astype(">u2").tobytes(), kinds, channels * 2)
    image = chunk(b"IDAT", zlib.compress(stored))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + image + chunk(b"IEND", b"")


def noise16(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(8).integers(0, 65536, (height, width, channels), dtype=np.uint16)


def by_pillow(data: bytes) -> np.ndarray:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image)


@pytest.mark.parametrize("content", [noise, flat, gradient, drawing, soft])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", SHAPES)
def test_pixels_come_back_bit_for_bit(content, channels, shape):
    pixels = content(*shape, channels)
    assert (by_pillow(png.encode(pixels)).reshape(pixels.shape) == pixels).all()


@pytest.mark.parametrize("content", [noise, flat, gradient, drawing, soft])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_reader_in_plain_loops_agrees_and_finds_every_checksum_right(content, channels):
    pixels = content(31, 37, channels)
    data = png.encode(pixels, strip_bytes=500)
    assert unfiltered(stored_in(data), 31, channels) == pixels.tobytes()
    assert [kind for kind, _ in chunks(data)][0 :: len(chunks(data)) - 1] == [b"IHDR", b"IEND"]


@pytest.mark.parametrize("strip_bytes", [1, 100, 1000, 10_000])
def test_strips_made_on_many_cores_are_the_same_image_as_a_single_strip(strip_bytes):
    pixels = soft(97, 89, 3)
    whole, strips = png.encode(pixels), png.encode(pixels, strip_bytes=strip_bytes)
    assert (by_pillow(whole) == by_pillow(strips)).all()
    assert [kind for kind, _ in chunks(whole)].count(b"IDAT") == 1
    assert [kind for kind, _ in chunks(strips)].count(b"IDAT") == -(-97 // max(1, strip_bytes // (89 * 3)))


def test_many_strips_of_a_large_image_come_back_bit_for_bit():
    pixels = np.concatenate([part(500, 2003, 3) for part in (noise, flat, soft, drawing, gradient)])
    assert (by_pillow(png.encode(pixels)) == pixels).all()


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("kind", range(5))
def test_every_filter_stores_what_the_standard_says(kind, channels):
    rows = noise(23, 29, channels).reshape(23, -1)
    rows[5:9] //= 80  # values so near to each other that the neighbours tie
    all_rows = png._Filter(rows, channels, 9)
    blocks = [all_rows(start, min(start + 9, 23), kind).tobytes() for start in range(0, 23, 9)]
    assert b"".join(blocks) == filtered(rows.tobytes(), [kind] * 23, channels)


def test_pages_photographs_and_empty_areas_are_each_stored_in_their_own_way():
    small = {content.__name__: len(png.encode(content(600, 800, 3))) for content in (flat, drawing, gradient, soft)}
    assert small["flat"] < 3_000
    assert small["drawing"] < 600 * 800 * 3 / 30
    assert small["gradient"] < 10_000
    assert small["soft"] < 600 * 800 * 3 / 5
    assert len(png.encode(noise(600, 800, 3))) < 600 * 800 * 3 * 1.001 + 1000


def test_an_image_of_a_single_colour_is_small_at_any_size():
    assert len(png.encode(flat(2160, 3840, 3))) < 60_000


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_pngcheck_finds_nothing_to_complain_about(channels: int, tmp_path: Path):
    if not (pngcheck := shutil.which("pngcheck")):
        pytest.skip("pngcheck is not installed")
    for number, content in enumerate((noise, flat, gradient, drawing, soft)):
        (tmp_path / f"{number}.png").write_bytes(png.encode(content(97, 89, channels), strip_bytes=3000))
    done = subprocess.run([pngcheck, "-q", *tmp_path.iterdir()], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("content", [noise, flat, gradient, drawing, soft])
def test_libpng_reads_the_same_pixels(content):
    if not (pngtopam := shutil.which("pngtopam")):
        pytest.skip("pngtopam (netpbm) is not installed")
    pixels = content(97, 89, 3)
    data = png.encode(pixels, strip_bytes=3000)
    read = subprocess.run([pngtopam], input=data, capture_output=True, check=True).stdout
    assert read[-pixels.size :] == pixels.tobytes()


def test_views_are_written_as_they_look_and_the_array_stays_as_it_is():
    pixels = noise(60, 50, 4)
    before = pixels.copy()
    for view in (pixels[::2, ::-3], pixels.transpose(1, 0, 2), pixels[..., :3], pixels[10:20, 5:7, 1]):
        assert (by_pillow(png.encode(view)) == view).all()
    pixels.flags.writeable = False
    png.encode(pixels)
    assert (pixels == before).all()


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 3), np.uint16),
        np.zeros((4, 4, 5), np.uint8),
        np.zeros((4, 4, 0), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((4, 0), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
    ],
    ids=lambda pixels: f"{pixels.dtype}{list(pixels.shape)}",
)
def test_what_is_no_image_is_refused_with_its_shape(pixels):
    with pytest.raises(UnsupportedMedia) as caught:
        png.encode(pixels)
    assert str(list(pixels.shape)) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 1, 2, 65520, 65521, 65522, 199_999, 200_000])
def test_the_checksum_of_two_pieces_is_that_of_the_whole(cut):
    data = np.random.default_rng(3).integers(0, 256, 200_000, dtype=np.uint8).tobytes()
    first, second = data[:cut], data[cut:]
    assert png.adler32_combine(zlib.adler32(first), zlib.adler32(second), len(second)) == zlib.adler32(data)
    ones = b"\xff" * cut
    assert png.adler32_combine(zlib.adler32(ones), zlib.adler32(ones), cut) == zlib.adler32(ones * 2)


def test_other_threads_go_on_while_an_image_is_encoded():
    pixels, done, turns = noise(1500, 1500, 3), threading.Event(), 0
    interval = sys.getswitchinterval()
    encoder = threading.Thread(target=lambda: (png.encode(pixels), done.set()))
    sys.setswitchinterval(600)  # nobody is made to give up the interpreter: whoever gets a turn was given it
    try:
        encoder.start()
        while not done.wait(0.0005):
            turns += 1
        encoder.join()
    finally:
        sys.setswitchinterval(interval)
    assert turns > 5


def test_memory_is_little_more_than_the_file_even_for_noise():
    pixels = noise(2048, 2048, 3)
    tracemalloc.start()
    size = len(png.encode(pixels))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * size + 12 * png.STRIP_BYTES


def test_the_header_says_what_is_in_the_file():
    assert png_reader.header(png.encode(noise(5, 7, 4))) == png_reader.Header(7, 5, 8, 6, False)
    assert png_reader.header(file16(noise16(2, 3, 1), [0, 0])) == png_reader.Header(3, 2, 16, 0, False)


@pytest.mark.parametrize("data", [b"", b"\x89PNG", b"<html>", b"\x89PNG\r\n\x1a\n", b"\x89PNG\r\n\x1a\n" + b"\0" * 60])
def test_a_header_is_not_found_where_there_is_none(data):
    with pytest.raises(UnsupportedMedia):
        png_reader.header(data)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2), (5, 9), (11, 6)])
@pytest.mark.parametrize(
    "kinds", [[0], [1], [2], [3], [4], [0, 1, 2], [4, 3, 2, 1, 0], [1, 4, 4, 3, 0, 2, 2], [2, 1, 2]], ids=str
)
def test_16_bits_are_read_exactly_whatever_filters_are_mixed(channels, shape, kinds):
    pixels = noise16(*shape, channels)
    read = png_reader.decode16(file16(pixels, [kinds[y % len(kinds)] for y in range(shape[0])]))
    assert read.dtype == np.uint16
    assert read.shape == pixels.shape
    assert (read == pixels).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_colour_declared_transparent_becomes_alpha(channels):
    pixels = noise16(4, 4, channels)
    data = file16(pixels, [0] * 4, extra=chunk(b"tRNS", pixels[1, 2].astype(">u2").tobytes()))
    read = png_reader.decode16(data)
    assert (read[..., :-1] == pixels).all()
    assert read[1, 2, -1] == 0
    assert (read[..., -1] == 0xFFFF).sum() == 15


def test_image_data_in_many_chunks_is_one_stream():
    pixels = noise16(6, 5, 3)
    whole = file16(pixels, [4] * 6)
    image = b"".join(body for kind, body in chunks(whole) if kind == b"IDAT")
    parts = b"".join(chunk(b"IDAT", image[at : at + 10]) for at in range(0, len(image), 10))
    assert (png_reader.decode16(whole.replace(chunk(b"IDAT", image), parts)) == pixels).all()


def test_interlaced_8_bit_and_palette_files_are_refused_by_name():
    with pytest.raises(UnsupportedMedia, match="interlaced"):
        png_reader.decode16(file16(noise16(2, 2, 3), [0, 0], interlace=1))
    with pytest.raises(UnsupportedMedia, match="8 bits"):
        png_reader.decode16(png.encode(noise(2, 2, 3)))


def test_more_pixels_than_allowed_are_refused_before_they_are_inflated():
    with pytest.raises(UnsupportedMedia, match="10x10 pixels, more than the 99"):
        png_reader.decode16(file16(noise16(10, 10, 1), [0] * 10), max_pixels=99)


def test_a_bomb_is_not_inflated_beyond_what_its_header_announces():
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    bomb = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(200_000_000))) + chunk(b"IEND", b"")
    tracemalloc.start()
    with pytest.raises(UnsupportedMedia, match="do not fit"):
        png_reader.decode16(bomb)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


def test_image_data_that_is_too_short_or_without_its_checksum_is_refused():
    pixels = noise16(3, 3, 1)
    whole = file16(pixels, [0] * 3)
    image = next(body for kind, body in chunks(whole) if kind == b"IDAT")
    for broken in (zlib.compress(bytes(20)), image[:-4], image[:-1] + b"\0", image[:10], b""):
        with pytest.raises(UnsupportedMedia):
            png_reader.decode16(whole.replace(chunk(b"IDAT", image), chunk(b"IDAT", broken)))


def test_a_filter_that_does_not_exist_is_refused():
    whole = file16(noise16(2, 2, 1), [0, 0])
    image = next(body for kind, body in chunks(whole) if kind == b"IDAT")
    stored = b"\x05" + zlib.decompress(image)[1:]
    with pytest.raises(UnsupportedMedia, match="no filter 5"):
        png_reader.decode16(whole.replace(chunk(b"IDAT", image), chunk(b"IDAT", zlib.compress(stored))))


def test_a_file_cut_off_anywhere_is_refused():
    whole = file16(noise16(5, 4, 3), [4, 3, 2, 1, 0])
    for size in range(len(whole)):
        with pytest.raises(UnsupportedMedia):
            png_reader.decode16(whole[:size])


def test_a_file_with_any_single_byte_changed_is_refused():
    whole = file16(noise16(3, 4, 3), [4, 1, 2])
    for at in range(len(whole)):
        with pytest.raises(UnsupportedMedia):
            png_reader.decode16(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
