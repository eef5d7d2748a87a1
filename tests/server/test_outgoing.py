"""What the API lets people make the server request: webhooks of runs, and files at a URL."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from comfyui_outpost.api.models import RunMessage
from comfyui_outpost.tests.fakes.receiver import Receiver, receiver

from .graphs import ECHO, SAVE_IMAGE, png
from .machines import ScriptedMachine, work_for_ever
from .talking import Talker, local, talkers

# Whether an address is asked at all is decided without the store.
pytestmark = pytest.mark.one_backing

SECRET = "permission-that-nobody-may-see"


@pytest.fixture
async def somebody() -> AsyncGenerator[Receiver, None]:
    async with receiver() as found:
        yield found


@pytest.fixture
async def open_owner(start_platform, tmp_path: Path) -> AsyncGenerator[Talker, None]:
    """The owner of a platform whose operator allows private addresses."""
    async with (
        start_platform(allow_private_addresses=True) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[platform.owner.api_key, str(tmp_path), SECRET]) as found,
    ):
        yield found[0]


async def _queue(owner: Talker, deployment_id: str, inputs: Any, **webhook: Any) -> str:
    body = {"deployment_id": deployment_id, "inputs": inputs, **webhook}
    return (await owner.post("/run/deployment/queue", body))["run_id"]


@pytest.mark.parametrize("name", ["webhook", "webhook_url"])
async def test_a_run_is_told_to_its_webhook_signed_for_its_key(
    open_owner: Talker, somebody: Receiver, name: str, tmp_path: Path
):
    owner, picture = open_owner, png()
    image, deployment_id = await owner.upload(picture), await owner.deploy(SAVE_IMAGE)
    new = await owner.post("/platform/api-keys", {"name": "a key for runs", "scope": "run"})
    async with talkers(str(owner.http.base_url), new["key"], secrets=[str(tmp_path)]) as (runner,):
        hook = {name: f"{somebody.url}/hook?{SECRET}=1"}
        run_id = await _queue(runner, deployment_id, {"image": image}, **hook)
        message = await somebody.told("success")
    assert somebody.statuses == ["started", "running", "success"]
    assert message.path == f"/hook?{SECRET}=1"
    assert all(each.is_signed_with(new["webhook_secret"]) for each in somebody.messages)
    assert all(each.body["run_id"] == run_id for each in somebody.messages)
    for each in somebody.messages:
        assert RunMessage.model_validate(each.body).model_dump(mode="json", exclude={"error"}) == each.body
    ((kept,),) = [output["data"]["images"] for output in message.body["outputs"]]
    assert kept["url"].startswith(str(owner.http.base_url))
    assert (await owner.ask("GET", local(kept["url"]))).content == picture


async def test_progress_is_told_too_where_that_is_wanted(open_owner: Talker, somebody: Receiver):
    deployment_id = await open_owner.deploy(ECHO)
    await _queue(open_owner, deployment_id, {"text": "hello"}, webhook=somebody.url, webhook_intermediate_status=True)
    message = await somebody.told("success")
    assert {status for status in somebody.statuses if status != "running"} == {"started", "success"}
    assert message.body["outputs"][0]["data"]["text"] == ["hello"]


async def test_a_run_that_is_cancelled_while_it_waits_is_told(start_platform, somebody: Receiver):
    machine = ScriptedMachine(work_for_ever)
    async with (
        start_platform(allow_private_addresses=True, machines={"builtin": machine}) as platform,
        talkers(platform.url, platform.owner.api_key, secrets=[platform.owner.api_key]) as (owner,),
    ):
        deployment_id = platform.owner.deployment_id
        inputs = {"image": await owner.upload(png())}
        for _ in range(3):
            last = await _queue(owner, deployment_id, inputs, webhook=f"{somebody.url}/hook?{SECRET}")
        await owner.post(f"/run/{last}/cancel", {})
        message = await somebody.told("cancelled")
    assert message.body["run_id"] == last
    assert message.body["outputs"] == []


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/hook",
        "http://[::1]:{port}/hook",
        "http://2130706433:{port}/hook",
        "http://169.254.169.254/latest/meta-data",
        "ftp://example.com/",
        "http://exa mple.com/",
        f"http://10.0.0.1/?{SECRET}",
    ],
)
async def test_a_webhook_in_the_server_s_own_network_is_refused_with_the_run(
    owner: Talker, somebody: Receiver, url: str
):
    hook = url.format(port=somebody.url.rpartition(":")[2])
    body = {"deployment_id": await owner.deploy(ECHO), "inputs": {"text": "hello"}, "webhook": hook}
    answer = await owner.ask("POST", "/run/deployment/queue", json=body)
    assert answer.status_code == 422
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "webhook"]]
    assert SECRET not in answer.text
    assert await owner.get("/runs") == []
    assert somebody.messages == []


@pytest.mark.parametrize("path", ["/file", "/assets/add"])
async def test_a_file_at_a_url_is_fetched_and_kept(open_owner: Talker, somebody: Receiver, path: str):
    picture = png(7, 5)
    somebody.answers["/a cat.png"] = lambda _: web.Response(body=picture, content_type="image/png")
    found = await open_owner.post(path, {"url": f"{somebody.url}/a%20cat.png?{SECRET}=1"})
    assert found["name"] == "a_cat.png"
    assert (await open_owner.ask("GET", local(found["url"]))).content == picture
    assert [message.path for message in somebody.messages] == [f"/a%20cat.png?{SECRET}=1"]
    assert "authorization" not in somebody.messages[0].headers


@pytest.mark.parametrize("path", ["/file", "/assets/add"])
async def test_a_file_in_the_server_s_own_network_is_refused(owner: Talker, somebody: Receiver, path: str):
    answer = await owner.ask("POST", path, json={"url": f"{somebody.url}/x.png?{SECRET}=1"})
    assert (answer.status_code, answer.json()["code"]) == (422, "unprocessable")
    assert [each["loc"] for each in answer.json()["detail"]] == [["body", "url"]]
    assert SECRET not in answer.text
    assert somebody.messages == []


@pytest.mark.parametrize("path", ["/file", "/assets/add"])
async def test_a_file_that_cannot_be_had_leaves_nothing_behind(open_owner: Talker, somebody: Receiver, path: str):
    somebody.say("/x.png", 404)
    answer = await open_owner.ask("POST", path, json={"url": f"{somebody.url}/x.png?{SECRET}=1"})
    assert (answer.status_code, answer.json()["detail"]) == (400, "127.0.0.1 answered 404 instead of the file")
    somebody.answers["/x.png"] = lambda _: web.Response(body=b"no picture", content_type="image/png")
    answer = await open_owner.ask("POST", path, json={"url": f"{somebody.url}/x.png"})
    assert answer.status_code == 422
    assert await open_owner.get("/assets") == []
