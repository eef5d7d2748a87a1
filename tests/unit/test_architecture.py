"""The rules that keep the package's parts apart, small and safe to import."""

from __future__ import annotations

import ast
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from comfyui_outpost.api.panel.table import ROUTES

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
MODULES = [*sorted(path for part in ("api", "nodes") for path in (ROOT / part).rglob("*.py")), ROOT / "__init__.py"]
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40

# What each library is for is one place's business: (top-level modules, the only places that may import them).
OWNERS = [
    ({"torch", "av", "safetensors"}, ("nodes/media/",)),
    ({"comfy", "comfy_execution", "server", "folder_paths", "execution"}, ("nodes/host.py",)),
    ({"httpx", "httpx_sse", "httpcore"}, ("api/client/",)),
    ({"sqlalchemy", "alembic"}, ("api/server/store/", "api/server/migrations/")),
    ({"filelock"}, ("api/server/platform.py", "api/connections.py", "api/commands/here.py")),
    ({"aiohttp"}, ("api/server/", "api/panel/")),
    ({"obstore"}, ("api/server/objects/",)),
]

# Which part may know which: the first prefix that fits a module counts. api/cli.py, api/commands/ and api/doctor.py put
# programs together.
CONTRACT = (
    "api/account_events",
    "api/addresses",
    "api/errors",
    "api/events",
    "api/image_formats",
    "api/inputs",
    "api/models",
    "api/outputs",
    "api/png",
    "api/png_reader",
    "api/shapes",
)
MAY_IMPORT = {
    "api/cli": (
        "__init__",
        "api/errors",
        "api/models",
        "api/connections",
        "api/settings",
        "api/client",
        "api/commands",
        "api/doctor",
        "nodes/demo",
    ),
    "api/commands": (
        "__init__",
        "api/errors",
        "api/models",
        "api/connections",
        "api/here",
        "api/settings",
        "api/client",
        "api/server",
        "api/commands",
    ),
    "api/doctor": (*CONTRACT, "api/client", "api/console"),
    "api/connections": (*CONTRACT, "api/connection"),
    "api/here": CONTRACT,
    "api/settings": (*CONTRACT, "api/connection", "api/connections", "api/here"),
    "api/console": (),
    "api/client": (*CONTRACT, "api/settings", "api/client"),
    "api/panel": (
        *CONTRACT,
        "api/connection",
        "api/connections",
        "api/settings",
        "api/client",
        "api/doctor",
        "api/forms",
        "api/here",
        "api/panel",
    ),
    "api/server": ("__init__", *CONTRACT, "api/server"),
    "api": CONTRACT,
    "nodes/demo": (*CONTRACT, "api/settings", "api/client", "api/server", "api/console", "nodes"),
    "nodes/host": (*CONTRACT, "api/settings", "api/client", "api/panel", "nodes"),
    "nodes": (*CONTRACT, "api/settings", "api/client", "nodes"),
    "__init__": ("nodes",),
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).with_suffix("").as_posix()


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    """(level, dotted name) of every import of a module, also of those inside functions."""
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = path.parents[max(0, node.level - 1)].joinpath(*(node.module or "").split("."))
            for alias in node.names:
                parts = [node.module, alias.name if not node.module or _is_module(base, alias.name) else None]
                yield node.level, ".".join(part for part in parts if part)


def _inside(path: Path) -> Iterator[str]:
    """The modules of this package that a module imports, as paths from the root."""
    for level, name in _imports(path):
        if level:
            base = path.parents[level - 1].relative_to(ROOT).as_posix()
            target = "/".join(part for part in (base, *name.split(".")) if part not in ("", "."))
            yield "__init__" if target == "__version__" else target


def _is_module(base: Path, name: str) -> bool:
    return (base / f"{name}.py").exists() or (base / name / "__init__.py").exists()


def test_a_library_is_imported_only_where_it_belongs() -> None:
    wrong: list[str] = []
    for path in MODULES:
        found = {name.partition(".")[0] for level, name in _imports(path) if level == 0}
        place = path.relative_to(ROOT).as_posix()
        for libraries, owners in OWNERS:
            if found & libraries and not place.startswith(owners):
                wrong.append(f"{place} imports {found & libraries}, which belong to {owners}")
    assert not wrong, "\n".join(wrong)


def test_parts_know_only_the_parts_that_they_may_know() -> None:
    wrong: list[str] = []
    for path in MODULES:
        name = _name(path).removesuffix("/__init__") or "__init__"
        rule = next(prefix for prefix in MAY_IMPORT if name == prefix or name.startswith(prefix + "/"))
        for target in _inside(path):
            if not any(target == each or target.startswith(each + "/") for each in MAY_IMPORT[rule]):
                wrong.append(f"{name} imports {target}")
    assert not wrong, "\n".join(wrong)


def test_the_package_never_imports_itself_by_its_name() -> None:
    # ComfyUI loads it under the path of its folder, so the name does not exist there.
    wrong = [
        f"{_name(path)} imports {name}"
        for path in MODULES
        for level, name in _imports(path)
        if level == 0 and name.partition(".")[0] == "comfyui_outpost"
    ]
    assert not wrong, "\n".join(wrong)


def test_modules_and_functions_stay_small() -> None:
    wrong: list[str] = []
    for path in MODULES:
        if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MAX_MODULE_LINES:
            wrong.append(f"{_name(path)} has {lines} lines: does it still hold one concept?")
        if "migrations/versions" in path.as_posix():
            continue
        for node in ast.walk(_tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = (node.end_lineno or 0) - node.lineno + 1
                if lines > MAX_FUNCTION_LINES:
                    wrong.append(f"{node.name} in {_name(path)} has {lines} lines")
    assert not wrong, "\n".join(wrong)


def test_every_package_is_part_of_the_distribution() -> None:
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {path.parent for path in MODULES if path.name == "__init__.py"}
    names = {".".join(("comfyui_outpost", *path.relative_to(ROOT).parts)) for path in found}
    assert listed == names


def test_requirements_for_comfyui_are_those_of_the_distribution_without_what_comfyui_brings() -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = {line for line in lines if line and not line.startswith("#")}
    declared = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"])
    brought = {line for line in declared if line.startswith(("aiohttp", "numpy", "pillow"))}
    assert required == declared - brought
    assert not any(line.startswith("torch") or "==" in line or "<" in line for line in required)


def _run_python(code: str, *, isolated: bool) -> str:
    # -S leaves out site-packages: nothing is installed then.
    flags = ["-I", "-S"] if isolated else ["-I"]
    result = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout


LOAD = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location({name!r}, {path!r})
module = importlib.util.module_from_spec(spec)
sys.modules[{name!r}] = module
spec.loader.exec_module(module)
"""


@pytest.mark.parametrize("name", ["comfyui_outpost", "ComfyUI-Outpost", "/home/me/custom_nodes/ComfyUI-Outpost"])
def test_the_package_imports_with_nothing_installed_and_under_any_name(name: str) -> None:
    code = LOAD.format(name=name, path=str(ROOT / "__init__.py"))
    code += "print(module.__version__, 'torch' in sys.modules, 'httpx' in sys.modules)"
    assert _run_python(code, isolated=True).split()[1:] == ["False", "False"]


def test_a_missing_dependency_is_one_clear_message_where_comfyui_asks_for_the_nodes() -> None:
    code = LOAD.format(name="ComfyUI-Outpost", path=str(ROOT / "__init__.py"))
    code += "try:\n    hasattr(module, 'NODE_CLASS_MAPPINGS')\nexcept ImportError as error:\n    print(error)\n"
    message = _run_python(code, isolated=True)
    assert "No module named 'httpx'" in message
    assert "pip install -r requirements.txt" in message
    assert "Traceback" not in message


def test_an_attribute_that_does_not_exist_is_an_attribute_error() -> None:
    import comfyui_outpost

    assert not hasattr(comfyui_outpost, "WEB_DIRECTORY_OF_SOMEBODY_ELSE")


def test_importing_the_package_loads_neither_torch_nor_httpx() -> None:
    site = sysconfig.get_path("purelib")
    code = f"import sys; sys.path.append({site!r}); import site; site.addsitedir({site!r}); import comfyui_outpost; "
    code += "print([name for name in ('torch', 'httpx', 'pydantic', 'aiohttp', 'numpy') if name in sys.modules])"
    assert _run_python(code, isolated=True).strip() == "[]"


def test_loading_the_nodes_loads_nothing_that_takes_long_and_answers_the_page_of_a_comfyui() -> None:
    site = sysconfig.get_path("purelib")
    # What ComfyUI has loaded by then: its server, with the table of its routes.
    code = f"import sys, types; sys.path.append({site!r}); import site; site.addsitedir({site!r}); "
    code += "from aiohttp import web; server = sys.modules['server'] = types.ModuleType('server'); "
    code += "server.PromptServer = types.SimpleNamespace(instance=types.SimpleNamespace(routes=web.RouteTableDef())); "
    code += "import comfyui_outpost.nodes; routes = server.PromptServer.instance.routes; "
    code += "slow = ('torch', 'httpx', 'pydantic', 'numpy', 'PIL', 'av', 'sqlalchemy', 'safetensors'); "
    code += "print([name for name in slow if name in sys.modules], len([each.path for each in routes]))"
    assert _run_python(code, isolated=True).strip() == f"[] {len(ROUTES)}"
