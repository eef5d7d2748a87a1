"""What the page is told without the places of this computer, whatever system that runs on."""

from __future__ import annotations

from pathlib import PurePath, PurePosixPath, PureWindowsPath

import pytest
from comfyui_outpost.api.panel.discretion import renamed

WINDOWS = (
    (PureWindowsPath(r"C:\Users\bob\AppData\outpost\connection.json"), "the settings file"),
    (PureWindowsPath(r"C:\Users\bob\AppData\outpost"), "…"),
    (PureWindowsPath(r"C:\Users\bob"), "~"),
)
SHARE = ((PureWindowsPath(r"\\server\homes\bob"), "~"),)
POSIX = ((PurePosixPath("/home/bob"), "~"),)


@pytest.mark.parametrize(
    ("places", "said", "told"),
    [
        (WINDOWS, r"C:\Users\bob\x.png is gone", r"~\x.png is gone"),
        (WINDOWS, str(OSError(2, "gone", r"C:\Users\bob\x.png")), r"[Errno 2] gone: '~\\x.png'"),
        (WINDOWS, "C:/Users/bob/x.png", "~/x.png"),
        (WINDOWS, r"c:\users\BOB/x.png", "~/x.png"),
        (WINDOWS, r"C:\Users\bob\AppData\outpost\connection.json is bad", "the settings file is bad"),
        (WINDOWS, "file:///C:/Users/Bob/AppData/outpost/here", "file:///…/here"),
        (WINDOWS, r"D:\Users\bob", r"D:\Users\bob"),
        (SHARE, repr(r"\\server\homes\bob\x"), r"'~\\x'"),
        (SHARE, "//SERVER/homes/bob/x", "~/x"),
        (POSIX, "/home/bob/x, /HOME/bob/x", "~/x, /HOME/bob/x"),
    ],
)
def test_a_place_is_known_in_each_spelling(places: tuple[tuple[PurePath, str], ...], said: str, told: str):
    assert renamed(said, places) == told
