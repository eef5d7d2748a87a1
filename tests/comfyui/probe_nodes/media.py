"""Nodes for media that the oldest ComfyUI does not know: they make some, show what they got, and give files back."""

import hashlib
import shutil
from pathlib import Path

import folder_paths
import torch

LISTS = {".mp4": "gifs", ".flac": "audio", ".wav": "audio", ".latent": "latents", ".glb": "3d", ".png": "images"}


class GiveBack:
    """Puts a file of the input folder out as it is, in the list that nodes of ComfyUI use for its kind."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"file": ("STRING", {"default": ""})}}

    def run(self, file):
        source = Path(folder_paths.get_input_directory(), file)
        shutil.copyfile(source, Path(folder_paths.get_output_directory(), source.name))
        record = {"filename": source.name, "subfolder": "", "type": "output"}
        return {"ui": {LISTS.get(source.suffix, "files"): [record]}}


class MakeSound:
    """Two channels of a saw, which 16 bits hold exactly; half as loud on the right."""

    RETURN_TYPES = ("AUDIO",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"seconds": ("FLOAT", {"default": 1.0})}}

    def run(self, seconds):
        saw = (torch.arange(int(44100 * seconds)) % 200 - 100).float() / 128
        return ({"waveform": torch.stack([saw, saw / 2])[None], "sample_rate": 44100},)


class MakeFrames:
    """Frames of one grey each, from dark to light."""

    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"count": ("INT", {"default": 8})}}

    def run(self, count):
        return (torch.linspace(0.1, 0.9, count).reshape(count, 1, 1, 1).expand(count, 48, 64, 3).contiguous(),)


class ShowTensor:
    """Shows the shape of a tensor, its mean in thousandths, and a digest of its bits."""

    OUTPUT_NODE = True
    RETURN_TYPES = ()
    FUNCTION = "run"
    INPUT = ("image", "IMAGE")

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        name, kind = cls.INPUT
        return {"required": {name: (kind, {"forceInput": True})}}

    def run(self, **inputs):
        (value,) = inputs.values()
        tensor = self.tensor_of(value).contiguous()
        digest = hashlib.sha256(tensor.numpy().tobytes()).hexdigest()
        mean = [round(each.item() * 1000) for each in tensor.float().flatten(1).mean(1)]
        return {"ui": {"shape": list(tensor.shape), "mean": mean, "digest": [digest]}}

    def tensor_of(self, value):
        return value


class ShowSound(ShowTensor):
    INPUT = ("audio", "AUDIO")

    def tensor_of(self, value):
        return value["waveform"]


class ShowLatent(ShowTensor):
    INPUT = ("latent", "LATENT")

    def tensor_of(self, value):
        return value["samples"]


class FailFile:
    """Fails with an uploaded file in its hands."""

    OUTPUT_NODE = True
    RETURN_TYPES = ()
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"file": ("OUTPOST_FILE", {"forceInput": True})}}

    def run(self, file):
        raise ValueError("this node always fails")


NODE_CLASS_MAPPINGS = {
    "GiveBack": GiveBack,
    "MakeSound": MakeSound,
    "MakeFrames": MakeFrames,
    "ShowTensor": ShowTensor,
    "ShowSound": ShowSound,
    "ShowLatent": ShowLatent,
    "FailFile": FailFile,
}
