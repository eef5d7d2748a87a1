"""What scripts may know of each other, and of ComfyUI's page."""

from __future__ import annotations

import re
from pathlib import Path

WEB = Path(__file__).parents[2] / "web"
IMPORT = re.compile(r'^(?:import|export|\}) ?.*?from "([^"]+)";$|^import "([^"]+)";$', re.MULTILINE)
COMMENT = re.compile(r"/\*.*?\*/|^\s*//.*$|(?<=;) // .*$", re.MULTILINE | re.DOTALL)


def _scripts() -> dict[str, str]:
    paths = [path for path in WEB.rglob("*.js") if path.parent.name != "vendor"]
    return {str(path.relative_to(WEB)): path.read_text(encoding="utf-8") for path in paths}


def _imports(name: str, code: str) -> list[str]:
    targets = [first or second for first, second in IMPORT.findall(code)]
    inside = [((WEB / name).parent / target).resolve() for target in targets]
    return [str(path.relative_to(WEB)) if path.is_relative_to(WEB) else f"/{path.name}" for path in inside]


SCRIPTS = _scripts()
IMPORTS = {name: _imports(name, code) for name, code in SCRIPTS.items()}


def test_only_one_folder_knows_the_page_and_only_the_start_imports_it() -> None:
    from_page = {name for name, targets in IMPORTS.items() for target in targets if target in ("/app.js", "/api.js")}
    users = {name for name, targets in IMPORTS.items() for target in targets if target.startswith("comfyui/")}
    knowing = {
        name for name, code in SCRIPTS.items() if re.search(r"LiteGraph\b|extensionManager", COMMENT.sub("", code))
    }
    assert from_page == {"comfyui/app.js"}
    assert {name for name in users if not name.startswith("comfyui/")} == {"index.js"}
    assert {name for name in knowing if not name.startswith("comfyui/")} == set()


def test_models_know_nothing_but_models_and_texts() -> None:
    known = {target for name, targets in IMPORTS.items() if name.startswith("model/") for target in targets}
    assert {target for target in known if not target.startswith("model/")} <= {"texts.js"}


def test_the_kit_knows_no_view_that_is_made_of_it() -> None:
    known = {target.split("/")[0] for name, targets in IMPORTS.items() if name.startswith("kit/") for target in targets}
    assert known <= {"kit", "model", "routes.js", "texts.js", "view.js"}


def test_what_nodes_are_given_knows_nothing_of_the_panel() -> None:
    known = {target for name, targets in IMPORTS.items() if name.startswith("views/") for target in targets}
    assert {target for target in known if target.startswith(("panel/", "comfyui/"))} == set()


def test_no_script_imports_itself_by_way_of_others() -> None:
    open_, done = set[str](), set[str]()

    def visit(name: str, way: list[str]) -> None:
        assert name not in open_, " -> ".join([*way, name])
        if name in done:
            return
        open_.add(name)
        for target in IMPORTS.get(name, []):
            visit(target, [*way, name])
        open_.remove(name)
        done.add(name)

    for name in SCRIPTS:
        visit(name, [])


def test_every_script_is_used() -> None:
    used = {target for targets in IMPORTS.values() for target in targets}
    assert set(SCRIPTS) - used == {"index.js"}
