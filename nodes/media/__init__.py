"""Tensors to files and back, one module for each kind of media. The only place that imports torch.

Everything is synchronous and works without the GIL where it takes long: call it through `asyncio.to_thread`. What is
about images is here; sounds, videos, latents and OpenEXR are modules of their own: `media.audio`, `media.video`,
`media.latents`, `media.exr`. None of them loads a library before something is asked of it.
"""

from __future__ import annotations

from . import audio, exr, latents, video
from .files import MediaFile, looks_like
from .images import (
    MAX_PIXELS,
    Decoded,
    Pixels,
    batch,
    decode,
    decode_preview,
    digest,
    encode_png,
    images,
    images_or_masks,
    images_with_alpha,
    is_tensor,
    masks,
    to_pixels,
    with_alpha,
)

__all__ = [
    "MAX_PIXELS",
    "Decoded",
    "MediaFile",
    "Pixels",
    "audio",
    "batch",
    "decode",
    "decode_preview",
    "digest",
    "encode_png",
    "exr",
    "images",
    "images_or_masks",
    "images_with_alpha",
    "is_tensor",
    "latents",
    "looks_like",
    "masks",
    "to_pixels",
    "video",
    "with_alpha",
]
