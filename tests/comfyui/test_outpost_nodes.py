"""Our nodes inside real ComfyUIs: a graph reaches a real platform over its own API and gets tensors back."""

import json
import re
from datetime import datetime, timezone

import numpy as np
import pytest
from comfyui_outpost.api.models import RunStatus

from .installations import Installation
from .instance import Outcome
from .lane import INVERT, SAME, Lane, external, node, picture, read_image, run_deployment, save, sleep
from .messages import Json

# The ComfyUIs and the platform that all tests share live on this event loop.
pytestmark = pytest.mark.asyncio(loop_scope="session")

OUR_NODES = ("OutpostUploadImage", "OutpostRunDeployment", "OutpostRunOutputs")
UNKNOWN_ID = "00000000-0000-4000-8000-000000000000"
CANCEL_SECONDS = 1.0
NO_IMPORT = re.compile("IMPORT FAILED|Cannot import")


async def test_comfyui_loads_the_package_and_shows_its_nodes_to_the_page(lane: Lane):
    assert [line for line in lane.comfyui.log().splitlines() if "Outpost" in line and NO_IMPORT.search(line)] == []
    for name in OUR_NODES:
        info = await lane.comfyui.object_info(name)
        assert info and info["display_name"].endswith("(Outpost)") and info["description"]
        json.dumps(info, allow_nan=False)
        fields = {**info["input"]["required"], **info["input"].get("optional", {})}
        assert [field for field, (_, options) in fields.items() if not options["tooltip"].strip()] == []


async def test_an_image_comes_back_from_a_deployment_pixel_for_pixel(lane: Lane, has_progress_text: bool):
    sent = picture(1)
    graph = {
        **INVERT,
        "4": node("OutpostSleep", image=["1", 0], seconds=0.3),
        "2": node("ImageInvert", image=["4", 0]),
    }

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": run_deployment(await lane.deploy(graph), image=["1", 0]),
            "3": save(["2", 0], "inverted"),
            "4": node("MaskToImage", mask=["2", 1]),
            "5": save(["4", 0], "mask"),
        }
    )

    (inverted,) = await lane.saved(execution, "3")
    (mask,) = await lane.saved(execution, "5")
    assert np.array_equal(inverted, 255 - sent)
    assert np.array_equal(mask, np.zeros_like(sent))
    progress = [message.data for message in execution.messages if message.type == "progress"]
    shares = [each["value"] / each["max"] for each in progress if each["node"] == "2"]
    assert len(shares) > 2 and shares == sorted(shares) and shares[-1] == 1.0
    texts = [message.data for message in execution.messages if message.type == "progress_text"]
    assert {each["node"] for each in texts} == ({"2"} if has_progress_text else set())
    assert not has_progress_text or texts[-1]["text"] == f"run {lane.traffic.run_ids[0]}: success"


async def test_an_uploaded_image_is_given_to_a_deployment_by_its_url(lane: Lane):
    sent = picture(2)

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": node("OutpostUploadImage", image=["1", 0]),
            "3": run_deployment(await lane.deploy(INVERT), image=["2", 0]),
            "4": save(["3", 0], "by-url"),
        }
    )

    (inverted,) = await lane.saved(execution, "4")
    assert np.array_equal(inverted, 255 - sent)
    assert lane.traffic.count("PUT /api/objects/") == 1


async def test_transparency_keeps_its_polarity_on_the_way_there_and_back(lane: Lane):
    sent = picture(3, channels=4)

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": node("OutpostUploadImage", image=["1", 0], mask=["1", 1]),
            "3": run_deployment(await lane.deploy(SAME), image=["2", 0]),
            "4": save(["3", 0], "colour"),
            "5": node("MaskToImage", mask=["3", 1]),
            "6": save(["5", 0], "mask"),
        }
    )

    (run,) = await lane.runs()
    remote = read_image(await lane.client.files.download(run.outputs[0].files[0].url, max_bytes=10**6))
    assert np.array_equal(remote, sent)
    (colour,) = await lane.saved(execution, "4")
    (mask,) = await lane.saved(execution, "6")
    assert np.array_equal(colour, sent[..., :3])
    assert np.array_equal(mask[..., 0], 255 - sent[..., 3])


async def test_a_mask_travels_as_a_grey_image(lane: Lane):
    sent = picture(4, channels=4)

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": run_deployment(await lane.deploy(SAME), image=["1", 1]),
            "3": save(["2", 0]),
        }
    )

    (saved,) = await lane.saved(execution, "3")
    assert np.array_equal(saved, np.repeat(255 - sent[..., 3:], 3, axis=2))


async def test_outputs_are_picked_by_output_id_and_by_node_id(lane: Lane):
    sent = picture(5)
    graph = {
        **INVERT,
        "4": node("EmptyImage", width=8, height=16, batch_size=2, color=0x336699),
        "5": node("SaveImage", images=["4", 0]),
        "6": node("PreviewAny", source="a caption", output_id="caption"),
        "7": node("PreviewAny", source="another text"),
    }

    execution = await lane.execute(
        {
            "1": await lane.load(sent),
            "2": run_deployment(await lane.deploy(graph), image=["1", 0]),
            "3": node("ShowShapes", image=["2", 0]),
            "4": node("OutpostRunOutputs", run=["2", 2], output="inverted"),
            "5": save(["4", 0]),
            "6": node("OutpostRunOutputs", run=["2", 2], output="5"),
            "7": node("ShowShapes", image=["6", 0]),
            "8": node("OutpostRunOutputs", run=["2", 2], output="caption"),
            "9": node("ShowTexts", text=["8", 2]),
            "10": node("OutpostRunOutputs", run=["2", 2], output=""),
            "11": node("ShowTexts", text=["10", 2]),
        }
    )

    # Images of different sizes are a list with each as it is; those of one size are one batch.
    assert execution.outputs("3")["shapes"] == [[1, 24, 40, 3], [1, 16, 8, 3], [1, 16, 8, 3]]
    assert execution.outputs("7")["shapes"] == [[2, 16, 8, 3]]
    assert np.array_equal((await lane.saved(execution, "5"))[0], 255 - sent)
    assert execution.outputs("9")["text"] == ["a caption"]
    assert execution.outputs("11")["text"] == ["a caption", "another text"]
    assert len(lane.traffic.run_ids) == 1


async def test_an_output_that_has_no_image_says_so_to_the_node_behind_it(lane: Lane, has_async_nodes: bool):
    deployment_id = await lane.deploy({"1": node("PreviewAny", source="only a text")})
    graph = {"1": run_deployment(deployment_id), "2": save(["1", 0])}

    execution = await lane.comfyui.follow(await lane.queue(graph))

    (failure,) = [message.data for message in execution.messages if message.type == "execution_error"]
    assert failure["node_id"] == "2"
    assert not has_async_nodes or "has put out no image here" in failure["exception_message"]


async def test_plain_values_reach_inputs_that_the_node_does_not_declare(lane: Lane):
    values = {"count": 7, "strength": 0.25, "is_on": True, "words": "a cat, {wild}"}
    graph = {
        "1": external("NumberInt", "count"),
        "2": external("Number", "strength"),
        "3": external("Boolean", "is_on"),
        "4": external("Text", "words"),
        **{str(number + 4): node("PreviewAny", source=[str(number), 0]) for number in range(1, 5)},
    }

    execution = await lane.execute(
        {
            "1": run_deployment(await lane.deploy(graph), **values),
            "2": node("OutpostRunOutputs", run=["1", 2], output=""),
            "3": node("ShowTexts", text=["2", 2]),
        }
    )

    assert execution.outputs("3")["text"] == ["7", "0.25", "True", "a cat, {wild}"]
    (run,) = await lane.runs()
    assert run.workflow_inputs == values


async def test_a_prompt_that_is_queued_again_runs_nothing_remotely(lane: Lane):
    graph = {
        "1": await lane.load(picture(6)),
        "2": run_deployment(await lane.deploy(INVERT), image=["1", 0]),
        "3": save(["2", 0]),
    }
    await lane.execute(graph)

    await lane.execute(graph)
    await lane.execute(graph | {"3": save(["2", 0], "another name")})

    assert len(lane.traffic.run_ids) == 1
    assert lane.traffic.count("PUT ") == 1


async def test_two_deployments_run_side_by_side_where_comfyui_can(lane: Lane, has_async_nodes: bool):
    deployment_id = await lane.deploy(sleep(0.8))

    await lane.execute(
        {
            "1": await lane.load(picture(7)),
            "2": run_deployment(deployment_id, image=["1", 0]),
            "3": run_deployment(deployment_id, image=["1", 0]),
            "4": save(["2", 0]),
            "5": save(["3", 0]),
        }
    )

    first, second = await lane.runs()
    assert first.started_at and first.ended_at and second.started_at and second.ended_at
    assert (second.started_at < first.ended_at) is has_async_nodes
    assert lane.traffic.count("PUT ") == 1, "the same pixels travel once"


async def test_an_interrupted_prompt_cancels_its_remote_run_at_once(lane: Lane, installation: Installation):
    deployment_id = await lane.deploy(sleep(60))
    image = await lane.load(picture(8))
    prompt_id = await lane.queue({"1": image, "2": run_deployment(deployment_id, image=["1", 0]), "3": save(["2", 0])})
    await lane.wait_for_progress(prompt_id, "2")

    interrupted_at = datetime.now(timezone.utc)
    await lane.comfyui.interrupt()
    execution = await lane.comfyui.follow(prompt_id, timeout=10)
    prompt_seconds = (datetime.now(timezone.utc) - interrupted_at).total_seconds()

    assert execution.outcome is Outcome.INTERRUPTED
    (run,) = await lane.runs()
    assert run.status is RunStatus.CANCELLED and run.ended_at
    seconds = (run.ended_at - interrupted_at).total_seconds()
    print(
        f"{installation.name}: cancelled {seconds:.2f} s after the interrupt, prompt over after {prompt_seconds:.2f} s"
    )
    assert seconds < CANCEL_SECONDS
    assert lane.traffic.count(f"POST /api/run/{run.id}/cancel") == 1
    # The flag has been taken: what comes next is not interrupted too.
    inverted = run_deployment(await lane.deploy(INVERT), image=["1", 0])
    await lane.execute({"1": image, "2": inverted, "3": save(["2", 0])})


async def test_an_interrupt_cancels_every_run_of_the_prompt(lane: Lane, has_async_nodes: bool):
    deployment_id = await lane.deploy(sleep(60))
    prompt_id = await lane.queue(
        {
            "1": await lane.load(picture(9)),
            "2": run_deployment(deployment_id, image=["1", 0]),
            "3": run_deployment(deployment_id, image=["1", 0]),
            "4": save(["2", 0]),
            "5": save(["3", 0]),
        }
    )
    working = ("2", "3") if has_async_nodes else ("2",)
    for node_id in working:
        await lane.wait_for_progress(prompt_id, node_id)

    await lane.comfyui.interrupt()

    assert (await lane.comfyui.follow(prompt_id, timeout=10)).outcome is Outcome.INTERRUPTED
    assert [run.status for run in await lane.runs()] == [RunStatus.CANCELLED] * len(working)


async def test_a_run_that_waits_for_a_machine_is_cancelled_before_it_starts(lane: Lane):
    graph = {
        "1": await lane.load(picture(10)),
        "2": run_deployment(await lane.deploy(INVERT), image=["1", 0]),
        "3": save(["2", 0]),
    }
    async with lane.busy_machine():
        prompt_id = await lane.queue(graph)
        await lane.gateway.wait_for_run()

        await lane.comfyui.interrupt()

        assert (await lane.comfyui.follow(prompt_id, timeout=10)).outcome is Outcome.INTERRUPTED
        (run,) = await lane.runs()
    assert (run.status, run.started_at) == (RunStatus.CANCELLED, None)


async def test_an_interrupt_during_the_upload_starts_no_run(lane: Lane):
    graph = {
        "1": await lane.load(picture(11)),
        "2": run_deployment(await lane.deploy(INVERT), image=["1", 0]),
        "3": save(["2", 0]),
    }
    with lane.gateway.holding_uploads():
        prompt_id = await lane.queue(graph)
        await lane.gateway.wait_for_request("PUT ")

        await lane.comfyui.interrupt()

        assert (await lane.comfyui.follow(prompt_id, timeout=10)).outcome is Outcome.INTERRUPTED
    assert lane.traffic.run_ids == []
    await lane.execute(graph)


WRONG_INPUTS: dict[str, tuple[Json, list[str]]] = {
    "missing": ({}, ["'image'", "missing", "'image', 'count'"]),
    "unknown": ({"imgae": "x"}, ["no input 'imgae'", "'image', 'count'"]),
    "not a number": ({"image": ["1", 0], "count": "many"}, ["'count' takes an integer", "'many'"]),
    "an image for a number": ({"image": ["1", 0], "count": ["1", 0]}, ["'count'", "integer", "image"]),
    "no url": ({"image": "cat.png"}, ["'image' takes an image", "'cat.png'"]),
}


@pytest.mark.parametrize("inputs, words", WRONG_INPUTS.values(), ids=WRONG_INPUTS.keys())
async def test_a_wrong_input_is_named_before_anything_is_sent(lane: Lane, inputs: Json, words: list[str]):
    graph = {**SAME, "3": external("NumberInt", "count")}
    image = await lane.load(picture(12))
    run = run_deployment(await lane.deploy(graph), **inputs)

    failure = await lane.error_of({"1": image, "2": run, "3": save(["2", 0])})

    assert (failure["node_id"], failure["node_type"]) == ("2", "OutpostRunDeployment")
    assert [word for word in words if word not in failure["exception_message"]] == [], failure["exception_message"]
    # A run of the test before may still be told to stop.
    sent = [each for each in lane.traffic.requests if not each.startswith("GET ") and not each.endswith("/cancel")]
    assert sent == []


@pytest.mark.parametrize(
    "deployment_id, words",
    [(UNKNOWN_ID, UNKNOWN_ID), ("Hello Outpost", "'Hello Outpost' is not an id"), ("", "'' is not an id")],
)
async def test_a_deployment_that_does_not_exist_is_named(lane: Lane, deployment_id: str, words: str):
    failure = await lane.error_of({"1": run_deployment(deployment_id), "2": save(["1", 0])})

    assert words in failure["exception_message"]


async def test_a_failed_remote_run_tells_the_node_and_its_words(lane: Lane):
    deployment_id = await lane.deploy(
        {
            "1": node("EmptyImage", width=8, height=8),
            "17": node("ImageBlur", image=["1", 0], blur_radius=500),
            "3": node("SaveImage", images=["17", 0]),
        }
    )

    failure = await lane.error_of({"1": run_deployment(deployment_id), "2": save(["1", 0])})

    assert "node 17 (ImageBlur)" in failure["exception_message"]
    assert "blur_radius goes from 0 to 100, not 500" in failure["exception_message"]
    assert lane.traffic.run_ids[0] in failure["exception_message"]


async def test_a_wrong_key_is_told_and_not_shown(lane: Lane):
    deployment_id = await lane.deploy(SAME)

    with lane.gateway.using_key("outpost_wrong"):
        failure = await lane.error_of({"1": run_deployment(deployment_id), "2": save(["1", 0])})

    assert "401" in failure["exception_message"]
    assert lane.api_key not in json.dumps(failure)


async def test_a_server_that_is_not_there_is_named(lane: Lane):
    deployment_id = await lane.deploy(SAME)

    async with lane.gateway.away():
        failure = await lane.error_of({"1": run_deployment(deployment_id), "2": save(["1", 0])})

    assert f"No answer from {lane.gateway.url}" in failure["exception_message"]
    assert "Is the server running?" in failure["exception_message"]


async def test_an_output_that_does_not_exist_is_told_with_those_that_do(lane: Lane):
    failure = await lane.error_of(
        {
            "1": await lane.load(picture(13)),
            "2": run_deployment(await lane.deploy(INVERT), image=["1", 0]),
            "3": node("OutpostRunOutputs", run=["2", 2], output="inverse"),
            "4": save(["3", 0]),
        }
    )

    assert failure["node_id"] == "3"
    assert "no output 'inverse'. Its outputs are: #1 'inverted'" in failure["exception_message"]


async def test_nothing_that_comfyui_keeps_or_says_holds_the_key_a_signed_url_or_a_local_path(lane: Lane):
    upload_and_run = {
        "1": await lane.load(picture(14)),
        "2": node("OutpostUploadImage", image=["1", 0]),
        "3": run_deployment(await lane.deploy(INVERT), image=["2", 0]),
        "4": save(["3", 0], "secrets"),
        "5": node("OutpostQueueDeployment", deployment_id=await lane.deploy(SAME), image=["2", 1]),
        "6": node("OutpostWaitForRuns", run_1=["5", 0], run_ids="", deadline_minutes=1.0, on_failure="stop"),
        "7": save(["6", 0], "secrets-queued"),
        "8": node("OutpostSaveToAssets", image=["3", 0], name="secrets", folder=""),
    }
    await lane.execute(upload_and_run)
    run_again = run_deployment(await lane.deploy(INVERT), image=["1", 0])
    # An error shows what the node had in its hands.
    await lane.error_of({"1": upload_and_run["1"], "3": run_again, "5": node("Fail", run=["3", 2])})
    too_soft = {**INVERT, "2": node("ImageBlur", image=["1", 0], blur_radius=500)}
    failing = run_deployment(await lane.deploy(too_soft), image=["2", 1])
    await lane.error_of({"1": upload_and_run["1"], "2": upload_and_run["2"], "3": failing, "4": save(["3", 0])})

    saved = list((lane.comfyui.workspace / "output").rglob("*secrets*.png"))
    assert len(saved) == 2 and b"OutpostRunDeployment" in saved[0].read_bytes()
    files = [path for name in ("output", "temp", "user") for path in (lane.comfyui.workspace / name).rglob("*.*")]
    kept = {
        "history": json.dumps(_without_tracebacks(await lane.comfyui.get("/history"))),
        "queue": json.dumps(await lane.comfyui.get("/queue")),
        **{path.name: path.read_bytes().decode("latin-1") for path in saved},
    }
    told = {
        **kept,
        "tracebacks": json.dumps(await lane.comfyui.get("/history")),
        "websocket": "\n".join(map(repr, lane.comfyui.heard)),
        "log": lane.comfyui.log(),
        **{path.name: path.read_bytes().decode("latin-1") for path in files if path.is_file()},
    }
    for secret in (lane.api_key, "/api/objects/", "&s="):
        assert [where for where, text in told.items() if secret in text] == [], secret
    # ComfyUI's own log says where its folders are, and its tracebacks where its code is.
    folder = str(lane.comfyui.workspace)
    assert [where for where, text in kept.items() if folder in text] == []


def _without_tracebacks(value: object) -> object:
    """A history without what ComfyUI itself adds to an error in it."""
    match value:
        case dict():
            return {key: _without_tracebacks(each) for key, each in value.items() if key != "traceback"}
        case list():
            return [_without_tracebacks(each) for each in value]
        case _:
            return value
