"""What is sent of the values in a graph: each image, sound, video or latent as the content of one file."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

from ..api.errors import InvalidInput
from ..api.outputs import OutputKind, kind_of_file
from . import media
from .local_files import digest_of


@dataclass(frozen=True)
class Content:
    """The content of one file that can be sent. It has been looked at: encoding it does not fail."""

    kind: OutputKind
    content_type: str
    suffix: str
    digest: Callable[[], str]
    """A name for the content that no other has."""
    encode: Callable[[], bytes | Path]
    name: str = ""
    """What the file is called, where it has a name."""

    @property
    def key(self) -> str:
        """Under which name it is known what has been sent. Takes time."""
        return f"{self.content_type} {self.name} {self.digest()}"

    @property
    def filename(self) -> str:
        return self.name or f"{self.kind.value}{self.suffix}"


def kind_of_value(value: Any) -> OutputKind | None:
    """What a value is that comes over a link of a graph; None for texts, numbers and whatever else."""
    if value is None or isinstance(value, (str, int, float)):
        return None
    if media.is_tensor(value):
        return OutputKind.IMAGE
    from .media import latents, video

    if _is_audio(value):
        return OutputKind.AUDIO
    if latents.is_latent(value):
        return OutputKind.LATENT
    return OutputKind.VIDEO if video.is_video(value) else None


def _is_audio(value: Any) -> bool:
    return isinstance(value, Mapping) and "waveform" in value


def png(image: Any) -> Content:
    """An image `[H, W, C]` in 0..1 with 8 bits for each channel. Raises InvalidInput for one that cannot be sent."""
    pixels = media.to_pixels(image)
    digest, encode = partial(media.digest, pixels), partial(media.encode_png, pixels)
    return Content(OutputKind.IMAGE, "image/png", ".png", digest, encode)


def exr(image: Any) -> Content:
    """An image `[H, W, C]` with its floats as they are. Raises InvalidInput for one that cannot be sent."""
    from .media import exr

    data = exr.encode(image)
    return _of_bytes(OutputKind.IMAGE, data, exr.CONTENT_TYPE, ".exr")


def of_value(value: Any, folder: Path) -> list[Content]:
    """The contents of an AUDIO, which has one sound or several, a VIDEO or a LATENT. Files are made in the folder.

    Raises InvalidInput for a value that cannot be sent.
    """
    from .media import audio, latents, video

    match kind_of_value(value):
        case OutputKind.AUDIO:
            return [of_file(OutputKind.AUDIO, audio.encode(sound, folder)) for sound in audio.sounds(value)]
        case OutputKind.VIDEO:
            return [of_file(OutputKind.VIDEO, video.source_of(value, folder))]
        case OutputKind.LATENT:
            return [of_file(OutputKind.LATENT, latents.encode(value, folder))]
        case _:
            raise InvalidInput(f"it takes media, and this is {type(value).__name__}")


def of_file(kind: OutputKind, file: media.MediaFile) -> Content:
    """A file on this computer, which stays as it is until it has been sent."""
    return Content(kind, file.content_type, file.suffix, partial(digest_of, file.path), lambda: file.path)


def of_path(path: Path) -> Content:
    """Any file on this computer: what it is, is known by its name."""
    content_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Content(
        kind_of_file(path.name), content_type, path.suffix.lower(), partial(digest_of, path), lambda: path, path.name
    )


def _of_bytes(kind: OutputKind, data: bytes, content_type: str, suffix: str) -> Content:
    return Content(kind, content_type, suffix, lambda: hashlib.sha256(data).hexdigest(), lambda: data)


def entries(value: Any) -> list[Any]:
    """What is in a list, or the value itself."""
    return list(cast("list[Any]", value)) if isinstance(value, (list, tuple)) else [value]


def images_of(value: Any, alpha: Any = None) -> list[Any]:
    """The images of an IMAGE or a MASK, or of a list of them; with `alpha`, a MASK, as their transparency."""
    values = entries(value)
    if not values:
        raise InvalidInput("there is nothing in the list that is connected to it")
    if alpha is None:
        return [image for each in values for image in media.images_or_masks(each)]
    if len(values) > 1 or values[0].ndim != 4:
        raise InvalidInput("only an IMAGE can have a mask as its transparency, not a MASK and not a list")
    return media.images_with_alpha(values[0], alpha)
