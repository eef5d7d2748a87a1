"""`outpost demo`: a picture goes through a platform of its own, and the result can be looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from comfyui_outpost.api import png
from comfyui_outpost.api.cli import main
from comfyui_outpost.nodes import contact_sheet, demo
from PIL import ExifTags, Image

KEYS = {"demo", "status", "bit_exact", "total_ms", "files"}


def outpost(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as people start it."""
    command = [sys.executable, "-m", "comfyui_outpost.api.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder)


def report(out: str) -> dict[str, Any]:
    """The last line of what was printed."""
    found = json.loads(out.splitlines()[-1])
    assert set(found) == KEYS
    return found


def size_of(file: str | Path) -> tuple[int, int]:
    """Width and height of a picture, all of which can be read."""
    with Image.open(file) as image:
        image.load()
        return image.size


def noise(height: int, width: int, channels: int = 3, kind: type = np.uint8) -> np.ndarray:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max + 1, (height, width, channels), dtype=kind)


def test_a_picture_that_is_made_up_goes_there_and_back(tmp_path: Path):
    ended = outpost("demo", "--output", "seen", folder=tmp_path)

    assert (ended.returncode, ended.stderr) == (0, "")
    found = report(ended.stdout)
    assert (found["demo"], found["status"], found["bit_exact"]) == ("ok", "success", True)
    assert found["total_ms"] > 0
    assert [Path(file).name for file in found["files"]] == ["result.png", "contact-sheet.png"]
    sizes = [size_of(tmp_path / file) for file in found["files"]]
    assert sizes[0] == (1024, 768)
    assert sizes[1][0] > 3 * sizes[1][1], "three pictures side by side"
    table = [line.split()[0] for line in ended.stdout.splitlines() if line.startswith("  ") and "--" not in line]
    assert table == ["stage", "encode", "upload", "queue", "run", "download", "decode", "total"]
    assert {each.name for each in tmp_path.iterdir()} == {"seen"}, "nothing else is left behind"


def pictures() -> dict[str, tuple[bytes, tuple[int, int]]]:
    """Files of unusual kinds, and the size that they have upright."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    photo, palette, film = BytesIO(), BytesIO(), BytesIO()
    Image.fromarray(noise(40, 60)).save(photo, "JPEG", exif=exif)
    indexed = Image.fromarray(noise(20, 30)).quantize(16)
    indexed.save(palette, "PNG", transparency=3)
    frames = [Image.fromarray(noise(8, 9) // each) for each in (1, 2)]
    frames[0].save(film, "GIF", save_all=True, append_images=frames[1:])
    return {
        "a photo that lies on its side": (photo.getvalue(), (40, 60)),
        "a palette with transparency": (palette.getvalue(), (30, 20)),
        "sixteen bits": (sixteen_bits(), (10, 12)),
        "one grey pixel": (png.encode(noise(1, 1, 1)), (1, 1)),
        "something that moves": (film.getvalue(), (9, 8)),
    }


def sixteen_bits() -> bytes:
    """A grey PNG with 16 bits."""
    file = BytesIO()
    Image.fromarray(noise(12, 10, 1, np.uint16)[..., 0]).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("kind", pictures())
def test_pictures_of_every_kind_go_there_and_back(kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data, size = pictures()[kind]
    (tmp_path / "mine").write_bytes(data)

    assert main(["demo", str(tmp_path / "mine"), "--output", str(tmp_path / "a" / "b")]) == 0

    found = report(capsys.readouterr().out)
    assert found["bit_exact"] is True
    assert size_of(found["files"][0]) == size
    assert size_of(found["files"][1])[1] > 100


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path):
    ended = outpost("demo", "none.png", folder=tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "outpost: none.png cannot be read: No such file or directory\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("data", [b"just words", b"", b"\x89PNG\r\n\x1a\n and no more"], ids=["words", "empty", "torn"])
def test_a_file_that_is_no_picture_is_one_sentence(data: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "words.txt").write_bytes(data)

    assert main(["demo", str(tmp_path / "words.txt"), "--output", str(tmp_path / "out")]) == 1

    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"outpost: {tmp_path / 'words.txt'} ({len(data)} bytes, ")
    assert "cannot be read" in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "out").write_text("a file where a folder has to be")

    assert main(["demo", "--output", str(tmp_path / "out")]) == 1

    assert capsys.readouterr().err == f"outpost: {tmp_path / 'out'} cannot be written: File exists\n"


def test_without_torch_the_demo_says_what_to_install(tmp_path: Path):
    code = "import sys; sys.modules['torch'] = None; from comfyui_outpost.api.cli import main; sys.exit(main(['demo']))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, cwd=tmp_path)

    assert (ended.returncode, ended.stdout) == (1, "")
    advice = "Install it: python -m pip install torch, or use ComfyUI's own Python."
    assert ended.stderr == f"outpost: The demo needs torch. {advice}\n"


def test_the_made_up_picture_is_always_the_same_and_uses_its_colours():
    picture = contact_sheet.made_up_picture()

    assert picture == contact_sheet.made_up_picture()
    pixels = np.asarray(Image.open(BytesIO(picture)))
    assert pixels.shape == (768, 1024, 3)
    assert pixels.std() > 30


@pytest.mark.parametrize("shape", [(1, 1), (2000, 100), (100, 2000), (3000, 3000)])
def test_pictures_of_any_shape_fit_onto_the_sheet(shape: tuple[int, int]):
    pixels = np.full((*shape, 3), 255, np.uint8)

    sheet = np.asarray(Image.open(BytesIO(contact_sheet.draw({"one": pixels, "two": pixels}))))

    pictures = sheet[68:428] == 255
    height, width = np.ptp(np.nonzero(pictures.all(-1)), axis=1)[0] + 1, (pictures.all(-1).any(0)).sum() / 2
    assert height <= 360
    assert width <= 480
    assert abs(height / width - shape[0] / shape[1]) / (shape[0] / shape[1]) < 0.05


def test_the_stages_of_the_table_are_those_that_are_measured():
    assert demo.STAGES == ("encode", "upload", "queue", "run", "download", "decode")
