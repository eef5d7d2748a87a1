"""What lies as `main.py` in the folder of a managed ComfyUI: a small ComfyUI in a process of its own.

It takes ComfyUI's options, and does what the text of a KSampler says: `die`, `hang`, `work for ever`, `start a child`.
A PreviewAny puts out the process's facts as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time

from aiohttp import web
from comfyui_outpost.tests.fakes.comfyui import Execution, FakeComfyUI

children: list[int] = []


async def script(execution: Execution) -> None:
    for node_id, node in execution.prompt.items():
        match node["inputs"].get("text"):
            case "die":
                print("CUDA error: the GPU has fallen off the bus", flush=True)
                os._exit(3)
            case "hang":
                print("hanging", flush=True)
                time.sleep(60)
            case "work for ever":
                await execution.work_for_ever()
            case "start a child":
                child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
                children.append(child.pid)
        if node["class_type"] == "PreviewAny":
            facts = {
                "pid": os.getpid(),
                "children": children,
                "argv": sys.argv,
                "path": sys.path[0],
                "environment": dict(os.environ),
                "stdin": sys.stdin.read(),
            }
            await execution.put_out(node_id, {"text": [json.dumps(facts)]})


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--listen")
    options.add_argument("--port", type=int)
    options.add_argument("--disable-auto-launch", action="store_true")
    options.add_argument("--preview-method")
    options.add_argument("--cpu", action="store_true")
    options.add_argument("--output-directory")
    options.add_argument("--temp-directory")
    given = options.parse_args()
    print("Starting the small ComfyUI", flush=True)
    match os.environ.get("FAKE_START"):
        case "fail":
            sys.exit("ImportError: no module named 'torch' in '/home/somebody/ComfyUI/main.py'")
        case "hang":
            time.sleep(60)
    web.run_app(FakeComfyUI(script).app, host=given.listen, port=given.port, print=None, handle_signals=False)


if __name__ == "__main__":
    main()
