"""OpenEXR files: floats to bytes and back, exactly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, UnsupportedMedia
from comfyui_outpost.nodes import media
from comfyui_outpost.nodes.media import exr
from comfyui_outpost.nodes.media.files import EXR_SIGNATURE


def picture(channels: int = 3, height: int = 37, width: int = 53) -> torch.Tensor:
    """Values far outside of 0..1, and those that are easily lost."""
    image = torch.randn(height, width, channels) * 100
    image[0, :6, 0] = torch.tensor([float("nan"), float("inf"), -float("inf"), 1e-40, -0.0, 3e38])
    return image


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one.view(torch.int32), other.contiguous().view(torch.int32))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("size", [(1, 1), (1, 100), (100, 1), (16, 16), (37, 53), (130, 257)])
def test_floats_survive_bit_for_bit_whatever_they_are(channels: int, size: tuple[int, int]):
    image = picture(channels, *size) if size[1] >= 6 else torch.randn(*size, channels)
    data = exr.encode(image)
    assert data.startswith(EXR_SIGNATURE)
    assert same(exr.decode(data), image)


def test_each_channel_stays_in_its_place():
    image = torch.tensor([1.0, 2.0, 3.0, 0.25]).expand(4, 5, 4)
    assert torch.equal(exr.decode(exr.encode(image)), image)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_half_floats_are_rounded_to_the_nearest(channels: int):
    image = torch.randn(37, 53, channels) * 100
    data = exr.encode(image, is_half=True)
    assert torch.equal(exr.decode(data), image.half().float())
    assert len(data) < 0.75 * len(exr.encode(image))


def test_a_value_that_no_half_float_holds_is_refused_where_halves_are_asked_for():
    with pytest.raises(InvalidInput, match="values above 65504"):
        exr.encode(torch.full((2, 2, 3), 65520.0), is_half=True)
    assert exr.decode(exr.encode(torch.full((2, 2, 3), float("inf")), is_half=True)).isinf().all()


def test_views_and_other_precisions_are_taken_as_they_look():
    whole = torch.rand(10, 20, 3)
    for image in (whole.half(), whole.double(), whole.permute(1, 0, 2), whole.flip(0), whole.requires_grad_()):
        assert torch.equal(exr.decode(exr.encode(image)), image.detach().float())


def test_the_same_image_gives_the_same_bytes():
    image = picture()
    assert exr.encode(image) == exr.encode(image)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (torch.zeros(2, 2, 2), "1, 3 or 4 channels"),
        (torch.zeros(2, 2, 5), "1, 3 or 4 channels"),
        (torch.zeros(1, 2, 2, 3), r"\[1, 2, 2, 3\]"),
        (torch.zeros(0, 2, 3), r"\[0, 2, 3\]"),
        (torch.zeros(2, 2, 3, dtype=torch.uint8), "torch.uint8"),
    ],
)
def test_what_is_no_such_image_is_refused(image: torch.Tensor, message: str):
    with pytest.raises(InvalidInput, match=message):
        exr.encode(image)


def test_decode_reads_one_as_an_image_without_touching_its_values():
    image = picture(3)
    decoded = media.decode(exr.encode(image))
    assert same(decoded.image, image[None])
    assert decoded.mask.shape == (1, 37, 53)
    assert not decoded.mask.any()


def test_decode_makes_a_mask_of_its_alpha_with_comfyuis_polarity():
    image = torch.rand(4, 5, 4)
    decoded = media.decode(exr.encode(image))
    assert torch.equal(decoded.image, image[None, ..., :3])
    assert torch.equal(decoded.mask, 1 - image[None, ..., 3])


def test_decode_makes_rgb_of_grey():
    image = picture(1)
    assert same(media.decode(exr.encode(image)).image, image.expand(-1, -1, 3)[None])


def test_a_file_cut_off_anywhere_is_refused():
    data = exr.encode(picture(4))
    for cut in [*range(0, 500, 7), len(data) // 2, len(data) - 100, len(data) - 1]:
        with pytest.raises(UnsupportedMedia, match="cannot be read"):
            exr.decode(data[:cut])


def test_a_file_that_was_never_finished_is_refused():
    data = bytearray(exr.encode(picture(4)))
    place = data.index(b"screenWindowWidth") + len(b"screenWindowWidth\0float\0") + 8 + 1
    data[place + 8 : place + 16] = bytes(8)  # where the second block is
    with pytest.raises(UnsupportedMedia, match="never finished"):
        exr.decode(bytes(data))


def test_a_damaged_file_is_refused_or_read_but_never_a_surprise():
    data, random = exr.encode(picture(3)), np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(data)
        for place in random.integers(4, 600, 3):
            damaged[place] = random.integers(256)
        try:
            image = exr.decode(bytes(damaged), max_pixels=10**6)
        except UnsupportedMedia as error:
            assert "cannot be read" in str(error)
        else:
            assert image.ndim == 3


def test_a_file_that_announces_too_many_pixels_is_refused_before_they_are_there():
    data = exr.encode(torch.zeros(4, 4, 3))
    huge = data.replace(b"\x03\0\0\0\x03\0\0\0", b"\xff\x3f\0\0\xff\x3f\0\0")  # the corner at 3, 3, of both windows
    assert huge != data
    with pytest.raises(UnsupportedMedia, match="more than 134217728 pixels"):
        media.decode(huge)
    with pytest.raises(UnsupportedMedia, match="4x4 pixels, more than the 15 pixels allowed"):
        media.decode(data, max_pixels=15)
    assert media.decode(data, max_pixels=16).image.shape == (1, 4, 4, 3)


def test_the_error_names_the_output_and_what_it_looks_like():
    with pytest.raises(
        UnsupportedMedia, match=r"^Output 'depth' \(104 bytes, which look like an OpenEXR image\) cannot"
    ):
        media.decode(EXR_SIGNATURE + bytes(100), name="Output 'depth'")
