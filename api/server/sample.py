"""The sample that every new platform has: a graph that runs on the built-in machine."""

from __future__ import annotations

from ..models import Graph

SAMPLE_NAME = "Hello Outpost"

SAMPLE_WORKFLOW_API: Graph = {
    "1": {
        "class_type": "ComfyUIDeployExternalImage",
        "inputs": {"input_id": "image", "display_name": "Image", "description": "Any picture", "default_value_url": ""},
    },
    "2": {
        "class_type": "ComfyUIDeployExternalNumber",
        "inputs": {
            "input_id": "blur",
            "display_name": "Blur",
            "description": "Radius in pixels",
            "default_value": 0,
            "min_value": 0,
            "max_value": 100,
        },
    },
    "3": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
    "4": {"class_type": "ImageBlur", "inputs": {"image": ["3", 0], "blur_radius": ["2", 0], "sigma": 1}},
    "5": {
        "class_type": "SaveImage",
        "inputs": {"images": ["4", 0], "filename_prefix": "outpost", "output_id": "result"},
    },
}

# The platform keeps the editor's graph beside the executable one; this sample was never drawn in an editor.
SAMPLE_WORKFLOW: Graph = {"version": 0.4, "nodes": [], "links": [], "groups": [], "config": {}, "extra": {}}
