"""How the server describes itself: whether it is there, its OpenAPI document, and the page to read it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from comfyui_outpost import __version__
from comfyui_outpost.api.server.routes import ENDPOINTS

from .talking import Talker

# The document is the same whatever the server keeps its things in.
pytestmark = pytest.mark.one_backing


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_health_tells_the_version_and_nothing_of_the_server(guest: Talker, prefix: str):
    assert await guest.get(f"{prefix}/health") == {"status": "ok", "version": __version__}


async def test_health_is_an_error_when_the_database_is_gone(platform, guest: Talker, expect_log):
    expect_log("GET /health failed")
    await platform.parts.store.database.write(lambda connection: connection.exec_driver_sql("DROP TABLE api_keys"))
    said = await guest.refused(500, "GET", "/health")
    assert said == "Internal server error; the server's log has the reason"


@pytest.fixture
async def document(guest: Talker) -> Any:
    return await guest.get("/api/openapi.json")


async def test_the_document_has_every_endpoint_and_says_who_may_use_it(document: Any):
    described = {(method.upper(), path) for path, item in document["paths"].items() for method in item}
    assert {(each.method, each.path) for each in ENDPOINTS} <= described
    for endpoint in ENDPOINTS:
        operation = document["paths"][endpoint.path][endpoint.method.lower()]
        assert operation["x-scopes"] == sorted(scope.value for scope in endpoint.access.value)
        assert operation["summary"], "people read it"
        assert {"200", "401", "403"} <= set(operation["responses"])
        assert [each["name"] for each in operation["parameters"] if each["in"] == "path"] == re.findall(
            r"{(\w+)}", endpoint.path
        )
    ids = [operation["operationId"] for item in document["paths"].values() for operation in item.values()]
    assert len(set(ids)) == len(ids)


async def test_every_reference_in_the_document_leads_somewhere(document: Any):
    text = json.dumps(document)
    referred = set(re.findall(r'"\$ref": "#/components/schemas/([^"]+)"', text))
    assert referred
    assert referred <= set(document["components"]["schemas"])
    assert text.count('"$ref"') == len(re.findall(r'"\$ref": "#/components/schemas/', text))


async def test_the_document_tells_what_a_webhook_hears(document: Any):
    told = document["webhooks"]["run.updated"]["post"]
    assert [each["name"] for each in told["parameters"]] == ["webhook-id", "webhook-timestamp", "webhook-signature"]
    assert "8 times in all, within 31 hours" in told["description"]
    assert told["requestBody"]["content"]["application/json"]["schema"] == {"$ref": "#/components/schemas/RunMessage"}
    fields = document["components"]["schemas"]["RunMessage"]["properties"]
    assert set(fields) == {"event_type", "run_id", "status", "live_status", "progress", "outputs", "error"}


async def test_the_document_says_nothing_that_only_python_knows(document: Any):
    text = json.dumps(document)
    assert "TRANSITIONS" not in text
    assert "`problems`" not in text


async def test_the_document_tells_no_column_of_the_servers_own(document: Any):
    fields = {name for each in document["components"]["schemas"].values() for name in each.get("properties", {})}
    assert fields
    assert not fields & {"key_hash", "owner_id", "object_key", "lease", "request_hash", "is_cancel_requested"}


@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_the_page_and_its_parts_come_from_this_server_alone(guest: Talker, prefix: str):
    page = await guest.ask("GET", f"{prefix}/doc")
    assert (page.status_code, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self'")
    parts = re.findall(r'(?:src|href)="(?!data:)([^"#]+)"', page.text)
    assert parts
    for part in parts:
        assert not part.startswith(("http", "//")), "the page has to work offline"
        answer = await guest.ask("GET", f"{prefix}/{part.removeprefix('./')}")
        assert answer.status_code == 200, part


@pytest.mark.parametrize("name", ["x.js", "..%2f..%2fconfig.py", "%00", "config.py", "x" * 3000], ids=lambda n: n[:20])
async def test_the_page_has_no_other_parts(guest: Talker, name: str):
    assert (await guest.ask("GET", f"/doc/{name}")).status_code == 404
