"""Runs from their request to their end: success, failure, cancellation, time-out, and the same request twice."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import zlib
from io import BytesIO
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
from PIL import Image

from .graphs import ECHO, INVERT, SAVE_IMAGE, external, node, png, sleep
from .talking import TERMINAL, Talker

pytestmark = pytest.mark.shared_platform

BAD_NODE = {"1": node("EmptyImage", width=8, height=8), "7": node("ImageBlur", image=["1", 0], blur_radius=-1)}
"""Fails in node 7."""
KEY = {"Idempotency-Key": "press the button once"}


async def test_the_sample_of_a_first_start_runs_from_upload_to_download(platform, owner: Talker, guest: Talker):
    run_id = await owner.queue(platform.owner.deployment_id, {"image": await owner.upload(png(6, 5))})
    run = await owner.end_of(run_id)
    assert (run["id"], run["status"], run["progress"], run["error"]) == (run_id, "success", 1.0, None)
    assert run["deployment_id"] == platform.owner.deployment_id
    (output,) = run["outputs"]
    assert output["output_id"] == "result"
    assert output["node_meta"] == {"node_id": "5", "node_class": "ComfyDeployOutputImage"}
    (file,) = output["data"]["images"]
    assert set(file) == {"url", "filename", "type", "subfolder", "is_public"}
    answer = await guest.ask("GET", file["url"])
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(BytesIO(answer.content)).getpixel((0, 0)) == (0, 255, 255)


async def test_times_are_told_in_the_platforms_own_shape_and_in_order(owner: Talker):
    run = await owner.run(ECHO)
    times = [run[name] for name in ("created_at", "queued_at", "started_at", "ended_at")]
    assert times == sorted(times)
    assert all(time.endswith("Z") and len(time) == 27 for time in times)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "L", "P", "I;16", "1", "LA"])
async def test_an_untouched_picture_comes_out_byte_for_byte(owner: Talker, kind: str):
    sent = png(mode=kind)
    run = await owner.run(SAVE_IMAGE, {"image": await owner.upload(sent)})
    answer = await owner.ask("GET", run["outputs"][0]["data"]["images"][0]["url"])
    assert answer.content == sent


@pytest.mark.one_backing
@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "GIF", "BMP", "TIFF", "PNG"])
async def test_pictures_of_many_kinds_are_computed_on(owner: Talker, kind: str):
    file = BytesIO()
    Image.new("RGB", (4, 4), "black").save(file, kind)
    url = f"data:image/{kind.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"
    run = await owner.run(INVERT, {"image": url})
    answer = await owner.ask("GET", run["outputs"][0]["data"]["images"][0]["url"])
    assert Image.open(BytesIO(answer.content)).getpixel((0, 0)) == (255, 255, 255)


async def test_a_batch_travels_as_a_text_that_holds_a_list(owner: Talker):
    graph = {"1": external("ImageBatch", "images"), "2": node("SaveImage", images=["1", 0])}
    urls = [await owner.upload(png(2, n)) for n in (1, 2, 3)]
    for value in (urls, json.dumps(urls)):
        run = await owner.run(graph, {"images": value})
        names = [file["filename"] for file in run["outputs"][0]["data"]["images"]]
        assert names == ["ComfyUI_00001_.png", "ComfyUI_00002_.png", "ComfyUI_00003_.png"]


class TestSync:
    async def test_it_answers_with_the_outputs(self, owner: Talker):
        body = {"deployment_id": await owner.deploy(ECHO), "inputs": {"text": "hello"}}
        (output,) = await owner.post("/run/deployment/sync", body)
        assert output["data"] == {"text": ["hello"]}

    async def test_a_failed_run_is_an_error_that_names_the_run_the_node_and_its_class(self, owner: Talker):
        answer = await owner.ask("POST", "/run/deployment/sync", json={"deployment_id": await owner.deploy(BAD_NODE)})
        assert answer.status_code == 422
        detail = answer.json()["detail"]
        assert "node 7 (ImageBlur): ValueError: the blur_radius goes from 0 to 100, not -1" in detail
        run_id = detail.removeprefix("Run ").partition(" ")[0]
        assert (await owner.get(f"/run/{run_id}"))["status"] == "failed"

    async def test_it_waits_for_as_long_as_the_run_takes_and_ends_when_that_is_cancelled(self, platform, owner: Talker):
        deployment = await owner.deploy(sleep(60))
        key = {"Idempotency-Key": "the same run"}
        waiting = asyncio.create_task(
            owner.ask("POST", "/run/deployment/sync", json={"deployment_id": deployment}, headers=key)
        )
        run_id = await owner.queue(deployment, headers=key)
        await owner.until(run_id, "running")
        assert not waiting.done()
        await owner.post(f"/run/{run_id}/cancel", None)
        answer = await waiting
        assert answer.status_code == 422
        assert answer.json()["detail"] == f"Run {run_id} ended with the status cancelled"


class TestFailure:
    async def test_the_node_and_its_class_reach_the_run_and_its_stream(self, owner: Talker):
        run_id = await owner.queue(await owner.deploy(BAD_NODE))
        events = await owner.follow(run_id)
        run = await owner.get(f"/run/{run_id}")
        assert run["status"] == "failed"
        assert run["error"] == {
            "message": "the blur_radius goes from 0 to 100, not -1",
            "node_id": "7",
            "node_class": "ImageBlur",
            "exception_type": "ValueError",
        }
        (error,) = [event.data["data"] for event in events if event.name == "execution_error"]
        assert (error["node_id"], error["node_type"], error["traceback"]) == ("7", "ImageBlur", [])
        assert events[-1].status == "failed"

    async def test_an_unknown_node_is_told_with_what_the_machine_knows(self, owner: Talker):
        run = await owner.run({"3": node("KSampler")}, check_machine=False)
        assert (run["error"]["node_id"], run["error"]["node_class"]) == ("3", "KSampler")
        assert "knows: LoadImage" in run["error"]["message"]

    @pytest.mark.one_backing
    async def test_a_decompression_bomb_is_refused_by_its_header(self, owner: Talker):
        for graph in (INVERT, SAVE_IMAGE):
            run = await owner.run(graph, {"image": await owner.upload(_bomb(40_000, 40_000))})
            assert run["status"] == "failed"
            assert (run["error"]["node_id"], run["error"]["exception_type"]) == ("1", "UnsupportedMedia")
            assert "bomb" in run["error"]["message"]
            assert run["outputs"] == []

    @pytest.mark.one_backing
    async def test_a_damaged_picture_fails_at_its_node_wherever_it_is_damaged(self, owner: Talker, allow_log):
        whole = png(16, 16)
        deployment = await owner.deploy(INVERT)
        for at in range(8, len(whole), 3):
            data = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
            image = f"data:image/png;base64,{base64.b64encode(data).decode()}"
            run = await owner.end_of(await owner.queue(deployment, {"image": image}))
            assert run["status"] == "success" or run["error"]["node_id"] in ("1", "2"), run["error"]

    @pytest.mark.one_backing
    async def test_a_data_url_that_is_none_is_told(self, owner: Talker):
        run = await owner.run(INVERT, {"image": "data:image/png;base64,%%%"})
        assert run["error"]["message"] == "image: the data: URL is not valid base64"

    async def test_outputs_before_the_failure_are_kept(self, owner: Talker):
        first = {"0": node("PreviewAny", source="made it"), "5": node("OutpostSleep", seconds=0.1, image=["0", 0])}
        run = await owner.run({**first, "7": node("ImageBlur", image=["5", 0])})
        assert run["status"] == "failed"
        assert [output["data"] for output in run["outputs"]] == [{"text": ["made it"]}]

    @pytest.mark.own_platform
    @pytest.mark.one_backing
    async def test_a_store_that_cannot_be_written_is_the_servers_affair(self, platform, owner: Talker, expect_log):
        expect_log("could not be kept")
        folder = platform.parts.config.data / "objects"
        folder.mkdir(exist_ok=True)
        (folder / "runs").write_text("in the way")
        run = await owner.run(sleep(0))
        assert run["status"] == "failed"
        assert run["error"]["message"] == (
            "An output cannot be kept: the platform cannot write it, perhaps because its disk is full"
        )


def _bomb(width: int, height: int) -> bytes:
    """A PNG whose header promises more than a computer should hold."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(1000))
    chunks = [struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in (header, data)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


class TestFiles:
    async def test_a_file_that_was_announced_and_never_sent_is_refused_by_the_inputs_name(self, owner: Talker):
        ticket = await owner.announce(png())
        body = {"deployment_id": await owner.deploy(SAVE_IMAGE), "inputs": {"image": ticket["download_url"]}}
        answer = await owner.ask("POST", "/run/deployment/queue", json=body)
        assert answer.status_code == 422
        (problem,) = answer.json()["detail"]
        assert problem["loc"] == ["body", "inputs", "image"]
        assert "Upload the file first." in problem["msg"]

    async def test_somebody_elses_file_is_no_input_although_its_url_is_known(self, owner: Talker, stranger: Talker):
        url = await owner.upload(png())
        deployment = await stranger.deploy(SAVE_IMAGE)
        body = {"deployment_id": deployment, "inputs": {"image": url}}
        answer = await stranger.ask("POST", "/run/deployment/queue", json=body)
        assert answer.status_code == 422

    async def test_somebody_elses_file_is_not_read_from_inside_a_graph_or_a_batch(
        self, owner: Talker, stranger: Talker
    ):
        mine, theirs = await stranger.upload(png()), await owner.upload(png())
        batch = {"1": external("ImageBatch", "images"), "2": node("SaveImage", images=["1", 0])}
        body = {"deployment_id": await stranger.deploy(batch), "inputs": {"images": [mine, theirs]}}
        answer = await stranger.ask("POST", "/run/deployment/queue", json=body)
        assert answer.status_code == 422
        assert answer.json()["detail"][0]["loc"] == ["body", "inputs", "images"]

        graph = {"1": node("LoadImage", image=theirs), "2": node("SaveImage", images=["1", 0])}
        run = await stranger.run(graph)
        assert run["status"] == "failed"
        assert run["outputs"] == []
        assert "is not one of a file that has been uploaded here" in run["error"]["message"]

    async def test_what_a_run_has_put_out_is_an_input_of_the_next_run_of_its_owner_only(
        self, owner: Talker, stranger: Talker
    ):
        first = await owner.run(SAVE_IMAGE, {"image": await owner.upload(png())})
        url = first["outputs"][0]["data"]["images"][0]["url"]
        second = await owner.run(SAVE_IMAGE, {"image": url})
        assert second["status"] == "success"

        body = {"deployment_id": await stranger.deploy(SAVE_IMAGE), "inputs": {"image": url}}
        answer = await stranger.ask("POST", "/run/deployment/queue", json=body)
        assert answer.status_code == 422

    @pytest.mark.one_backing
    async def test_a_url_of_another_server_is_never_opened(self, owner: Talker):
        opened: list[object] = []
        server = await asyncio.start_server(lambda *connection: opened.append(connection), "127.0.0.1", 0)
        async with server:
            host, port = server.sockets[0].getsockname()
            for url in (f"http://{host}:{port}/x.png", f"http://{host}:{port}/api/objects/x?m=GET&e=1&t=a/b&s=x"):
                run = await owner.run(SAVE_IMAGE, {"image": url})
                assert run["status"] == "failed"
        assert not opened

    @pytest.mark.own_platform
    @pytest.mark.parametrize(
        "prefix",
        [
            "../../../etc/evil",
            "/etc/evil",
            "..\\..\\evil",
            "a/b/c",
            "\0",
            "x\r\nX-Evil: 1",
            "あ" * 300,
            "." * 300,
            "%2e%2e",
        ],
        ids=lambda prefix: ascii(prefix)[:20],
    )
    async def test_a_name_from_a_graph_is_never_a_path(self, platform, owner: Talker, prefix: str):
        graph = {"1": node("EmptyImage", width=1, height=1), "2": node("SaveImage", images=["1", 0])}
        graph["2"]["inputs"]["filename_prefix"] = prefix
        run = await owner.run(graph)
        assert run["status"] == "success", run["error"]
        (file,) = run["outputs"][0]["data"]["images"]
        assert not set("/\\\0\r\n") & set(file["filename"])
        answer = await owner.ask("GET", file["url"])
        assert answer.status_code == 200
        assert "X-Evil" not in answer.headers
        data = platform.parts.config.data
        stored = [path for path in data.rglob("*.png") if path.is_file()]
        is_in_bucket = platform.parts.config.objects_url is not None
        assert [path.parent for path in stored] == ([] if is_in_bucket else [data / "objects" / "runs" / run["id"]])
        assert all("evil" in path.name for path in stored if list(data.parent.rglob("*evil*.png")))


class TestCancelling:
    async def test_a_run_that_works_stops_at_once_and_frees_its_slot(self, owner: Talker, platform):
        deployment = await owner.deploy(sleep(60))
        runs = [await owner.queue(deployment) for _ in range(2)]
        for run_id in runs:
            await owner.until(run_id, "running")
        for run_id in runs:
            answer = await owner.post(f"/run/{run_id}/cancel", None)
            assert answer == {"status": "success", "message": "The run is cancelled"}
            run = await owner.get(f"/run/{run_id}")
            assert run["status"] == "cancelled"
            assert run["ended_at"]
            assert run["outputs"] == []
        assert (await owner.run(ECHO))["status"] == "success"

    async def test_a_run_that_waits_never_begins(self, owner: Talker):
        deployment = await owner.deploy(sleep(60))
        working = [await owner.queue(deployment) for _ in range(2)]
        waiting = await owner.queue(deployment)
        assert (await owner.get(f"/run/{waiting}?queue_position=true"))["queue_position"] is not None
        await owner.post(f"/run/{waiting}/cancel", None)
        run = await owner.get(f"/run/{waiting}?queue_position=true")
        assert (run["status"], run["started_at"], run["queue_position"]) == ("cancelled", None, None)
        statuses = [event.status for event in await owner.follow(waiting) if event.status]
        assert statuses == ["queued", "cancelled"]
        for run_id in working:
            await owner.post(f"/run/{run_id}/cancel", None)

    async def test_cancelling_again_is_the_same_answer_also_ten_times_at_once(self, owner: Talker):
        run_id = await owner.queue(await owner.deploy(sleep(60)))
        await owner.until(run_id, "running")
        answers = await asyncio.gather(*(owner.ask("POST", f"/run/{run_id}/cancel") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert (await owner.ask("POST", f"/run/{run_id}/cancel")).status_code == 200
        statuses = [event.status for event in await owner.follow(run_id) if event.status in TERMINAL]
        assert statuses == ["cancelled"]

    @pytest.mark.parametrize(("graph", "status"), [(ECHO, "success"), (BAD_NODE, "failed")])
    async def test_a_run_that_ended_otherwise_is_a_conflict(self, owner: Talker, graph, status: str):
        run = await owner.run(graph)
        answer = await owner.ask("POST", f"/run/{run['id']}/cancel")
        assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
        assert answer.json()["detail"] == f"The run has already ended with the status {status}"
        assert (await owner.get(f"/run/{run['id']}")) == run | {
            "outputs": (await owner.get(f"/run/{run['id']}"))["outputs"]
        }

    async def test_a_stranger_stops_nothing(self, owner: Talker, stranger: Talker):
        run_id = await owner.queue(await owner.deploy(sleep(60)))
        await owner.until(run_id, "running")
        assert (await stranger.ask("POST", f"/run/{run_id}/cancel")).status_code == 404
        assert (await owner.get(f"/run/{run_id}"))["status"] == "running"
        await owner.post(f"/run/{run_id}/cancel", None)


class TestTimeOut:
    async def test_a_run_that_takes_too_long_is_stopped_and_says_why(self, owner: Talker):
        run = await owner.run(sleep(60), run_timeout=0.1)
        assert run["status"] == "timeout"
        assert run["error"]["message"] == "The run took longer than its time-out of 0.1 seconds"
        assert run["outputs"] == []

    async def test_the_last_event_of_its_stream_says_so(self, owner: Talker):
        run_id = await owner.queue(await owner.deploy(sleep(60), run_timeout=0.1))
        events = await owner.follow(run_id)
        assert [event.status for event in events if event.status] == ["queued", "started", "running", "timeout"]


class TestIdempotency:
    async def test_twenty_requests_at_once_are_one_run(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        ids = await asyncio.gather(*(owner.queue(deployment, {"text": "a"}, headers=KEY) for _ in range(20)))
        assert len(set(ids)) == 1
        run = await owner.end_of(ids[0])
        assert len(run["outputs"]) == 1

    async def test_the_same_request_later_is_the_same_run_although_it_has_ended(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        run_id = await owner.queue(deployment, {"text": "a"}, headers=KEY)
        await owner.end_of(run_id)
        assert await owner.queue(deployment, {"text": "a"}, headers=KEY) == run_id
        body = {"deployment_id": deployment, "inputs": {"text": "a"}}
        async with owner.stream("POST", "/run/deployment/stream", json=body, headers=KEY) as events:
            first = await anext(events)
            assert first.data["prompt_id"] == run_id
        (output,) = await owner.post("/run/deployment/sync", body, headers=KEY)
        assert output["run_id"] == run_id

    async def test_another_request_with_the_key_is_a_conflict_that_names_the_run(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        run_id = await owner.queue(deployment, {"text": "a"}, headers=KEY)
        body = {"deployment_id": deployment, "inputs": {"text": "b"}}
        answer = await owner.ask("POST", "/run/deployment/queue", json=body, headers=KEY)
        assert answer.status_code == 409
        assert run_id in answer.json()["detail"]
        assert "the button" not in answer.text

    async def test_two_people_may_use_the_same_key(self, owner: Talker, stranger: Talker):
        mine = await owner.queue(await owner.deploy(ECHO), headers=KEY)
        theirs = await stranger.queue(await stranger.deploy(ECHO), headers=KEY)
        assert mine != theirs

    async def test_without_a_key_every_request_is_a_run(self, owner: Talker):
        deployment = await owner.deploy(ECHO)
        ids = await asyncio.gather(*(owner.queue(deployment) for _ in range(5)))
        assert len(set(ids)) == 5


class TestQueue:
    async def test_positions_count_what_comes_first_and_runs_begin_in_order(self, owner: Talker):
        blocking = [await owner.queue(await owner.deploy(sleep(60))) for _ in range(2)]
        for run_id in blocking:
            await owner.until(run_id, "running")
        deployment = await owner.deploy(ECHO)
        waiting = [await owner.queue(deployment) for _ in range(4)]
        positions = [(await owner.get(f"/run/{each}?queue_position=true"))["queue_position"] for each in waiting]
        assert positions == [0, 1, 2, 3]
        assert (await owner.get(f"/run/{waiting[3]}"))["queue_position"] is None
        await owner.post(f"/run/{blocking[0]}/cancel", None)
        ended = [await owner.end_of(each) for each in waiting]
        assert [run["started_at"] for run in ended] == sorted(run["started_at"] for run in ended)
        await owner.post(f"/run/{blocking[1]}/cancel", None)

    async def test_one_persons_queue_is_not_anothers(self, owner: Talker, stranger: Talker):
        blocking = [await owner.queue(await owner.deploy(sleep(60))) for _ in range(3)]
        run = await stranger.run(ECHO)
        assert run["status"] == "success"
        for run_id in blocking:
            await owner.post(f"/run/{run_id}/cancel", None)


async def test_a_deployment_may_be_replaced_while_its_runs_go_on(owner: Talker):
    deployment = await owner.deploy(sleep(0.2))
    run_id = await owner.queue(deployment)
    whole = await owner.get(f"/deployment/{deployment}")
    body = {name: whole[name] for name in ("workflow_id", "workflow_version_id", "machine_id")}
    again = await owner.post("/deployment", {**body, "environment": "production", "run_timeout": 5})
    assert again["id"] == deployment
    assert (await owner.end_of(run_id))["status"] == "success"


async def test_the_urls_of_answers_lead_back_to_where_the_client_came_in(platform, owner: Talker):
    for host in ("outpost.example", "outpost.example:8443"):
        answer = await owner.ask("POST", "/file/upload", json={"type": "a/b", "file_size": 1}, headers={"Host": host})
        assert urlsplit(answer.json()["upload_url"]).netloc == host


async def test_a_run_of_nobody_is_not_there(owner: Talker):
    answer = await owner.ask("GET", f"/run/{uuid4()}")
    assert answer.status_code == 404
