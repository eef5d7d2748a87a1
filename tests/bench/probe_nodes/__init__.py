"""Nodes for ComfyUI that take a known time, and that tell when they have told of something."""

import json
import time

import comfy.utils


class BenchWork:
    """Gives an image back after so many seconds. With another number it is another work, which no cache has."""

    CATEGORY = "bench"
    RETURN_TYPES = ("IMAGE",)
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        number = ("INT", {"default": 0, "min": 0, "max": 1 << 31})
        return {"required": {"image": ("IMAGE",), "seconds": ("FLOAT", {"min": 0.0, "max": 60.0}), "number": number}}

    def run(self, image, seconds, number):
        time.sleep(seconds)
        return (image,)


class BenchSteps:
    """Makes steps, so many each second, and puts out by the clock of its computer when it told of each of them."""

    CATEGORY = "bench"
    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        number = ("INT", {"default": 0, "min": 0, "max": 1 << 31})
        return {"required": {"steps": number, "per_second": ("FLOAT", {"min": 1.0, "max": 1000.0}), "number": number}}

    def run(self, steps, per_second, number):
        told, begun = [], time.perf_counter()
        for step in range(1, steps + 1):
            time.sleep(max(0.0, begun + step / per_second - time.perf_counter()))
            told.append(time.perf_counter())
            # Not by a ProgressBar: newer versions leave out steps that come too fast, and do so before this.
            comfy.utils.PROGRESS_BAR_HOOK(step, steps, None)
        return {"ui": {"text": [json.dumps(told)]}}


NODE_CLASS_MAPPINGS = {"BenchWork": BenchWork, "BenchSteps": BenchSteps}
