"""Small pictures of the images in a library, whatever lies there."""

from __future__ import annotations

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import numpy as np
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.errors import UnsupportedMedia
from comfyui_outpost.api.panel.files import thumbnails
from comfyui_outpost.api.panel.files.kept import Pictures
from comfyui_outpost.api.panel.files.thumbnails import MAX_BYTES, MAX_PIXELS, SIDE, shrunk
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.fakes.hosted import HostedPlatform
from comfyui_outpost.tests.fakes.serving import KEY, served
from comfyui_outpost.tests.panel.conftest import Page
from PIL import ExifTags, Image, ImageOps

RED, GREEN, BLUE = (250, 5, 5), (5, 250, 5), (5, 5, 250)


def picture(size: tuple[int, int] = (40, 20)) -> Image.Image:
    """Red on the left and blue on the right."""
    image = Image.new("RGB", size, RED)
    image.paste(BLUE, (size[0] // 2, 0, *size))
    return image


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def small(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(shrunk(data)))
    assert image.format == "WEBP"
    assert max(image.size) <= SIDE
    return image


def is_near(pixel: Any, colour: tuple[int, ...]) -> bool:
    return bool(np.abs(np.subtract(pixel, colour)).max() < 40)


def bomb(width: int, height: int) -> bytes:
    """A PNG that says to be so large, of a few bytes."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("size", [(40, 20), (1200, 600)])
def test_each_format_becomes_small_and_keeps_its_shape(kind: str, size: tuple[int, int]):
    made = small(encoded(picture(size), kind))

    assert made.size == (size if size[0] < SIDE else (SIDE, SIDE // 2))
    width, height = made.size
    assert is_near(made.convert("RGB").getpixel((width // 8, height // 2)), RED)
    assert is_near(made.convert("RGB").getpixel((width * 7 // 8, height // 2)), BLUE)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_what_is_transparent_stays_so(mode: str):
    image = Image.new("RGBA", (16, 16), (0, 0, 0, 0))
    image.paste((255, 255, 255, 255), (8, 0, 16, 16))
    kind = {"PA": "PNG", "P": "GIF"}.get(mode, "PNG")
    made = small(encoded(image.convert(mode) if mode == "LA" else image, kind))

    assert made.mode == "RGBA"
    assert [made.getpixel((x, 8))[3] for x in (1, 14)] == [0, 255]  # type: ignore[index]


def test_a_palette_with_transparency_in_bytes_is_read():
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, *RED])

    made = small(encoded(image, transparency=bytes([0, 128])))

    assert made.getpixel((8, 8))[3] == pytest.approx(128, abs=3)  # type: ignore[index]


@pytest.mark.parametrize("dtype", [np.uint16, np.int32])
def test_sixteen_bits_are_not_cut_to_white(dtype: Any):
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(dtype)

    made = small(encoded(Image.fromarray(ramp), "PNG" if dtype is np.uint16 else "TIFF")).convert("L")

    assert [made.getpixel((32, y)) for y in (1, 32, 62)] == pytest.approx([4, 129, 250], abs=8)


@pytest.mark.parametrize("mode", ["1", "L", "CMYK", "YCbCr", "F"])
def test_other_modes_are_read(mode: str):
    kind = "JPEG" if mode in ("CMYK", "YCbCr") else "TIFF"
    assert small(encoded(picture().convert(mode), kind)).mode == "RGB"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_stands_upright_and_tells_nothing_of_where_it_was_taken(orientation: int):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    exif[ExifTags.Base.Artist] = "Somebody Private"
    image = picture((800, 400))
    image.paste(GREEN, (0, 0, 400, 200))  # a corner of its own
    data = encoded(image, "JPEG", exif=exif, icc_profile=b"profile" * 9, quality=95)
    made = small(data)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))

    expected = upright.resize(made.size)
    difference = np.abs(np.subtract(np.asarray(made, np.int16), np.asarray(expected, np.int16)))
    assert difference.mean() < 6
    for secret in (b"Somebody", b"profile", b"EXIF", b"ICCP", b"XMP "):
        assert secret not in shrunk(data)


def test_of_an_animation_the_first_picture_is_shown():
    frames = [Image.new("RGB", (32, 32), colour) for colour in (RED, GREEN, BLUE)]

    made = small(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))

    assert getattr(made, "n_frames", 1) == 1
    assert is_near(made.convert("RGB").getpixel((16, 16)), RED)


def test_a_very_thin_image_keeps_at_least_one_pixel():
    assert small(encoded(picture((5000, 1)))).size == (SIDE, 1)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no image",
        b"GIF89a",
        encoded(picture())[:60],
        encoded(picture((600, 600)), "JPEG")[:500],
        encoded(picture()).replace(b"IDAT", b"IDAX"),
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        bomb(8192, MAX_PIXELS // 8192 + 1),
        bomb(60000, 60000),
        bomb(2**31 - 1, 2**31 - 1),
        bomb(0, 5),
    ],
    ids=range(12),
)
def test_what_is_no_image_or_too_large_is_refused(data: bytes):
    with pytest.raises(UnsupportedMedia):
        shrunk(data)


@pytest.fixture
async def library(page: Page, platform: Any) -> AsyncIterator[Client]:
    """The library of the platform that the page is connected with."""
    page.connect(platform.url, platform.owner.api_key)
    async with Client(Connection(platform.url, platform.owner.api_key)) as client:
        yield client


async def test_the_page_gets_a_picture_of_an_image(page: Page, library: Client):
    asset = await library.assets.upload(encoded(picture((1200, 600))), content_type="image/png", name="a.png")

    answer = await page.get(f"/outpost/assets/{asset.id}/thumbnail")
    by_tag = await page.get(f"/outpost/assets/{asset.id}/thumbnail", {"Referer": page.url + "/"})

    assert (answer.status, answer.headers["Content-Type"]) == (200, "image/webp")
    assert Image.open(io.BytesIO(answer.body)).size == (256, 128)
    assert by_tag.body == answer.body
    assert "Content-Encoding" not in answer.headers


async def test_what_has_no_picture_is_told_so(page: Page, library: Client):
    made = {
        "folder": await library.assets.create_folder("refs"),
        "json": await library.assets.upload(b"{}", content_type="application/json", name="a.json"),
        "damaged": await library.assets.upload(encoded(picture())[:40], content_type="image/png", name="a.png"),
        "bomb": await library.assets.upload(bomb(60000, 60000), content_type="image/png", name="b.png"),
    }
    for name, asset in made.items():
        answer = await page.get(f"/outpost/assets/{asset.id}/thumbnail")
        assert (answer.status, answer.data["code"]) == (422, "unsupported_media"), name


def row(asset_id: str, url: str | None, **more: Any) -> dict[str, Any]:
    return {"id": asset_id, "name": "a.png", "path": f"{asset_id}.png", "url": url, "mime_type": "image/png", **more}


@pytest.fixture
async def hosted(page: Page) -> AsyncIterator[Callable[..., Any]]:
    """The hosted platform, with a library of assets of which each has its bytes."""
    server = HostedPlatform()
    server.library.is_public = False
    async with served(server.app) as url:
        page.connect(url, KEY)

        def keep(asset_id: str, data: bytes | None, **more: Any) -> HostedPlatform:
            if data is not None:
                server.library.objects[asset_id] = data
            server.library.assets[asset_id] = row(asset_id, **{"url": f"{url}/store/{asset_id}", **more})
            return server

        yield keep


async def test_a_picture_is_downloaded_once_until_the_image_changes(page: Page, hosted: Callable[..., Any]):
    server = hosted("img_1", encoded(picture()), updated_at="2026-01-01T00:00:00Z")

    first = await page.get("/outpost/assets/img_1/thumbnail")
    again = await page.get("/outpost/assets/img_1/thumbnail")
    assert first.body == again.body
    assert len(server.log.named("GET", "/store/img_1")) == 1
    assert "Authorization" not in server.log.named("GET", "/store/img_1")[0].headers

    hosted("img_1", encoded(picture((80, 20))), updated_at="2026-01-02T00:00:00Z")
    changed = await page.get("/outpost/assets/img_1/thumbnail")
    assert changed.body != first.body
    assert len(server.log.named("GET", "/store/img_1")) == 2

    server.library.assets.clear()
    assert (await page.get("/outpost/assets/img_1/thumbnail")).status == 404


async def test_a_picture_of_one_account_is_not_shown_to_another(page: Page, hosted: Callable[..., Any]):
    hosted("img_1", encoded(picture()))
    await page.get("/outpost/assets/img_1/thumbnail")

    other = HostedPlatform()
    async with served(other.app) as url:
        page.connect(url, KEY)
        assert (await page.get("/outpost/assets/img_1/thumbnail")).status == 404


async def test_a_file_that_cannot_be_fetched_is_told_without_its_address(page: Page, hosted: Callable[..., Any]):
    hosted("img_gone", None)
    hosted("img_nowhere", None, url=None)
    hosted("img_local", None, url="file:///etc/passwd")

    answers = {
        name: await page.get(f"/outpost/assets/{name}/thumbnail") for name in ("img_gone", "img_nowhere", "img_local")
    }

    assert {name: (each.status, each.data["code"]) for name, each in answers.items()} == {
        "img_gone": (502, "url_expired"),
        "img_nowhere": (404, "not_found"),
        "img_local": (422, "invalid_input"),
    }
    assert "passwd" not in answers["img_local"].data["detail"]


async def test_a_file_of_too_many_bytes_is_not_fetched(page: Page, hosted: Callable[..., Any]):
    server = hosted("img_1", b"\0" * (MAX_BYTES + 1))

    answer = await page.get("/outpost/assets/img_1/thumbnail")

    assert (answer.status, answer.data["code"]) == (502, "size_limit")
    assert len(server.log.named("GET", "/store/img_1")) == 1


async def test_many_pictures_at_once_are_all_made(page: Page, hosted: Callable[..., Any]):
    for number in range(20):
        hosted(f"img_{number}", encoded(picture((300 + number, 200))))

    answers = await asyncio.gather(*(page.get(f"/outpost/assets/img_{number}/thumbnail") for number in range(20)))

    assert [each.status for each in answers] == [200] * 20


async def test_no_more_pictures_are_kept_than_have_room(hosted: Callable[..., Any]):
    server = hosted("img_0", encoded(picture()))
    made = thumbnails.Thumbnails(Pictures(max_bytes=2 * (len(shrunk(encoded(picture()))) + 600)))
    for number in range(3):
        hosted(f"img_{number}", encoded(picture()))
    base_url = server.library.assets["img_0"]["url"].partition("/store/")[0]
    async with Client(Connection(base_url, KEY)) as client:
        for asset_id in ("img_0", "img_1", "img_2", "img_2", "img_0"):
            await made.of(client, asset_id)

    fetched = [each.path.partition("?")[0] for each in server.log.requests if each.path.startswith("/store/")]
    assert fetched == ["/store/img_0", "/store/img_1", "/store/img_2", "/store/img_0"]
