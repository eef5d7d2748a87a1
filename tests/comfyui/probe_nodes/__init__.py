"""Nodes for ComfyUI that show in a prompt's history what has come to them, and that write what others do not."""

import time

from . import media, slow, writing


class ShowTexts:
    """Shows texts as they are."""

    RETURN_TYPES = ()
    OUTPUT_NODE = True
    INPUT_IS_LIST = True
    FUNCTION = "run"
    INPUT = ("text", "STRING")

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        name, kind = cls.INPUT
        return {"required": {name: (kind, {"forceInput": True})}}

    def run(self, text):
        return {"ui": {"text": list(text)}}


class ShowShapes(ShowTexts):
    """Shows the shape of each image, one for every entry of a list."""

    INPUT = ("image", "IMAGE")

    def run(self, image):
        return {"ui": {"shapes": [list(each.shape) for each in image]}}


class Fail(ShowTexts):
    """Fails with what it was given in its hands."""

    INPUT = ("run", "OUTPOST_RUN")

    def run(self, run):
        raise ValueError("this node always fails")


class Busy:
    """Keeps the prompt busy, and hears nothing meanwhile."""

    RETURN_TYPES = ("STRING",)
    OUTPUT_NODE = True
    FUNCTION = "run"

    @classmethod
    def INPUT_TYPES(cls):  # noqa: N802 ComfyUI's name
        return {"required": {"seconds": ("FLOAT", {})}, "optional": {"after": ("STRING", {"forceInput": True})}}

    def run(self, seconds, after=""):
        time.sleep(seconds)
        return (after,)


NODE_CLASS_MAPPINGS = {
    "ShowTexts": ShowTexts,
    "ShowShapes": ShowShapes,
    "Fail": Fail,
    "Busy": Busy,
    **slow.NODE_CLASS_MAPPINGS,
    **writing.NODE_CLASS_MAPPINGS,
    **media.NODE_CLASS_MAPPINGS,
}
