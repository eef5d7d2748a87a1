"""Sounds to files and back: exact, of any number of channels, and never a surprise."""

from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, UnsupportedMedia
from comfyui_outpost.nodes.media import audio
from comfyui_outpost.tests.nodes.media_files import RATE, tone, write_film, write_sound


def steps(bits: int, channels: int = 2, samples: int = 70_001) -> torch.Tensor:
    """Values that are whole numbers of the steps of so many bits, with the lowest and the highest."""
    numbers = np.random.default_rng(channels).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (channels, samples))
    numbers[:, 0], numbers[:, -1] = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    return torch.tensor(numbers / 2 ** (bits - 1), dtype=torch.float32)


def there_and_back(waveform: torch.Tensor, folder: Path, *, rate: int = RATE) -> tuple[str, torch.Tensor]:
    file = audio.encode(audio.Sound(waveform, rate), folder)
    decoded = audio.decode(file.path)
    assert decoded["sample_rate"] == rate
    assert decoded["waveform"].dtype == torch.float32
    assert {".flac": "audio/flac", ".wav": "audio/wav"}[file.suffix] == file.content_type
    return file.suffix, decoded["waveform"]


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5, 6, 7, 8])
@pytest.mark.parametrize("bits", [16, 24])
def test_whole_numbers_of_16_and_24_bits_survive_as_flac(bits: int, channels: int, tmp_path: Path):
    waveform = steps(bits, channels)
    suffix, again = there_and_back(waveform, tmp_path)
    assert suffix == ".flac"
    assert torch.equal(again, waveform[None])


@pytest.mark.parametrize("channels", [1, 2, 8, 9, 33])
def test_any_floats_survive_as_wav_bit_for_bit(channels: int, tmp_path: Path):
    waveform = torch.randn(channels, 70_001) * 3
    waveform[0, :4] = torch.tensor([0.1, 1.0, -1e-40, -0.0])
    suffix, again = there_and_back(waveform, tmp_path)
    assert suffix == ".wav"
    assert torch.equal(again.view(torch.int32), waveform[None].view(torch.int32))


@pytest.mark.parametrize("samples", [1, 2, 15, 16, 17, 4608, 4609, 2**16, 2**16 + 1])
def test_a_sound_of_any_length_keeps_it(samples: int, tmp_path: Path):
    assert torch.equal(there_and_back(steps(16, 2, samples), tmp_path)[1], steps(16, 2, samples)[None])


@pytest.mark.parametrize("rate", [1, 8000, 22050, 48000, 96001, 192000, 700_000])
def test_a_sound_of_any_sample_rate_keeps_it(rate: int, tmp_path: Path):
    assert torch.equal(there_and_back(steps(16), tmp_path, rate=rate)[1], steps(16)[None])


def test_the_same_sound_gives_the_same_bytes_and_another_name(tmp_path: Path):
    for waveform in (steps(16), torch.randn(2, 5000)):
        first, second = (audio.encode(audio.Sound(waveform, RATE), tmp_path).path for _ in range(2))
        assert first != second
        assert first.read_bytes() == second.read_bytes()


def test_half_precision_and_views_are_taken_as_they_sound(tmp_path: Path):
    for waveform in (torch.randn(2, 5000).half(), torch.randn(5000, 2).T, torch.randn(2, 100, requires_grad=True)):
        assert torch.equal(there_and_back(waveform, tmp_path)[1], waveform.detach().float()[None])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("place", [0, 69_999])
def test_a_value_that_is_no_number_is_refused_wherever_it_is(value: float, place: int, tmp_path: Path):
    waveform = torch.zeros(2, 70_000)
    waveform[1, place] = value
    with pytest.raises(InvalidInput, match=r"1\.6 seconds has values that are not numbers"):
        audio.encode(audio.Sound(waveform, RATE), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("sound", "message"),
    [
        (audio.Sound(torch.zeros(2, 0), RATE), r"\[2, 0\]"),
        (audio.Sound(torch.zeros(1, 2, 3), RATE), r"\[1, 2, 3\]"),
        (audio.Sound(torch.zeros(2, 9, dtype=torch.int16), RATE), "torch.int16"),
        (audio.Sound(torch.zeros(2, 9), 0), "0 samples per second"),
        (audio.Sound(torch.zeros(2, 9), -44100), "-44100 samples per second"),
    ],
)
def test_what_is_no_sound_is_refused_by_name(sound: audio.Sound, message: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match=message):
        audio.encode(sound, tmp_path)


def test_a_batch_is_taken_apart_in_order():
    waveform = torch.rand(3, 2, 100)
    parts = audio.sounds({"waveform": waveform, "sample_rate": 8000})
    assert [each.sample_rate for each in parts] == [8000] * 3
    assert all(torch.equal(part.waveform, entry) for part, entry in zip(parts, waveform, strict=True))
    both = audio.sounds([{"waveform": waveform, "sample_rate": 8000}, {"waveform": waveform[0], "sample_rate": 16000}])
    assert [each.sample_rate for each in both] == [8000] * 3 + [16000]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "a video without a sound track"),
        ("https://example.com/a.wav", "it is str"),
        ({}, "no waveform"),
        ({"waveform": torch.zeros(1, 1, 9)}, "no sample rate"),
        ({"waveform": torch.zeros(9), "sample_rate": 1}, r"\[9\]"),
        ({"waveform": torch.zeros(0, 2, 9), "sample_rate": 1}, "nothing in the batch"),
        ([], "nothing in the batch"),
    ],
)
def test_what_is_no_audio_is_refused(value: object, message: str):
    with pytest.raises(InvalidInput, match=message):
        audio.sounds(value)


def made(channels: int, samples: int, rate: int) -> audio.Audio:
    return {"waveform": torch.rand(1, channels, samples), "sample_rate": rate}


def test_sounds_that_fit_become_one_batch_and_others_stay_apart_as_they_are():
    one, two = made(2, 100, 8000), made(2, 100, 8000)
    (both,) = audio.batch([one, two])
    assert torch.equal(both["waveform"], torch.cat([one["waveform"], two["waveform"]]))
    assert both["sample_rate"] == 8000
    for other in (made(1, 100, 8000), made(2, 101, 8000), made(2, 100, 16000)):
        apart = audio.batch([one, other])
        assert apart[0] is one
        assert apart[1] is other
    assert audio.batch([]) == []


INTEGERS = {"pcm_u8": ("u8", 8), "pcm_s16le": ("s16", 16), "pcm_s24le": ("s32", 24), "pcm_s32le": ("s32", 32)}


@pytest.mark.parametrize("codec", INTEGERS)
def test_whole_numbers_in_a_wav_come_back_as_the_nearest_float(codec: str, tmp_path: Path):
    kind, bits = INTEGERS[codec]
    numbers = np.random.default_rng(1).integers(-(2 ** (bits - 1)), 2 ** (bits - 1), (2, 5000))
    stored = {"u8": numbers + 128, "s16": numbers, "s32": numbers << (32 - bits)}[kind]
    path = write_sound(
        tmp_path / "a.wav", codec, stored.astype({"u8": "u1", "s16": "i2", "s32": "i4"}[kind]), kind=kind
    )
    decoded = audio.decode(path)["waveform"][0]
    assert torch.equal(decoded, torch.tensor(numbers / 2 ** (bits - 1)).float())
    assert torch.equal(audio.decode(path.read_bytes())["waveform"][0], decoded)


@pytest.mark.parametrize(
    ("suffix", "codec", "rate"),
    [(".mp3", "libmp3lame", RATE), (".opus", "libopus", 48000), (".ogg", "libopus", 48000)],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_what_an_encoder_puts_around_a_sound_is_left_out(
    suffix: str, codec: str, rate: int, channels: int, tmp_path: Path
):
    samples = tone(channels, rate=rate).astype(np.float32)
    decoded = audio.decode(write_sound(tmp_path / f"a{suffix}", codec, samples, kind="flt", rate=rate))
    heard = decoded["waveform"][0].numpy()
    assert decoded["sample_rate"] == rate
    assert heard.shape == samples.shape
    assert np.abs(heard - samples)[:, 2000:-2000].max() < 0.05  # not late, and not mixed up


@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".aac", "aac"), (".mka", "aac")])
def test_aac_keeps_rate_and_channels(suffix: str, codec: str, tmp_path: Path):
    decoded = audio.decode(write_sound(tmp_path / f"a{suffix}", codec, tone(2).astype(np.float32), kind="flt"))
    assert decoded["sample_rate"] == RATE
    assert decoded["waveform"].shape[:2] == (1, 2)
    assert abs(decoded["waveform"].shape[2] - RATE) <= 2 * 1024


@pytest.mark.parametrize(("suffix", "codec"), [(".m4a", "aac"), (".opus", "libopus"), (".flac", "flac")])
def test_eight_channels_are_read_and_do_not_end_the_process(suffix: str, codec: str, tmp_path: Path):
    samples = tone(8, rate=48000).astype(np.float32)
    path = write_sound(tmp_path / f"a{suffix}", codec, samples, kind="flt", rate=48000)
    assert audio.decode(path)["waveform"].shape[:2] == (1, 8)


def test_the_content_counts_and_not_the_end_of_the_name(tmp_path: Path):
    path = write_sound(tmp_path / "a.flac", "flac", tone().astype(np.float32), kind="flt")
    wrong = path.rename(tmp_path / "really.mp3")
    assert audio.decode(wrong)["waveform"].shape == (1, 1, RATE)


def test_the_sound_of_a_video_is_read(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4", sound=tone())
    assert audio.decode(path)["sample_rate"] == RATE


def test_a_file_without_a_sound_track_is_refused_by_its_name(tmp_path: Path):
    path = write_film(tmp_path / "a.mp4")
    with pytest.raises(UnsupportedMedia, match=r"Output 'voice' \(\d+ bytes, which look like an MP4.*no sound track"):
        audio.decode(path, name="Output 'voice'")


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "HTML"),
        (bytes(100), "nothing known"),
        (b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "a playlist"),
        (b"fLaC" + bytes(100), "a FLAC sound"),
        (b"RIFF\xff\xff\xff\xffWAVE", "a WAV sound"),
    ],
)
def test_bytes_that_are_no_sound_are_refused_with_their_number_and_kind(data: bytes, kind: str, tmp_path: Path):
    path = tmp_path / "secret-folder.wav"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(
            UnsupportedMedia, match=rf"The file \({len(data)} bytes, .*{kind}.*\) cannot be read"
        ) as error:
            audio.decode(source)
        assert "secret-folder" not in str(error.value)


def test_a_file_that_is_not_there_is_an_error_without_its_folder(tmp_path: Path):
    with pytest.raises(UnsupportedMedia, match=r"^The file cannot be opened: No such file or directory\.$"):
        audio.decode(tmp_path / "gone.wav")


def test_a_playlist_never_makes_another_file_be_read(tmp_path: Path):
    write_film(tmp_path / "other.ts", "mpeg2video")
    for name in ("a.m3u8", "a.wav"):
        path = tmp_path / name
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:1,\nother.ts\n#EXT-X-ENDLIST\n")
        with pytest.raises(UnsupportedMedia, match="a playlist"):
            audio.decode(path)


@pytest.mark.parametrize("kind", ["flac", "s16 wav", "float wav", "m4a"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_whose_end_is_missing_is_refused(kind: str, share: float, tmp_path: Path):
    noise = np.random.default_rng(1).standard_normal((1, RATE)).astype(np.float32) * 0.1
    path = {
        "flac": lambda: audio.encode(audio.Sound(steps(16), RATE), tmp_path).path,
        "float wav": lambda: audio.encode(audio.Sound(torch.tensor(noise), RATE), tmp_path).path,
        "s16 wav": lambda: write_sound(tmp_path / "a.wav", "pcm_s16le", noise, kind="flt"),
        "m4a": lambda: write_sound(tmp_path / "a.m4a", "aac", noise, kind="flt"),
    }[kind]()
    data = path.read_bytes()
    with pytest.raises(UnsupportedMedia, match=r"incomplete|its end is missing"):
        audio.decode(data[: int(len(data) * share)])


@pytest.mark.parametrize(("suffix", "codec"), [(".mp3", "libmp3lame"), (".opus", "libopus"), (".flac", "flac")])
def test_a_damaged_file_is_refused_or_read_but_never_a_surprise(suffix: str, codec: str, tmp_path: Path):
    data = write_sound(
        tmp_path / f"a{suffix}", codec, tone(rate=48000).astype("f4"), kind="flt", rate=48000
    ).read_bytes()
    random = np.random.default_rng(2)
    for _ in range(20):
        damaged = bytearray(data)
        for place in random.integers(0, len(data), 5):
            damaged[place] = random.integers(256)
        try:
            decoded = audio.decode(bytes(damaged))
        except UnsupportedMedia as error:
            assert "cannot be read" in str(error)
        else:
            assert decoded["waveform"].ndim == 3


def test_more_values_than_allowed_are_refused_while_they_are_read(tmp_path: Path):
    silence = write_sound(tmp_path / "a.flac", "flac", np.zeros((2, RATE * 60), np.int16), kind="s16")
    assert silence.stat().st_size < 50_000
    with pytest.raises(UnsupportedMedia, match="more than the 1000000 values of sound that are allowed"):
        audio.decode(silence, max_values=1_000_000)


def test_a_wav_that_announces_more_than_memory_holds_is_refused_by_what_it_lacks():
    head = (
        b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32) + b"data" + struct.pack("<I", 2**32 - 100)
    )
    data = b"RIFF" + struct.pack("<I", 2**32 - 64) + head + bytes(400)
    with pytest.raises(UnsupportedMedia, match=r"its end is missing, 42949\d+ bytes of it"):
        audio.decode(data)


def test_a_wav_that_was_written_without_knowing_its_end_is_read():
    head = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 3, 1, 8000, 32000, 4, 32) + b"data" + struct.pack("<I", 2**32 - 1)
    values = np.arange(100, dtype="<f4")
    decoded = audio.decode(b"RIFF" + struct.pack("<I", 2**32 - 1) + head + values.tobytes())
    assert decoded["waveform"][0, 0].tolist() == values.tolist()


def test_a_sound_that_no_wav_can_hold_is_refused_before_it_is_written(tmp_path: Path):
    huge = torch.zeros(1).expand(2**14 + 1, 2)
    with pytest.raises(InvalidInput, match="larger than a WAV file can be"):
        audio.encode(audio.Sound(huge + 0.1, RATE), tmp_path)


def test_ffmpegs_own_reader_of_our_wav_agrees(tmp_path: Path):
    waveform = torch.randn(2, 1000)
    path = audio.encode(audio.Sound(waveform, 22050), tmp_path).path
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec_context.name == "pcm_f32le"
        assert container.duration == round(1000 / 22050 * 1_000_000)
