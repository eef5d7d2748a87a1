"""Runs a program in this process, and ends it with everything it has started when the server that started it is gone.

It is executed by the interpreter of a ComfyUI, as `python guard.py main.py …`, and knows nothing but the standard
library. The server holds the other end of the standard input: even one that is killed lets go of it, and no ComfyUI
stays behind on a GPU.
"""

import os
import runpy
import signal
import subprocess
import sys
import threading
from pathlib import Path


def _take_standard_input() -> int:
    """Keep the standard input for the guard; the program and what it starts read from nowhere."""
    taken = os.dup(0)  # not inherited by what the program starts
    nowhere = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nowhere, 0)
    os.close(nowhere)
    return taken


def _end_with_the_server(held: int) -> None:
    while os.read(held, 1):
        pass
    if sys.platform == "win32":
        subprocess.run(["taskkill", "/F", "/T", "/PID", str(os.getpid())], check=False)
    else:
        os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Run the program that the command line names, as if it had been started by itself."""
    held = _take_standard_input()
    threading.Thread(target=_end_with_the_server, args=(held,), name="outpost-guard", daemon=True).start()
    del sys.argv[0]
    own_folder = str(Path(__file__).resolve().parent)
    sys.path[:] = [str(Path(sys.argv[0]).resolve().parent), *(path for path in sys.path if path != own_folder)]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    main()
