"""Graphs that the tests deploy on the built-in machine."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from PIL import Image

Graph = dict[str, Any]


def node(class_type: str, **inputs: Any) -> dict[str, Any]:
    """One node of a graph in API format."""
    return {"class_type": class_type, "inputs": inputs}


def external(kind: str, input_id: str, **inputs: Any) -> dict[str, Any]:
    """An input node, such as `external("Text", "prompt")`."""
    return node(f"ComfyUIDeployExternal{kind}", input_id=input_id, **inputs)


ECHO: Graph = {
    "1": external("Text", "text", default_value="nothing was said"),
    "2": node("PreviewAny", source=["1", 0], output_id="echo"),
}
"""Puts out the text that comes in."""

EVERY_KIND: Graph = {
    "1": external("Image", "image"),
    "2": external("Text", "text", default_value=""),
    "3": external("NumberInt", "steps", default_value=1, min_value=1, max_value=100),
    "4": external("Number", "strength", default_value=1.0),
    "5": external("Boolean", "loud", default_value=False),
    "6": external("Enum", "size", default_value="small", options='["small", "large"]'),
    "7": node("SaveImage", images=["1", 0]),
}
"""Takes one input of each kind; only `image` is required."""

SAVE_IMAGE: Graph = {
    "1": external("Image", "image"),
    "2": node("SaveImage", images=["1", 0], filename_prefix="kept", output_id="result"),
}
"""Puts out the picture that comes in."""

INVERT: Graph = {**SAVE_IMAGE, "2": node("ImageInvert", image=["1", 0]), "3": node("SaveImage", images=["2", 0])}
"""Computes on every pixel, so that the picture is decoded."""


def sleep(seconds: float) -> Graph:
    """Takes so long, and puts out a picture."""
    return {
        "1": node("EmptyImage", width=8, height=8),
        "2": node("OutpostSleep", seconds=seconds, image=["1", 0]),
        "3": node("SaveImage", images=["2", 0], output_id="result"),
    }


def png(width: int = 4, height: int = 4, mode: str = "RGB") -> bytes:
    """A small picture."""
    file = BytesIO()
    Image.new(mode, (width, height), "red" if mode == "RGB" else 0).save(file, "PNG")
    return file.getvalue()
