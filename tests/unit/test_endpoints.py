"""Row by row: every endpoint has a route, a place in the OpenAPI document, a client method, scenarios and a line in the
README."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from operator import attrgetter
from pathlib import Path
from typing import Any

import httpx
import pytest
from comfyui_outpost.api.client import Client
from comfyui_outpost.api.server.openapi import document
from comfyui_outpost.api.server.routes import ENDPOINTS, PUBLIC_ENDPOINTS
from comfyui_outpost.api.settings import Connection
from comfyui_outpost.tests.server.test_access import CALLS as SCENARIOS

ROOT = Path(__file__).resolve().parents[2]
SEED_FILE = ROOT.parent / "shared" / "seed" / "api-endpoints.md"
SEED = {
    "GET /run/{}": "runs.get",
    "POST /run/deployment/queue": "runs.queue",
    "POST /run/deployment/sync": "runs.sync",
    "POST /run/deployment/stream": "runs.stream",
    "POST /run/{}/cancel": "runs.cancel",
    "GET /workflows": "workflows.list",
    "GET /workflow/{}": "workflows.get",
    "PATCH /workflow/{}": "workflows.update",
    "DELETE /workflow/{}": "workflows.delete",
    "POST /workflow": "workflows.create",
    "POST /workflow/{}/clone": "workflows.clone",
    "GET /workflow/{}/versions": "workflows.versions",
    "GET /workflow/{}/version/{}": "workflows.version",
    "GET /workflow-version/{}": "workflows.version_by_id",
    "GET /deployments": "deployments.list",
    "POST /deployment": "deployments.create",
    "GET /deployment/{}": "deployments.get",
    "PATCH /deployment/{}": "deployments.update",
    "DELETE /deployment/{}": "deployments.delete",
    "POST /deployment/{}/deactivate": "deployments.deactivate",
    "GET /machines": "machines.list",
    "GET /machine/{}": "machines.get",
    "DELETE /machine/{}": "machines.delete",
    "POST /machine/create": "machines.create",
    "POST /machine/serverless": "machines.create_serverless",
    "POST /machine/custom": "machines.create_custom",
    "POST /file/upload": "files.upload",
    "POST /file": "files.add",
    "POST /file/{}/rename": "files.rename",
    "GET /assets": "assets.list",
    "POST /assets/upload": "assets.upload",
    "GET /assets/{}": "assets.get",
    "DELETE /assets/{}": "assets.delete",
}
"""The endpoints that this package is about, and the client's method for each."""
MORE = {
    "GET /runs": "runs.list",
    "POST /workflow/{}/version": "workflows.add_version",
    "POST /deployment/{}/activate": "deployments.activate",
    "POST /machine/{}/check": "machines.check",
    "GET /machine/{}/logs": "machines.logs",
    "POST /machine/{}/start": "machines.start",
    "POST /machine/{}/stop": "machines.stop",
    "PATCH /machine/custom/{}": "machines.update",
    "PATCH /machine/serverless/{}": "machines.update",
    "PATCH /machine/pool/{}": "machines.update",
    "GET /machines/comfyuis": "machines.comfyuis",
    "GET /deployment/{}/history": "deployments.history",
    "GET /events": "events",
    "GET /file/{}": "files.get",
    "GET /assets/search": "assets.search",
    "GET /assets/presigned-url": "assets.upload_large",
    "POST /assets/register": "assets.upload_large",
    "POST /assets/add": "assets.add_from_url",
    "POST /assets/folder": "assets.create_folder",
    "PATCH /assets/{}": "assets.move",
    "GET /platform/api-keys": "keys.list",
    "POST /platform/api-keys": "keys.create",
    "DELETE /platform/api-keys/{}": "keys.revoke",
    "GET /health": "health",
}
"""What else people and programs need."""
FOR_OTHERS = {"GET /run/{}/stream", "GET /workflow/{}/runs", "GET /deployment/{}/runs", "GET /doc", "GET /openapi.json"}
"""The client has no method for these: it follows a run in `runs.execute`, and `runs.list` gives the same runs."""
PUBLIC = {"GET /health", "GET /doc", "GET /openapi.json"}
EVERY = sorted({*SEED, *MORE, *FOR_OTHERS})


def _plain(endpoints: Iterable[str]) -> list[str]:
    """Endpoints without the names of the parts of their paths, which differ."""
    return [re.sub(r"\{[^}]*\}", "{}", each) for each in endpoints]


def _documented() -> list[str]:
    paths = document(ENDPOINTS, PUBLIC_ENDPOINTS)["paths"]
    return _plain(f"{method.upper()} {path}" for path, item in paths.items() for method in item)


def _in_the_readme() -> list[str]:
    rows = re.findall(r"^\| `.*$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    return _plain(each for row in rows for each in re.findall(r"`((?:GET|POST|PATCH|PUT|DELETE) /[^`]*)`", row))


def test_there_are_33_endpoints_and_they_are_those_of_the_seed() -> None:
    assert len(SEED) == 33
    if SEED_FILE.exists():  # beside the checkout of those who have it
        rows = re.findall(r"^\|\s*([A-Z]+)\s*\|\s*`(/[^`]*)`", SEED_FILE.read_text(encoding="utf-8"), re.MULTILINE)
        assert set(_plain(f"{method} {path}" for method, path in rows)) == set(SEED)


def test_every_route_has_its_row_and_every_row_its_route() -> None:
    listed = [each for each in PUBLIC_ENDPOINTS if each.is_listed]
    routes = _plain(f"{each.method} {each.path}" for each in (*ENDPOINTS, *listed) if "/objects/" not in each.path)
    assert sorted(routes) == EVERY


@pytest.mark.parametrize(
    ("place", "found"),
    [
        ("the document", _documented()),
        ("the README", _in_the_readme()),
        ("the scenarios", [*_plain(SCENARIOS), *PUBLIC]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_endpoint_is_once_in(place: str, found: list[str]) -> None:
    assert sorted(found) == EVERY, place


@pytest.mark.parametrize(("endpoint", "method"), (SEED | MORE).items())
async def test_the_client_has_a_method_for(endpoint: str, method: str) -> None:
    async with Client(Connection("http://127.0.0.1:9", "a-key")) as client:
        found = attrgetter(method)(client)
    assert inspect.iscoroutinefunction(found) or inspect.isasyncgenfunction(inspect.unwrap(found)), endpoint
    assert inspect.getdoc(found)


async def test_every_endpoint_is_served_with_and_without_a_prefix(platform: Any) -> None:
    async with httpx.AsyncClient(base_url=platform.url, trust_env=False) as guest:
        for endpoint in EVERY:
            method, _, path = endpoint.partition(" ")
            for prefix in ("", "/api"):
                answer = await guest.request(method, prefix + path.replace("{}", "1"))
                assert answer.status_code == (200 if endpoint in PUBLIC else 401), prefix + endpoint


async def test_a_wrong_method_is_told_exactly_the_right_ones(platform: Any) -> None:
    methods: dict[str, set[str]] = {}
    for endpoint in EVERY:
        method, _, path = endpoint.partition(" ")
        methods.setdefault(path.replace("{}", "1"), set()).add(method)
    async with httpx.AsyncClient(base_url=platform.url, trust_env=False) as guest:
        for path, right in methods.items():
            for method in {"GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"} - right:
                answer = await guest.request(method, path)
                allowed = set(answer.headers.get("Allow", "").split(","))
                assert (answer.status_code, allowed) == (405, right), f"{method} {path}"
