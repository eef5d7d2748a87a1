"""Tensors to files and back: exact where it can be exact, and a sentence where it cannot be done."""

from __future__ import annotations

import asyncio
import struct
import warnings
import zlib
from io import BytesIO

import numpy as np
import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, UnsupportedMedia
from comfyui_outpost.nodes import media
from PIL import Image, ImageOps


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(4).integers(0, 256, shape, dtype=np.uint8)


def saved(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png16(pixels: np.ndarray, *, extra: bytes = b"") -> bytes:
    """A PNG with 16 bits per sample, not filtered."""
    height, width, channels = pixels.shape
    head = struct.pack(">IIBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    stored = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    image = chunk(b"IDAT", zlib.compress(stored))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + image + chunk(b"IEND", b"")


def announcing(width: int, height: int, bit_depth: int = 8) -> bytes:
    """A PNG whose header promises more than follows."""
    head = struct.pack(">IIBBBBB", width, height, bit_depth, 2, 0, 0, 0)
    image = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + image + chunk(b"IEND", b"")


def pixels_of(decoded: media.Decoded, frame: int = 0) -> np.ndarray:
    return media.to_pixels(decoded.image[frame])


def alpha_of(decoded: media.Decoded, frame: int = 0) -> np.ndarray:
    return media.to_pixels(1 - decoded.mask[frame].unsqueeze(-1))[..., 0]


def test_an_rgb_image_survives_the_way_out_and_back_bit_for_bit():
    pixels = noise(97, 89, 3)
    decoded = media.decode(media.encode_png(pixels))
    assert decoded.image.shape == (1, 97, 89, 3)
    assert decoded.image.dtype == decoded.mask.dtype == torch.float32
    assert (pixels_of(decoded) == pixels).all()
    assert decoded.mask.shape == (1, 97, 89)
    assert not decoded.mask.any()


def test_rgb_and_alpha_survive_as_image_and_mask():
    pixels = noise(40, 30, 4)
    decoded = media.decode(media.encode_png(pixels))
    again = media.to_pixels(media.with_alpha(decoded.image[0], decoded.mask[0]))
    assert decoded.image.shape[-1] == 3
    assert (again == pixels).all()


@pytest.mark.parametrize("channels", [1, 2])
def test_grey_becomes_rgb_and_keeps_its_alpha(channels):
    pixels = noise(20, 30, channels)
    decoded = media.decode(media.encode_png(pixels))
    assert (pixels_of(decoded) == pixels[..., :1]).all()
    assert (alpha_of(decoded) == (pixels[..., 1] if channels == 2 else 255)).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_every_one_of_256_values_is_rounded_and_never_truncated(dtype):
    values = torch.arange(256, dtype=torch.float64)
    for offset in (-0.3, 0.0, 0.3) if dtype in (torch.float32, torch.float64) else (0.0,):
        image = ((values + offset) / 255).to(dtype).reshape(16, 16, 1)
        if dtype is torch.bfloat16:  # has fewer than 256 values for the upper half of 0..1
            assert (media.to_pixels(image)[:8].ravel() == values[:128].numpy()).all()
        else:
            assert (media.to_pixels(image).ravel() == values.numpy()).all()


def test_values_outside_of_the_range_are_clamped():
    image = torch.tensor([-1e30, -0.1, 0.0, 1.0, 1.1, 3e38, 3e38]).reshape(1, 7, 1)
    assert media.to_pixels(image).ravel().tolist() == [0, 0, 0, 255, 255, 255, 255]


def test_a_mask_of_8_bits_survives_the_way_out_and_back_bit_for_bit():
    mask = torch.tensor(noise(2, 37, 53) / np.float32(255))
    sent = [media.encode_png(media.to_pixels(image)) for image in media.masks(mask)]
    again = torch.cat([media.decode(data).image[..., 0] for data in sent])
    assert torch.equal(again, mask)
    assert all(data[25] == 0 for data in sent)  # grey, one channel


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("place", [(0, 0, 0), (299, 399, 2), (150, 7, 1)])
def test_a_value_that_is_no_number_is_refused_wherever_it_is(value, place):
    image = torch.zeros(300, 400, 3)
    image[place] = value
    with pytest.raises(InvalidInput, match=r"400x300.*NaN"):
        media.to_pixels(image)


@pytest.mark.parametrize(
    "shape", [(4, 4), (1, 4, 4, 3), (0, 4, 3), (4, 0, 3), (4, 4, 0), (4, 4, 5), (4, 4, 16)], ids=str
)
def test_a_tensor_that_is_no_image_is_refused_with_its_shape(shape):
    with pytest.raises(InvalidInput) as caught:
        media.to_pixels(torch.zeros(shape))
    assert str(list(shape)) in str(caught.value)


def test_whole_numbers_are_refused_instead_of_being_taken_for_0_to_1():
    with pytest.raises(InvalidInput, match="uint8"):
        media.to_pixels(torch.zeros(4, 4, 3, dtype=torch.uint8))


def test_the_callers_tensor_is_never_changed():
    image, mask = torch.rand(1, 64, 64, 3) * 3 - 1, torch.rand(1, 64, 64)
    before = image.clone(), mask.clone()
    media.to_pixels(image[0])
    media.to_pixels(media.with_alpha(image[0], mask[0]))
    for each in media.images(image) + media.masks(mask):
        media.to_pixels(each)
    assert torch.equal(image, before[0])
    assert torch.equal(mask, before[1])


def test_pixels_do_not_share_memory_with_a_later_call():
    first = media.to_pixels(torch.zeros(8, 8, 3))
    media.to_pixels(torch.ones(8, 8, 3))
    assert not first.any()


def test_views_and_tensors_that_need_gradients_are_taken_as_they_look():
    image = torch.rand(3, 20, 31, requires_grad=True)
    view = image.permute(1, 2, 0)[::2, 3:]
    assert (media.to_pixels(view) == media.to_pixels(view.detach().clone().contiguous())).all()


def test_a_large_image_is_the_same_as_its_parts():
    image = torch.rand(900, 700, 3)
    whole = media.to_pixels(image)
    assert (whole == (image * 255).round().to(torch.uint8).numpy()).all()


def test_a_batch_is_taken_apart_in_order():
    batch = torch.rand(3, 4, 5, 3)
    assert all(torch.equal(image, each) for image, each in zip(media.images(batch), batch, strict=True))
    assert len(media.images([batch, batch[0]])) == 4


def test_a_mask_keeps_its_values_and_one_is_white():
    mask = torch.tensor([[0.0, 1.0]])
    for given in (mask, mask[None]):
        (image,) = media.masks(given)
        assert image.shape == (1, 2, 1)
        assert media.to_pixels(image).ravel().tolist() == [0, 255]


@pytest.mark.parametrize("empty", [torch.zeros(0, 4, 4, 3), []], ids=["tensor", "list"])
def test_a_batch_without_images_is_refused(empty):
    with pytest.raises(InvalidInput, match="nothing in the batch"):
        media.images(empty)


def test_a_mask_batch_without_masks_is_refused():
    with pytest.raises(InvalidInput, match="nothing in the batch"):
        media.masks(torch.zeros(0, 4, 4))


@pytest.mark.parametrize("shape", [(4, 4), (1, 2, 4, 4, 3), (4,)], ids=str)
def test_what_is_not_a_batch_of_images_is_refused_with_its_shape(shape):
    with pytest.raises(InvalidInput, match="IMAGE"):
        media.images(torch.zeros(shape))


def test_alpha_is_one_minus_the_mask():
    image = torch.full((1, 3, 3), 0.5)
    mask = torch.tensor([[0.0, 1.0, 0.25]])
    assert media.with_alpha(image, mask)[0, :, 3].tolist() == [1.0, 0.0, 0.75]
    assert media.with_alpha(image, mask.unsqueeze(-1)).shape == (1, 3, 4)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_any_image_gets_an_alpha_channel_and_its_colours_stay(channels):
    image = torch.rand(5, 6, channels)
    result = media.with_alpha(image, torch.zeros(5, 6))
    assert result.shape == (5, 6, 4)
    assert torch.equal(result[..., 0], image[..., 0])
    assert (result[..., 3] == 1).all()


def test_a_mask_of_another_size_is_refused_with_both_sizes():
    with pytest.raises(InvalidInput, match=r"640x480.*64x32"):
        media.with_alpha(torch.zeros(480, 640, 3), torch.zeros(32, 64))


def test_a_digest_depends_on_every_pixel_and_on_the_shape():
    pixels = noise(6, 4, 3)
    other = pixels.copy()
    other[5, 3, 2] ^= 1
    digests = {media.digest(each) for each in (pixels, other, pixels.reshape(4, 6, 3), pixels.reshape(6, 12))}
    assert len(digests) == 4
    assert media.digest(pixels[:, ::-1][:, ::-1]) == media.digest(pixels)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_16_bits_per_sample_are_kept(channels):
    pixels = np.random.default_rng(1).integers(0, 65536, (9, 7, channels), dtype=np.uint16)
    decoded = media.decode(png16(pixels))
    colour = np.broadcast_to(pixels[..., : 3 if channels > 2 else 1], (9, 7, 3))
    assert (np.rint(decoded.image[0].numpy().astype(np.float64) * 65535) == colour).all()
    opacity = pixels[..., -1] if channels in (2, 4) else 65535
    assert (np.rint((1 - decoded.mask[0].numpy().astype(np.float64)) * 65535) == opacity).all()


def test_16_bits_of_a_tiff_are_kept():
    values = np.arange(0, 65536, 257, dtype=np.uint16).reshape(16, 16) + 3
    decoded = media.decode(saved(Image.fromarray(values), "TIFF"))
    assert (np.rint(decoded.image[0, ..., 1].numpy() * 65535) == values).all()


def test_samples_without_a_known_white_are_refused():
    for mode, value in (("F", 0.5), ("I", 70_000)):
        with pytest.raises(UnsupportedMedia, match="white"):
            media.decode(saved(Image.new(mode, (2, 2), value), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP", "16 bit"])
def test_images_are_turned_upright(orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    pixels = noise(3, 5, 3)
    if kind == "16 bit":
        data = png16(pixels.astype(np.uint16) * 257, extra=chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")))
    else:
        data = saved(Image.fromarray(pixels), kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    with Image.open(BytesIO(data)) as image:
        upright = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    assert (pixels_of(media.decode(data)) == upright).all()


def test_a_palette_with_a_transparent_colour_becomes_rgb_and_a_mask():
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    image.putdata([0, 1, 2])
    for transparency, mask in ((1, [0, 1, 0]), (bytes([255, 0, 51]), [0, 1, 0.8])):
        decoded = media.decode(saved(image, transparency=transparency))
        assert pixels_of(decoded).tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
        assert decoded.mask[0, 0].tolist() == pytest.approx(mask)


def test_a_transparent_colour_of_an_rgb_image_becomes_a_mask():
    image = Image.fromarray(np.array([[[1, 2, 3], [9, 9, 9]]], np.uint8))
    assert media.decode(saved(image, transparency=(9, 9, 9))).mask[0].tolist() == [[0, 1]]


def test_black_and_white_and_cmyk_become_rgb():
    assert pixels_of(media.decode(saved(Image.new("1", (2, 2), 1)))).tolist() == [[[255] * 3] * 2] * 2
    cmyk = Image.new("CMYK", (1, 1), (255, 0, 0, 0))
    assert pixels_of(media.decode(saved(cmyk, "TIFF"))).tolist() == [[[0, 255, 255]]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
def test_an_animation_becomes_a_batch_of_its_frames(kind):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    first, *others = [Image.new("RGB", (8, 6), colour) for colour in colours]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = media.decode(saved(first, kind, save_all=True, append_images=others, duration=50, **options))
    assert decoded.image.shape == (3, 6, 8, 3)
    assert decoded.mask.shape == (3, 6, 8)
    assert [tuple(pixels_of(decoded, frame)[0, 0]) for frame in range(3)] == colours


def test_what_an_apng_shows_where_nothing_moves_is_not_a_frame():
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue", "white")]
    data = saved(frames[0], save_all=True, append_images=frames[1:], default_image=True)
    decoded = media.decode(data)
    assert [tuple(pixels_of(decoded, frame)[0, 0]) for frame in range(2)] == [(0, 0, 255), (255, 255, 255)]
    assert len(decoded.image) == 2


def test_the_preview_in_a_cameras_mpo_is_no_second_frame():
    picture, preview = Image.new("RGB", (32, 32), "red"), Image.new("RGB", (32, 32), "blue")
    decoded = media.decode(saved(picture, "MPO", save_all=True, append_images=[preview]))
    assert decoded.image.shape == (1, 32, 32, 3)


@pytest.mark.parametrize("kind", ["JPEG", "BMP", "TIFF", "PPM", "JPEG2000"])
def test_other_formats_are_read(kind):
    data = saved(Image.new("RGB", (16, 9), (200, 100, 50)), kind)
    assert np.abs(pixels_of(media.decode(data)).astype(int) - (200, 100, 50)).max() <= 3


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "0 bytes, empty"),
        (b"\n <!DOCTYPE html><title>502</title>", "HTML"),
        (b'{"detail": "not found"}', "JSON"),
        (b"\0\0\0\x18ftypmp42" + bytes(40), "MP4"),
        (b"\x1aE\xdf\xa3" + bytes(40), "WebM"),
        (b"%PDF-1.7 and more", "PDF"),
        (b"PK\x03\x04" + bytes(30), "ZIP"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "nothing known and start with 25 21 50 53"),
        (bytes(range(200, 250)), "nothing known and start with c8 c9"),
        (b"\x89PNG\r\n\x1a\n", "a PNG image"),
        (b"\xff\xd8\xff\xe0", "a JPEG image"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_no_image_are_refused_with_their_name_number_and_kind(data, kind):
    with pytest.raises(UnsupportedMedia) as caught:
        media.decode(data, name="Output 'pictures' of run 7")
    message = str(caught.value)
    assert message.startswith("Output 'pictures' of run 7 (")
    assert f"{len(data)} bytes" in message
    assert kind in message
    assert "BytesIO" not in message
    assert "\n" not in message


@pytest.mark.parametrize("size", [(60_000, 60_000), (14_000, 12_000), (2**31 - 1, 2**31 - 1), (0, 5)], ids=str)
@pytest.mark.parametrize("bit_depth", [8, 16])
def test_a_file_that_announces_too_many_pixels_is_refused_before_it_is_inflated(size, bit_depth):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        with pytest.raises(UnsupportedMedia):
            media.decode(announcing(*size, bit_depth))


def test_the_callers_limit_counts_the_pixels_of_all_frames():
    frames = [Image.new("RGB", (10, 10), (level, 0, 0)) for level in range(0, 100, 10)]
    data = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert len(media.decode(data, max_pixels=1000).image) == 10
    with pytest.raises(UnsupportedMedia, match="10 frames of 10x10 pixels, more than the 999 allowed"):
        media.decode(data, max_pixels=999)
    with pytest.raises(UnsupportedMedia, match="10x10 pixels, more than the 99 allowed"):
        media.decode(saved(frames[0]), max_pixels=99)


def test_the_limit_holds_where_somebody_has_switched_off_pillows_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    with pytest.raises(UnsupportedMedia, match="60000x60000 pixels, more than"):
        media.decode(announcing(60_000, 60_000))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "JPEG2000", "16 bit"])
def test_a_file_cut_off_anywhere_is_refused_or_read_but_never_a_surprise(kind):
    pixels = noise(24, 24, 3)
    data = png16(pixels.astype(np.uint16)) if kind == "16 bit" else saved(Image.fromarray(pixels), kind)
    refused = 0
    for size in range(0, len(data), max(1, len(data) // 150)):
        try:
            media.decode(data[:size], name="cut")
        except UnsupportedMedia as error:
            assert "cut (" in str(error)
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_file_that_lacks_its_second_half_is_refused(kind):
    data = saved(Image.fromarray(noise(64, 64, 3)), kind)
    with pytest.raises(UnsupportedMedia, match="damaged or incomplete"):
        media.decode(data[: len(data) // 2])


@pytest.mark.filterwarnings("ignore")  # a damaged file that Pillow can still read is worth a warning to it
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
def test_a_damaged_file_is_refused_or_read_but_never_a_surprise(kind):
    random = np.random.default_rng(2)
    Image.init()
    if kind not in Image.SAVE:
        pytest.skip(f"Pillow was built without {kind}")
    data = np.frombuffer(saved(Image.fromarray(noise(24, 24, 3)), kind), np.uint8)
    read = 0
    for _ in range(200):
        broken = data.copy()
        broken[random.integers(0, min(len(data), 300), 3)] = random.integers(0, 256, 3)
        try:
            read += media.decode(broken.tobytes(), max_pixels=10**6).image.numel() > 0
        except UnsupportedMedia:
            continue
    assert read < 200


def test_images_of_one_size_become_one_batch():
    decoded = [media.decode(media.encode_png(noise(4, 6, channels))) for channels in (3, 1, 4)]
    images, masks = media.batch(decoded)
    assert [tuple(image.shape) for image in images] == [(3, 4, 6, 3)]
    assert [tuple(mask.shape) for mask in masks] == [(3, 4, 6)]


def test_images_of_different_sizes_stay_apart_and_are_never_resized():
    decoded = [media.decode(media.encode_png(noise(height, 6, 4))) for height in (4, 5, 4)]
    images, masks = media.batch(decoded)
    assert [tuple(image.shape) for image in images] == [(1, 4, 6, 3), (1, 5, 6, 3), (1, 4, 6, 3)]
    assert [tuple(mask.shape) for mask in masks] == [(1, 4, 6), (1, 5, 6), (1, 4, 6)]


def test_no_images_are_no_batch():
    assert media.batch([]) == ([], [])


async def test_two_images_may_be_encoded_at_the_same_time():
    pixels = [noise(300, 300, 3), noise(301, 299, 3)]
    files = await asyncio.gather(*(asyncio.to_thread(media.encode_png, each) for each in pixels))
    for each, data in zip(pixels, files, strict=True):
        assert (pixels_of(media.decode(data)) == each).all()
