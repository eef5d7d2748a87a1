"""Small pictures of the images in a library."""

from __future__ import annotations

import asyncio
from io import BytesIO

from PIL import ExifTags, Image

from ...client import Client
from ...errors import NotFound, UnsupportedMedia
from ...image_formats import DAMAGED, IMAGE_FORMATS
from ...models import Asset
from ...outputs import OutputKind, kind_of_asset
from .kept import Pictures

SIDE = 256
"""Longest side of a thumbnail, in pixels."""
MAX_BYTES = 64 * 1024 * 1024
MAX_PIXELS = 64 * 1024 * 1024
_AT_ONCE = 4
_SHRUNK_AT_ONCE = 1
"""An image of MAX_PIXELS takes half a gigabyte while it is made small."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation. It is done last, on few pixels."""


class Thumbnails:
    """Makes thumbnails, a few at a time, and remembers the latest."""

    def __init__(self, pictures: Pictures | None = None) -> None:
        self.pictures = pictures or Pictures()
        """What is remembered, of others as well."""
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._shrinking = asyncio.Semaphore(_SHRUNK_AT_ONCE)

    async def of(self, client: Client, asset_id: str) -> bytes:
        """A WebP picture of at most SIDE pixels.

        Raises NotFound for an asset that is not there, UnsupportedMedia for one that is no image or too large to be
        made small, TransferError.
        """
        async with self._limit:
            asset = await client.assets.get(asset_id)
            key = "asset", client.connection.id, asset.id, str(asset.updated_at or asset.created_at)
            return self.pictures.get(key) or self.pictures.keep(key, await self._make(client, asset))

    async def _make(self, client: Client, asset: Asset) -> bytes:
        if asset.is_folder or kind_of_asset(asset) is not OutputKind.IMAGE:
            raise UnsupportedMedia(f"The asset {asset.id} is no image, so there is no picture of it.")
        if not asset.url:
            raise NotFound(f"The platform tells no address of the asset {asset.id}.")
        return await self.small(await client.files.download(asset.url, max_bytes=MAX_BYTES))

    async def small(self, data: bytes) -> bytes:
        """An image file as `shrunk` makes it, one file at a time. Raises UnsupportedMedia."""
        async with self._shrinking:
            return await asyncio.to_thread(shrunk, data)


def shrunk(data: bytes) -> bytes:
    """An image file as a WebP of at most SIDE pixels, upright, with nothing but its pixels. Raises UnsupportedMedia."""
    try:
        Image.init()
        with Image.open(BytesIO(data), formats=[name for name in IMAGE_FORMATS if name in Image.OPEN]) as file:
            if file.width * file.height > MAX_PIXELS:
                raise UnsupportedMedia(f"An image of {file.width}x{file.height} pixels is too large for a thumbnail.")
            file.draft("RGB", (SIDE * 2, SIDE * 2))
            small = _in_colour(file)
            small.thumbnail((SIDE, SIDE), reducing_gap=2.0)
            if (turn := _TURNS.get(file.getexif().get(ExifTags.Base.Orientation, 1))) is not None:
                small = small.transpose(turn)
            # What Pillow has read beside the pixels, such as the place where a photo was taken, stays behind.
            small.info.clear()
            content = BytesIO()
            small.save(content, "WEBP", quality=80)
            return content.getvalue()
    except DAMAGED as error:
        raise UnsupportedMedia(f"A file of {len(data)} bytes is no image that can be read.") from error


def _in_colour(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, of which Pillow itself would keep the lowest
        image = image.convert("I").point(lambda value: value * (1 / 256)).convert("L")
    wanted = "RGBA" if "A" in image.mode or "transparency" in image.info else "RGB"
    return image if image.mode == wanted else image.convert(wanted)
