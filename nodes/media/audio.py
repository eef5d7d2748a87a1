"""Sounds: ComfyUI's AUDIO to files and back.

AUDIO is `{"waveform": [B, C, T] float32, "sample_rate": int}`, a batch of B sounds with C channels. What is written
here is lossless: the values come back as they were. Sounds are read as ComfyUI's Load Audio reads them: what an encoder
has put before and after the sound (MP3, Opus) is left out where the file tells of it. 16 and 24 bit files come back
exactly; of 32 bit integers and 64 bit floats the nearest float32. Nothing is resampled, mixed down or padded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray

from ...api.errors import InvalidInput
from .container import Damaged, opened
from .files import MediaFile, new_file
from .wav import write_wav

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio import AudioStream
    from av.container import InputContainer

Audio = dict[str, Any]
"""ComfyUI's AUDIO: a tensor and a number."""
Waveform = NDArray[np.float32]
"""Values `[C, T]`."""

MAX_VALUES = 2**29
"""Values that a sound may have, all channels together, unless the caller says otherwise: 2 GiB of float32."""

_BLOCK = 2**16
"""Samples that are looked at or written at once."""

_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "quad", 5: "5.0", 6: "5.1", 7: "6.1", 8: "7.1"}
_WHOLE_NUMBERS = (("s16", 2**15, np.int16), ("s32", 2**23, np.int32))
"""What FLAC holds: FFmpeg's name for its samples, full scale, and their type; 24 bits are the upper ones of 32."""

_TOO_MANY_PLANES = 8

_SCALES = {"u8": 2**7, "s16": 2**15, "s32": 2**31, "flt": 1, "dbl": 1}
"""What 1.0 is in a decoded frame, by FFmpeg's name for its samples."""


class Sound(NamedTuple):
    """One entry of an AUDIO."""

    waveform: torch.Tensor
    """`[C, T]`"""
    sample_rate: int


def sounds(audio: object) -> list[Sound]:
    """The sounds in an AUDIO or in a list of them. InvalidInput for anything else, and where there is none."""
    if isinstance(audio, (list, tuple)):
        found = [sound for each in cast("Sequence[object]", audio) for sound in sounds(each)]
    elif isinstance(audio, Mapping):
        found = _entries(cast("Mapping[str, Any]", audio))
    else:
        raise InvalidInput(
            "There is no sound here: a video without a sound track gives none."
            if audio is None
            else f"This is not an AUDIO: it is {type(audio).__name__}."
        )
    if not found:
        raise InvalidInput("There is nothing in the batch of sounds; at least one is needed.")
    return found


def _entries(audio: Mapping[str, Any]) -> list[Sound]:
    waveform, sample_rate = audio.get("waveform"), audio.get("sample_rate")
    if not isinstance(waveform, torch.Tensor) or isinstance(sample_rate, bool) or not isinstance(sample_rate, int):
        raise InvalidInput("This is not an AUDIO: it has no waveform or no sample rate.")
    if waveform.ndim not in (2, 3):
        raise InvalidInput(f"An AUDIO has a waveform [B, C, T], but this one is {list(waveform.shape)}.")
    return [Sound(each, sample_rate) for each in ([waveform] if waveform.ndim == 2 else waveform.unbind(0))]


def batch(audios: Sequence[Audio]) -> list[Audio]:
    """One AUDIO where rate, number of channels and length of all are the same; else each as it is, never padded."""
    if len(audios) < 2 or len({(each["waveform"].shape[1:], each["sample_rate"]) for each in audios}) > 1:
        return list(audios)
    return [{"waveform": torch.cat([each["waveform"] for each in audios]), "sample_rate": audios[0]["sample_rate"]}]


def values(sound: Sound) -> Waveform:
    """The values `[C, T]` of a sound. InvalidInput for what is no sound, and for NaN and infinity."""
    waveform, sample_rate = sound
    if waveform.ndim != 2 or not waveform.numel():
        raise InvalidInput(f"A sound is [C, T] with at least one sample, but this one is {list(waveform.shape)}.")
    if not waveform.is_floating_point():
        raise InvalidInput(f"A sound has floating point values, but this one has {waveform.dtype}.")
    if not 0 < sample_rate < 2**31:
        raise InvalidInput(f"A sound cannot have {sample_rate} samples per second.")
    found: Waveform = waveform.detach().to("cpu", torch.float32).numpy()
    if not all(np.isfinite(block).all() for block in _blocks(found)):
        raise InvalidInput(
            f"The sound of {found.shape[1] / sample_rate:.1f} seconds has values that are not numbers (NaN or "
            "infinity), so it cannot be sent. They often come from a model that overflows in half precision."
        )
    return found


def encode(sound: Sound, folder: Path) -> MediaFile:
    """A new file in `folder` with exactly that sound.

    FLAC with 16 or 24 bits where each value is a whole number of its steps, as it is in what was read from such a file;
    else WAV with 32 bit floats. The same sound gives the same bytes. InvalidInput as `values` raises it.
    """
    found = values(sound)
    if _fits_flac(found, sound.sample_rate):
        for name, scale, kind in _WHOLE_NUMBERS:
            if all(_is_whole(block, scale) for block in _blocks(found)):
                file = new_file(folder, ".flac")
                _write_flac(file.path, found, sound.sample_rate, (name, scale, kind))
                return file
    file = new_file(folder, ".wav")
    write_wav(file.path, found, sound.sample_rate)
    return file


def decode(source: Path | bytes, *, max_values: int = MAX_VALUES, name: str = "The file") -> Audio:
    """The first sound track of a file, as an AUDIO with a batch of one.

    Raises UnsupportedMedia for a file that has none, that is damaged, or with more than `max_values` values; `name` is
    what the message calls it. A cut off MP3 or Ogg file cannot be told from a shorter one.
    """
    with opened(source, name=name) as container:
        stream = sound_track(container)
        if stream is None:
            raise Damaged("it has no sound track")
        waveform, sample_rate = read(container, stream, max_values=max_values)
    return {"waveform": torch.as_tensor(waveform[None]), "sample_rate": sample_rate}


def sound_track(container: InputContainer) -> AudioStream | None:
    """The first sound track that FFmpeg has a decoder for; to touch another would end the process."""
    tracks = cast("Sequence[Any]", container.streams.audio)  # its type denies that a codec_context can be None
    return next((track for track in tracks if track.codec_context is not None), None)


def read(
    container: InputContainer, stream: AudioStream, *, max_values: int, start: float | None = None
) -> tuple[Waveform, int]:
    """The values of a sound track and its sample rate: all of it, or what is heard from second `start` on.

    Where it begins later than `start` there is silence in front, so that it stays in step with the pictures of a video.
    Raises Damaged, and what FFmpeg raises, for a track that cannot be read.
    """
    pieces: list[Waveform] = []
    rates: set[int] = set()
    total = 0
    for frame in container.decode(stream):
        piece = _piece(frame)
        if not pieces and start is not None and frame.time is not None:
            piece = _in_step(piece, frame.time - start, frame.sample_rate)
        rates.add(frame.sample_rate)
        total += piece.size
        if total > max_values:
            raise Damaged(f"it has more than the {max_values} values of sound that are allowed")
        if len(rates) > 1 or (pieces and len(piece) != len(pieces[0])):
            raise Damaged("its sample rate or its number of channels changes in the middle")
        pieces.append(piece)
    if not total:
        raise Damaged("its sound track is empty")
    return np.concatenate(pieces, axis=1), rates.pop()


def _piece(frame: AudioFrame) -> Waveform:
    """The values of a decoded frame: full scale is 1."""
    kind = frame.format.name.removesuffix("p")
    if kind not in _SCALES:
        raise Damaged(f"its samples are of a kind that is not read here ({kind})")
    if frame.format.is_planar and len(frame.layout.channels) >= _TOO_MANY_PLANES:
        frame = _packed(frame)
    samples: NDArray[Any] = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(frame.samples, -1).T
    values = samples.astype(np.float32)
    if kind == "u8":
        values -= np.float32(_SCALES[kind])
    return values if _SCALES[kind] == 1 else np.divide(values, np.float32(_SCALES[kind]), out=values)


def _packed(frame: AudioFrame) -> AudioFrame:
    """The same values with the channels of each sample side by side.

    PyAV looks for a plane beyond the last one of eight or more, and so ends the process (seen in 14.2 to 18.1).
    """
    import av

    resampler: Any = av.AudioResampler(frame.format.packed, frame.layout, frame.sample_rate)  # types unknown in part
    whole = [*resampler.resample(frame), *resampler.resample(None)]
    if len(whole) != 1 or whole[0].samples != frame.samples:
        raise Damaged(f"its {len(frame.layout.channels)} channels cannot be taken apart")
    return whole[0]


def _in_step(piece: Waveform, late: float, sample_rate: int) -> Waveform:
    """A first piece that begins `late` seconds after it should: with silence in front, or without what is too early."""
    shift = round(late * sample_rate)
    if shift <= 0:
        return piece[:, min(-shift, piece.shape[1]) :]
    if shift > MAX_VALUES // len(piece):
        raise Damaged("its sound begins long after its pictures")
    return np.pad(piece, ((0, 0), (shift, 0)))


def _blocks(found: Waveform) -> Iterator[Waveform]:
    return (found[:, first : first + _BLOCK] for first in range(0, found.shape[1], _BLOCK))


def _fits_flac(found: Waveform, sample_rate: int) -> bool:
    return len(found) in _LAYOUTS and (sample_rate < 2**16 or (sample_rate % 10 == 0 and sample_rate < 655350))


def _is_whole(block: Waveform, scale: int) -> bool:
    steps = block * np.float32(scale)
    return bool((steps == np.rint(steps)).all() and steps.min() >= -scale and steps.max() < scale)


def _write_flac(path: Path, found: Waveform, sample_rate: int, kind: tuple[str, int, type[np.integer[Any]]]) -> None:
    import av

    name, scale, integer = kind
    shift = np.iinfo(integer).bits - scale.bit_length()
    with av.open(str(path), "w", format="flac") as container:
        output: Any = container  # half of what PyAV says of its types here is unknown
        stream = output.add_stream("flac", rate=sample_rate)
        stream.codec_context.layout = _LAYOUTS[len(found)]
        stream.codec_context.format = name
        for index, block in enumerate(_blocks(found)):
            steps = (block * np.float32(scale)).astype(integer) << shift
            packed = np.ascontiguousarray(steps.T).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(cast("Any", packed), format=name, layout=_LAYOUTS[len(found)])
            frame.sample_rate, frame.pts = sample_rate, index * _BLOCK
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
