"""Videos: handed on untouched where that is possible, and otherwise frame by frame."""

from __future__ import annotations

import hashlib
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, UnsupportedMedia
from comfyui_outpost.nodes.media import audio, video
from comfyui_outpost.tests.nodes.media_files import LEFT, RATE, RIGHT, SIZE, smooth, tone, turn, write_film

RATES = [24, 25.0, 23.976, 29.97, 30000 / 1001, Fraction(24000, 1001), 12.5, 0.5, 60, 1000]


def sound(seconds: float = 1.0, channels: int = 2, rate: int = RATE) -> audio.Audio:
    waveform = torch.tensor(tone(channels, seconds, rate=rate), dtype=torch.float32)
    return {"waveform": waveform[None], "sample_rate": rate}


def off_by(one: torch.Tensor, other: torch.Tensor) -> float:
    """The mean difference, in steps of 8 bits."""
    return float((one - other).abs().mean() * 255)


def corner(images: torch.Tensor, row: int, column: int, index: int = 0) -> list[int]:
    return [round(value * 255) for value in images[index, row, column].tolist()]


def looks(images: torch.Tensor, row: int, column: int, colour: tuple[int, int, int]) -> bool:
    return bool(np.abs(np.array(corner(images, row, column)) - colour).max() <= 6)


# Frames to files and back


@pytest.mark.parametrize("size", [(64, 96), (63, 96), (64, 95), (17, 31), (2, 2), (1, 1)])
def test_frames_of_any_size_come_back_in_that_size(size: tuple[int, int], tmp_path: Path):
    frames = smooth()[:, : size[0], : size[1]]
    file = video.encode_frames(frames, 24, tmp_path)
    again = video.decode_frames(file.path)
    assert (file.suffix, file.content_type) == (".mp4", "video/mp4")
    assert again.images.shape == frames.shape
    assert again.images.dtype == torch.float32
    assert off_by(again.images, frames) < 3.5
    assert (again.audio, again.alpha) == (None, None)
    assert not again.mask.any()
    assert again.mask.shape == frames.shape[:3]


@pytest.mark.parametrize("colour", [(200, 50, 100), (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255), (0, 0, 0)])
@pytest.mark.parametrize("width", [96, 95])
def test_colours_stay_what_they_are(colour: tuple[int, int, int], width: int, tmp_path: Path):
    frames = (torch.tensor(colour) / 255).expand(3, 64, width, 3)
    images = video.decode_frames(video.encode_frames(frames, 24, tmp_path).path).images
    assert np.abs(np.array(corner(images, 30, 40)) - colour).max() <= 2


@pytest.mark.parametrize("rate", RATES, ids=str)
def test_a_frame_rate_stays_what_it_is(rate: float | Fraction, tmp_path: Path):
    file = video.encode_frames(smooth(5), rate, tmp_path)
    again = video.decode_frames(file.path)
    assert again.frame_rate == Fraction(rate).limit_denominator(1001)
    assert len(again.images) == 5


def test_a_browser_can_play_what_is_written_while_it_loads(tmp_path: Path):
    data = video.encode_frames(smooth(), 24, tmp_path, audio=sound()).path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")
    with av.open(BytesIO(data)) as container:
        pictures, heard = container.streams.video[0], container.streams.audio[0]
        assert (pictures.codec_context.name, pictures.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert heard.codec_context.name == "aac"
        context = pictures.codec_context
        assert [int(value) for value in (context.colorspace, context.color_primaries, context.color_range)] == [1, 1, 1]


@pytest.mark.parametrize("channels", [1, 2, 6, 8])
@pytest.mark.parametrize("rate", [44100, 48000, 8000, 44056, 192000])
def test_sound_goes_along(channels: int, rate: int, tmp_path: Path):
    file = video.encode_frames(smooth(24), 24, tmp_path, audio=sound(1.0, channels, rate))
    heard = video.decode_frames(file.path).audio
    assert heard is not None
    wanted = rate if rate in (44100, 48000, 8000) else 48000
    assert heard["sample_rate"] == wanted
    assert heard["waveform"].shape[:2] == (1, channels)
    assert 0 <= heard["waveform"].shape[2] - wanted <= 3 * 1024


def test_sound_is_in_step_and_neither_cut_off_nor_filled_up(tmp_path: Path):
    for seconds in (0.25, 3.0):
        given = sound(seconds, 1)
        heard = video.decode_frames(video.encode_frames(smooth(24), 24, tmp_path, audio=given).path).audio
        assert heard is not None
        length = given["waveform"].shape[2]
        assert 0 <= heard["waveform"].shape[2] - length <= 2 * 1024
        difference = (heard["waveform"][..., :length] - given["waveform"])[..., 3000:-3000].abs()
        assert difference.max() < 0.05


def test_sound_and_pictures_lie_side_by_side(tmp_path: Path):
    file = video.encode_frames(smooth(240, 32, 32), 24, tmp_path, audio=sound(10.0))
    with av.open(str(file.path)) as container:
        kinds = [(packet.stream.type, packet.pos) for packet in container.demux() if packet.size and packet.pos]
    first, last = (max(at for kind, at in kinds if kind == which) for which in ("audio", "video"))
    size = file.path.stat().st_size
    assert min(first, last) > 0.7 * size


def test_the_same_frames_give_the_same_bytes(tmp_path: Path):
    hashes = {
        hashlib.sha256(video.encode_frames(smooth(), 24, tmp_path, audio=sound()).path.read_bytes()).digest()
        for _ in range(20)
    }
    assert len(hashes) == 1


def test_the_encoder_does_without_what_makes_its_bytes_differ(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if torch.backends.cpu.get_cpu_capability() not in ("AVX2", "AVX512"):
        pytest.skip("this processor has neither")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    av.logging.set_level(av.logging.INFO)
    try:
        with av.logging.Capture(local=False) as said:
            video.encode_frames(smooth(2), 24, tmp_path)
    finally:
        av.logging.set_level(None)
    [used] = [text for _, _, text in said if "cpu capabilities" in text]
    assert "AVX2" in used
    assert "AVX512" not in used


def test_grey_frames_and_values_outside_of_the_range_are_taken(tmp_path: Path):
    grey = smooth()[..., :1] * 3 - 1
    images = video.decode_frames(video.encode_frames(grey, 24, tmp_path).path).images
    assert off_by(images, grey.clamp(0, 1).expand(-1, -1, -1, 3)) < 3.5


@pytest.mark.parametrize(
    ("frames", "fps", "error", "message"),
    [
        (torch.zeros(2, 8, 8, 4), 24, UnsupportedMedia, "take alpha off"),
        (torch.zeros(2, 8, 8, 2), 24, UnsupportedMedia, "2 channels"),
        (torch.zeros(0, 8, 8, 3), 24, InvalidInput, "nothing in the batch"),
        (torch.zeros(2, 0, 8, 3), 24, InvalidInput, "at least one pixel"),
        (torch.zeros(1, 1, 20000, 3), 24, UnsupportedMedia, "at most 16384 pixels a side"),
        (torch.zeros(2, 8, 8, 3, dtype=torch.uint8), 24, InvalidInput, "torch.uint8"),
        (torch.full((2, 8, 8, 3), float("nan")), 24, InvalidInput, "not numbers"),
        (torch.zeros(2, 8, 8, 3), 0, InvalidInput, "not 0"),
        (torch.zeros(2, 8, 8, 3), -1, InvalidInput, "not -1"),
        (torch.zeros(2, 8, 8, 3), 1001, InvalidInput, "not 1001"),
        (torch.zeros(2, 8, 8, 3), float("nan"), InvalidInput, "not nan"),
        (torch.zeros(2, 8, 8, 3), float("inf"), InvalidInput, "not inf"),
    ],
)
def test_what_is_no_film_is_refused_and_leaves_no_file(
    frames: torch.Tensor, fps: float, error: type[Exception], message: str, tmp_path: Path
):
    with pytest.raises(error, match=message):
        video.encode_frames(frames, fps, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"waveform": torch.zeros(2, 1, 99), "sample_rate": RATE}, "batch of 2"),
        ({"waveform": torch.zeros(1, 7, 99), "sample_rate": RATE}, "but not 7"),
        ({"waveform": torch.full((1, 1, 99), float("inf")), "sample_rate": RATE}, "not numbers"),
        ("song.mp3", "it is str"),
    ],
)
def test_sound_that_no_video_can_have_is_refused_and_leaves_no_file(given: Any, message: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match=message):
        video.encode_frames(smooth(), 24, tmp_path, audio=given)
    assert not list(tmp_path.iterdir())


# Videos of other programs


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        (".mp4", "libx264", "yuv420p"),
        (".mov", "libx264", "yuv444p"),
        (".mkv", "ffv1", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".ts", "mpeg2video", "yuv420p"),
        (".mp4", "libx264", "yuv420p10le"),
    ],
)
def test_usual_files_are_read(suffix: str, codec: str, pix_fmt: str, tmp_path: Path):
    path = write_film(tmp_path / f"a{suffix}", codec, pix_fmt)
    for source in (path, path.read_bytes()):
        again = video.decode_frames(source)
        assert again.images.shape == (12, *SIZE, 3)
        assert looks(again.images, 10, 10, LEFT) or codec in ("mpeg4", "mpeg2video", "libvpx-vp9")
        assert again.frame_rate == 24


def test_pictures_of_8_bit_rgb_are_exact(tmp_path: Path):
    images = video.decode_frames(write_film(tmp_path / "a.mov", "png", "rgb24")).images
    assert corner(images, 3, 3) == list(LEFT)
    assert corner(images, 3, -3) == list(RIGHT)
    assert images[0, 3, 3, 1] == np.float32(40) / np.float32(255)


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt", "tolerance"),
    [
        (".webm", "libvpx-vp9", "yuva420p", 8),
        (".webm", "libvpx", "yuva420p", 8),
        (".mov", "prores_ks", "yuva444p10le", 3),
        (".mov", "png", "rgba", 0.01),
        (".mov", "qtrle", "argb", 0.01),
    ],
)
def test_alpha_becomes_a_mask_with_comfyuis_polarity(
    suffix: str, codec: str, pix_fmt: str, tolerance: float, tmp_path: Path
):
    again = video.decode_frames(write_film(tmp_path / f"a{suffix}", codec, pix_fmt, channels=4))
    assert again.images.shape == (12, *SIZE, 3)
    assert again.alpha is not None
    assert again.alpha.shape == (12, *SIZE, 1)
    assert abs(float(again.mask[0, 5, 5]) * 255) <= tolerance
    assert abs(float(again.mask[0, 5, -5]) * 255 - (255 - 40)) <= tolerance


@pytest.mark.parametrize(
    ("how", "shape", "red"),
    [
        ("not", (48, 64), (24, 3)),
        ("right", (64, 48), (3, 24)),
        ("upside down", (48, 64), (24, -3)),
        ("left", (64, 48), (-3, 24)),
        ("mirrored", (48, 64), (24, -3)),
    ],
)
def test_pictures_are_turned_upright(how: str, shape: tuple[int, int], red: tuple[int, int], tmp_path: Path):
    path = turn(write_film(tmp_path / "a.mp4"), how)
    images = video.decode_frames(path).images
    assert images.shape == (12, *shape, 3)
    assert corner(images, *red)[0] > 200
    assert video.VideoFile(path).get_dimensions() == shape[::-1]


def test_a_full_range_and_the_colours_of_hd_are_understood(tmp_path: Path):
    colour = np.array((200, 50, 100))
    kr, kb = 0.2126, 0.0722
    luma = kr * colour[0] + (1 - kr - kb) * colour[1] + kb * colour[2]
    planes = (luma, 128 + (colour[2] - luma) / (2 - 2 * kb), 128 + (colour[0] - luma) / (2 - 2 * kr))
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=24)
        stream.width, stream.height, stream.pix_fmt, stream.options = 96, 64, "yuv420p", {"crf": "1"}
        stream.codec_context.color_range, stream.codec_context.colorspace = 2, 1
        frame = av.VideoFrame(96, 64, "yuv420p")
        for plane, value in zip(frame.planes, planes, strict=True):
            plane.update(bytes([round(value)]) * plane.buffer_size)
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    images = video.decode_frames(tmp_path / "a.mp4").images
    assert np.abs(np.array(corner(images, 30, 40)) - colour).max() <= 2


def test_sound_that_begins_before_or_after_the_pictures_stays_in_step(tmp_path: Path):
    path = write_film(tmp_path / "a.mkv", "ffv1", count=24)
    with av.open(str(path)) as source, av.open(str(tmp_path / "late.mkv"), "w") as target:
        pictures = target.add_stream_from_template(source.streams.video[0])
        heard = target.add_stream("flac", rate=RATE)
        heard.codec_context.layout = "mono"
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                target.mux(packet)
        frame = av.AudioFrame.from_ndarray(np.full((1, 4608), 16384, np.int16), format="s16", layout="mono")
        frame.sample_rate, frame.pts = RATE, RATE // 2
        target.mux(heard.encode(frame))
        target.mux(heard.encode(None))
    given = video.decode_frames(tmp_path / "late.mkv").audio
    assert given is not None
    loud = (given["waveform"][0, 0] > 0.25).nonzero()[:, 0]
    assert abs(int(loud[0]) - RATE // 2) <= RATE // 500
    assert not given["waveform"][0, 0, : int(loud[0])].any()


# Files that are not what they should be


@pytest.mark.parametrize(
    ("suffix", "codec", "options"),
    [
        (".mp4", "libx264", {}),
        (".mp4", "libx264", {"movflags": "faststart"}),
        (".mkv", "libx264", {}),
        (".webm", "libvpx", {}),
        (".avi", "mpeg4", {}),
    ],
)
@pytest.mark.parametrize("share", [0.3, 0.7])
def test_a_file_whose_end_is_missing_is_refused(
    suffix: str, codec: str, options: dict[str, str], share: float, tmp_path: Path
):
    data = write_film(tmp_path / f"a{suffix}", codec, count=96, options=options).read_bytes()
    assert len(video.decode_frames(data).images) == 96
    with pytest.raises(UnsupportedMedia, match=r"incomplete|its end is missing|no picture"):
        video.decode_frames(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "HTML"),
        (bytes(100), "nothing known"),
        (b"#EXTM3U\n#EXTINF:1,\na.ts\n", "a playlist"),
        (b"\0\0\0\x20ftypisom" + bytes(100), "an MP4 video"),
        (b"\x1aE\xdf\xa3" + bytes(100), "a WebM or Matroska video"),
    ],
)
def test_bytes_that_are_no_video_are_refused_with_their_number_and_kind(data: bytes, kind: str, tmp_path: Path):
    path = tmp_path / "secret-folder.mp4"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(
            UnsupportedMedia, match=rf"Output 'clip' \({len(data)} bytes, .*{kind}.*cannot be read"
        ) as error:
            video.decode_frames(source, name="Output 'clip'")
        assert "secret-folder" not in str(error.value)


def test_a_sound_is_no_video(tmp_path: Path):
    file = audio.encode(audio.Sound(torch.zeros(1, 9000), RATE), tmp_path)
    with pytest.raises(UnsupportedMedia, match="no moving pictures"):
        video.decode_frames(file.path)


def test_a_playlist_never_makes_another_file_be_read(tmp_path: Path):
    write_film(tmp_path / "other.ts", "mpeg2video")
    for name in ("a.m3u8", "a.mp4"):
        path = tmp_path / name
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(UnsupportedMedia, match="a playlist"):
            video.decode_frames(path)


def test_more_pixels_than_allowed_are_refused_before_they_are_decoded(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", count=60)
    with pytest.raises(
        UnsupportedMedia, match=r"60 frames of 64x48 pixels, more than the 100000 .*pass it on as a video"
    ):
        video.decode_frames(path, max_pixels=100_000)
    assert len(video.decode_frames(path, max_pixels=60 * 64 * 48).images) == 60


def test_a_damaged_file_is_refused_or_read_but_never_a_surprise(tmp_path: Path):
    data = write_film(tmp_path / "a.mp4", count=24, sound=tone()).read_bytes()
    random = np.random.default_rng(2)
    for _ in range(20):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 8):
            damaged[place] = random.integers(256)
        try:
            again = video.decode_frames(bytes(damaged), max_pixels=10**7)
        except UnsupportedMedia as error:
            assert "cannot be read" in str(error)
        else:
            assert again.images.ndim == 4


@pytest.mark.parametrize("size", [(50, 66), (70, 130), (49, 67), (2, 2), (66, 15), (15, 66), (16, 16)])
def test_what_lies_beside_a_picture_in_memory_never_gets_into_it(size: tuple[int, int], tmp_path: Path):
    path = write_film(tmp_path / "a.mkv", "ffv1", "yuv444p", size=size)
    first = video.decode_frames(path).images
    for index in range(20):
        other = [torch.full((4000 + 100 * index,), 9e9 * index) for _ in range(50)]
        assert torch.equal(video.decode_frames(path).images, first)
        del other


def test_the_same_frames_of_any_width_give_the_same_bytes(tmp_path: Path):
    frames = smooth()[:, :50, :66]
    hashes = set()
    for index in range(10):
        other = [np.full(50 * 66 * 3 + 64 * index, index, np.uint8) for _ in range(50)]
        hashes.add(hashlib.sha256(video.encode_frames(frames, 24, tmp_path).path.read_bytes()).digest())
        del other
    assert len(hashes) == 1


# VIDEO objects


def test_our_video_has_what_comfyuis_has(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", count=48, sound=tone(1, 2.0))
    clip = video.VideoFile(path)
    assert clip.get_stream_source() == str(path)
    assert clip.get_dimensions() == (64, 48)
    assert clip.get_frame_count() == 48
    assert clip.get_frame_rate() == 24
    assert abs(clip.get_duration() - 2) < 0.1
    assert clip.get_container_format() == "mov,mp4,m4a,3gp,3g2,mj2"
    assert clip.get_bit_depth() == 8
    parts = clip.get_components()
    assert parts.images.shape == (48, *SIZE, 3)
    assert parts.audio is not None
    clip.save_to(str(tmp_path / "copy.mp4"))
    memory = BytesIO()
    clip.save_to(memory)
    assert (tmp_path / "copy.mp4").read_bytes() == memory.getvalue() == path.read_bytes()
    with pytest.raises(InvalidInput, match="cannot be converted"):
        clip.save_to(str(tmp_path / "b.webm"), format="webm")
    assert str(tmp_path) not in repr(clip)


def test_a_video_reads_nothing_before_it_is_asked(tmp_path: Path):
    clip = video.VideoFile(tmp_path / "not-there-yet.mp4")
    with pytest.raises(UnsupportedMedia, match=r"^The video not-there-yet\.mp4 cannot be opened"):
        clip.get_dimensions()


def test_is_video_tells_a_video_from_other_values():
    assert video.is_video(video.VideoFile("a.mp4"))
    assert not any(video.is_video(value) for value in (None, "a.mp4", {"samples": 1}, torch.zeros(1, 2, 2, 3)))


@pytest.mark.parametrize(
    ("name", "codec", "content_type"),
    [("a.mp4", "libx264", "video/mp4"), ("b.WEBM", "libvpx", "video/webm"), ("c.mkv", "ffv1", "video/x-matroska")],
)
def test_a_video_that_is_a_whole_file_is_sent_untouched(name: str, codec: str, content_type: str, tmp_path: Path):
    path = write_film(tmp_path / name, codec)
    (tmp_path / "new").mkdir()
    file = video.source_of(video.VideoFile(path), tmp_path / "new")
    assert (file.path, file.content_type, file.suffix) == (path, content_type, path.suffix.lower())
    assert not list((tmp_path / "new").iterdir())


class Input:
    """Stands for ComfyUI's VideoInput, whose name is looked at: its source is made of frames."""

    def get_stream_source(self) -> Any:
        raise AssertionError("the frames would be encoded in memory")


VideoInput = type("VideoInput", (Input,), {"get_stream_source": Input.get_stream_source})


class FromFile(VideoInput):  # type: ignore[valid-type, misc]
    """What ComfyUI's VideoFromFile does, with the bytes in memory, or cut."""

    def __init__(self, source: str | BytesIO, seconds: float | None = None) -> None:
        self.source, self.seconds, self.saved = source, seconds, 0

    def get_stream_source(self) -> str | BytesIO:
        return self.source

    def get_components(self) -> Any:
        raise AssertionError("a file is not decoded to be sent")

    def get_container_format(self) -> str:
        return "matroska,webm"

    def get_duration(self) -> float:
        return self.seconds or 0.5

    def as_trimmed(self) -> None: ...

    def save_to(self, path: str) -> None:
        self.saved += 1
        Path(path).write_bytes(b"a part of it")


class Cut(FromFile):
    """As in the versions that tell of it."""

    def get_active_trim_window(self) -> tuple[float, float]:
        return (0.0, self.seconds or 0.0)


class FromFrames(VideoInput):  # type: ignore[valid-type, misc]
    """What ComfyUI's VideoFromComponents does."""

    def __init__(self, depth: int = 8) -> None:
        self.depth = depth

    def get_components(self) -> video.Components:
        return video.Components(images=smooth(), frame_rate=Fraction(24), audio=sound())

    def get_bit_depth(self) -> int:
        return self.depth

    def save_to(self, path: str) -> None:
        if self.depth == 8:
            raise AssertionError("ComfyUI's quality is lower")
        Path(path).write_bytes(b"ten bits")


def test_a_video_in_memory_is_sent_as_its_bytes(tmp_path: Path):
    data = write_film(tmp_path / "a.webm", "libvpx").read_bytes()
    (tmp_path / "new").mkdir()
    for clip in (Cut(BytesIO(data)), FromFile(BytesIO(data))):
        file = video.source_of(clip, tmp_path / "new")
        assert file.path.parent == tmp_path / "new"
        assert (file.path.read_bytes(), file.suffix, clip.saved) == (data, ".webm", 0)


@pytest.mark.parametrize("kind", [Cut, FromFile])
def test_a_cut_video_is_sent_as_comfyui_cuts_it(kind: type[FromFile], tmp_path: Path):
    path = write_film(tmp_path / "a.mp4")
    clip = kind(str(path), seconds=0.25)
    file = video.source_of(clip, tmp_path)
    assert (clip.saved, file.path.read_bytes(), file.suffix) == (1, b"a part of it", ".mp4")
    whole = kind(str(path))
    assert video.source_of(whole, tmp_path).path == path
    assert whole.saved == 0


def test_a_video_made_of_frames_is_written_in_our_quality(tmp_path: Path):
    file = video.source_of(FromFrames(), tmp_path)
    again = video.decode_frames(file.path)
    assert off_by(again.images, smooth()) < 3.5
    assert again.audio is not None
    assert video.source_of(FromFrames(10), tmp_path).path.read_bytes() == b"ten bits"


def test_what_is_no_video_or_is_gone_is_refused_without_its_folder(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"not a VIDEO: it is Tensor"):
        video.source_of(torch.zeros(1, 2, 2, 3), tmp_path)
    with pytest.raises(InvalidInput, match=r"^The file of the video, gone\.mp4, is no longer there\.$"):
        video.source_of(video.VideoFile(tmp_path / "gone.mp4"), tmp_path)
