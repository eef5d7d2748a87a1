"""Every test that uses the `installation` fixture runs once for each ComfyUI found on this machine."""

from pathlib import Path

import pytest

from .installations import Installation, find_installations
from .process import find_python

REPOSITORY = Path(__file__).resolve().parents[2]
INSTALLATIONS = find_installations(REPOSITORY / ".cache" / "comfyui")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    terminalreporter.line("ComfyUI: " + ", ".join(f"{found.version} ({found.folder})" for found in INSTALLATIONS))


@pytest.fixture(scope="module", params=INSTALLATIONS, ids=lambda found: found.name)
def installation(request: pytest.FixtureRequest) -> Installation:
    return request.param


@pytest.fixture(scope="session")
def oldest_installation() -> Installation:
    """The ComfyUI that is there on every machine."""
    return INSTALLATIONS[0]


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter that ComfyUI runs in, which is not the one that runs the tests."""
    return find_python(REPOSITORY)
