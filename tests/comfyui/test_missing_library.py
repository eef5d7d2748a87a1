"""Our package in a ComfyUI whose Python lacks a library that it needs."""

from pathlib import Path

from .conftest import REPOSITORY
from .installations import Installation
from .instance import Outcome, start
from .lane import node, save

CPU_BUILD = Path(__file__).with_name("cpu_build")

HIDING = """
import importlib.util, sys


class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name == "httpx_sse":
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)


sys.meta_path.insert(0, Hiding())
spec = importlib.util.spec_from_file_location("cpu_build", {cpu_build!r})
spec.loader.exec_module(importlib.util.module_from_spec(spec))
"""


async def test_a_missing_library_is_one_message_and_comfyui_works_on(
    oldest_installation: Installation, python: Path, tmp_path: Path
):
    hiding = HIDING.format(cpu_build=str(CPU_BUILD / "sitecustomize.py"))
    (tmp_path / "sitecustomize.py").write_text(hiding, encoding="utf-8")
    packages, environment = {"ComfyUI-Outpost": REPOSITORY}, {"PYTHONPATH": str(tmp_path)}
    async with start(oldest_installation, python, custom_nodes=packages, environment=environment) as comfyui:
        lines = [line for line in comfyui.log().splitlines() if line.startswith("Cannot import")]
        assert len(lines) == 1 and "ComfyUI-Outpost cannot load its nodes: No module named 'httpx_sse'." in lines[0]
        assert "python -m pip install -r requirements.txt" in lines[0]
        assert [
            name for name in ("OutpostUploadImage", "OutpostRunDeployment") if await comfyui.object_info(name)
        ] == []
        empty = node("EmptyImage", width=8, height=8, batch_size=1, color=0)
        prompt_id = await comfyui.queue({"1": empty, "2": save(["1", 0])})
        assert (await comfyui.follow(prompt_id)).outcome is Outcome.SUCCESS
