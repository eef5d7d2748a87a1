"""What no endpoint may stumble over: ids, texts, bodies and methods that make no sense, wherever they are sent."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

import pytest
from comfyui_outpost.api.server.endpoint import Endpoint
from comfyui_outpost.api.server.routes import ENDPOINTS, PUBLIC_ENDPOINTS

from .graphs import node, png
from .talking import Talker

pytestmark = pytest.mark.shared_platform

NO_IDS = ["x", "0", "-1", "%00", "a%00b", "%ff", "%ed%a0%80", "%0a", "..%2f..%2fetc", "%F0%9F%99%82", "a" * 3000]
"""As they stand in a path."""
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE", "QUERY")
NO_OBJECTS = [b"[]", b"7", b"null", b'"text"', b"{", b"\xff\xfe", b"[" * 50_000, b'{"a": NaN}', b'{"a": 1e999}']
HARMLESS = "🙂 e\u0301 \u202e עברית <b>&amp;</b> ' OR 1=1 --"
LINE = ["two\nlines", "tab\t", "nul\0", "escape\x1b[0m", "delete\x7f", "half \ud800"]
"""Texts that are no single line."""


def _name(endpoint: Endpoint) -> str:
    return f"{endpoint.method} {endpoint.path}"


def _paths() -> dict[str, set[str]]:
    """The methods of each path; the one of objects is of another kind."""
    found: dict[str, set[str]] = {}
    for each in (*ENDPOINTS, *PUBLIC_ENDPOINTS):
        if ":.+" not in each.path:
            found.setdefault(re.sub(r"{\w+}", "{}", each.path), set()).add(each.method)
    return found


async def test_what_is_no_id_is_the_id_of_nothing(owner: Talker):
    body = {"name": "new", "workflow": {}}  # what all of them accept
    for endpoint in [each for each in ENDPOINTS if each.path_types]:
        for text in NO_IDS:
            answer = await owner.ask(endpoint.method, re.sub(r"{\w+}", text, endpoint.path), json=body)
            assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (
                _name(endpoint),
                text,
                answer.text,
            )


@pytest.mark.one_backing
@pytest.mark.parametrize("prefix", ["", "/api"])
async def test_a_wrong_method_is_405_and_says_which_there_are(owner: Talker, guest: Talker, prefix: str):
    paths = _paths()
    fixed = {path for path in paths if "{}" not in path}
    for path, methods in paths.items():
        for method in METHODS:
            # Of two paths that both fit, such as /assets/search and /assets/{}, either may answer.
            others = {other for other in paths if other not in fixed and _fits(path, other)}
            offered = methods.union(*(paths[other] for other in others))
            if method in offered:
                continue
            for who in (owner, guest):
                answer = await who.http.request(method, prefix + path.format("x", "1"))
                assert answer.status_code == 405, (method, path)
                assert methods <= set(answer.headers["Allow"].split(",")) <= offered, (method, path)
                assert method == "HEAD" or answer.json() == {"detail": "Method Not Allowed", "code": "api_error"}


def _fits(path: str, pattern: str) -> bool:
    return bool(re.fullmatch(pattern.replace("{}", "[^/]+"), path))


@pytest.mark.one_backing
async def test_a_body_that_is_no_object_is_422_everywhere(platform, owner: Talker):
    things = await _things(platform, owner)
    for endpoint in [each for each in ENDPOINTS if each.body]:
        for body in (*NO_OBJECTS, *(() if endpoint.is_body_optional else (b"",))):
            for kind in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
                headers = {"Content-Type": kind}
                answer = await owner.ask(endpoint.method, endpoint.path.format(**things), content=body, headers=headers)
                assert answer.status_code == 422, (_name(endpoint), body[:20], answer.text)
                assert answer.json()["detail"][0]["loc"] == ["body"]


@pytest.mark.one_backing
async def test_a_field_of_a_wrong_type_is_422_and_named_everywhere(platform, owner: Talker):
    things = await _things(platform, owner)
    for endpoint in [each for each in ENDPOINTS if each.body]:
        assert endpoint.body
        for name, field in endpoint.body.model_fields.items():
            if "Graph" in str(field.annotation) or name.startswith("workflow") or name == "inputs":
                wrong: Any = [1]
            else:
                wrong = {"an": "object"}
            answer = await owner.ask(endpoint.method, endpoint.path.format(**things), json={name: wrong})
            assert answer.status_code == 422, (_name(endpoint), name, answer.text)
            assert f'"{name}"' in answer.text, (_name(endpoint), name, answer.text)


async def test_a_query_of_nonsense_is_never_the_servers_fault(platform, owner: Talker):
    things = await _things(platform, owner)
    texts = (
        "",
        "%00",
        "a%00b",
        "%ff",
        "%ed%a0%80",
        "%0d%0a",
        quote(HARMLESS),
        "x" * 3000,
        "-1",
        "9" * 40,
        "1e5",
        "null",
    )
    for endpoint in [each for each in ENDPOINTS if each.query]:
        assert endpoint.query
        for name in endpoint.query.model_fields:
            for text in texts:
                path = f"{endpoint.path.format(**things)}?{name}={text}"
                answer = await owner.ask(endpoint.method, path)
                assert answer.status_code in (200, 404, 422), (path[:200], answer.text)
                if name in ("limit", "offset"):
                    assert answer.status_code == 422, path[:200]
                    assert ["query", name] in [each["loc"] for each in answer.json()["detail"]]


LINES = {
    "POST /workflow name": {},
    "PATCH /workflow/{workflow_id} name": {},
    "POST /workflow/{workflow_id}/clone name": {},
    "POST /deployment name": {
        "workflow_id": "{workflow_id}",
        "version_id": "{version_id}",
        "machine_id": "{machine_id}",
    },
    "PATCH /deployment/{deployment_id} name": {},
    "POST /machine/create name": {"type": "builtin"},
    "POST /assets/folder name": {},
    "PATCH /assets/{asset_id} name": {},
    "POST /platform/api-keys name": {},
}
"""Endpoints with a name of one line, and what else they need."""
TEXTS = {
    "POST /workflow description": {"name": "a"},
    "PATCH /workflow/{workflow_id} description": {},
    "POST /workflow/{workflow_id}/version comment": {"workflow": {}},
}


@pytest.mark.parametrize("row", LINES)
async def test_a_name_is_one_line_in_any_script(platform, owner: Talker, row: str):
    send = await _sender(platform, owner, row, LINES[row])
    for text in (*LINE, "", "x" * 201, "x" * 10_000):
        answer = await send(text)
        assert answer.status_code == 422, (text[:20], answer.text)
        assert '"name"' in answer.text
    for text in ("x" * 200, "🙂" * 200, HARMLESS.replace("/", "")):
        answer = await send(text)
        assert answer.status_code == 200, answer.text
        assert answer.json().get("name", text) == text


@pytest.mark.parametrize("row", TEXTS)
async def test_a_text_may_have_lines_and_no_nul(platform, owner: Talker, row: str):
    send = await _sender(platform, owner, row, TEXTS[row])
    for text in ("nul\0", "half \ud800", "x" * 10_001):
        assert (await send(text)).status_code == 422, text[:20]
    for text in (HARMLESS, "two\nlines\t\x1b", "ж" * 10_000, ""):
        answer = await send(text)
        assert answer.status_code == 200, answer.text
        assert text in (answer.json().get(row.rpartition(" ")[2], text),)


async def _sender(platform, owner: Talker, row: str, more: Any):
    """Sends a text in the field of a row."""
    things = await _things(platform, owner)
    method, path, field = row.split(" ")
    body = {name: value.format(**things) if isinstance(value, str) else value for name, value in more.items()}

    async def send(text: str):
        return await owner.ask(method, path.format(**things), content=json.dumps({**body, field: text}))

    return send


async def _things(platform, owner: Talker) -> dict[str, str]:
    """Ids of things that are there, for the paths."""
    made = await owner.post("/workflow", {"name": "a workflow", "workflow_api": {"1": node("EmptyImage")}})
    machine = platform.owner.machine_id
    body = {"workflow_id": made["workflow_id"], "version_id": made["workflow_version_id"], "machine_id": machine}
    deployment = await owner.post("/deployment", body)
    return {
        "workflow_id": made["workflow_id"],
        "version_id": made["workflow_version_id"],
        "version": "1",
        "machine_id": machine,
        "deployment_id": deployment["id"],
        "run_id": await owner.queue(deployment["id"]),
        "file_id": (await owner.send("/file", png()))["id"],
        "asset_id": (await owner.send("/assets/upload", png()))["id"],
        "key_id": (await owner.get("/platform/api-keys"))[0]["id"],
    }


async def test_a_nul_in_a_graph_or_in_what_it_puts_out_hurts_nobody(owner: Talker):
    graph = {"a\0b": node("PreviewAny", source="c\0d", output_id="e\0f")}
    run = await owner.run(graph)
    assert (run["status"], run["outputs"][0]["data"]) == ("success", {"text": ["c\0d"]})
    run = await owner.run({"a\0b": node("No\0Class")}, check_machine=False)
    assert (run["status"], run["error"]["node_id"]) == ("failed", "a\0b")


async def test_a_nul_in_the_name_of_a_file_is_left_out(owner: Talker):
    for path in ("/file", "/assets/upload"):
        assert (await owner.send(path, png(), name="pic\0ture.png"))["name"].startswith("pic")
    body = json.dumps({"type": "image/png", "file_size": 1, "file_name": "pic\0ture.png"})
    assert (await owner.ask("POST", "/file/upload", content=body)).status_code == 200
    query = "file_name=pic%00ture.png&type=image/png&size=1"
    assert (await owner.get(f"/assets/presigned-url?{query}"))["db_path"].endswith(".png")
    for body in ({"file_id": "nul\0"}, {"file_id": "x" * 101}, {"file_id": 7}):
        answer = await owner.ask("POST", "/assets/register", json=body)
        assert answer.status_code in (404, 422), answer.text


@pytest.mark.one_backing
async def test_a_body_over_the_limit_is_413_everywhere(as_owner):
    async with as_owner(max_body_bytes=5000) as owner:
        for endpoint in [each for each in ENDPOINTS if each.body]:
            path = re.sub(r"{\w+}", "00000000-0000-0000-0000-000000000000", endpoint.path)
            answer = await owner.ask(endpoint.method, path, json={"name": "x" * 5000})
            assert (answer.status_code, answer.json()["code"]) == (413, "too_large"), _name(endpoint)
            assert "5000 bytes" in answer.json()["detail"]
