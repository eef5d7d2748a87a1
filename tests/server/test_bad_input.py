"""What the server refuses: with which status, in which words, and without a trace of its inside."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pytest

from .graphs import ECHO, EVERY_KIND, INVERT, external, node, png
from .talking import Talker, talkers

pytestmark = pytest.mark.shared_platform

KNOWN = "The inputs of this deployment are: 'image', 'text', 'steps', 'strength', 'loud', 'size'."
PICTURE = "data:image/png;base64,iVBORw0KGgo="


@dataclass(frozen=True)
class Bad:
    """A body that is refused."""

    name: str
    path: str
    body: Any
    """JSON, or the very text."""
    says: str
    status: int = 422
    where: str | None = None
    """The path of the wrong field, dotted."""
    never: str = field(default="\0")


ID = str(uuid4())
QUEUE = "/run/deployment/queue"
BODIES = [
    Bad("no body", QUEUE, "", "is missing", where="body"),
    Bad("not JSON", QUEUE, "{oops", "is not JSON", where="body"),
    Bad("half JSON", QUEUE, '{"deployment_id": "', "is not JSON", where="body"),
    Bad("a list", QUEUE, [], "has to be a JSON object", where="body"),
    Bad("a number", QUEUE, "17", "has to be a JSON object", where="body"),
    Bad("null", QUEUE, "null", "has to be a JSON object", where="body"),
    Bad("bytes that are no text", QUEUE, b'{"deployment_id": "\xff\xfe"}', "is not JSON", where="body"),
    Bad("NaN", QUEUE, '{"deployment_id": NaN}', "NaN", where="body"),
    Bad("Infinity", QUEUE, '{"deployment_id": -Infinity}', "Infinity", where="body"),
    Bad("a float too large", QUEUE, '{"deployment_id": 1e999}', "1e999", where="body"),
    Bad("an int too long", QUEUE, '{"deployment_id": %s}' % ("1" * 5000), "is not JSON", where="body", never="1" * 500),
    Bad("a deep list", QUEUE, '{"deployment_id": %s}' % ("[" * 100_000), "nested", where="body"),
    Bad("a deep object", QUEUE, '{"a":' * 20_000 + "1" + "}" * 20_000, "nested", where="body"),
    Bad("no deployment", QUEUE, {}, "Field required", where="body.deployment_id"),
    Bad("no id", QUEUE, {"deployment_id": "x"}, "'x' is not an id", where="body.deployment_id"),
    Bad("a path for an id", QUEUE, {"deployment_id": "../../etc/passwd"}, "not an id", where="body.deployment_id"),
    Bad("a long id", QUEUE, {"deployment_id": "x" * 5000}, "not an id", where="body.deployment_id", never="x" * 100),
    Bad("a NUL in an id", QUEUE, {"deployment_id": "\0" * 36}, "is not an id", where="body.deployment_id"),
    Bad("an int for an id", QUEUE, {"deployment_id": 7}, "valid string", where="body.deployment_id"),
    Bad("inputs null", QUEUE, {"deployment_id": ID, "inputs": None}, "valid dictionary", where="body.inputs"),
    Bad("inputs list", QUEUE, {"deployment_id": ID, "inputs": []}, "valid dictionary", where="body.inputs"),
    Bad("value null", QUEUE, {"deployment_id": ID, "inputs": {"a": None}}, "has to be a text", where="body.inputs.a"),
    Bad("value object", QUEUE, {"deployment_id": ID, "inputs": {"a": {}}}, "has to be a text", where="body.inputs.a"),
    Bad("unknown deployment", QUEUE, {"deployment_id": ID}, f"There is no deployment {ID}", 404),
    Bad("file without size", "/file/upload", {"type": "image/png"}, "Field required", where="body.file_size"),
    Bad(
        "file with less than nothing",
        "/file/upload",
        {"type": "a/b", "file_size": -1},
        "greater",
        where="body.file_size",
    ),
    Bad("file too large", "/file/upload", {"type": "a/b", "file_size": 2**60}, str(16 * 2**30), 413),
    Bad("file beyond all numbers", "/file/upload", {"type": "a/b", "file_size": 10**30}, "", 413),
    Bad("a type that is none", "/file/upload", {"type": "png", "file_size": 1}, "match pattern", where="body.type"),
    Bad("a header in a type", "/file/upload", {"type": "a/b\r\nX: y", "file_size": 1}, "pattern", where="body.type"),
    Bad("a line in a type", "/file/upload", {"type": "a/b\n", "file_size": 1}, "pattern", where="body.type"),
    Bad(
        "a name too long",
        "/file/upload",
        {"type": "a/b", "file_size": 1, "file_name": "x" * 256},
        "255",
        where="body.file_name",
    ),
    Bad(
        "half a character",
        "/file/upload",
        '{"type":"a/b","file_size":1,"file_name":"\\ud800"}',
        "string",
        where="body.file_name",
    ),
    Bad("no name", "/workflow", {"name": ""}, "at least 1", where="body.name"),
    Bad(
        "graph in bad JSON", "/workflow", {"name": "a", "workflow_json": "{"}, "is not JSON", where="body.workflow_json"
    ),
    Bad("graph with NaN", "/workflow", {"name": "a", "workflow_json": '{"a": NaN}'}, "NaN", where="body.workflow_json"),
    Bad("graph is a list", "/workflow", {"name": "a", "workflow_api": []}, "dictionary", where="body.workflow_api"),
    Bad(
        "deep graph in a text",
        "/workflow",
        {"name": "a", "workflow_api": "[" * 100_000},
        "nested",
        where="body.workflow_api",
    ),
    Bad("graph with infinity", "/workflow", '{"name": "a", "workflow_api": {"1": 1e999}}', "1e999", where="body"),
    Bad("deployment of nothing", "/deployment", {}, "Field required", where="body.workflow_id"),
    Bad(
        "environment",
        "/deployment",
        {"workflow_id": ID, "version_id": ID, "machine_id": ID, "environment": "../x"},
        "pattern",
        where="body.environment",
    ),
    Bad(
        "time-out",
        "/deployment",
        {"workflow_id": ID, "version_id": ID, "machine_id": ID, "run_timeout": 0},
        "greater than 0",
        where="body.run_timeout",
    ),
    Bad("machine", "/deployment", {"workflow_id": ID, "version_id": ID, "machine_id": ID}, "no machine", 404),
]


@pytest.mark.one_backing
@pytest.mark.parametrize("bad", BODIES, ids=lambda bad: bad.name)
async def test_a_bad_body_is_refused_with_its_path(bad: Bad, people: dict[str, Talker]):
    body = bad.body if isinstance(bad.body, (str, bytes)) else json.dumps(bad.body)
    for prefix in ("", "/api"):
        for who in ("owner", "stranger"):
            answer = await people[who].ask("POST", prefix + bad.path, content=body)
            assert answer.status_code == bad.status, answer.text
            detail = answer.json()["detail"]
            if bad.where:
                assert bad.where in [".".join(each["loc"]) for each in detail]
                assert set(detail[0]) == {"loc", "msg", "type"}
                detail = "; ".join(each["msg"] for each in detail)
            assert bad.says in detail
            assert bad.never not in detail
        assert (await people["guest"].ask("POST", prefix + bad.path, content=body)).status_code == 401


@dataclass(frozen=True)
class Wrong:
    """Inputs that a deployment does not take."""

    input_id: str
    inputs: dict[str, Any]
    says: str


INPUTS = [
    Wrong("image", {}, f"The input 'image' (image) is missing and has no default. {KNOWN}"),
    Wrong("image", {"image": ""}, "is missing"),
    Wrong("imgae", {"imgae": PICTURE}, f"There is no input 'imgae'. {KNOWN}"),
    Wrong("image", {"image": 17}, "takes an image"),
    Wrong("image", {"image": "picture.png"}, "takes an image"),
    Wrong("image", {"image": "file:///etc/passwd"}, "takes an image"),
    Wrong("text", {"image": PICTURE, "text": True}, "takes a text"),
    Wrong("text", {"image": PICTURE, "text": ["a"]}, "takes a text"),
    Wrong("steps", {"image": PICTURE, "steps": "many"}, "takes an integer, not 'many'"),
    Wrong("steps", {"image": PICTURE, "steps": 1.5}, "takes an integer"),
    Wrong("steps", {"image": PICTURE, "steps": 0}, "goes from 1 to 100"),
    Wrong("steps", {"image": PICTURE, "steps": 101}, "goes from 1 to 100"),
    Wrong("strength", {"image": PICTURE, "strength": "inf"}, "takes a number"),
    Wrong("strength", {"image": PICTURE, "strength": "nan"}, "takes a number"),
    Wrong("loud", {"image": PICTURE, "loud": "true"}, "takes true or false"),
    Wrong("loud", {"image": PICTURE, "loud": 1}, "takes true or false"),
    Wrong("size", {"image": PICTURE, "size": "huge"}, "is one of 'small', 'large', not 'huge'"),
    Wrong("text", {"image": PICTURE, "text": [["x"] * 50] * 50}, "takes a text, not [['x'"),
]


@pytest.mark.one_backing
@pytest.mark.parametrize("kind", ["queue", "sync", "stream"])
async def test_wrong_inputs_are_named_before_anything_runs(owner: Talker, kind: str):
    deployment = await owner.deploy(EVERY_KIND)
    for wrong in INPUTS:
        body = {"deployment_id": deployment, "inputs": wrong.inputs}
        answer = await owner.ask("POST", f"/run/deployment/{kind}", json=body)
        assert answer.status_code == 422, wrong
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", "inputs", wrong.input_id]
        assert wrong.says in problem["msg"]
        assert len(problem["msg"]) < 500
        assert "base64" not in problem["msg"]


@pytest.mark.one_backing
@pytest.mark.parametrize(
    ("input_id", "value"),
    [
        ("steps", 10**400),
        ("steps", "1e999"),
        ("steps", "9" * 400),
        ("strength", 10**400),
        ("strength", "1e999"),
        ("strength", "9" * 400),
    ],
    ids=lambda value: str(value)[:10],
)
async def test_a_number_beyond_all_floats_is_refused(owner: Talker, input_id: str, value: Any, allow_log):
    allow_log("failed")
    deployment = await owner.deploy(EVERY_KIND)
    body = {"deployment_id": deployment, "inputs": {"image": PICTURE, input_id: value}}
    answer = await owner.ask("POST", QUEUE, json=body)
    assert answer.status_code == 422


@pytest.mark.parametrize(
    "text", ["//[hello", "http://[::1", "https://a:b@[x/objects/y", "\0", "a" * 100_000, "🙂", "\ud800"]
)
async def test_any_text_is_a_text_and_comes_out_as_it_went_in(owner: Talker, text: str):
    body = {"deployment_id": await owner.deploy(ECHO), "inputs": {"text": text}}
    answer = await owner.ask("POST", QUEUE, content=json.dumps(body))
    run = await owner.end_of(answer.json()["run_id"])
    assert run["status"] == "success", run["error"]
    assert run["outputs"][0]["data"] == {"text": [text]}
    assert run["workflow_inputs"] == {"text": text}


async def test_graphs_keep_whatever_text_is_in_them(owner: Talker):
    graph = {"1": node("PreviewAny", source="\ud800 \0 🙂 </script>")}
    body = json.dumps({"name": "🙂", "workflow_api": graph})
    made = (await owner.ask("POST", "/workflow", content=body)).json()
    kept = await owner.get(f"/workflow/{made['workflow_id']}")
    assert kept["versions"][0]["workflow_api"] == graph


@pytest.mark.one_backing
async def test_a_body_over_the_limit_is_413_and_names_the_limit(start_platform, tmp_path):
    async with start_platform(max_body_bytes=1000) as platform:
        secrets = [platform.owner.api_key, str(tmp_path)]
        async with talkers(platform.url, platform.owner.api_key, secrets=secrets) as (owner,):
            for options in ({"json": {"name": "x" * 1000}}, {"content": _in_pieces(b"x" * 2000)}):
                answer = await owner.ask("POST", "/api/workflow", **options)
                assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
                assert "1000 bytes" in answer.json()["detail"]
            await owner.post("/workflow", {"name": "x" * 100})


async def _in_pieces(data: bytes):
    for start in range(0, len(data), 100):
        yield data[start : start + 100]


@pytest.mark.parametrize("path", ["/run/{}", "/run/{}/stream", "/deployment/{}", "/workflow/{}", "/machine/{}"])
async def test_a_path_that_holds_no_id_is_refused(owner: Talker, path: str):
    for an_id in ("x", "0", "%00", "..%2f..%2fetc%2fpasswd", "%F0%9F%99%82", "%ff", "a" * 4000, "1; drop table runs"):
        answer = await owner.ask("GET", path.format(an_id))
        assert answer.status_code in (422, 404)
        assert "root:" not in answer.text


@pytest.mark.one_backing
async def test_a_query_that_is_no_number_is_422(owner: Talker):
    for query in ["limit=-1", "limit=x", "limit=1001", "limit=1e9", "offset=99999999999999999999", "limit=%00"]:
        answer = await owner.ask("GET", f"/workflows?{query}")
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["query", query.partition("=")[0]]


@pytest.mark.one_backing
async def test_a_truth_value_that_is_none_is_422(owner: Talker):
    answer = await owner.ask("GET", f"/run/{ID}?queue_position=maybe")
    assert answer.json()["detail"][0]["loc"] == ["query", "queue_position"]


@pytest.mark.own_platform
@pytest.mark.one_backing
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Encoding": "gzip"}, 400),
        ({"Content-Encoding": "deflate"}, 400),
        ({"Idempotency-Key": "short"}, 400),
        ({"Idempotency-Key": "x" * 201}, 400),
        ({"Idempotency-Key": b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8"}, 400),
    ],
    ids=str,
)
async def test_headers_that_make_no_sense_are_refused(platform, owner: Talker, headers: Any, status: int, expect_log):
    if "Content-Encoding" in headers:
        expect_log("Unhandled exception")  # aiohttp's own word, after the answer
    body = {"deployment_id": platform.owner.deployment_id, "inputs": {"image": PICTURE}}
    answer = await owner.ask("POST", QUEUE, content=json.dumps(body), headers=headers)
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("last", ["x", "-1", "1.5", "99999999999", "7", b"\xff"], ids=str)
async def test_an_event_that_the_stream_never_had_is_400(owner: Talker, last: Any):
    run = await owner.run(ECHO)
    answer = await owner.ask("GET", f"/run/{run['id']}/stream", headers={"Last-Event-ID": last})
    assert answer.status_code == 400, answer.text
    assert "Last-Event-ID" in answer.json()["detail"]


@pytest.mark.own_platform
@pytest.mark.one_backing
@pytest.mark.parametrize(
    "sent",
    [
        b"POST /run/deployment/queue HTTP/1.1\r\nHost: a\r\n{key}Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST /run/deployment/queue HTTP/1.1\r\nHost: a\r\n{key}Content-Length: 100\r\n\r\n{",
        b"GET /deployments HTTP/1.1\r\nHost: a\r\nA: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
    ],
    ids=["bad chunk", "half a body", "header too long", "no text", "no HTTP"],
)
async def test_bytes_that_are_no_request_hurt_nobody(platform, owner: Talker, sent: bytes, allow_log):
    allow_log("Error handling request")  # aiohttp's own words
    allow_log("Unhandled exception")
    host, port = platform.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(sent.replace(b"{key}", f"Authorization: Bearer {platform.owner.api_key}\r\n".encode()))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 20)
    writer.close()
    assert b"Traceback" not in answer
    assert b"500" not in answer[:20]
    assert platform.owner.api_key.encode() not in answer
    assert (await owner.get("/health"))["status"] == "ok"


async def test_a_deployment_without_an_executable_graph_is_a_conflict(owner: Talker):
    deployment = await owner.deploy(None)
    answer = await owner.ask("POST", QUEUE, json={"deployment_id": deployment})
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "no workflow_api" in answer.json()["detail"]


ODD_GRAPHS = {
    "a node that is none": {"1": 7},
    "a node without a class": {"1": {"inputs": {}}},
    "a class that is none": {"1": {"class_type": ["x"], "inputs": {}}},
    "inputs that are none": {"1": {"class_type": "EmptyImage", "inputs": [1]}},
    "a link to nothing": {"1": node("ImageInvert", image=["9", 0])},
    "a link to itself": {"1": node("ImageInvert", image=["1", 0])},
    "a circle": {"1": node("ImageInvert", image=["2", 0]), "2": node("ImageInvert", image=["1", 0])},
    "a slot that is not there": {"1": node("EmptyImage"), "2": node("ImageInvert", image=["1", 5])},
    "a slot below nothing": {"1": node("PreviewImage", images=["2", -1]), "2": node("SaveImage", images=["1", -1])},
    "no image": {"1": node("SaveImage")},
    "an image of nothing": {"1": node("EmptyImage", width=0)},
    "an image of everything": {"1": node("EmptyImage", width=10**9, height=10**9)},
    "an image beyond all numbers": {"1": node("EmptyImage", width=10**400)},
    "a number that is a text": {"1": node("EmptyImage", width="wide")},
    "a blur without end": {"1": node("EmptyImage"), "2": node("ImageBlur", image=["1", 0], blur_radius=10**6)},
    "a sleep beyond all numbers": {"1": node("OutpostSleep", seconds=1.7e308)},
    "an unknown class": {"1": node("KSampler", seed=1)},
    "an odd input id": {"1": external("Text", ["x"]), "2": node("PreviewAny", source=["1", 0])},
    "a scale that keeps the proportions of a thread": {
        "1": node("EmptyImage", width=1, height=100_000),
        "2": node("ImageScale", image=["1", 0], width=100_000, height=0),
    },
    "a file of this computer": {"1": node("LoadImage", image="/etc/passwd"), "2": node("SaveImage", images=["1", 0])},
    "a picture on another computer": {"1": node("LoadImage", image="http://127.0.0.1:1/x.png")},
}


@pytest.mark.one_backing
@pytest.mark.parametrize("name", ODD_GRAPHS)
async def test_an_odd_graph_fails_at_a_node_and_not_at_the_server(owner: Talker, name: str):
    graph = ODD_GRAPHS[name]
    run = await owner.run(graph, check_machine=False)
    assert run["status"] == "failed"
    assert run["error"]["node_id"] in graph or run["error"]["node_id"] == "9"
    assert run["error"]["message"]
    assert "the server's log has it" not in run["error"]["message"]
    assert "root:" not in str(run)


@pytest.mark.one_backing
async def test_a_long_chain_of_nodes_is_executed(owner: Talker):
    graph = {str(n): node("OutpostSleep", seconds=0, image=[str(n + 1), 0]) for n in range(2000)}
    run = await owner.run({**graph, "2000": node("EmptyImage"), "last": node("PreviewImage", images=["0", 0])})
    assert run["status"] == "success", run["error"]


@pytest.mark.one_backing
async def test_a_picture_that_is_none_is_told_by_its_node(owner: Talker):
    for data in (b"", b"plain text", png()[:30], b"GIF89a", b"<svg/>"):
        url = await owner.upload(data, kind="application/x-anything")
        run = await owner.run(
            {"1": external("Image", "image"), "2": node("SaveImage", images=["1", 0])}, {"image": url}
        )
        assert run["status"] == "failed"
        error = run["error"]
        assert (error["node_id"], error["node_class"]) == ("1", "ComfyUIDeployExternalImage")
        assert "image" in error["message"]
        assert "0x" not in str(error)


@pytest.mark.one_backing
async def test_an_address_that_must_not_be_read_is_told_by_its_input(owner: Talker):
    graph = {"1": external("Image", "photo"), "2": node("SaveImage", images=["1", 0])}
    run = await owner.run(graph, {"photo": "http://127.0.0.1:9/x.png"})
    assert run["status"] == "failed"
    assert run["error"]["message"].startswith("photo: 127.0.0.1 is an address of this computer")


@pytest.mark.one_backing
@pytest.mark.parametrize("name", [["0", 0], [1, 2], 7, "x" * 10_000], ids=["a picture", "a list", "a number", "long"])
async def test_a_name_of_an_input_that_is_none_does_not_swell_the_message(owner: Talker, name: Any):
    graph = {"0": node("EmptyImage"), "1": external("Image", name), "2": node("SaveImage", images=["1", 0])}
    inputs = {name: "http://127.0.0.1:9/x.png"} if isinstance(name, str) else {}
    run = await owner.run(graph, inputs, check_machine=False)
    assert run["status"] == "failed"
    assert len(run["error"]["message"]) < 500
    assert "0x" not in run["error"]["message"]
    assert "b'" not in run["error"]["message"]


@pytest.mark.one_backing
@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"1": node("EmptyImage", width=1, height=1, batch_size=257)}, "1 to 256 images"),
        (
            {
                "1": node("EmptyImage", width=1, height=1, batch_size=20),
                "2": node("ImageScale", image=["1", 0], width=5000, height=5000, upscale_method="nearest-exact"),
            },
            "the most on the built-in machine",
        ),
        ({str(number): node("EmptyImage", width=5000, height=5000) for number in range(20)}, "the most on"),
    ],
    ids=["a large batch", "many large images", "many nodes"],
)
async def test_a_graph_that_wants_all_memory_is_stopped(owner: Talker, graph: Any, words: str):
    run = await owner.run(graph)
    assert run["status"] == "failed"
    assert words in run["error"]["message"]


@pytest.mark.one_backing
async def test_a_file_that_starts_a_program_is_no_image(owner: Talker):
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
    run = await owner.run(INVERT, {"image": await owner.upload(eps, kind="application/postscript")})
    assert run["status"] == "failed"
    assert "is not an image that can be read here" in run["error"]["message"]


@pytest.mark.one_backing
async def test_a_url_in_the_wrong_place_is_told_without_its_signature(owner: Talker):
    url = await owner.upload(png())
    graph = {"1": external("Text", "text"), "2": node("OutpostSleep", seconds=["1", 0])}
    run = await owner.run(graph, {"text": url})
    assert run["status"] == "failed"
    assert "?…" in run["error"]["message"]
    assert "s=" not in run["error"]["message"]
