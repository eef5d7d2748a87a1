"""The bar on the terminal."""

from __future__ import annotations

import sys
from io import StringIO

import pytest
from comfyui_outpost.api.console import Bar


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Somebody's screen in place of stderr."""
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_the_bar_shows_the_share_and_the_text_and_leaves_no_trace(monkeypatch: pytest.MonkeyPatch):
    screen = terminal(monkeypatch)
    with Bar("run") as bar:
        bar.show(0.5, "Executing KSampler")
    assert f"run [{'█' * 15}{'·' * 15}]  50% Executing KSampler" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")


@pytest.mark.parametrize(("share", "percent"), [(-1.0, "  0%"), (2.0, "100%"), (0.999, "100%"), (0.0, "  0%")])
def test_the_bar_is_never_longer_than_it_is(monkeypatch: pytest.MonkeyPatch, share: float, percent: str):
    screen = terminal(monkeypatch)
    Bar("run").show(share)
    assert percent in screen.getvalue()
    assert screen.getvalue().count("█") + screen.getvalue().count("·") == 30


def test_what_a_server_says_can_do_nothing_to_the_terminal(monkeypatch: pytest.MonkeyPatch):
    screen = terminal(monkeypatch)
    Bar("run").show(0.1, "one\ntwo\x1b[2Jthree\x07\r" + "x" * 100)
    shown = screen.getvalue().removeprefix("\r\x1b[K")
    assert shown.isprintable()
    assert len(shown) < 100


def test_nothing_is_shown_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch):
    file = StringIO()
    monkeypatch.setattr(sys, "stderr", file)
    with Bar("run") as bar:
        bar.show(0.5)
    assert file.getvalue() == ""
