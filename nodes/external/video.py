"""Which frames of a video the External Video node gives, and how large. Pure arithmetic, without tensors of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

SIZES = [
    "Disabled",
    "Custom Height",
    "Custom Width",
    "Custom",
    "256x?",
    "?x256",
    "256x256",
    "512x?",
    "?x512",
    "512x512",
]
_STEP = 8
"""The side that follows from the other is a multiple of this: latents are that much smaller."""


@dataclass(frozen=True)
class Cut:
    """What is taken of a video."""

    force_rate: int = 0
    """Frames per second that it is brought to, by leaving out or repeating frames; 0 leaves it as it is."""
    skip_first_frames: int = 0
    select_every_nth: int = 1
    frame_load_cap: int = 0
    """Most frames; 0 stands for all of them."""

    def indices(self, count: int, rate: Fraction) -> list[int]:
        """The frames that are taken, of `count` at `rate` per second; skipping comes after the change of rate."""
        frames: Sequence[int] = range(count)
        if self.force_rate:
            # The frame that is shown at the time of each new one.
            wanted = max(1, int(count * self.force_rate / rate))
            frames = [min(count - 1, int(number * rate / self.force_rate)) for number in range(wanted)]
        taken = frames[self.skip_first_frames :: max(1, self.select_every_nth)]
        return list(taken[: self.frame_load_cap] if self.frame_load_cap else taken)

    def frame_seconds(self, rate: Fraction) -> Fraction:
        """How long each of the frames that are taken is shown."""
        return max(1, self.select_every_nth) / (Fraction(self.force_rate) if self.force_rate else rate)

    def sound(self, audio: dict[str, Any], count: int, rate: Fraction) -> dict[str, Any]:
        """The part of an AUDIO that belongs to the `count` frames that are taken."""
        sample_rate = audio["sample_rate"]
        first = self.skip_first_frames * self.frame_seconds(rate) / max(1, self.select_every_nth)
        start = round(first * sample_rate)
        end = round((first + count * self.frame_seconds(rate)) * sample_rate) if self.frame_load_cap else None
        return {**audio, "waveform": audio["waveform"][..., start:end]}

    def info(self, frames: Any, taken: Any, rate: Fraction) -> dict[str, Any]:
        """What VideoHelperSuite's nodes tell of a video, `VHS_VIDEOINFO`; both are `[F, H, W, C]`."""
        (count, height, width), seconds = frames.shape[:3], self.frame_seconds(rate)
        return {
            "source_fps": float(rate),
            "source_frame_count": count,
            "source_duration": float(count / rate),
            "source_width": width,
            "source_height": height,
            "loaded_fps": float(1 / seconds),
            "loaded_frame_count": taken.shape[0],
            "loaded_duration": float(taken.shape[0] * seconds),
            "loaded_width": taken.shape[2],
            "loaded_height": taken.shape[1],
        }


def size(width: int, height: int, *, wanted: str, custom_width: int, custom_height: int) -> tuple[int, int]:
    """The width and height that frames get, by one of SIZES."""
    by_name = {"Disabled": (width, height), "Custom": (custom_width, custom_height)}
    if wanted in by_name:
        return by_name[wanted]
    sides = {"Custom Width": f"{custom_width}x?", "Custom Height": f"?x{custom_height}"}.get(wanted, wanted).split("x")
    if sides[0] == "?":
        return _multiple(width * int(sides[1]) / height), int(sides[1])
    if sides[1] == "?":
        return int(sides[0]), _multiple(height * int(sides[0]) / width)
    return int(sides[0]), int(sides[1])


def _multiple(side: float) -> int:
    return max(_STEP, int(side + _STEP / 2) // _STEP * _STEP)
