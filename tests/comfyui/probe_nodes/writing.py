"""Nodes that write files which no node of ComfyUI writes in every version, and reports them as custom nodes do."""

import json
from pathlib import Path

import folder_paths
import numpy as np
import torch
from PIL import Image

BITS_16 = 65535


class WriteFiles:
    """Writes files of many kinds and reports each under a key of its own, in a folder within a folder."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"
    SUBFOLDER = "any/kind"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"name": ("STRING", {"default": "made"})}}

    def run(self, name):
        folder = Path(folder_paths.get_output_directory(), self.SUBFOLDER)
        folder.mkdir(parents=True, exist_ok=True)
        ramp = np.linspace(0, BITS_16, 48, dtype=np.uint16).reshape(6, 8)
        Image.fromarray(ramp).save(folder / f"{name}.png")
        contents = {
            "facts": (f"{name}.json", json.dumps({"a fact": "ü"}).encode()),
            "point_clouds": (f"{name}.ply", b"ply\nformat ascii 1.0\nend_header\n"),
            "weights": (f"{name}.no-such-suffix", bytes(range(256)) * 4),
            "with a blank": (f"{name} ü & ?#%2F+.bin", b"a name that has to be quoted"),
            "empty": (f"{name}.empty", b""),
        }
        ui = {"deep": [self._record(f"{name}.png")]}
        for key, (filename, content) in contents.items():
            (folder / filename).write_bytes(content)
            ui[key] = [self._record(filename)]
        return {"ui": ui}

    def _record(self, filename):
        return {"filename": filename, "subfolder": self.SUBFOLDER, "type": "output"}


class Noise:
    """A latent with another number in every place."""

    RETURN_TYPES = ("LATENT",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"seed": ("INT", {"default": 0, "min": 0, "max": 1 << 32})}}

    def run(self, seed):
        return ({"samples": torch.randn((1, 4, 8, 8), generator=torch.manual_seed(seed))},)


class Triangle:
    """The smallest mesh, where ComfyUI knows meshes."""

    RETURN_TYPES = ("MESH",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {}}

    def run(self):
        from comfy_api.latest import Types

        mesh = getattr(Types, "MESH", None)
        if mesh is None:  # older ones keep it beside their nodes
            from comfy_extras.nodes_hunyuan3d import MESH as mesh  # noqa: N811
        corners = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        return (mesh(corners, torch.tensor([[[0, 1, 2]]])),)


NODE_CLASS_MAPPINGS = {"WriteFiles": WriteFiles, "Noise": Noise, "Triangle": Triangle}
