"""Latents to the files of ComfyUI's own nodes and back: bit for bit, and safe to read."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from comfyui_outpost.api.errors import InvalidInput, UnsupportedMedia
from comfyui_outpost.nodes.media import latents
from safetensors.torch import load_file, save_file

DTYPES = [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int8, torch.float8_e4m3fn]


def same(one: torch.Tensor, other: torch.Tensor) -> bool:
    alike = one.dtype == other.dtype and one.shape == other.shape
    return alike and torch.equal(one.contiguous().view(torch.uint8), other.contiguous().view(torch.uint8))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (1, 16, 5, 6, 7), (1, 64, 1024)])
def test_samples_of_any_type_and_shape_survive_bit_for_bit(dtype: torch.dtype, shape: tuple[int, ...], tmp_path: Path):
    samples = (torch.randn(shape) * 9).to(dtype)
    file = latents.encode({"samples": samples}, tmp_path)
    assert (file.suffix, file.content_type) == (".latent", "application/octet-stream")
    for source in (file.path, file.path.read_bytes()):
        again = latents.decode(source)
        assert list(again) == ["samples"]
        assert same(again["samples"], samples)


def test_values_that_are_no_numbers_survive_too(tmp_path: Path):
    samples = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]).reshape(1, 1, 2, 2)
    assert same(latents.decode(latents.encode({"samples": samples}, tmp_path).path)["samples"], samples)


def test_the_mask_and_all_else_of_a_latent_come_back(tmp_path: Path):
    latent = {
        "samples": torch.randn(2, 4, 8, 8),
        "noise_mask": torch.rand(2, 1, 64, 64),
        "batch_index": [3, 4],
        "type": "audio",
        "downscale_ratio_temporal": 2048,
        "nothing": None,
    }
    again = latents.decode(latents.encode(latent, tmp_path).path)
    assert sorted(again) == sorted(latent)
    assert same(again["noise_mask"], latent["noise_mask"])
    assert {name: again[name] for name in list(latent)[2:]} == {name: latent[name] for name in list(latent)[2:]}


def test_comfyuis_load_latent_finds_what_it_looks_for(tmp_path: Path):
    latent = {"samples": torch.randn(1, 4, 8, 8), "noise_mask": torch.rand(1, 64, 64)}
    stored = load_file(latents.encode(latent, tmp_path).path)
    assert "latent_format_version_0" in stored
    assert same(stored["latent_tensor"], latent["samples"])


def test_what_comfyuis_save_latent_writes_is_read(tmp_path: Path):
    samples = torch.randn(1, 4, 8, 8)
    stored = {"latent_tensor": samples, "latent_format_version_0": torch.tensor([])}
    save_file(stored, tmp_path / "a.latent", metadata={"prompt": json.dumps({"1": {}}), "workflow": "{}"})
    again = latents.decode(tmp_path / "a.latent")
    assert list(again) == ["samples"]
    assert same(again["samples"], samples)


def test_a_file_from_before_there_were_versions_is_scaled_as_load_latent_does(tmp_path: Path):
    samples = torch.randn(1, 4, 8, 8).half()
    save_file({"latent_tensor": samples}, tmp_path / "old.latent")
    assert torch.equal(latents.decode(tmp_path / "old.latent")["samples"], samples.float() * (1.0 / 0.18215))


def test_the_same_latent_gives_the_same_bytes(tmp_path: Path):
    latent = {"samples": torch.randn(1, 4, 8, 8), "noise_mask": torch.rand(1, 64, 64), "batch_index": [0]}
    assert len({latents.encode(latent, tmp_path).path.read_bytes() for _ in range(5)}) == 1


def test_parts_of_one_tensor_are_written_each_for_itself(tmp_path: Path):
    whole = torch.randn(4, 4, 8, 8)
    latent = {"samples": whole[1:3].permute(0, 1, 3, 2), "noise_mask": whole[1:3, :1]}
    file = latents.encode(latent, tmp_path)
    assert file.path.stat().st_size < whole[1:3].nbytes * 1.25 + 1000
    assert same(latents.decode(file.path)["samples"], latent["samples"])


def test_a_read_latent_does_not_depend_on_its_file(tmp_path: Path):
    samples = torch.randn(1, 4, 64, 64)
    file = latents.encode({"samples": samples}, tmp_path)
    again = latents.decode(file.path)
    file.path.write_bytes(bytes(file.path.stat().st_size))
    assert same(again["samples"], samples)


class Nested:
    """What ComfyUI makes of the latents of a video and its sound."""

    is_nested = True


@pytest.mark.parametrize(
    ("latent", "message"),
    [
        ({}, "no samples"),
        ({"samples": [1, 2]}, "no samples"),
        ({"samples": Nested()}, "samples of this latent are several tensors in one"),
        ({"samples": torch.zeros(1), "noise_mask": Nested()}, "noise_mask of this latent are several tensors in one"),
        ({"samples": torch.zeros(1), "model": object()}, "'model' that cannot be stored in a file .object"),
        ({"samples": torch.zeros(1), "parts": [torch.zeros(1)]}, "'parts' that cannot be stored"),
        ({"samples": torch.zeros(1), "size": (1, 2)}, "'size' that cannot be stored"),
        ({"samples": torch.zeros(1), "latent_tensor": torch.zeros(1)}, "'latent_tensor'"),
    ],
)
def test_what_a_file_cannot_hold_is_refused_by_name(latent: dict[str, object], message: str, tmp_path: Path):
    with pytest.raises(InvalidInput, match=message):
        latents.encode(latent, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_type_that_safetensors_does_not_know_is_refused(tmp_path: Path):
    with pytest.raises(InvalidInput, match="values of a type that its file cannot hold"):
        latents.encode({"samples": torch.zeros(2, dtype=torch.complex128)}, tmp_path)


def test_is_latent_tells_a_latent_from_other_values():
    assert latents.is_latent({"samples": torch.zeros(1)})
    assert not any(
        latents.is_latent(value) for value in (None, "samples", ["samples"], {"waveform": 1}, torch.zeros(1))
    )


HUGE = (2**62).to_bytes(8, "little")
LIES = b'{"latent_tensor":{"dtype":"F32","shape":[99999999999],"data_offsets":[0,399999999996]}}'


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "empty"),
        (b"<html>404</html>", "HTML"),
        (bytes(100), "nothing known"),
        (pickle.dumps({"latent_tensor": [1]}), "nothing known"),
        (HUGE + b"{}", "nothing known"),
        (len(LIES).to_bytes(8, "little") + LIES + bytes(8), "nothing known"),
        ((2).to_bytes(8, "little") + b"[]", "nothing known"),
    ],
)
def test_bytes_that_are_no_latent_are_refused_with_their_number_and_kind(data: bytes, kind: str, tmp_path: Path):
    path = tmp_path / "a.latent"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(UnsupportedMedia, match=rf"Output '7' \({len(data)} bytes, .*{kind}.*no safetensors file"):
            latents.decode(source, name="Output '7'")


def test_a_model_is_no_latent(tmp_path: Path):
    save_file({"weight": torch.zeros(3)}, tmp_path / "lora.safetensors")
    with pytest.raises(UnsupportedMedia, match="no latent_tensor: it is no latent, but something else"):
        latents.decode(tmp_path / "lora.safetensors")


def test_a_file_that_is_cut_off_or_too_large_is_refused(tmp_path: Path):
    data = latents.encode({"samples": torch.randn(1, 4, 8, 8)}, tmp_path).path.read_bytes()
    for cut in (1, 7, 8, 40, len(data) // 2, len(data) - 1):
        with pytest.raises(UnsupportedMedia, match="no safetensors file, or damaged"):
            latents.decode(data[:cut])
    with pytest.raises(UnsupportedMedia, match="larger than the 100 bytes allowed"):
        latents.decode(data, max_bytes=100)


def test_a_file_that_is_not_there_is_an_error_without_its_folder(tmp_path: Path):
    with pytest.raises(UnsupportedMedia, match=r"^The file cannot be opened: No such file or directory\.$"):
        latents.decode(tmp_path / "gone.latent")


@pytest.mark.parametrize("metadata", ["no json", "[1]", "[" * 100_000, '{"samples": 5}'])
def test_metadata_of_a_stranger_never_replaces_the_samples(metadata: str, tmp_path: Path):
    stored = {"latent_tensor": torch.ones(1, 4), "latent_format_version_0": torch.tensor([])}
    save_file(stored, tmp_path / "a.latent", metadata={"outpost_latent": metadata})
    for source in (tmp_path / "a.latent", (tmp_path / "a.latent").read_bytes()):
        try:
            again = latents.decode(source)
        except UnsupportedMedia as error:
            assert "damaged" in str(error)
        else:
            assert same(again["samples"], torch.ones(1, 4))
