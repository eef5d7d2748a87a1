"""Nodes that bring images, sounds and whatever else to the platform."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import host
from .url_state import url_state

if TYPE_CHECKING:
    from ..api.client import Client
    from .contents import Content
    from .remote_files import RemoteFile

_FOR_ALL = (
    " Connect file to a node of Outpost: it is no secret, and works for longer. The URL is a permission to read the "
    "file, and ComfyUI keeps it in its history when the node behind it fails. The same content travels only once."
)
_UNIQUE_ID = {"unique_id": "UNIQUE_ID"}
Uploaded = tuple[list[str], "list[RemoteFile]"]


class _Uploading:
    """What the nodes in here have in common."""

    CATEGORY = "Outpost/Files"
    RETURN_TYPES = ("STRING", "OUTPOST_FILE")
    RETURN_NAMES = ("url", "file")
    OUTPUT_IS_LIST = (True, True)
    OUTPUT_TOOLTIPS = (
        "The URL of each one, in order. It works for a limited time.",
        "The same files for Run Deployment and the other nodes of Outpost.",
    )
    FUNCTION = "run"

    @classmethod
    def IS_CHANGED(cls, unique_id: str, **_: Any) -> str:  # noqa: N802 ComfyUI's name
        return url_state(unique_id, 0)


class UploadImage(_Uploading):
    """Upload images and pass on where they are."""

    PNG, EXR = "8 bit (PNG)", "float (EXR)"
    DESCRIPTION = (
        "Uploads images to the platform that you are connected to: as lossless PNG, or as EXR with every value as it "
        "is, also below 0 and above 1." + _FOR_ALL
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        precision = {"default": cls.PNG, "tooltip": "PNG rounds to 256 levels; EXR keeps the floats and is larger."}
        return {
            "required": {"image": ("IMAGE", {"tooltip": "One image or a batch."})},
            "optional": {
                "mask": ("MASK", {"tooltip": "Becomes the transparency of the image: white is transparent."}),
                "precision": ([cls.PNG, cls.EXR], precision),
            },
            "hidden": _UNIQUE_ID,
        }

    @host.awaited
    async def run(self, image: Any, unique_id: str, mask: Any = None, precision: str = PNG) -> Uploaded:
        from . import contents

        encode = contents.exr if precision == self.EXR else contents.png
        return await _images(unique_id, contents.images_of(image, mask), encode)


class UploadMask(_Uploading):
    """Upload masks and pass on where they are."""

    DESCRIPTION = "Uploads masks to the platform that you are connected to, as grey PNG: 1 is white." + _FOR_ALL

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        mask = ("MASK", {"tooltip": "One mask or a batch."})
        return {"required": {"mask": mask}, "hidden": _UNIQUE_ID}

    @host.awaited
    async def run(self, mask: Any, unique_id: str) -> Uploaded:
        from . import contents, media

        return await _images(unique_id, media.masks(mask), contents.png)


class UploadVideo(_Uploading):
    """Upload a video and pass on where it is."""

    DESCRIPTION = (
        "Uploads a video to the platform that you are connected to. One that comes from a file is sent as that file; "
        "images become an MP4." + _FOR_ALL
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        fps = {"default": 24.0, "min": 0.01, "max": 1000.0, "step": 0.01}
        return {
            "required": {},
            "optional": {
                "video": ("VIDEO", {"tooltip": "A video, or else images."}),
                "image": ("IMAGE", {"tooltip": "The frames of a video that is made of them."}),
                "fps": ("FLOAT", {**fps, "tooltip": "Frames in a second, where there are images."}),
                "audio": ("AUDIO", {"tooltip": "The sound of the video that is made of images."}),
            },
            "hidden": _UNIQUE_ID,
        }

    @host.awaited
    async def run(
        self, unique_id: str, video: Any = None, image: Any = None, fps: float = 24.0, audio: Any = None
    ) -> Uploaded:
        from ..api.errors import InvalidInput
        from ..api.outputs import OutputKind
        from . import contents

        if (video is None) == (image is None):
            raise InvalidInput("Upload Video takes a video or images: connect one of the two.")
        if video is not None and audio is not None:
            raise InvalidInput(
                "Upload Video adds a sound only to images: a video is sent as it is, with its own sound."
            )

        def prepare(folder: Path) -> list[Content]:
            if video is not None:
                return contents.of_value(video, folder)
            from .media import video as film

            return [contents.of_file(OutputKind.VIDEO, film.encode_frames(image, fps, folder, audio=audio))]

        return await _files(unique_id, prepare)


class UploadAudio(_Uploading):
    """Upload sounds and pass on where they are."""

    DESCRIPTION = (
        "Uploads a sound to the platform that you are connected to, without loss, as FLAC or WAV. A batch of sounds is "
        "as many files." + _FOR_ALL
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {"required": {"audio": ("AUDIO", {"tooltip": "One sound or a batch."})}, "hidden": _UNIQUE_ID}

    @host.awaited
    async def run(self, audio: Any, unique_id: str) -> Uploaded:
        return await _values(unique_id, "AUDIO", audio)


class UploadLatent(_Uploading):
    """Upload a latent and pass on where it is."""

    DESCRIPTION = (
        "Uploads a latent to the platform that you are connected to, bit for bit, as a file for Load Latent." + _FOR_ALL
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {"required": {"latent": ("LATENT", {"tooltip": "A latent or a batch."})}, "hidden": _UNIQUE_ID}

    @host.awaited
    async def run(self, latent: Any, unique_id: str) -> Uploaded:
        return await _values(unique_id, "LATENT", latent)


class UploadFile(_Uploading):
    """Upload a file of ComfyUI's input folder and pass on where it is."""

    DESCRIPTION = "Uploads a file of ComfyUI's input folder to the platform that you are connected to." + _FOR_ALL

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        from .local_files import listed

        names = listed(host.input_folder())
        return {
            "required": {"file": (names, {"tooltip": "Its path in ComfyUI's input folder."})},
            "hidden": _UNIQUE_ID,
        }

    @classmethod
    def IS_CHANGED(cls, unique_id: str, file: str = "", **_: Any) -> str:  # noqa: N802 ComfyUI's name
        from ..api.errors import InvalidInput
        from .local_files import choose

        try:
            about = choose(file, root=host.input_folder()).stat()
        except InvalidInput:
            return file  # the run says what is wrong
        return f"{file} {about.st_size} {about.st_mtime_ns} {url_state(unique_id, 0)}"

    @host.awaited
    async def run(self, file: str, unique_id: str) -> Uploaded:
        from . import contents
        from .local_files import choose

        path = choose(file, root=host.input_folder())
        return await _files(unique_id, lambda _: [contents.of_path(path)])


async def _images(unique_id: str, images: list[Any], encode: Callable[[Any], Content]) -> Uploaded:
    async def upload(client: Client, node: host.Node) -> list[RemoteFile]:
        from .sending import upload_images
        from .stopwatch import Stopwatch

        return await upload_images(client, images, stopwatch=Stopwatch(), host=node, encode=encode)

    return await _uploaded(unique_id, upload)


async def _values(unique_id: str, kind: str, value: Any) -> Uploaded:
    from ..api.errors import InvalidInput
    from ..api.outputs import OutputKind
    from . import contents

    if contents.kind_of_value(value) is not OutputKind[kind]:
        raise InvalidInput(f"What is connected is no {kind}, but {type(value).__name__}.")
    return await _files(unique_id, lambda folder: contents.of_value(value, folder))


async def _files(unique_id: str, prepare: Callable[[Path], list[Content]]) -> Uploaded:
    """Upload the contents that `prepare` makes, on a thread, in a folder that is deleted in the end."""

    async def upload(client: Client, node: host.Node) -> list[RemoteFile]:
        import asyncio

        from .local_files import temporary_folder
        from .sending import upload_all
        from .stopwatch import Stopwatch

        with temporary_folder(node.folder) as folder:
            node.text("encoding")
            prepared = await asyncio.to_thread(prepare, folder)
            return await upload_all(client, prepared, stopwatch=Stopwatch(), host=node)

    return await _uploaded(unique_id, upload)


async def _uploaded(
    unique_id: str, upload: Callable[[Client, host.Node], Coroutine[Any, Any, list[RemoteFile]]]
) -> Uploaded:
    from .given_files import given_files
    from .waiting import interruptible

    node = host.Node(unique_id)
    async with host.client() as client:
        files = await interruptible(node.check_interrupted, upload(client, node))
    given_files().give(unique_id, files)
    return [file.url if host.is_wanted(unique_id, 0) else "" for file in files], files


_FAMILY: dict[str, tuple[type, str]] = {
    "OutpostUploadImage": (UploadImage, "Upload Image"),
    "OutpostUploadMask": (UploadMask, "Upload Mask"),
    "OutpostUploadVideo": (UploadVideo, "Upload Video"),
    "OutpostUploadAudio": (UploadAudio, "Upload Audio"),
    "OutpostUploadLatent": (UploadLatent, "Upload Latent"),
    "OutpostUploadFile": (UploadFile, "Upload File"),
}
NODES: dict[str, type] = {node_id: node for node_id, (node, _) in _FAMILY.items()}
NAMES = {node_id: f"{name} (Outpost)" for node_id, (_, name) in _FAMILY.items()}
