"""The database's shape: what the migrations make is what the tables say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from comfyui_outpost.api.server.store import open_store
from comfyui_outpost.api.server.store.database import MIGRATIONS
from comfyui_outpost.api.server.store.tables import metadata

PACKAGE = Path(__file__).resolve().parents[2]


async def test_the_migrated_database_is_what_the_tables_say(tmp_path: Path):
    await (await open_store(f"sqlite:///{tmp_path / 'db.sqlite'}")).database.close()
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'db.sqlite'}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


async def test_migrating_again_changes_nothing_and_keeps_what_is_there(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'db.sqlite'}"
    store = await open_store(url)
    owner, key = await store.keys.create("a key")
    await store.database.close()
    for _ in range(2):
        store = await open_store(url)
        assert await store.keys.holder_of(key) == owner
        await store.database.close()


def test_the_migrations_are_one_line_without_branches():
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert len(scripts.get_heads()) == 1
    assert len(scripts.get_bases()) == 1
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True)


async def test_a_folder_with_odd_characters_is_no_obstacle(tmp_path: Path):
    folder = tmp_path / "100% my data, ümläut"
    folder.mkdir()
    store = await open_store(f"sqlite:///{folder / 'db.sqlite'}")
    assert await store.keys.is_empty()
    await store.database.close()


_AS_COMFYUI_DOES = """
import asyncio, importlib, importlib.util, sys
package, database = sys.argv[1:]
name = "/somewhere/custom_nodes/ComfyUI-Outpost"  # ComfyUI takes the folder for the module's name
spec = importlib.util.spec_from_file_location(name, package + "/__init__.py", submodule_search_locations=[package])
module = importlib.util.module_from_spec(spec)
sys.modules[name] = module
spec.loader.exec_module(module)
store = importlib.import_module(name + ".api.server.store")

async def main():
    opened = await store.open_store("sqlite:///" + database)
    assert await opened.keys.is_empty()
    await opened.database.close()

asyncio.run(main())
assert not any(name.startswith("comfyui_outpost") for name in sys.modules), "it must not find itself by another name"
"""


def test_they_are_found_when_comfyui_has_imported_the_package_under_its_own_kind_of_name(tmp_path: Path):
    command = [sys.executable, "-W", "error", "-c", _AS_COMFYUI_DOES, str(PACKAGE), str(tmp_path / "db.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
