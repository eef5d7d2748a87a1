"""Schemathesis, which reads the OpenAPI document and looks for where the server does not do what it says.

It makes thousands of requests, right and wrong ones, of every endpoint, many of them about things that are there.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from comfyui_outpost.api.server.routes import ENDPOINTS
from comfyui_outpost.tests.fakes import comfyui

from .graphs import ECHO, png, sleep
from .talking import Talker, talkers

# Only one kind: what it looks at is in front of the database.
pytestmark = pytest.mark.one_backing

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "allow_header_conformance",
    "missing_required_header",
    "ignored_auth",
    "use_after_free",
)
"""Without those that want unknown fields refused, and everything accepted that is written as it should be, such as a
URL at which nothing answers."""
EXAMPLES = 5
"""Random requests of each endpoint, besides those at the limits of every field."""
REQUEST_SECONDS = 20
SHARE = 0.9
"""Of the random values, those that are taken from the things that are there."""
ENDLESS = "/events"
"""A stream that does not end, which is left out."""
NEVER_DONE = {
    f"GET {ENDLESS}",
    "POST /machine/serverless",
    "PATCH /machine/serverless/{machine_id}",
    "POST /machine/{machine_id}/start",
    "POST /machine/{machine_id}/stop",
}
"""Refused every time: the platform here may start no ComfyUI, so that it starts no hundred processes."""

Things = Mapping[str, str]
"""One thing of each kind, by the name that its id has in paths and bodies."""


@dataclass(frozen=True)
class Target:
    """A platform, and what is on it: to read, to delete, and for endpoints that need a thing in a certain state."""

    url: str
    api_key: str = field(repr=False)
    things: Things
    to_delete: Things
    special: Mapping[str, Things]


@pytest.fixture
async def target(start_platform, tmp_path: Path) -> AsyncGenerator[Target, None]:
    async with (
        comfyui.serve(comfyui.FakeComfyUI()) as comfyui_url,
        start_platform(allow_private_addresses=True) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[platform.owner.api_key]) as (owner,),
    ):
        things, to_delete = await _things(owner), await _things(owner)
        special = {
            "POST /deployment/{deployment_id}/deactivate": to_delete,
            # Their time-outs may become so short that no run ends well any more.
            "POST /deployment": to_delete,
            "PATCH /deployment/{deployment_id}": to_delete,
            "POST /run/{run_id}/cancel": {"run_id": await _cancelled(owner)},
            "POST /assets/register": {"file_id": await _announced(owner)},
            "PATCH /machine/pool/{machine_id}": {"machine_id": await _pool(owner, things["machine_id"])},
        }
        # These addresses, so that it makes the server look for little outside of this computer.
        addresses = {"endpoint": comfyui_url, "webhook": comfyui_url}
        yield Target(platform.url, platform.owner.api_key, {**things, **addresses}, to_delete, special)


async def _things(owner: Talker) -> dict[str, str]:
    deployment = await owner.get(f"/deployment/{await owner.deploy(ECHO)}")
    machine = await owner.post("/machine/create", {"name": "another", "type": "builtin"})
    run_id = await owner.queue(deployment["id"])
    await owner.end_of(run_id)
    file, asset = await owner.send("/file", png()), await owner.send("/assets/upload", png())
    return {
        "deployment_id": deployment["id"],
        "workflow_id": deployment["workflow_id"],
        "workflow_version_id": deployment["workflow_version_id"],
        "version_id": deployment["workflow_version_id"],
        "machine_id": machine["id"],
        "run_id": run_id,
        "file_id": file["id"],
        "url": file["url"],
        "asset_id": asset["id"],
        "key_id": (await owner.post("/platform/api-keys", {"name": "another"}))["id"],
    }


async def _cancelled(owner: Talker) -> str:
    run_id = await owner.queue(await owner.deploy(sleep(60)))
    await owner.post(f"/run/{run_id}/cancel", None)
    return run_id


async def _pool(owner: Talker, machine_id: str) -> str:
    return (await owner.post("/machine/create", {"name": "pool", "type": "pool", "machine_ids": [machine_id]}))["id"]


async def _announced(owner: Talker) -> str:
    ticket = await owner.get(f"/assets/presigned-url?file_name=a.png&type=image/png&size={len(png())}")
    await owner.ask("PUT", ticket["url"], content=png(), headers={"Content-Type": "image/png"})
    return ticket["file_id"]


def _settings(target: Target) -> str:
    """Schemathesis' own settings: which things there are. It does not look for more, and so deletes nothing else."""
    alone = [f"[phases.{phase}.extra-data-sources]\nresponses = false" for phase in ("coverage", "fuzzing")]
    special = [
        _offered(name, f'[[operations]]\ninclude-name = "{endpoint}"\n[operations.parameters]', things)
        for name, (endpoint, things) in zip("abcdef", target.special.items(), strict=True)
    ]
    to_delete = '[[operations]]\ninclude-method = "DELETE"\n[operations.parameters]'
    groups = [_offered("all", "[parameters]", target.things), _offered("gone", to_delete, target.to_delete), *special]
    return "\n".join([*alone, *(values for values, _ in groups), *(uses for _, uses in groups)])


def _offered(group: str, where: str, things: Things) -> tuple[str, str]:
    """The values of things, and their use for the parameters of some endpoints."""
    values = [f"[dictionaries.{group}-{name}]\nvalues = [{json.dumps(thing)}]" for name, thing in things.items()]
    uses = [
        f'"{place}.{name}" = {{ dictionary = "{group}-{name}", probability = {SHARE} }}'
        for place in ("path", "body")
        for name in things
    ]
    return "\n".join(values), "\n".join([where, *uses])


def _done(report: Path) -> set[str]:
    """The endpoints that have done what they were asked for at least once, by what was recorded."""
    # The most exact path first: `/assets/search` would also do for `/assets/{asset_id}`.
    paths = {each.path: re.sub("{.*?}", "[^/]+", each.path) for each in ENDPOINTS}
    exact_first = sorted(paths, key=lambda path: path.count("{"))
    found: set[str] = set()
    for entry in json.loads(report.read_text(encoding="utf-8"))["log"]["entries"]:
        asked = urlsplit(entry["request"]["url"]).path
        path = next((each for each in exact_first if re.fullmatch(paths[each], asked)), "")
        if entry["response"]["status"] == 200:
            found.add(f"{entry['request']['method']} {path}")
    return found


async def test_the_server_does_what_its_document_says(target: Target, tmp_path: Path, allow_log):
    allow_log("Invalid header value char")  # it tries whether NUL can be in a header, and aiohttp logs that it cannot
    settings, report = tmp_path / "schemathesis.toml", tmp_path / "report.har"
    settings.write_text(_settings(target), encoding="utf-8")

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", f"--config-file={settings}", "--no-color", "run"),
        *(f"{target.url}/api/openapi.json", f"--header=Authorization: Bearer {target.api_key}"),
        f"--exclude-path={ENDLESS}",
        *("--phases=coverage,fuzzing,stateful", f"--max-examples={EXAMPLES}", "--generation-deterministic"),
        *(f"--request-timeout={REQUEST_SECONDS}", "--continue-on-failure"),
        *(f"--checks={','.join(CHECKS)}", "--warnings=off", f"--report-har-path={report}"),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    words, _ = await process.communicate()

    report.with_suffix(".log").write_bytes(words)
    assert process.returncode == 0, words.decode()
    assert _done(report) >= {f"{each.method} {each.path}" for each in ENDPOINTS} - NEVER_DONE
