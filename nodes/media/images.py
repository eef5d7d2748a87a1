"""Images and masks: tensors to files and back.

ComfyUI's IMAGE is `[B, H, W, C]` float32 in 0..1. Its MASK is `[B, H, W]`, also in 0..1, and where it comes from alpha
it is turned round: 1 is transparent. Nothing here resizes an image.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any, TypeGuard

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageSequence, UnidentifiedImageError

from ...api import png, png_reader
from ...api.errors import InvalidInput, UnsupportedMedia, quote
from ...api.image_formats import DAMAGED, IMAGE_FORMATS
from . import exr
from .files import EXR_SIGNATURE, looks_like

Pixels = NDArray[np.uint8]
Samples = NDArray[np.uint8 | np.uint16]

MAX_PIXELS = png.MAX_PIXELS
"""Pixels that a file may have, all frames together, unless the caller says otherwise."""

PREVIEW_SIDE = 512
"""Longest side of a preview that is shown, in pixels; ComfyUI shows no larger ones itself."""
MAX_PREVIEW_PIXELS = 2048 * 2048
MAX_PREVIEW_BYTES = 4 * 1024 * 1024

_BLOCK_SAMPLES = 2**18
"""What is converted at once: it stays in the cache between the steps."""

# How a stored image is turned upright, by its EXIF orientation: swap the axes, then mirror each one.
_UPRIGHT = {
    2: (False, 1, -1),
    3: (False, -1, -1),
    4: (False, -1, 1),
    5: (True, 1, 1),
    6: (True, 1, -1),
    7: (True, -1, -1),
    8: (True, -1, 1),
}


@dataclass(frozen=True)
class Decoded:
    """What was in an image file."""

    image: torch.Tensor
    """`[B, H, W, 3]` float32 in 0..1; B is the number of frames."""
    mask: torch.Tensor
    """`[B, H, W]` float32: 1 - alpha, so 0 where the file has no alpha."""


def images(batch: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The images `[H, W, C]` of an IMAGE `[B, H, W, C]`, or of a list of such batches or images."""
    return _entries(batch, 3, "an IMAGE [B, H, W, C]")


def masks(batch: torch.Tensor | Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """The masks of a MASK `[B, H, W]` or `[H, W]`, or of a list of them, as images `[H, W, 1]` with 1 as white."""
    return [mask.unsqueeze(-1) for mask in _entries(batch, 2, "a MASK [B, H, W]")]


def is_tensor(value: object) -> TypeGuard[torch.Tensor]:
    """Whether a value is a tensor, and so an IMAGE or a MASK."""
    return isinstance(value, torch.Tensor)


def images_or_masks(batch: torch.Tensor) -> list[torch.Tensor]:
    """The images `[H, W, C]` of an IMAGE `[B, H, W, C]`, or those of a MASK `[B, H, W]` or `[H, W]`."""
    return images(batch) if batch.ndim == 4 else masks(batch)


def _entries(batch: torch.Tensor | Sequence[torch.Tensor], dimensions: int, what: str) -> list[torch.Tensor]:
    entries: list[torch.Tensor] = []
    for item in [batch] if isinstance(batch, torch.Tensor) else batch:
        if item.ndim not in (dimensions, dimensions + 1):
            raise InvalidInput(f"This is not {what}: it has the shape {list(item.shape)}.")
        entries += [item] if item.ndim == dimensions else item.unbind(0)
    if not entries:
        raise InvalidInput(f"There is nothing in the batch; {what} with at least one entry is needed.")
    return entries


def to_pixels(image: torch.Tensor) -> Pixels:
    """The uint8 pixels `[H, W, C]` of one image `[H, W, C]` with 1 to 4 channels: clamped to 0..1, times 255, rounded.

    The tensor is not changed. Raises InvalidInput for NaN and infinity, and for a tensor that is not an image.
    """
    _check(image)
    values = image.detach().to(torch.float32)
    if values.device.type != "cpu":
        # The bytes are made where the image lies: they are a quarter of what would have to be brought here.
        if not values.isfinite().all():
            raise _not_numbers(image)
        return values.clamp(0, 1).mul_(255).round_().to(torch.uint8).cpu().numpy()
    # NumPy on one core is as fast as torch on two idle ones, and several times as fast where they have other work.
    source: NDArray[np.float32] = values.numpy()
    pixels = np.empty(source.shape, np.uint8)
    rows = max(1, _BLOCK_SAMPLES // source[0].size)
    work = np.empty((min(rows, len(source)), *source.shape[1:]), np.float32)
    for first in range(0, len(source), rows):
        part = source[first : first + rows]
        if not math.isfinite(part.min()) or not math.isfinite(part.max()):  # NaN comes through both
            raise _not_numbers(image)
        block = np.clip(part, 0, 1, out=work[: len(part)])
        block *= np.float32(255)
        np.copyto(pixels[first : first + rows], np.rint(block, out=block), casting="unsafe")
    return pixels


def _not_numbers(image: torch.Tensor) -> InvalidInput:
    return InvalidInput(
        f"The image {_size(image)} has values that are not numbers (NaN or infinity), so it cannot be sent. "
        "They often come from a VAE or a model that overflows in half precision."
    )


def _check(image: torch.Tensor) -> None:
    if image.ndim != 3 or not image.numel():
        raise InvalidInput(f"An image is [H, W, C] with at least one pixel, but this one is {list(image.shape)}.")
    if image.shape[2] > 4:
        raise UnsupportedMedia(f"An image has 1 to 4 channels, but this one {list(image.shape)} has {image.shape[2]}.")
    if not image.is_floating_point():
        raise InvalidInput(f"An image has floating point values in 0..1, but this one has {image.dtype}.")


def _size(image: torch.Tensor) -> str:
    """Width and height, as people say it."""
    return f"{image.shape[1]}x{image.shape[0]}"


def with_alpha(image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """An RGBA image `[H, W, 4]` from an image `[H, W, C]` and a mask `[H, W]` or `[H, W, 1]`: alpha = 1 - mask.

    Alpha that the image has already is replaced. Raises InvalidInput where the sizes differ.
    """
    _check(image)
    if image.shape[:2] != mask.shape[:2]:
        raise InvalidInput(
            f"The image is {_size(image)} pixels and its mask {_size(mask)}; scale the mask to the size of the image."
        )
    colour = image[..., :3] if image.shape[2] > 2 else image[..., :1].expand(-1, -1, 3)
    alpha = 1 - mask.reshape(*mask.shape[:2], 1).to(image)
    return torch.cat([colour, alpha], dim=-1)


def images_with_alpha(batch: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    """The images of an IMAGE, each with its mask as alpha; a single mask is for all of them.

    Raises InvalidInput where the numbers or sizes differ.
    """
    colours, alphas = images(batch), masks(mask)
    if len(alphas) not in (1, len(colours)):
        raise InvalidInput(f"There are {len(colours)} images and {len(alphas)} masks; one mask each, or one for all.")
    alphas = alphas * len(colours) if len(alphas) == 1 else alphas
    return [with_alpha(image, alpha) for image, alpha in zip(colours, alphas, strict=True)]


def digest(pixels: Pixels) -> str:
    """A name for these pixels that no others have: the SHA-256 of their shape and their values.

    SHA-256 because processors compute it: for 25 MB it takes half as long as BLAKE2b.
    """
    content = hashlib.sha256(f"{pixels.dtype} {pixels.shape}\n".encode())
    content.update(np.ascontiguousarray(pixels).data)
    return content.hexdigest()


def encode_png(pixels: Pixels) -> bytes:
    """The pixels as a PNG file."""
    return png.encode(pixels)


def decode(data: bytes, *, max_pixels: int = MAX_PIXELS, name: str = "The file") -> Decoded:
    """The image, or the frames, in a file.

    Turned upright by EXIF; palettes, grey and CMYK become RGB; 16 bits per sample are kept, and the floats of an
    OpenEXR file as they are, also outside of 0..1. Raises UnsupportedMedia for bytes that are not a whole image or that
    have more than `max_pixels`; `name` is what the message calls the file.
    """
    if data.startswith(EXR_SIGNATURE):
        return _from_floats(exr.decode(data, max_pixels=min(max_pixels, exr.MAX_PIXELS), name=name))
    try:
        return _decode(data, max_pixels)
    except UnidentifiedImageError as error:
        reason, cause = "it is in no format that is read here, or its beginning is damaged", error
    except UnsupportedMedia as error:
        reason, cause = str(error).rstrip("."), error
    except DAMAGED as error:
        reason, cause = f"it is damaged or incomplete ({quote(str(error)) or type(error).__name__})", error
    raise UnsupportedMedia(f"{name} ({len(data)} bytes, {looks_like(data)}) cannot be read: {reason}.") from cause


def decode_preview(data: bytes) -> Image.Image:
    """The picture in a preview, a JPEG or PNG file: RGB, and scaled down to PREVIEW_SIDE.

    Raises UnsupportedMedia for bytes that are none, and above MAX_PREVIEW_BYTES or MAX_PREVIEW_PIXELS.
    """
    if len(data) > MAX_PREVIEW_BYTES:
        raise UnsupportedMedia(f"A preview of {len(data)} bytes is too large to be shown.")
    try:
        with Image.open(BytesIO(data), formats=("JPEG", "PNG")) as image:
            if image.width * image.height > MAX_PREVIEW_PIXELS:
                raise UnsupportedMedia(f"A preview of {image.width}x{image.height} pixels is too large to be shown.")
            image.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
            return image.convert("RGB")
    except DAMAGED as error:
        raise UnsupportedMedia(f"A preview ({len(data)} bytes, {looks_like(data)}) cannot be read.") from error


def _decode(data: bytes, max_pixels: int) -> Decoded:
    Image.init()
    with Image.open(BytesIO(data), formats=[name for name in IMAGE_FORMATS if name in Image.OPEN]) as file:
        _check_size(file, 1, max_pixels)
        # The other pictures in a camera's MPO are previews, or what the other eye sees.
        count = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
        _check_size(file, count, max_pixels)
        if count == 1 and file.format == "PNG" and png_reader.header(data).bit_depth == 16:
            return _tensors([_upright(png_reader.decode16(data, max_pixels=max_pixels), file)])
        return _tensors([_upright(_samples(frame), file) for frame in _frames(file, count)])


def _check_size(file: Image.Image, count: int, max_pixels: int) -> None:
    """Before anything is inflated: a small file can announce an image that no memory holds."""
    if file.width * file.height * count > max_pixels:
        frames = f"{count} frames of " if count > 1 else ""
        raise UnsupportedMedia(f"it has {frames}{file.width}x{file.height} pixels, more than the {max_pixels} allowed")


def _frames(file: Image.Image, count: int) -> Iterator[Image.Image]:
    if count == 1:
        yield file
        return
    size = file.size
    for index, frame in enumerate(ImageSequence.Iterator(file)):
        is_stand_in = index == 0 and file.info.get("default_image")  # what an APNG shows where nothing can move
        # Pages of another size are a TIFF's previews.
        if frame.size == size and not is_stand_in:
            yield frame


def _samples(image: Image.Image) -> Samples:
    """The pixels `[H, W, C]` of what Pillow has read, in 8 or 16 bits."""
    mode = image.mode
    if mode == "I" or mode.startswith("I;16"):
        values: NDArray[Any] = np.asarray(image)
        if values.min() < 0 or values.max() > 0xFFFF:
            raise UnsupportedMedia("it has 32 bits per sample, and nothing says which value is white")
        return values.astype(np.uint16)[..., None]
    if mode == "F":
        raise UnsupportedMedia("it has floating point samples, and nothing says which value is white")
    has_alpha = mode.endswith(("A", "a")) or "transparency" in image.info
    wanted = "RGBA" if has_alpha else "RGB"
    return np.asarray(image if mode == wanted else image.convert(wanted))


def _upright(samples: Samples, file: Image.Image) -> Samples:
    orientation = file.getexif().get(ExifTags.Base.Orientation, 1)
    if orientation not in _UPRIGHT:
        return samples
    is_swapped, rows, columns = _UPRIGHT[orientation]
    turned = samples.swapaxes(0, 1) if is_swapped else samples
    return np.ascontiguousarray(turned[::rows, ::columns])


def _tensors(frames: list[Samples]) -> Decoded:
    """A batch from frames `[H, W, C]` of one size, with C = 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha."""
    height, width = frames[0].shape[:2]
    image = np.empty((len(frames), height, width, 3), np.float32)
    mask = np.zeros((len(frames), height, width), np.float32)
    for frame, colour, transparency in zip(frames, image, mask, strict=True):
        channels, white = frame.shape[2], np.float32(np.iinfo(frame.dtype).max)
        # Division, not a factor of 1/255, gives the nearest float.
        np.divide(frame[..., : 3 if channels > 2 else 1], white, out=colour, dtype=np.float32)
        if channels in (2, 4):
            np.divide(white - frame[..., -1], white, out=transparency, dtype=np.float32)
    return Decoded(torch.as_tensor(image), torch.as_tensor(mask))


def _from_floats(image: torch.Tensor) -> Decoded:
    """A batch of one from an image `[H, W, C]` with 1, 3 or 4 channels."""
    colour = image[..., :3] if image.shape[2] > 2 else image.expand(-1, -1, 3)
    alpha = image[..., 3] if image.shape[2] == 4 else torch.ones_like(image[..., 0])
    return Decoded(colour.contiguous()[None], (1 - alpha)[None])


def batch(images: list[Decoded]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The images and the masks: one batch where all have the same size, else one entry for each, as they are."""
    if len({decoded.image.shape[1:3] for decoded in images}) > 1:
        return [decoded.image for decoded in images], [decoded.mask for decoded in images]
    if len(images) < 2:
        return [decoded.image for decoded in images], [decoded.mask for decoded in images]
    return [torch.cat([decoded.image for decoded in images])], [torch.cat([decoded.mask for decoded in images])]
