"""Nodes that bring tensors to the platform."""

from __future__ import annotations

from typing import Any

from . import host


class UploadImage:
    """Upload images and pass on their URLs. The same pixels travel only once while their URL is valid."""

    CATEGORY = "Outpost"
    RETURN_TYPES = ("STRING",)
    RETURN_NAMES = ("url",)
    OUTPUT_IS_LIST = (True,)
    OUTPUT_TOOLTIPS = ("The URL of each image, in order. It works for a limited time.",)
    FUNCTION = "run"
    DESCRIPTION = "Uploads images to the platform that you are connected to, as lossless PNG, and gives their URLs."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 ComfyUI's name
        return {
            "required": {"image": ("IMAGE", {"tooltip": "One image or a batch."})},
            "optional": {"mask": ("MASK", {"tooltip": "Becomes the transparency of the image: white is transparent."})},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @host.awaited
    async def run(self, image: Any, unique_id: str, mask: Any = None) -> tuple[list[str]]:
        from . import media
        from .execution import upload_images
        from .stopwatch import Stopwatch
        from .waiting import interruptible

        images = media.images(image) if mask is None else media.images_with_alpha(image, mask)
        node = host.Node(unique_id)
        async with host.client() as client:
            upload = upload_images(client, images, stopwatch=Stopwatch(), host=node)
            return (await interruptible(node.check_interrupted, upload),)


NODES = {"OutpostUploadImage": UploadImage}
NAMES = {"OutpostUploadImage": "Upload Image (Outpost)"}
