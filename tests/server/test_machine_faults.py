"""A machine that fails at every stage of a run: the run ends once and says why, and the machine is free again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from comfyui_outpost.tests.fakes.comfyui import Execution, NodeFailed, execute_all
from comfyui_outpost.tests.fakes.flaky import Act, answer, break_off, break_off_after, text

from .graphs import INVERT, Graph, png
from .remote import HASTY, PICTURE, Remote, remote_of
from .talking import Talker

# What goes wrong on a machine has nothing to do with the database.
pytestmark = [pytest.mark.shared_platform, pytest.mark.one_backing]

BAD_ANSWERS: dict[str, Act] = {
    "an error": text("Traceback (most recent call last): secret", 500),
    "busy": text("busy", 503),
    "half JSON": text('{"half'),
    "half sent": break_off_after(b'{"', announced=500),
    "broken off": break_off,
}
WEBSOCKET = "/ws"
CUT_SHORT = "Cannot write to closing transport"
"""What aiohttp may log of an upload when the connection ends just before its last byte."""


@pytest.fixture(scope="module")
def shared_settings() -> dict[str, Any]:
    return HASTY


@pytest.fixture
def objects(platform: Any) -> Path:
    """Where the platform keeps all files."""
    return platform.folder / "objects"


@pytest.fixture
async def remote(owner: Talker) -> AsyncGenerator[Remote, None]:
    async with remote_of(owner) as remote:
        yield remote


def files_in(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file()}


async def wait_for_ever(execution: Execution) -> None:
    """A prompt that is at work until its ComfyUI is gone."""
    await execution.say("executing", node="1")
    await execution.work_for_ever()


async def silent(request: web.Request) -> web.StreamResponse:
    """No byte of an answer, for ever."""
    await asyncio.Event().wait()
    return web.Response()


async def take_half(request: web.Request) -> web.StreamResponse:
    """An upload of which only the beginning is read."""
    await request.content.readany()
    await asyncio.Event().wait()
    return web.Response()


async def send_half(request: web.Request) -> web.StreamResponse:
    """A file that stops in the middle of it."""
    response = web.StreamResponse(headers={"Content-Length": "1000"})
    await response.prepare(request)
    await response.write(b"half")
    await asyncio.Event().wait()
    return response


class TestAComfyUIThatIsKilled:
    """What it had not been given yet waits for it, the rest fails with a reason."""

    @pytest.mark.parametrize("path", ["/object_info/ImageInvert", "/view", "/upload/image", WEBSOCKET])
    async def test_before_the_graph_was_sent_has_the_run_wait_until_it_is_back(
        self, remote: Remote, path: str, allow_log: Any
    ):
        allow_log(CUT_SHORT)
        inputs = {"image": await remote.owner.upload(png())}
        remote.fail(path, take_half if path == "/upload/image" else silent)
        run_id = await remote.queue(INVERT, inputs)
        await remote.comfyui.wait_until(lambda: any(path in seen.path for seen in remote.comfyui.log.requests))

        await remote.host.kill()

        waiting = await waits_for_its_machine(remote, run_id)
        said = ("cannot be reached", "has gone away in the middle of a run")  # before it was asked again, and after
        assert any(each in waiting["live_status"] for each in said)
        assert list(remote.comfyui.uploads) == [] or path == WEBSOCKET, "half a file is none"
        assert remote.comfyui.submitted == []
        await remote.host.start()
        assert (await remote.end_of(run_id))["status"] == "success"
        assert list(remote.comfyui.uploads.values()) == [png()]
        await remote.works_again(sent=1)

    async def test_while_the_run_waits_in_its_queue_fails_the_run(self, remote: Remote):
        remote.comfyui.script = wait_for_ever
        await somebody_elses(remote)
        run_id = await remote.queue()
        await remote.comfyui.wait_until(lambda: len(remote.comfyui.pending) == 1)
        assert (await remote.owner.get(f"/run/{run_id}"))["status"] == "started"
        await remote.host.kill()
        await remote.host.start()
        assert "ComfyUI was restarted" in await remote.failure_of(run_id)
        await remote.works_again(sent=2)

    @pytest.mark.parametrize("comes_back", [True, False])
    async def test_while_it_executes_fails_the_run(self, remote: Remote, allow_log: Any, comes_back: bool):
        allow_log("could not be stopped on its machine")
        remote.comfyui.script = wait_for_ever
        run_id = await remote.queue()
        await remote.owner.until(run_id, "running")
        await remote.host.kill()
        if comes_back:
            await remote.host.start()
        reason = await remote.failure_of(run_id)
        assert ("ComfyUI was restarted" if comes_back else "nobody answers at its address") in reason
        if not comes_back:
            await remote.host.start()
        await remote.works_again(sent=1)

    async def test_while_an_output_is_fetched_fails_the_run_and_keeps_nothing_half(
        self, remote: Remote, objects: Path, allow_log: Any
    ):
        allow_log("could not be stopped on its machine")
        before = files_in(objects)
        remote.fail("/view", send_half)
        run_id = await remote.queue()
        await remote.asked("GET", "/view")
        await remote.host.kill()
        run = await remote.end_of(run_id)
        assert (run["status"], run["outputs"]) == ("failed", [])
        assert "cannot be reached" in run["error"]["message"]
        assert files_in(objects) == before
        await remote.host.start()
        await remote.works_again(sent=1)

    async def test_between_the_end_and_the_reading_of_its_record_fails_the_run(self, remote: Remote):
        async def script(execution: Execution) -> None:
            remote.fail(f"/history/{execution.prompt_id}", silent)

        remote.comfyui.script = script
        run_id = await remote.queue()
        await remote.comfyui.wait_until(lambda: any("/history/" in seen.path for seen in remote.comfyui.log.requests))
        await remote.host.kill()
        await remote.host.start()
        assert "history cleared" in await remote.failure_of(run_id)
        await remote.works_again(sent=1)

    async def test_is_given_no_run_until_it_is_back(self, remote: Remote):
        deployment_id = await remote.deploy(PICTURE)
        await remote.host.kill()
        first = await remote.owner.queue(deployment_id)
        await waits_for_its_machine(remote, first)
        second = await remote.owner.queue(deployment_id)
        assert (await waits_for_its_machine(remote, second))["queue_position"] is None
        assert (await remote.owner.get(f"/machine/{remote.machine_id}"))["status"] == "error"
        await remote.host.start()
        assert [(await remote.end_of(each))["status"] for each in (first, second)] == ["success"] * 2
        await remote.works_again(sent=2)


class TestAWebsocketThatIsCut:
    """Makes no difference: the record of the prompt is what counts."""

    async def test_while_the_run_waits(self, remote: Remote):
        may_end = asyncio.Event()

        async def script(execution: Execution) -> None:
            await may_end.wait()
            await execute_all(execution)

        remote.comfyui.script = script
        await somebody_elses(remote)
        run_id = await remote.queue()
        await remote.comfyui.wait_until(lambda: len(remote.comfyui.pending) == 1)
        await cut(remote)
        may_end.set()
        await self.succeeds(remote, run_id, sent=2)

    async def test_while_it_executes(self, remote: Remote):
        async def script(execution: Execution) -> None:
            await execution.say("executing", node="1")
            remote.comfyui.cut_websockets()
            await remote.comfyui.wait_until(lambda: len(remote.comfyui.log.named("GET", WEBSOCKET)) == 2)
            await execute_all(execution)

        remote.comfyui.script = script
        await self.succeeds(remote, await remote.queue(), sent=1)

    async def test_while_an_output_is_fetched(self, remote: Remote):
        may_end = asyncio.Event()

        async def script(execution: Execution) -> None:
            await execute_all(execution)
            await may_end.wait()

        async def slowly(request: web.Request) -> web.StreamResponse:
            await may_end.wait()
            return web.Response(body=b"a picture")

        remote.comfyui.script = script
        remote.fail("/view", slowly)
        run_id = await remote.queue()
        await remote.asked("GET", "/view")
        await cut(remote)
        may_end.set()
        await self.succeeds(remote, run_id, sent=1)

    async def test_just_before_the_end(self, remote: Remote):
        async def script(execution: Execution) -> None:
            await execute_all(execution)
            remote.comfyui.cut_websockets()

        remote.comfyui.script = script
        await self.succeeds(remote, await remote.queue(), sent=1)

    async def test_whenever_it_is_opened_fails_the_run_after_three_tries(self, remote: Remote):
        remote.fail(WEBSOCKET, break_off, times=100)
        run_id = await remote.queue()
        assert "cannot be reached" in await remote.failure_of(run_id)
        statuses = [event.status for event in await remote.owner.follow(run_id)]
        assert statuses.count("started") == 3
        assert "running" not in statuses
        assert remote.comfyui.submitted == []
        await remote.works_again(sent=0)

    async def succeeds(self, remote: Remote, run_id: str, *, sent: int) -> None:
        run = await remote.end_of(run_id)
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        await remote.works_again(sent=sent)


class TestBadAnswers:
    @pytest.mark.parametrize("kind", BAD_ANSWERS)
    @pytest.mark.parametrize("path", ["/object_info/SaveImage", "/queue", WEBSOCKET, "/prompt", "/view", "/history"])
    async def test_a_bad_answer_ends_the_run_once_or_does_no_harm(
        self, remote: Remote, expect_log: Any, path: str, kind: str
    ):
        async def script(execution: Execution) -> None:
            if path == "/history":
                remote.fail(f"/history/{execution.prompt_id}", BAD_ANSWERS[kind])
            await execute_all(execution)

        remote.comfyui.script = script
        remote.fail(path, BAD_ANSWERS[kind])
        run = await remote.end_of(await remote.queue())
        assert run["status"] in ("success", "failed")
        assert "secret" not in str(run)
        await remote.works_again(sent=len(remote.comfyui.submitted))

    @pytest.mark.parametrize("kind", BAD_ANSWERS)
    @pytest.mark.parametrize("path", ["/view", "/upload/image"])
    async def test_a_bad_answer_to_an_upload_ends_the_run_once_or_does_no_harm(
        self, remote: Remote, path: str, kind: str, allow_log: Any
    ):
        allow_log(CUT_SHORT)
        remote.fail(path, BAD_ANSWERS[kind])
        run = await remote.end_of(await remote.queue(INVERT, {"image": await remote.owner.upload(png())}))
        assert run["status"] in ("success", "failed")
        assert "secret" not in str(run)
        await remote.works_again(sent=len(remote.comfyui.submitted))

    @pytest.mark.parametrize("path", ["/object_info/SaveImage", WEBSOCKET, "/prompt"])
    async def test_silence_before_the_beginning_lasts_no_longer_than_the_queue_timeout(
        self, remote: Remote, allow_log: Any, path: str
    ):
        allow_log("could not be stopped")
        deployment_id = await remote.deploy(PICTURE, queue_timeout=0.3)
        remote.fail(path, silent, times=100)
        reason = await remote.failure_of(await remote.owner.queue(deployment_id), status="timeout")
        assert "0.3 seconds" in reason
        assert remote.comfyui.submitted == []
        await remote.works_again(sent=0)

    async def test_silence_after_the_beginning_lasts_no_longer_than_the_run_timeout(self, remote: Remote):
        async def script(execution: Execution) -> None:
            remote.fail(f"/history/{execution.prompt_id}", silent, times=100)
            remote.fail("/view", silent, times=100)
            await execute_all(execution)

        remote.comfyui.script = script
        run_id = await remote.queue(run_timeout=0.3)
        assert "0.3 seconds" in await remote.failure_of(run_id, status="timeout")
        await remote.works_again(sent=1)


LIES: dict[str, Any] = {
    "nothing": {},
    "null": {"queue_running": None, "queue_pending": None},
    "nonsense": {"queue_running": [None, [], "x", [1]], "queue_pending": {"a": 1}},
    "a list": [1],
    "somebody else's for ever": {"queue_running": [[0, "another", {}, {"client_id": "x"}, []]], "queue_pending": []},
    "a client's number": {"queue_running": [[0, 5, {}, {"client_id": 5}, []]], "queue_pending": []},
}


class TestAMachineThatLiesAboutItsQueue:
    @pytest.mark.parametrize("lie", LIES)
    async def test_does_no_harm_to_a_run_that_it_executes(self, remote: Remote, lie: str):
        remote.fail("/queue", answer(LIES[lie]), times=1000)
        run = await remote.end_of(await remote.queue())
        assert (run["status"], len(run["outputs"])) == ("success", 1)
        await remote.works_again(sent=1)

    async def test_by_saying_that_a_run_is_at_work_for_ever_holds_it_up_to_its_timeout(
        self, remote: Remote, expect_log: Any
    ):
        expect_log("could not be stopped on its machine")

        async def script(execution: Execution) -> None:
            entry = [0, execution.prompt_id, {}, {"client_id": execution.client_id}, []]
            remote.fail("/queue", answer({"queue_running": [entry], "queue_pending": []}), times=1000)
            execution.client_id = "nobody"

        remote.comfyui.script = script
        assert "0.5 seconds" in await remote.failure_of(await remote.queue(run_timeout=0.5), status="timeout")
        await remote.works_again(sent=1)

    async def test_by_saying_that_a_run_is_gone_fails_the_run_once(self, remote: Remote):
        async def script(execution: Execution) -> None:
            remote.fail("/queue", answer({"queue_running": [], "queue_pending": []}), times=1000)
            remote.comfyui.cut_websockets()
            await remote.comfyui.wait_until(lambda: len(remote.comfyui.log.named("GET", "/queue")) > 1)

        remote.comfyui.script = script
        run_id = await remote.queue()
        run = await remote.end_of(run_id)
        assert run["status"] in ("success", "failed")
        await remote.works_again(sent=1)


class TestWhatComfyUIRefuses:
    async def test_a_graph_that_it_rejects_fails_with_the_node_and_its_reason(self, remote: Remote):
        errors = [{"type": "value_smaller_than_min", "message": "Value too small", "details": "width"}]
        node_errors = {"1": {"errors": errors, "class_type": "EmptyImage", "dependent_outputs": ["2"]}}
        remote.fail("/prompt", answer({"error": {"message": "no"}, "node_errors": node_errors}, 400))
        run_id = await remote.queue()
        assert "Value too small: width" in await remote.failure_of(run_id)
        error = (await remote.owner.get(f"/run/{run_id}"))["error"]
        assert (error["node_id"], error["node_class"]) == ("1", "EmptyImage")
        await remote.works_again(sent=0)

    async def test_a_full_disk_on_its_side_fails_the_upload_and_nothing_is_sent(self, remote: Remote):
        remote.fail("/upload/image", text("[Errno 28] No space left on device: '/home/me/ComfyUI/input'", 500))
        run_id = await remote.queue(INVERT, {"image": await remote.owner.upload(png())})
        reason = await remote.failure_of(run_id)
        assert "/upload/image with 500" in reason
        assert "/home/me" not in reason
        await remote.works_again(sent=0)

    async def test_a_full_disk_on_its_side_fails_the_node_that_saves(self, remote: Remote):
        async def script(execution: Execution) -> None:
            message = "[Errno 28] No space left on device: '/home/me/ComfyUI/output/kept_00001_.png'"
            raise NodeFailed(node_id="2", node_type="SaveImage", exception_message=message, exception_type="OSError")

        remote.comfyui.script = script
        run_id = await remote.queue()
        reason = await remote.failure_of(run_id)
        assert "No space left on device" in reason
        assert "/home/me" not in reason
        assert (await remote.owner.get(f"/run/{run_id}"))["error"]["node_id"] == "2"
        await remote.works_again(sent=1)


async def test_two_runs_with_the_same_picture_at_once_upload_it_once(owner: Talker):
    async with remote_of(owner, slots=2) as remote:
        deployment_id = await remote.deploy(INVERT)
        inputs = {"image": await remote.owner.upload(png())}
        run_ids = [await remote.owner.queue(deployment_id, inputs) for _ in range(2)]
        assert [(await remote.end_of(each))["status"] for each in run_ids] == ["success"] * 2
        assert len(remote.comfyui.log.named("POST", "/upload/image")) == 1
        assert list(remote.comfyui.uploads.values()) == [png()]
        await remote.works_again(sent=2)


async def waits_for_its_machine(remote: Remote, run_id: str) -> Any:
    """A run that waits, once it says for which reason."""
    while True:
        run = await remote.owner.get(f"/run/{run_id}")
        if run["status"] == "queued" and run["live_status"]:
            return run
        await asyncio.sleep(0.01)


async def somebody_elses(remote: Remote) -> None:
    """Give the ComfyUI something to do that does not come from the platform."""
    async with aiohttp.ClientSession() as session:
        graph: Graph = PICTURE
        async with session.post(f"{remote.host.url}/prompt", json={"prompt": graph, "client_id": "x"}) as response:
            assert response.status == 200
    await remote.begun()


async def cut(remote: Remote) -> None:
    """Cut the websocket, and wait for the platform to open another one."""
    before = len(remote.comfyui.log.named("GET", WEBSOCKET))
    remote.comfyui.cut_websockets()
    await remote.comfyui.wait_until(lambda: len(remote.comfyui.log.named("GET", WEBSOCKET)) > before)
