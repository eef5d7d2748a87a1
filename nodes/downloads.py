"""A node that fetches an image from the internet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from . import host

if TYPE_CHECKING:
    from .remote_files import RemoteFile

MAX_IMAGE_BYTES = 512 * 1024**2


class DownloadImage:
    """Fetch an image from a URL."""

    CATEGORY = "Outpost/Files"
    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_IS_LIST = (False, False)
    OUTPUT_TOOLTIPS = (
        "The image, or the frames of an animated one as a batch.",
        "Its transparency, white where it is transparent.",
    )
    FUNCTION = "run"
    DESCRIPTION = (
        "Fetches an image from a URL, without any key. Addresses of this computer and of its network are refused, "
        "unless they are the platform's own or ComfyUI was started with OUTPOST_ALLOW_PRIVATE_ADDRESSES=1."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {},
            "optional": {
                "url": ("STRING", {"default": "", "tooltip": "An http or https URL of an image."}),
                "file": ("OUTPOST_FILE", {"tooltip": "A file of an upload node or of Load Asset, instead of a URL."}),
            },
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @host.awaited
    async def run(self, unique_id: str, url: str = "", file: RemoteFile | None = None) -> tuple[Any, Any]:
        import asyncio

        from . import media
        from .waiting import interruptible

        node = host.Node(unique_id)
        node.text("downloading")
        data = await interruptible(node.check_interrupted, _fetch(url.strip(), file))
        decoded = await asyncio.to_thread(media.decode, data, name="The image behind the URL")
        return decoded.image, decoded.mask


async def _fetch(url: str, file: RemoteFile | None) -> bytes:
    from ..api.errors import InvalidInput
    from .foreign import foreign_files
    from .remote_files import current_url, reading

    if bool(url) == (file is not None):
        raise InvalidInput("Download Image takes the URL of an image, or a file: give one of the two.")
    if file is not None:
        async with host.client() as client:
            url = await current_url(client, file)
            with reading(client, file):
                return await client.files.download(url, max_bytes=MAX_IMAGE_BYTES)
    return await foreign_files().get(url, max_bytes=MAX_IMAGE_BYTES)


NODES: dict[str, type] = {"OutpostDownloadImage": DownloadImage}
NAMES = {"OutpostDownloadImage": "Download Image (Outpost)"}
