"""What the package adds to the start of Python, and to the start of ComfyUI."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from pathlib import Path

from figures import Figure, median_ms

ROOT = Path(__file__).resolve().parents[2]
RUNS = 21

# ComfyUI has all of these in memory before it loads custom nodes. Any connection would end the program.
LOAD_NODES = f"""
import sys, time
start = time.perf_counter()
import torch, numpy, PIL.Image, aiohttp.web, pydantic
sys.modules["folder_paths"] = type(sys)("folder_paths")
sys.modules["folder_paths"].folder_names_and_paths = {{}}
sys.modules["folder_paths"].get_input_directory = lambda: {str(ROOT / "tests")!r}
before = time.perf_counter()
def no_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.bind"):
        raise SystemExit(f"the network was used: {{event}} {{arguments}}")
sys.addaudithook(no_network)
import importlib.util
spec = importlib.util.spec_from_file_location("ComfyUI-Outpost", {str(ROOT / "__init__.py")!r})
module = sys.modules["ComfyUI-Outpost"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
for node in module.NODE_CLASS_MAPPINGS.values():
    node.INPUT_TYPES()
print(time.perf_counter() - before, before - start)
"""


async def figures() -> AsyncGenerator[Figure, None]:
    """Baselines: the start of Python with nothing imported; what ComfyUI itself has to import."""
    with_package = [_run_python("import comfyui_outpost") for _ in range(2 * RUNS)]
    without = [_run_python("pass") for _ in range(2 * RUNS)]
    added = median_ms(with_package) - median_ms(without)
    yield Figure("import_package", max(0.0, added), "ms", median_ms(without), 10.0)
    loads = [_load_nodes() for _ in range(RUNS + 1)][1:]
    of_nodes, of_host = median_ms(load for load, _ in loads), median_ms(host for _, host in loads)
    yield Figure("import_nodes", of_nodes, "ms", of_host, 150.0)


def _environment() -> dict[str, str]:
    """With compiled modules kept, as on a user's computer, but not in this repository's folders."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "outpost-bench-pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment


def _run_python(code: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, env=_environment())
    return time.perf_counter() - start


def _load_nodes() -> tuple[float, float]:
    command = [sys.executable, "-c", LOAD_NODES]
    result = subprocess.run(command, check=True, capture_output=True, text=True, env=_environment())
    load, host = result.stdout.split()
    return float(load), float(host)
