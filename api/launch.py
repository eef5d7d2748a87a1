"""Starts a platform for a ComfyUI, as `python launch.py`: inside ComfyUI this package cannot be imported by its name.

What is to be started is read from the standard input, as a line of JSON, and it ends when that is closed.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

_NAME = "comfyui_outpost"


def main() -> int:
    """Register the package under its name, whatever its folder is called, and run the command."""
    own_folder = Path(__file__).resolve().parent
    sys.path[:] = [path for path in sys.path if path != str(own_folder)]
    root = own_folder.parent
    spec = importlib.util.spec_from_file_location(_NAME, root / "__init__.py", submodule_search_locations=[str(root)])
    assert spec and spec.loader
    package = sys.modules[_NAME] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    return importlib.import_module(f"{_NAME}.api.commands.here").main()


if __name__ == "__main__":
    sys.exit(main())
