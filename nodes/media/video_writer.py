"""Frames written as an MP4 video, one after the other, with as many threads as there are processors.

H.264 with a quality that is hard to tell from the original (CRF 17) and AAC sound, both lossy: what must come back
exactly is sent as images and as audio. Colours are BT.709 of limited range, and the file says so. They have a quarter
of the resolution (4:2:0), which every player shows; a width or height that is odd has no quarter, so then they keep
their full resolution (4:4:4), and no pixel is added or dropped.
"""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...api.errors import InvalidInput, UnsupportedMedia
from . import audio as sound
from .files import MediaFile, new_file
from .images import images as entries
from .images import to_pixels

_MAX_DENOMINATOR = 1001
MAX_SIDE = 16384
"""Pixels: what H.264 can hold, and its encoder takes."""
_QUALITY = {"crf": "17", "preset": "veryfast"}
_BT709, _SRGB_CURVE, _LIMITED = 1, 13, 1  # as ITU-T H.273 numbers them; the last one is FFmpeg's

_AUDIO_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_AUDIO_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
_AUDIO_BITS_PER_CHANNEL = 128_000
_AUDIO_BLOCK = 1024
_OTHER_RATE = 48000
"""What sound is resampled to where AAC has no such rate."""


def encode_frames(
    images: torch.Tensor, fps: float | Fraction, folder: Path, *, audio: sound.Audio | None = None
) -> MediaFile:
    """A new MP4 file in `folder` with the frames of an IMAGE `[F, H, W, C]`, grey or RGB, and the sound of an AUDIO.

    The sound is neither cut off nor filled up where it is longer or shorter than the pictures. The same frames give the
    same bytes on the same machine. Raises InvalidInput for what is no film; UnsupportedMedia for frames with alpha,
    which H.264 does not have.
    """
    import av
    from av.error import FFmpegError

    frames, rate = entries(images), _frame_rate(fps)
    _check(frames[0])
    track = _one_sound(audio)
    file = new_file(folder, ".mp4")
    try:
        with av.open(str(file.path), "w", format="mp4", options={"movflags": "faststart"}) as container:
            output: Any = container  # half of what PyAV says of its types here is unknown
            video = _video_stream(output, frames[0], rate)
            blocks = _Sound(output, track) if track else None
            for index, frame in enumerate(frames):
                output.mux(video.encode(_frame(frame, video.pix_fmt)))
                if blocks:
                    blocks.write_until(float((index + 1) / rate))
            output.mux(video.encode(None))
            if blocks:
                blocks.close()
    except FFmpegError as error:
        file.path.unlink(missing_ok=True)
        raise UnsupportedMedia(f"The video could not be written ({error.strerror}).") from error
    except BaseException:
        file.path.unlink(missing_ok=True)
        raise
    return file


def _frame_rate(fps: float | Fraction) -> Fraction:
    if (not isinstance(fps, Fraction) and not math.isfinite(fps)) or not 0 < fps <= 1000:
        raise InvalidInput(f"A video has more than 0 and at most 1000 frames per second, but not {fps}.")
    # 29.97 and the like are what people write for so many thousands in 1001 seconds, and so they come back.
    return Fraction(fps).limit_denominator(_MAX_DENOMINATOR)


def _check(image: torch.Tensor) -> None:
    height, width, channels = image.shape
    if channels not in (1, 3):
        raise UnsupportedMedia(
            f"The frames have {channels} channels. A video is grey or RGB; take alpha off and send it as a mask."
        )
    if max(height, width) > MAX_SIDE:
        raise UnsupportedMedia(f"A video has at most {MAX_SIDE} pixels a side, but its frames are {width}x{height}.")


def _one_sound(audio: sound.Audio | None) -> sound.Sound | None:
    if audio is None:
        return None
    found = sound.sounds(audio)
    if len(found) > 1:
        raise InvalidInput(
            f"A video has one sound track, but the AUDIO is a batch of {len(found)}; choose one of them."
        )
    if len(found[0].waveform) not in _AUDIO_LAYOUTS:
        raise InvalidInput(f"The sound of a video has up to 6, or 8 channels, but not {len(found[0].waveform)}.")
    return found[0]


def _video_stream(output: Any, image: torch.Tensor, rate: Fraction) -> Any:
    height, width, _ = image.shape
    stream = output.add_stream("libx264", rate=rate)
    stream.width, stream.height = width, height
    stream.pix_fmt = "yuv444p" if width % 2 or height % 2 else "yuv420p"
    stream.options = _QUALITY | _instructions()
    context = stream.codec_context
    context.color_primaries = context.colorspace = _BT709
    context.color_trc, context.color_range = _SRGB_CURVE, _LIMITED
    return stream


def _instructions() -> dict[str, str]:
    """Keeps x264 from AVX-512, where PyTorch says that the processor has it.

    With it x264 looks at memory that it has not written when it weighs how much later frames depend on a part of a
    picture (its option `mbtree`): of a film of 96x64 pixels one file in twenty was another one. Where PyTorch is older
    than 2.1, or was told to do without by ATEN_CPU_CAPABILITY, x264 does as it likes.
    """
    usable = getattr(torch.backends, "cpu", None)
    return {"x264-params": "asm=avx2"} if usable and usable.get_cpu_capability() == "AVX512" else {}


def _frame(image: torch.Tensor, pix_fmt: str) -> Any:
    import av

    pixels = to_pixels(image)
    if pixels.shape[2] == 1:
        pixels = np.repeat(pixels, 3, axis=2)
    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
    return frame.reformat(format=pix_fmt, dst_colorspace=_BT709)


class _Sound:
    """The sound track of a video that is being written."""

    def __init__(self, output: Any, track: sound.Sound) -> None:
        import av

        self._output = output
        self._values = sound.values(track)
        self._rate = track.sample_rate
        self._layout = _AUDIO_LAYOUTS[len(self._values)]
        rate = self._rate if self._rate in _AUDIO_RATES else _OTHER_RATE
        self._stream = output.add_stream("aac", rate=rate)
        self._stream.codec_context.layout = self._layout
        self._stream.codec_context.bit_rate = _AUDIO_BITS_PER_CHANNEL * len(self._values)
        self._resampler: Any = av.AudioResampler("fltp", self._layout, rate)  # as above
        self._written = 0

    def write_until(self, seconds: float) -> None:
        """Write what is heard before that time, so that sound and pictures lie side by side in the file."""
        import av

        while self._written < min(seconds * self._rate, self._values.shape[1]):
            block = self._values[:, self._written : self._written + _AUDIO_BLOCK]
            packed = np.ascontiguousarray(block.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=self._layout)
            frame.sample_rate, frame.pts = self._rate, self._written
            self._encode(frame)
            self._written += block.shape[1]

    def close(self) -> None:
        self.write_until(math.inf)
        self._encode(None)
        self._output.mux(self._stream.encode(None))

    def _encode(self, frame: Any) -> None:
        for resampled in self._resampler.resample(frame):
            self._output.mux(self._stream.encode(resampled))
