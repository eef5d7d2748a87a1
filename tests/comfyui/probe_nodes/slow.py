"""A node that runs for minutes unless it is interrupted, and one that fails."""

import time

import comfy.utils


class Slow:
    """Works for minutes, and is asked at every step whether somebody has interrupted it."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {}}

    def run(self):
        bar = comfy.utils.ProgressBar(10_000)
        for _ in range(10_000):
            bar.update(1)
            time.sleep(0.01)
        return {"ui": {}}


class Failing(Slow):
    """Fails at once."""

    def run(self):
        raise ValueError("this node always fails")


NODE_CLASS_MAPPINGS = {"Slow": Slow, "Failing": Failing}
