"""Lets CUDA builds of torchvision and torchaudio be imported beside a CPU build of torch.

Python runs this file at start when its folder is on PYTHONPATH. It repairs the two packages after the very modules that
load their native libraries, and only when that loading failed, so beside matching builds it does nothing. ComfyUI
imports both packages without using what is missing then.
"""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType


def declare_missing_operators(extension: ModuleType) -> None:
    """Declare the operators that torchvision registers shapes for whether or not its library could be loaded."""
    if extension._has_ops():
        return
    from torch.library import Library

    library = Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    # torch forgets the operators of a library that is garbage collected.
    extension.declared_operators = library


def tolerate_unloadable_libraries(utils: ModuleType) -> None:
    """Make torchaudio treat a library that cannot be loaded like one that is not there, which it supports."""
    load = utils._load_lib

    def load_if_possible(name: str) -> bool:
        try:
            return load(name)
        except OSError:
            return False

    utils._load_lib = load_if_possible


REPAIRS: dict[str, Callable[[ModuleType], None]] = {
    "torchvision.extension": declare_missing_operators,
    "torchaudio._extension.utils": tolerate_unloadable_libraries,
}


class RepairingLoader(importlib.abc.Loader):
    """Loads a module as usual, then repairs it before its importer sees it."""

    def __init__(self, loader: importlib.abc.Loader, repair: Callable[[ModuleType], None]) -> None:
        self.loader = loader
        self.repair = repair

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.repair(module)


class RepairingFinder(importlib.abc.MetaPathFinder):
    """Finds the modules of REPAIRS and leaves every other one to the finders behind it."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        repair = REPAIRS.get(fullname)
        if repair is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = RepairingLoader(spec.loader, repair)
        return spec


sys.meta_path.insert(0, RepairingFinder())
