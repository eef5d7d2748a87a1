"""External nodes that take images."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import host
from .fields import Fields, choice, file, input_id, labels, link
from .loading import LINKED, UNIQUE_ID, URL, TakesFile, linked, name_of, reference_of, refused, with_files

if TYPE_CHECKING:
    from .. import media
    from .files import Files

_TONEMAPS = ["linear", "sRGB", "Reinhard"]


async def _image(files: Files, reference: str) -> media.Decoded:
    from .. import media

    return await asyncio.to_thread(media.decode, await files.read(reference))


class ExternalImage(TakesFile):
    """An image, without its transparency."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The image of the run, or the default. All frames of an animated one.",)
    DESCRIPTION = "An image that a deployment of this graph takes as an input."
    FILES = ("default_value_url",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        url = file(URL)
        fields = {"default_value": link("IMAGE", LINKED), **labels(multiline=False), "default_value_url": url}
        return {"required": input_id("input_image"), "optional": fields, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self,
        input_id: str,
        unique_id: str,
        default_value: Any = None,
        display_name: str = "",
        default_value_url: str = "",
        **_: Any,
    ) -> tuple[Any]:
        name, reference = name_of(input_id, display_name), reference_of(input_id, default_value_url)
        if reference:
            return ((await with_files(unique_id, name, lambda files: _image(files, reference))).image,)
        return linked(default_value, name, instead="an image to default_value, or write a URL into default_value_url")


class ExternalImageAlpha(TakesFile):
    """An image with its transparency as a fourth channel."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The image of the run, with alpha as its fourth channel, or the default.",)
    DESCRIPTION = (
        "An image that a deployment of this graph takes as an input, with alpha as its fourth channel. A file without "
        "transparency gives an opaque one."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        fields = {"default_value": link("IMAGE", LINKED), **labels()}
        return {"required": input_id("input_image"), "optional": fields, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self, input_id: str, unique_id: str, default_value: Any = None, display_name: str = "", **_: Any
    ) -> tuple[Any]:
        name, reference = name_of(input_id, display_name), reference_of(input_id)
        if reference:
            return (await with_files(unique_id, name, lambda files: self._loaded(files, reference)),)
        return linked(default_value, name, instead="an image to default_value")

    async def _loaded(self, files: Files, reference: str) -> Any:
        decoded = await _image(files, reference)
        image = decoded.image.new_empty((*decoded.mask.shape, 4))
        image[..., :3] = decoded.image
        image[..., 3] = 1 - decoded.mask
        return image


class ExternalImageBatch(TakesFile):
    """Several images of one size."""

    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("image",)
    OUTPUT_TOOLTIPS = ("The images of the run as one batch, or the default.",)
    DESCRIPTION = "Images of one size that a deployment of this graph takes as an input."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        tooltip = "The URLs of the images as a JSON array. A URL may be that of a ZIP file with images."
        required = {**input_id("input_images"), "images": file(tooltip, default="[]")}
        fields = {"default_value": link("IMAGE", LINKED), **labels()}
        return {"required": required, "optional": fields, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self,
        input_id: str,
        unique_id: str,
        images: str = "[]",
        default_value: Any = None,
        display_name: str = "",
        **_: Any,
    ) -> tuple[Any]:
        from .values import urls

        name = name_of(input_id, display_name)
        if references := urls(images, name=name):
            return (await with_files(unique_id, name, lambda files: self._loaded(files, references)),)
        return linked(default_value, name, instead="images to default_value, or write their URLs into images")

    async def _loaded(self, files: Files, references: list[str]) -> Any:
        from ...api.errors import InvalidInput
        from ...api.inputs import MAX_BATCH
        from .. import media
        from ..waiting import side_by_side

        if len(references) > MAX_BATCH:
            raise InvalidInput(f"There are {len(references)} images, and at most {MAX_BATCH} are taken")
        decoded = [
            image for images in await side_by_side(references, lambda each: _images(files, each)) for image in images
        ]
        batches, _ = await asyncio.to_thread(media.batch, decoded)
        if len(batches) > 1:
            sizes = ", ".join(dict.fromkeys(f"{batch.shape[2]}x{batch.shape[1]}" for batch in batches))
            raise InvalidInput(
                f"The images have different sizes ({sizes}), and nothing is scaled here: scale them first"
            )
        return batches[0]


async def _images(files: Files, reference: str) -> list[media.Decoded]:
    """The images in a file: one, or those of a ZIP file."""
    from ...api.inputs import MAX_BATCH
    from .. import media
    from .archive import images_in, is_archive
    from .files import MAX_IMAGE_BYTES

    data = await files.read(reference)
    if not is_archive(data):
        return [await asyncio.to_thread(media.decode, data)]
    contents = await asyncio.to_thread(images_in, data, max_bytes=MAX_IMAGE_BYTES, max_images=MAX_BATCH)
    images: list[media.Decoded] = []
    left = media.MAX_PIXELS  # of all together: what packs well would fill any memory
    for content in contents:
        images.append(await asyncio.to_thread(partial(media.decode, content, max_pixels=left)))
        left -= images[-1].mask.numel()
    return images


class ExternalEXR(TakesFile):
    """An OpenEXR image."""

    RETURN_TYPES = ("IMAGE", "MASK")
    RETURN_NAMES = ("image", "mask")
    OUTPUT_TOOLTIPS = ("The image of the run, or the default.", "Its transparency, white where it is transparent.")
    DESCRIPTION = "An OpenEXR image that a deployment of this graph takes as an input."
    FILES = ("exr_file",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        tonemap = "linear: the values as they are. sRGB: for display, cut at white. Reinhard: bright parts are kept."
        required = {
            **input_id("input_exr"),
            "exr_file": file(URL),
            "tonemap": choice(_TONEMAPS, tonemap, default="sRGB"),
        }
        links = {"default_image": link("IMAGE", LINKED), "default_mask": link("MASK", "The mask of default_image.")}
        return {"required": required, "optional": {**links, **labels(multiline=False)}, "hidden": UNIQUE_ID}

    @host.awaited
    async def run(
        self,
        input_id: str,
        unique_id: str,
        exr_file: str = "",
        tonemap: str = "sRGB",
        default_image: Any = None,
        default_mask: Any = None,
        display_name: str = "",
        **_: Any,
    ) -> tuple[Any, Any]:
        name = name_of(input_id, display_name)
        if exr_file:
            return await with_files(unique_id, name, lambda files: self._loaded(files, exr_file, tonemap))
        if default_image is None:
            raise refused(name, "has no value: connect an image to default_image, or write a URL into exr_file")
        opaque = default_image.new_zeros(default_image.shape[:3])
        return default_image, opaque if default_mask is None else default_mask

    async def _loaded(self, files: Files, reference: str, tonemap: str) -> tuple[Any, Any]:
        from ...api.errors import UnsupportedMedia
        from .. import media
        from ..media.files import EXR_SIGNATURE

        data = await files.read(reference)
        if not data.startswith(EXR_SIGNATURE):
            raise UnsupportedMedia(f"The file ({len(data)} bytes) is no OpenEXR image")
        decoded = await asyncio.to_thread(media.decode, data)
        return await asyncio.to_thread(_toned, decoded.image, tonemap), decoded.mask


def _toned(image: Any, tonemap: str) -> Any:
    """Linear light as it is, or as sRGB in 0..1."""
    if tonemap == "linear":
        return image
    light = image.clamp(min=0)
    light = light / (light + 1) if tonemap == "Reinhard" else light
    bright = light.clamp(min=0.0031308).pow(1 / 2.4) * 1.055 - 0.055
    return bright.where(light > 0.0031308, light * 12.92).clamp(0, 1)


NODES: dict[str, tuple[type, str]] = {
    "Image": (ExternalImage, "Image"),
    "ImageAlpha": (ExternalImageAlpha, "Image Alpha"),
    "ImageBatch": (ExternalImageBatch, "Image Batch"),
    "EXR": (ExternalEXR, "EXR"),
}
