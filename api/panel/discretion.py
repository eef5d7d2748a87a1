"""What the page is told of this computer: nothing of where things lie on it. A page may be looked at by others."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath, PureWindowsPath

from ..settings import settings_path


def without_places(said: object) -> str:
    """What is said, such as an error or a line of a log, without local paths of ours or of whoever runs ComfyUI."""
    return renamed(str(said), _places())


def renamed(text: str, places: Iterable[tuple[PurePath, str]]) -> str:
    """A text in which each of these places is called by another name, one after the other."""
    for place, name in places:
        text = _spellings(place).sub(name, text)
    return text


def _spellings(place: PurePath) -> re.Pattern[str]:
    """All of a place. On Windows there are many: `repr` and JSON double what separates, and case does not count."""
    if not isinstance(place, PureWindowsPath):
        return re.compile(re.escape(str(place)))
    return re.compile(r"[\\/]+".join(re.escape(each) for each in str(place).split("\\")), re.IGNORECASE)


def _places() -> Iterator[tuple[Path, str]]:
    """Each with how it is called instead, the longest first."""
    settings = settings_path()
    yield settings, "the settings file"
    yield settings.absolute(), "the settings file"
    for folder, name in ((settings.absolute().parent, "…"), (_home(), "~")):
        if folder and len(folder.parts) > 1:  # a root is in every path
            yield folder, name


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # there is none for whoever runs in some containers
        return None
