"""Nodes for the platform's library of files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import host
from .url_state import url_state

if TYPE_CHECKING:
    from ..api.client import Client
    from ..api.models import Asset
    from .contents import Content
    from .remote_files import RemoteFile


class LoadAsset:
    """Take a file out of the library."""

    CATEGORY = "Outpost/Files"
    RETURN_TYPES = ("IMAGE", "MASK", "STRING", "OUTPOST_FILE")
    RETURN_NAMES = ("image", "mask", "url", "file")
    OUTPUT_IS_LIST = (False, False, False, False)
    OUTPUT_TOOLTIPS = (
        "The image, or the frames of an animated one as a batch.",
        "Its transparency, white where it is transparent.",
        "The URL of the file. It works for a limited time.",
        "The same file for Run Deployment and the other nodes of Outpost.",
    )
    FUNCTION = "run"
    DESCRIPTION = (
        "Takes a file out of the library of the platform that you are connected to. Connect file to a node of Outpost: "
        "it is no secret, and the URL is a permission to read the file."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {"asset_id": ("STRING", {"default": "", "tooltip": "The id of the asset."})},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def IS_CHANGED(cls, unique_id: str, **_: Any) -> str:  # noqa: N802 ComfyUI's name
        return url_state(unique_id, 2)

    @host.awaited
    async def run(self, asset_id: str, unique_id: str) -> tuple[Any, Any, str, RemoteFile]:
        from ..api.errors import InvalidInput
        from .given_files import given_files
        from .waiting import interruptible

        if not asset_id.strip():
            raise InvalidInput("Load Asset needs the id of an asset: choose one with its button, or write it down.")
        node = host.Node(unique_id)
        async with host.client() as client:
            image, mask, file = await interruptible(node.check_interrupted, _loaded(client, asset_id.strip()))
        given_files().give(unique_id, [file])
        return image, mask, file.url if host.is_wanted(unique_id, 2) else "", file


class SaveToAssets:
    """Put images and other things into the library."""

    CATEGORY = "Outpost/Files"
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("asset_id",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The id of each asset: images first, then video, sound and files.",)
    FUNCTION = "run"
    OUTPUT_NODE = True
    DESCRIPTION = (
        "Puts images, videos, sounds and files into the library of the platform that you are connected to. The same "
        "content under the same name in the same folder is not put there a second time within a day, unless ComfyUI "
        "has been started anew or has sent a thousand other contents in between."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        path = {
            "forceInput": True,
            "tooltip": "The path of a file in ComfyUI's output folder, as 3D Model of a Run gives it.",
        }
        return {
            "required": {
                "name": ("STRING", {"default": "outpost", "tooltip": "What they are called, without the end .png."}),
                "folder": ("STRING", {"default": "", "tooltip": "Such as refs/hands. Empty is the topmost folder."}),
            },
            "optional": {
                "image": ("IMAGE", {"tooltip": "One image or a batch."}),
                "mask": ("MASK", {"tooltip": "Becomes the transparency of the image: white is transparent."}),
                "video": ("VIDEO", {"tooltip": "A video."}),
                "audio": ("AUDIO", {"tooltip": "One sound or a batch."}),
                "file": ("OUTPOST_FILE", {"tooltip": "A file of an upload node."}),
                "output_file": ("STRING", path),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @host.awaited
    async def run(
        self,
        name: str,
        folder: str,
        unique_id: str,
        image: Any = None,
        mask: Any = None,
        video: Any = None,
        audio: Any = None,
        file: RemoteFile | None = None,
        output_file: str | None = None,
    ) -> dict[str, Any]:
        import asyncio

        from . import library
        from .local_files import temporary_folder
        from .waiting import interruptible

        node = host.Node(unique_id)

        async def save(client: Client, home: Path) -> list[Asset]:
            node.text("encoding")
            contents = await asyncio.to_thread(_contents, home, image, mask, (video, audio), output_file)
            if file is not None:
                contents.append(await _downloaded(client, file, home))
            _check_any(contents)
            node.text("uploading")
            return await library.save(client, host.contents(), contents, name=name, folder=folder)

        with temporary_folder(node.folder) as home:
            async with host.client() as client:
                assets = await interruptible(node.check_interrupted, save(client, home))
        shown = [{"id": asset.id, "name": asset.name} for asset in assets]
        return {"ui": {"outpost_assets": shown}, "result": ([asset.id for asset in assets],)}


async def _loaded(client: Client, asset_id: str) -> tuple[Any, Any, RemoteFile]:
    import asyncio

    from ..api.outputs import OutputKind
    from . import library, media

    file = library.remote_file(client, await client.assets.get(asset_id))
    if file.kind is not OutputKind.IMAGE:
        nothing = host.blocked(f"The asset {asset_id} is no image: use its file or its URL.")
        return nothing, nothing, file
    data = await client.files.download(file.url, max_bytes=library.MAX_BYTES)
    decoded = await asyncio.to_thread(media.decode, data, name=f"The asset {asset_id}")
    return decoded.image, decoded.mask, file


def _contents(home: Path, image: Any, mask: Any, others: tuple[Any, ...], output_file: str | None) -> list[Content]:
    from . import contents
    from .local_files import choose

    found = [] if image is None else [contents.png(each) for each in contents.images_of(image, mask)]
    for value in others:
        found += [] if value is None else contents.of_value(value, home)
    if output_file:
        found.append(contents.of_path(choose(output_file, root=host.output_folder())))
    return found


def _check_any(contents: list[Content]) -> None:
    from ..api.errors import InvalidInput

    if not contents:
        raise InvalidInput("There is nothing to save: connect an image, a video, a sound or a file to Save To Assets.")


async def _downloaded(client: Client, file: RemoteFile, home: Path) -> Content:
    from . import contents
    from .library import MAX_BYTES
    from .local_files import safe_name
    from .remote_files import current_url, reading

    path = home / f"file-{safe_name(file.filename)}"
    url = await current_url(client, file)
    with reading(client, file):
        await client.files.download_to(url, path, max_bytes=MAX_BYTES)
    return contents.of_path(path)


_FAMILY: dict[str, tuple[type, str]] = {
    "OutpostLoadAsset": (LoadAsset, "Load Asset"),
    "OutpostSaveToAssets": (SaveToAssets, "Save To Assets"),
}
NODES: dict[str, type] = {node_id: node for node_id, (node, _) in _FAMILY.items()}
NAMES = {node_id: f"{name} (Outpost)" for node_id, (_, name) in _FAMILY.items()}
