"""Nodes that take the outputs out of a run, by what they are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from . import host

if TYPE_CHECKING:
    from .results import RunResult

_INPUTS: dict[str, Any] = {
    "run": ("OUTPOST_RUN", {"tooltip": "The run of a Run Deployment, or one of Wait For Runs."}),
    "output": (
        "STRING",
        {
            "default": "",
            "tooltip": "An output_id, the id of a node, or a place such as #1, the first. Empty takes everything.",
        },
    ),
}


class _Taking:
    """What the nodes in here have in common."""

    CATEGORY = "Outpost/Results"
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {"required": dict(_INPUTS)}


class RunOutputs(_Taking):
    """Take the outputs of one node out of a run."""

    RETURN_TYPES = ("IMAGE", "MASK", "STRING")
    RETURN_NAMES = ("image", "mask", "text")
    OUTPUT_IS_LIST = (True, True, True)
    OUTPUT_TOOLTIPS = (
        "The images: one batch when they are of the same size, else one after the other.",
        "Their transparency, white where they are transparent.",
        "The texts, in order.",
    )
    DESCRIPTION = "Picks the images and texts of a run by their output_id, by the id of the node that made them, or #1."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        from ..api.outputs import OutputKind
        from . import sockets

        picked = _picked(run, output)
        images, masks = await asyncio.to_thread(sockets.images_and_masks, picked)
        return images, masks, sockets.values(picked, OutputKind.TEXT)


class RunImages(_Taking):
    """Take images out of a run."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The images: one batch when they are of the same size, else one after the other.",)
    DESCRIPTION = "The images of a run. The frames of an animated PNG, GIF or WebP are a batch."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        from . import sockets

        images, _ = await asyncio.to_thread(sockets.images_and_masks, _picked(run, output))
        return (images,)


class RunMasks(_Taking):
    """Take images out of a run as masks."""

    CHANNELS = ("alpha", "red", "green", "blue")

    RETURN_TYPES = ("MASK",)
    RETURN_NAMES = ("mask",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The masks: one batch when they are of the same size, else one after the other.",)
    DESCRIPTION = (
        "Masks out of a run. Alpha is white where an image is transparent, and black where it has no transparency. "
        "For a mask that was saved as a grey image take red, green or blue, which are all the same there."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        channel = (list(cls.CHANNELS), {"default": cls.CHANNELS[0], "tooltip": "Which part of an image is the mask."})
        return {"required": {**_INPUTS, "channel": channel}}

    @host.awaited
    async def run(self, run: RunResult, output: str, channel: str) -> tuple[Any, ...]:
        from . import sockets

        picked = _picked(run, output)
        images, masks = await asyncio.to_thread(sockets.images_and_masks, picked)
        if channel == "alpha" or not picked.images:
            return (masks,)
        index = self.CHANNELS.index(channel) - 1
        return ([image[..., index].clone() for image in images],)


class RunVideo(_Taking):
    """Take videos out of a run."""

    RETURN_TYPES = ("VIDEO",)
    RETURN_NAMES = ("video",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The videos, in order. Each is the file as the machine wrote it.",)
    DESCRIPTION = "The videos of a run, for Save Video and the like; Video Frames makes images and sound of them."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        return (await _values(run, output, "VIDEO"),)


class RunAudio(_Taking):
    """Take sounds out of a run."""

    RETURN_TYPES = ("AUDIO",)
    RETURN_NAMES = ("audio",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The sounds: one batch when they are of one rate and length, else one after the other.",)
    DESCRIPTION = "The sounds of a run."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        return (await _values(run, output, "AUDIO"),)


class RunText(_Taking):
    """Take texts out of a run."""

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("text",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The texts, in order.",)
    DESCRIPTION = "The texts of a run."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        return (await _values(run, output, "TEXT"),)


class RunLatent(_Taking):
    """Take latents out of a run."""

    RETURN_TYPES = ("LATENT",)
    RETURN_NAMES = ("latent",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The latents, in order, bit for bit as they were saved.",)
    DESCRIPTION = "The latents of a run, which Save Latent has put out there."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        return (await _values(run, output, "LATENT"),)


class Run3D(_Taking):
    """Take 3D files out of a run."""

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("model_file",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The path of each file in ComfyUI's output folder, for Preview 3D.",)
    DESCRIPTION = "The 3D files of a run. They are put into the folder outpost in ComfyUI's output folder."

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        return (await _values(run, output, "MODEL_3D"),)


class RunFiles(_Taking):
    """Take files of any kind out of a run."""

    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("path",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The path of each file in ComfyUI's output folder.",)
    DESCRIPTION = (
        "The files of a run as they are, whatever their kind, without its images and texts. They are put into the "
        "folder outpost in ComfyUI's output folder."
    )

    @host.awaited
    async def run(self, run: RunResult, output: str) -> tuple[Any, ...]:
        from . import sockets

        return (await asyncio.to_thread(sockets.files, _picked(run, output), *sockets.FILES),)


class VideoFrames:
    """Take a video apart into images and sound."""

    CATEGORY = "Outpost/Results"
    RETURN_TYPES = ("IMAGE", "AUDIO", "FLOAT")
    RETURN_NAMES = ("image", "audio", "fps")
    OUTPUT_IS_LIST = (False, False, False)
    OUTPUT_TOOLTIPS = ("All frames, as one batch.", "Its sound, where it has some.", "Frames in a second.")
    FUNCTION = "run"
    DESCRIPTION = "Decodes a video. All of its frames have to fit into memory."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {"required": {"video": ("VIDEO", {"tooltip": "A video of a run, or any other."})}}

    @host.awaited
    async def run(self, video: Any) -> tuple[Any, ...]:
        parts = await asyncio.to_thread(video.get_components)
        sound = host.blocked("The video has no sound") if parts.audio is None else parts.audio
        return parts.images, sound, float(parts.frame_rate)


def _picked(run: RunResult, output: str) -> RunResult:
    return run.pick(output.strip()) if output.strip() else run


async def _values(run: RunResult, output: str, kind: str) -> list[Any]:
    from ..api.outputs import OutputKind
    from . import sockets

    return await asyncio.to_thread(sockets.values, _picked(run, output), OutputKind[kind])


_FAMILY: dict[str, tuple[type, str]] = {
    "OutpostRunOutputs": (RunOutputs, "Outputs of a Run"),
    "OutpostRunImages": (RunImages, "Images of a Run"),
    "OutpostRunMasks": (RunMasks, "Masks of a Run"),
    "OutpostRunVideo": (RunVideo, "Video of a Run"),
    "OutpostRunAudio": (RunAudio, "Audio of a Run"),
    "OutpostRunText": (RunText, "Text of a Run"),
    "OutpostRunLatent": (RunLatent, "Latent of a Run"),
    "OutpostRun3D": (Run3D, "3D Model of a Run"),
    "OutpostRunFiles": (RunFiles, "Files of a Run"),
    "OutpostVideoFrames": (VideoFrames, "Video Frames"),
}
NODES: dict[str, type] = {node_id: node for node_id, (node, _) in _FAMILY.items()}
NAMES = {node_id: f"{name} (Outpost)" for node_id, (_, name) in _FAMILY.items()}
