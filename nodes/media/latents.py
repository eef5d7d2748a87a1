"""Latents: ComfyUI's LATENT to the files of its Save Latent node and back, bit for bit.

Such a file is safetensors: nothing in it can be executed. What a LATENT has besides its samples (a noise mask, the
indices of its batch) travels in the same file, where Load Latent does not look. It makes float32 of what it reads; here
the type of the values stays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ...api.errors import InvalidInput, UnsupportedMedia, quote
from ...api.shapes import is_object, parse_json
from .files import MediaFile, head_and_size, looks_like, new_file

MAX_BYTES = 2 * 1024**3

_SAMPLES = "latent_tensor"
_VERSION = "latent_format_version_0"
_OTHERS = "outpost_latent"  # in the file's metadata: what is no tensor, as JSON
_RESERVED = (_SAMPLES, _VERSION)
_OLD_SCALE = 1.0 / 0.18215
"""What Load Latent multiplies by where the file has no version: it is from when latents were stored scaled."""


def is_latent(value: object) -> bool:
    """Whether a value is a LATENT."""
    return isinstance(value, Mapping) and "samples" in value


def of_images(vae: Any, images: torch.Tensor) -> dict[str, Any]:
    """The LATENT of an IMAGE, by ComfyUI's VAE.

    ComfyUI executes nodes without what training needs, but that holds for a thread: here it may be another one.
    """
    with torch.inference_mode():
        return {"samples": vae.encode(images[..., :3])}


def encode(latent: Mapping[str, Any], folder: Path) -> MediaFile:
    """A new file in `folder` with that LATENT. The same latent gives the same bytes.

    Raises InvalidInput for what is no LATENT, and for a part of it that such a file cannot hold.
    """
    import safetensors.torch

    if not isinstance(latent.get("samples"), torch.Tensor) and not _is_nested(latent.get("samples")):
        raise InvalidInput("This is not a LATENT: it has no samples.")
    tensors = {_SAMPLES: _stored("samples", latent["samples"]), _VERSION: torch.tensor([])}
    others: dict[str, Any] = {}
    for name, value in latent.items():
        if name in _RESERVED:
            raise InvalidInput(f"The latent has a part {name!r}, which is what its file calls something else.")
        if isinstance(value, torch.Tensor) or _is_nested(value):
            tensors.setdefault(_SAMPLES if name == "samples" else name, _stored(name, value))
        else:
            others[name] = _plain(name, value)
    file = new_file(folder, ".latent")
    library: Any = safetensors.torch  # its types are unknown in part
    try:
        library.save_file(tensors, file.path, metadata={_OTHERS: json.dumps(others)} if others else None)
    except KeyError as error:
        raise InvalidInput(f"The latent has values of a type that its file cannot hold ({error}).") from error
    return file


def decode(source: Path | bytes, *, max_bytes: int = MAX_BYTES, name: str = "The file") -> dict[str, Any]:
    """The LATENT in a file. Raises UnsupportedMedia for one that holds none, is damaged, or is above `max_bytes`."""
    from safetensors import SafetensorError

    try:
        head, size = head_and_size(source)
    except OSError as error:
        raise UnsupportedMedia(f"{name} cannot be opened: {error.strerror or type(error).__name__}.") from error
    cause = None
    try:
        if size > max_bytes:
            reason = f"it is larger than the {max_bytes} bytes allowed"
        else:
            tensors, others = _content(source)
            if _SAMPLES in tensors:
                return _latent(tensors, others)
            reason = f"it has no {_SAMPLES}: it is no latent, but something else of the same format"
    except (SafetensorError, ValueError, KeyError) as error:
        reason, cause = f"it is no safetensors file, or damaged ({quote(str(error))})", error
    raise UnsupportedMedia(f"{name} ({size} bytes, {looks_like(head)}) cannot be read: {reason}.") from cause


def _is_nested(value: object) -> bool:
    return bool(getattr(value, "is_nested", False))


def _stored(name: str, value: Any) -> torch.Tensor:
    """A tensor as safetensors wants it: whole, and with memory of its own."""
    if _is_nested(value):
        raise InvalidInput(
            f"The {name} of this latent are several tensors in one, as those of a video with its sound are; "
            "take them apart with the model's own node, and send each one."
        )
    return value.detach().to("cpu").clone(memory_format=torch.contiguous_format)


def _plain(name: str, value: object) -> object:
    try:
        survives = json.loads(json.dumps(value)) == value
    except (TypeError, ValueError):
        survives = False
    if not survives:
        raise InvalidInput(
            f"The latent has a part {name!r} that cannot be stored in a file ({type(value).__name__}); remove it first."
        )
    return value


def _content(source: Path | bytes) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The tensors of a safetensors file, in memory of their own, and what else its latent had."""
    import safetensors
    import safetensors.torch

    if isinstance(source, bytes):
        tensors = safetensors.torch.load(source)
        header = parse_json(source[8 : 8 + int.from_bytes(source[:8], "little")])
        return tensors, _others(header.get("__metadata__") if is_object(header) else None)
    opened: Any = safetensors.safe_open(source, "pt")  # its types are not told
    with opened as file:
        # A copy: what safetensors gives is the file itself, which could then not be deleted on Windows.
        return {name: file.get_tensor(name).clone() for name in file.keys()}, _others(file.metadata())  # noqa: SIM118


def _others(metadata: object) -> dict[str, Any]:
    others: object = parse_json(metadata[_OTHERS]) if is_object(metadata) and _OTHERS in metadata else {}
    return others if is_object(others) else {}


def _latent(tensors: dict[str, torch.Tensor], others: dict[str, Any]) -> dict[str, Any]:
    samples = tensors[_SAMPLES]
    if _VERSION not in tensors:
        samples = samples.float() * _OLD_SCALE
    more = {name: tensor for name, tensor in tensors.items() if name not in _RESERVED}
    return {**others, **more, "samples": samples}
