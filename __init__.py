"""ComfyUI-Outpost: run ComfyUI work on remote GPUs and get tensors back.

Importing this package loads nothing else. ComfyUI asks for the node mappings by name, and only then are the nodes
imported; whatever goes wrong there becomes one message in ComfyUI's log and never stops ComfyUI from starting.
"""

__version__ = "0.1.0"
WEB_DIRECTORY = "./web"
__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS", "WEB_DIRECTORY", "__version__"]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str):
    if name not in ("NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        from . import nodes
    except ImportError as error:
        raise ImportError(
            f"ComfyUI-Outpost cannot load its nodes: {error}. Install what it needs into ComfyUI's own Python: "
            "python -m pip install -r requirements.txt (in the folder of ComfyUI-Outpost)."
        ) from error
    return getattr(nodes, name)
