"""Videos as ComfyUI hands them on: VIDEO objects, which are files that nobody has decoded yet."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ...api.errors import InvalidInput, UnsupportedMedia, quote
from .files import CONTENT_TYPES, MediaFile, new_file
from .video_reader import MAX_PIXELS, Components, Facts, decode_frames, look
from .video_writer import encode_frames

__all__ = ["MAX_PIXELS", "Components", "VideoFile", "decode_frames", "encode_frames", "is_video", "source_of"]

# The usual end of a file's name, by what FFmpeg calls its format; the first that the name contains.
_SUFFIXES = {
    "mov": ".mp4",
    "webm": ".webm",
    "avi": ".avi",
    "mpegts": ".ts",
    "mpeg": ".mpg",
    "gif": ".gif",
}
_WHOLE = (0.0, 0.0)  # ComfyUI's trim window of a video that is not cut
_SAME_SECONDS = 0.001


class VideoFile:
    """A video in a file, with the methods of ComfyUI's VideoFromFile, for versions that have none (up to 0.3.29).

    Nothing is read before it is asked for. Its methods raise UnsupportedMedia where the file is no video.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)

    def __repr__(self) -> str:
        # ComfyUI writes the inputs of a node that fails into its history, where no local path belongs.
        return f"<video {self._path.name}>"

    def get_stream_source(self) -> str:
        """Where the file is."""
        return str(self._path)

    def get_components(self) -> Components:
        """All frames, the sound and the frame rate."""
        return decode_frames(self._path, name=f"The video {self._path.name}")

    def get_dimensions(self) -> tuple[int, int]:
        """Width and height in pixels, turned upright."""
        facts = self._look()
        return facts.width, facts.height

    def get_duration(self) -> float:
        """Seconds."""
        return self._look().duration

    def get_frame_count(self) -> int:
        return self._look().frame_count

    def get_frame_rate(self) -> Fraction:
        """Frames per second, on average."""
        return self._look().frame_rate

    def get_container_format(self) -> str:
        """What FFmpeg calls the format of the file, such as `mov,mp4,m4a,3gp,3g2,mj2`."""
        return self._look().container_format

    def get_bit_depth(self) -> int:
        return self._look().bit_depth

    def save_to(
        self,
        path: str | IO[bytes],
        format: str = "auto",
        codec: str = "auto",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Write the file's own bytes elsewhere. InvalidInput for any other format or codec; metadata is not added."""
        if (str(getattr(format, "value", format)), str(getattr(codec, "value", codec))) != ("auto", "auto"):
            raise InvalidInput("This video is passed on as it is; it cannot be converted to another format here.")
        if isinstance(path, str):
            shutil.copyfile(self._path, path)
            return
        with self._path.open("rb") as source:
            shutil.copyfileobj(source, path)

    def _look(self) -> Facts:
        return look(self._path, name=f"The video {self._path.name}")


def is_video(value: object) -> bool:
    """Whether a value is a VIDEO, ComfyUI's or ours."""
    return all(callable(getattr(value, name, None)) for name in ("get_components", "save_to"))


def source_of(video: Any, folder: Path) -> MediaFile:
    """The file of a VIDEO.

    A video that is a whole file is that file, untouched, or its bytes in a new file in `folder` where it is only in
    memory. One that is cut, or made of frames, is written as a new MP4 there. Raises InvalidInput for what is no VIDEO,
    and as `encode_frames` does.
    """
    if not is_video(video):
        raise InvalidInput(f"This is not a VIDEO: it is {type(video).__name__}.")
    if not _has_file(video):
        return _written(video, folder)
    source = video.get_stream_source()
    if _is_cut(video, source):
        return _saved(video, folder)
    if isinstance(source, BytesIO):
        file = new_file(folder, _suffix(video.get_container_format()))
        file.path.write_bytes(source.getbuffer())
        return file
    path = Path(source)
    if not path.is_file():
        raise InvalidInput(f"The file of the video, {path.name}, is no longer there.")
    suffix = path.suffix.lower()
    return MediaFile(path, CONTENT_TYPES.get(suffix) or CONTENT_TYPES[_suffix(video.get_container_format())])


def _has_file(video: Any) -> bool:
    """Whether it is made of a file: ComfyUI's VideoInput itself gives a source too, but encodes the frames for it."""
    owner = next((each for each in type(video).__mro__ if "get_stream_source" in vars(each)), None)
    return owner is not None and owner.__name__ != "VideoInput"


def _is_cut(video: Any, source: str | BytesIO) -> bool:
    """Whether it shows only a part of its file. Versions that cannot say so are asked how long it is."""
    if hasattr(video, "get_active_trim_window"):
        return tuple(video.get_active_trim_window()) != _WHOLE
    if not hasattr(video, "as_trimmed"):
        return False
    whole = look(source.getvalue() if isinstance(source, BytesIO) else Path(source), name="The video").duration
    return abs(video.get_duration() - whole) > _SAME_SECONDS


def _saved(video: Any, folder: Path) -> MediaFile:
    """A cut video, as ComfyUI itself cuts it."""
    file = new_file(folder, ".mp4")
    try:
        video.save_to(str(file.path))
    except (ValueError, OSError) as error:
        file.path.unlink(missing_ok=True)
        raise UnsupportedMedia(f"The part of the video could not be written ({quote(str(error))}).") from error
    return file


def _written(video: Any, folder: Path) -> MediaFile:
    """A video that is made of frames: in our quality, or where it has more than 8 bits as ComfyUI writes them."""
    if hasattr(video, "get_bit_depth") and video.get_bit_depth() > 8:
        return _saved(video, folder)
    parts = video.get_components()
    return encode_frames(parts.images, parts.frame_rate, folder, audio=parts.audio)


def _suffix(container_format: str) -> str:
    return next((suffix for name, suffix in _SUFFIXES.items() if name in container_format), ".mkv")
