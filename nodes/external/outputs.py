"""Output nodes with an `output_id`: what a deployment of a graph puts out, by names that stay.

Their names and inputs are those that the hosted platform and existing graphs know.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from .. import host
from .fields import Field, Fields, choice, link, text

if TYPE_CHECKING:
    from ..media import Pixels

CATEGORY = "Outpost/Outputs"
_PREFIX = "How the file's name begins, as for Save Image; it may have folders, and %date:yyyy-MM-dd% and the like."


def _output_id(default: str) -> Fields:
    return {"output_id": text("What the output is called in the results of a run.", default=default)}


class OutputImage:
    """Save images under an output_id."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    DESCRIPTION = "Saves images in ComfyUI's output folder. In a deployment they are an output with the given id."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        quality: Field = ("INT", {"default": 80, "min": 1, "max": 100, "step": 1, "tooltip": "Of jpg and webp."})
        required = {
            "images": link("IMAGE", "The images."),
            "filename_prefix": text(_PREFIX, default="ComfyUI"),
            "file_type": choice(["png", "jpg", "webp"], "png keeps every pixel, and the graph.", default="png"),
            "quality": quality,
        }
        hidden: Any = {"prompt": "PROMPT", "extra_pnginfo": "EXTRA_PNGINFO"}
        return {"required": required, "optional": _output_id("output_images"), "hidden": hidden}

    def run(
        self,
        images: Any,
        filename_prefix: str = "ComfyUI",
        file_type: str = "png",
        quality: int = 80,
        output_id: str = "output_images",
        prompt: Any = None,
        extra_pnginfo: Any = None,
    ) -> dict[str, Any]:
        from .. import media
        from .picture_files import write_picture

        graph: dict[str, Any] = {"prompt": prompt, **(extra_pnginfo or {})} if host.writes_metadata() else {}
        pixels = [media.to_pixels(image) for image in media.images(images)]
        folder, name, number, subfolder = _next_output(filename_prefix, output_id, pixels[0])

        def write(index: int, filename: str) -> None:
            write_picture(pixels[index], folder / filename, quality=quality, texts=graph)

        names = [_filename(name, index, number, file_type) for index in range(len(pixels))]
        return {"ui": {"images": _written(names, write, subfolder=subfolder, output_id=output_id)}}


class OutputEXR:
    """Save images with every bit of their values under an output_id."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    DESCRIPTION = "Saves images as OpenEXR, with their values as they are. In a deployment they are an output."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        prefix = text(_PREFIX, default="ComfyDeploy_EXR")
        required = {"images": link("IMAGE", "The images."), "filename_prefix": prefix}
        return {"required": required, "optional": _output_id("output_exr")}

    def run(
        self, images: Any, filename_prefix: str = "ComfyDeploy_EXR", output_id: str = "output_exr"
    ) -> dict[str, Any]:
        from .. import media
        from ..media import exr

        entries = media.images(images)
        folder, name, number, subfolder = _next_output(filename_prefix, output_id, entries[0])

        def write(index: int, filename: str) -> None:
            (folder / filename).write_bytes(exr.encode(entries[index]))

        names = [_filename(name, index, number, "exr") for index in range(len(entries))]
        return {"ui": {"images": _written(names, write, subfolder=subfolder, output_id=output_id)}}


class OutputText:
    """Put out a text under an output_id."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    DESCRIPTION = (
        "Saves a text in ComfyUI's output folder, and shows it. In a deployment it is a text output with the given id."
    )

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        required = {
            "text": text("The text.", multiline=True, forceInput=True),
            "filename_prefix": text(_PREFIX, default="ComfyUI"),
            "file_type": choice(["txt", "json", "md"], "How the file's name ends.", default="txt"),
        }
        return {"required": required, "optional": _output_id("output_text")}

    def run(
        self, text: str, filename_prefix: str = "ComfyUI", file_type: str = "txt", output_id: str = "output_text"
    ) -> dict[str, Any]:
        folder, name, number, _ = _next_output(filename_prefix, output_id)
        (folder / _filename(name, 0, number, file_type)).write_text(str(text), encoding="utf-8", errors="replace")
        return {"ui": {"text": [str(text)]}}


class OutputFile:
    """Put out a file of the output folder under an output_id."""

    CATEGORY = CATEGORY
    RETURN_TYPES = ()
    FUNCTION = "run"
    OUTPUT_NODE = True
    DESCRIPTION = "A file of ComfyUI's output folder, which in a deployment is an output with the given id."

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Fields]:  # noqa: N802 ComfyUI's name
        tooltip = "The file: its path from ComfyUI's output folder, or a whole path into that folder."
        return {"required": {"file_path": text(tooltip, forceInput=True)}, "optional": _output_id("output_file")}

    @classmethod
    def IS_CHANGED(cls, **_: Any) -> float:  # noqa: N802 ComfyUI's name
        """Never the same as before: another file may have come under the same name."""
        return float("nan")

    def run(self, file_path: str, output_id: str = "output_file") -> dict[str, Any]:
        from ...api.errors import InvalidInput, quote
        from ..local_files import choose

        root = host.output_folder().resolve()
        try:
            path = choose(file_path, root=root).relative_to(root)
        except InvalidInput:
            raise InvalidInput(
                f"The output {output_id!r} takes a file of ComfyUI's output folder, by its path from there, and "
                f"{quote(repr(PureWindowsPath(file_path).name))} is none: save it there first"
            ) from None
        subfolder = "" if path.parent == Path() else path.parent.as_posix()
        return {"ui": {"files": [_record(path.name, subfolder, output_id)]}}


def _next_output(prefix: str, output_id: str, image: Pixels | Any = None) -> tuple[Path, str, int, str]:
    """Folder, beginning of the name, number and subfolder of what is saved next."""
    from ...api.errors import InvalidInput

    if PurePath(prefix).is_absolute() or ".." in PureWindowsPath(prefix).parts:
        raise InvalidInput(
            f"The output {output_id!r} is saved in ComfyUI's output folder: take the folders outside of it out of "
            "filename_prefix"
        )
    height, width = (0, 0) if image is None else image.shape[:2]
    return host.next_output(prefix, width, height)


def _filename(name: str, index: int, number: int, file_type: str) -> str:
    return f"{name.replace('%batch_num%', str(index))}_{number + index:05}_.{file_type}"


def _written(
    names: list[str], write: Callable[[int, str], None], *, subfolder: str, output_id: str
) -> list[dict[str, str]]:
    for index, name in enumerate(names):
        write(index, name)
    return [_record(name, subfolder, output_id) for name in names]


def _record(filename: str, subfolder: str, output_id: str) -> dict[str, str]:
    return {"filename": filename, "subfolder": subfolder, "type": "output", "output_id": output_id}


NODES: dict[str, type] = {
    "ComfyDeployOutputImage": OutputImage,
    "ComfyDeployOutputText": OutputText,
    "ComfyDeployOutputFile": OutputFile,
    "ComfyDeployOutputEXR": OutputEXR,
}
NAMES = {
    "ComfyDeployOutputImage": "Image Output (Outpost)",
    "ComfyDeployOutputText": "Text Output (Outpost)",
    "ComfyDeployOutputFile": "File Output (Outpost)",
    "ComfyDeployOutputEXR": "EXR Output (Outpost)",
}
