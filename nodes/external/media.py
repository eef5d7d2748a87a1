"""External nodes that take sounds, videos, or files of any kind."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .. import host
from .fields import ANY, Field, Fields, choice, file, input_id, labels, link
from .loading import LINKED, UNIQUE_ID, URL, TakesFile, linked, name_of, reference_of, refused, with_files
from .video import SIZES, Cut, size

if TYPE_CHECKING:
    from pathlib import Path

    from .files import Files

_MAX_SIDE = 8192
_MAX_FRAMES = 2**53 - 1
_VIDEO_SUFFIXES = (".webm", ".mp4", ".mkv", ".gif", ".mov")
_PATH = (
    " It is the whole path on the computer that runs the graph, and other nodes open it as it is: when one of them "
    "fails, ComfyUI keeps it in its history."
)


class ExternalAudio(TakesFile):
    """A sound."""

    RETURN_TYPES = ("AUDIO",)
    RETURN_NAMES = ("audio",)
    OUTPUT_TOOLTIPS = ("The sound of the run, or the default.",)
    DESCRIPTION = "A sound that a deployment of this graph takes as an input."
    FILES = ("audio_file",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        required = {**input_id("input_audio"), "audio_file": file(URL)}
        fields = {"default_value": link("AUDIO", LINKED), **labels(multiline=False)}
        return {"required": required, "optional": fields, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self,
        input_id: str,
        unique_id: str,
        audio_file: str = "",
        default_value: Any = None,
        display_name: str = "",
        **_: Any,
    ) -> tuple[Any]:
        name = name_of(input_id, display_name)
        if audio_file:
            return (await with_files(unique_id, name, lambda files: self._loaded(files, audio_file)),)
        return linked(default_value, name, instead="a sound to default_value, or write a URL into audio_file")

    async def _loaded(self, files: Files, reference: str) -> Any:
        from ..media import audio

        async with files.opened(reference) as path:
            return await asyncio.to_thread(audio.decode, path)


class ExternalVideo(TakesFile):
    """The frames and the sound of a video."""

    RETURN_TYPES = ("IMAGE", "INT", "AUDIO", "VHS_VIDEOINFO", "LATENT")
    RETURN_NAMES = ("IMAGE", "frame_count", "audio", "video_info", "LATENT")
    OUTPUT_TOOLTIPS = (
        "The frames.",
        "How many frames there are.",
        "The sound that belongs to them.",
        "Rates and sizes, for nodes of VideoHelperSuite.",
        "The frames as latents, where a VAE is connected.",
    )
    DESCRIPTION = "A video that a deployment of this graph takes as an input, as frames and sound."
    FILES = ("default_video", "default_value_url")

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        def frames(tooltip: str, default: int = 0, low: int = 0) -> Field:
            limits = {"default": default, "min": low, "max": _MAX_FRAMES, "step": 1}
            return "INT", {**limits, "tooltip": tooltip}

        def side(tooltip: str) -> Field:
            return "INT", {"default": 512, "min": 0, "max": _MAX_SIDE, "step": 8, "tooltip": tooltip}

        required: Fields = {
            **input_id("input_video"),
            "force_rate": (
                "INT",
                {"default": 0, "min": 0, "max": 60, "step": 1, "tooltip": "Frames per second; 0: all."},
            ),
            "force_size": choice(SIZES, "The size that frames are scaled to. ? follows from the other side."),
            "custom_width": side("The width for Custom and Custom Width."),
            "custom_height": side("The height for Custom and Custom Height."),
            "frame_load_cap": frames("Most frames that are taken; 0: all."),
            "skip_first_frames": frames("Frames that are left out at the beginning."),
            "select_every_nth": frames("1: every frame, 2: every second one.", 1, 1),
        }
        optional: Fields = {
            "meta_batch": link("VHS_BatchManager", "Not used: the video is read at once."),
            "vae": link("VAE", "Turns the frames into latents."),
            "default_video": choice(_videos(), "A video of the input folder, for the editor and as the default."),
            **labels(),
            "default_value_url": file(URL),
        }
        return {"required": required, "optional": optional, "hidden": UNIQUE_ID}

    @classmethod
    def VALIDATE_INPUTS(cls, default_video: Any = None) -> bool:  # noqa: N802 ComfyUI's name
        """The file is looked for when the node is executed: a URL may have come in its place."""
        return True

    @host.awaited
    async def run(
        self,
        input_id: str,
        unique_id: str,
        force_size: str = SIZES[0],
        custom_width: int = 512,
        custom_height: int = 512,
        meta_batch: Any = None,
        vae: Any = None,
        default_video: str = "",
        display_name: str = "",
        description: str = "",
        default_value_url: str = "",
        **cut: int,
    ) -> tuple[Any, ...]:
        name, reference = name_of(input_id, display_name), reference_of(input_id, default_value_url, default_video)
        if meta_batch is not None:
            raise refused(name, "is read at once, without a Meta Batch Manager: take that away")
        if not reference:
            raise refused(
                name, "has no value: choose a video of the input folder, or write a URL into default_value_url"
            )
        sides = {"wanted": force_size, "custom_width": custom_width, "custom_height": custom_height}
        return await with_files(
            unique_id, name, lambda files: self._loaded(files, reference, Cut(**cut), sides=sides, vae=vae)
        )

    async def _loaded(
        self, files: Files, reference: str, cut: Cut, *, sides: dict[str, Any], vae: Any
    ) -> tuple[Any, ...]:
        async with files.opened(reference) as path:
            return await asyncio.to_thread(_taken, path, cut, sides=sides, vae=vae)


class ExternalVid(TakesFile):
    """A video as a file."""

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("video",)
    OUTPUT_TOOLTIPS = ("Where the video is on this computer.",)
    DESCRIPTION = (
        "A video that a deployment of this graph takes as an input, as a path for nodes that read files." + _PATH
    )
    FILES = ("default_value",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        tooltip = "A video of the input folder, for the editor and as the default."
        fields = {
            "meta_batch": link("VHS_BatchManager", "Not used."),
            "default_value": choice(_videos(), tooltip, outpost_upload=True),
        }
        return {"required": input_id("input_video"), "optional": fields, "hidden": UNIQUE_ID}

    @classmethod
    def VALIDATE_INPUTS(cls, default_value: Any = None) -> bool:  # noqa: N802 ComfyUI's name
        """The file is looked for when the node is executed: a platform may have put another in its place."""
        return True

    @host.awaited
    async def run(self, input_id: str, unique_id: str, default_value: str = "", **_: Any) -> tuple[str]:
        name, reference = name_of(input_id), reference_of(input_id, default_value)
        if not reference:
            raise refused(name, "has no value: choose a video of the input folder")
        return (str(await with_files(unique_id, name, lambda files: files.fetch(reference))),)


class ExternalFile(TakesFile):
    """A file of any kind."""

    RETURN_TYPES = (ANY,)
    RETURN_NAMES = ("path",)
    OUTPUT_TOOLTIPS = ("Where the file is on this computer.",)
    DESCRIPTION = (
        "A file that a deployment of this graph takes as an input, as a path for nodes that read files." + _PATH
    )
    FILES = ("file_url",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        fields = {**labels(), "file_url": file(URL)}
        return {"required": input_id("input_file"), "optional": fields, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self, input_id: str, unique_id: str, display_name: str = "", file_url: str = "", **_: Any
    ) -> tuple[str]:
        name = name_of(input_id, display_name)
        if not file_url:
            raise refused(name, "has no value: write a URL, or the name of a file of the input folder, into file_url")
        return (str(await with_files(unique_id, name, lambda files: files.fetch(file_url))),)


def _taken(path: Path, cut: Cut, *, sides: dict[str, Any], vae: Any) -> tuple[Any, ...]:
    """What the node for frames gives of a video file."""
    from ...api.errors import InvalidInput
    from ..media import latents, video

    video_parts = video.decode_frames(path)
    frames, rate = video_parts.images, video_parts.frame_rate
    indices = cut.indices(frames.shape[0], rate)
    if not indices:
        raise InvalidInput(f"Nothing is left of the {frames.shape[0]} frames of the video: skip fewer of them")
    taken = frames if indices == list(range(frames.shape[0])) else frames[indices]
    width, height = size(frames.shape[2], frames.shape[1], **sides)
    if (width, height) != (frames.shape[2], frames.shape[1]):
        taken = host.scaled(taken, width, height)
    silence = host.blocked("The video has no sound")
    sound = silence if video_parts.audio is None else cut.sound(video_parts.audio, len(indices), rate)
    latent = latents.of_images(vae, taken) if vae else host.blocked("Connect a VAE to get latents")
    return taken, len(indices), sound, cut.info(frames, taken, rate), latent


def _videos() -> list[str]:
    return [name for name in host.input_files() if name.lower().endswith(_VIDEO_SUFFIXES)]


NODES: dict[str, tuple[type, str]] = {
    "Video": (ExternalVideo, "Video"),
    "Vid": (ExternalVid, "Video Path"),
    "Audio": (ExternalAudio, "Audio"),
    "File": (ExternalFile, "File"),
}
