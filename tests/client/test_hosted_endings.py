"""How runs end on the hosted platform when nobody follows them: synchronous runs, lists of runs, cancellations."""

import pytest
from comfyui_outpost.api import errors
from comfyui_outpost.api.models import Run, RunStatus
from comfyui_outpost.tests.fakes import recordings
from comfyui_outpost.tests.fakes.flaky import answer

FAILED_RUN = "ff008db2-1ba5-4080-8f78-645797f035ba"
WORKFLOW_ID = "18f8bf65-8b1f-45bf-adb2-ac5b522d5614"
ID = "0d7b1f0e-8d3c-4a35-9b57-9a1d2c5be007"


def rows():
    """Two recorded runs of a workflow that failed, with what their machine has told of it."""
    return recordings.body("get_workflow_workflow_id_runs", "limit=2")


def many(count):
    return [rows()[0] | {"id": f"00000000-0000-0000-0000-{number:012}"} for number in range(count)]


async def test_outputs_of_a_synchronous_run_that_succeeded_are_read(hosted):
    server, client = await hosted()
    server.run |= {"id": server.sync_outputs[0]["run_id"], "status": "success"}

    outputs = await client.runs.sync(server.deployment["id"], {})

    assert [each.node_id for each in outputs] == ["8", "3", "5"]


async def test_a_synchronous_run_that_failed_is_an_error_although_the_platform_answers_its_outputs(hosted):
    server, client = await hosted()
    server.sync_outputs = recordings.body("post_run_deployment_sync", "execution error")
    server.run |= {"id": FAILED_RUN, "workflow_id": WORKFLOW_ID, "status": "failed"}
    server.runs_of_workflow = rows()

    with pytest.raises(errors.RunFailed, match=r"node 2 \(ImageInvert\)") as caught:
        await client.runs.sync(server.deployment["id"], {})

    assert caught.value.run_id == FAILED_RUN
    assert caught.value.failure and caught.value.failure.node_class == "ImageInvert"


async def test_a_list_of_runs_that_makes_no_sense_does_not_hide_that_the_run_failed(hosted):
    server, client = await hosted()
    server.run |= {"id": server.sync_outputs[0]["run_id"], "status": "failed"}
    server.runs_of_workflow = [{"id": "no run at all"}]

    with pytest.raises(errors.RunFailed, match="tells no reason"):
        await client.runs.sync(server.deployment["id"], {})


@pytest.mark.parametrize(("status", "error"), [("cancelled", errors.RunCancelled), ("timeout", errors.RunTimedOut)])
async def test_a_synchronous_run_that_ended_otherwise_is_an_error(hosted, status, error):
    server, client = await hosted()
    server.run |= {"id": server.sync_outputs[0]["run_id"], "status": status}

    with pytest.raises(error):
        await client.runs.sync(server.deployment["id"], {})


async def test_no_outputs_of_a_synchronous_run_never_look_like_success(hosted):
    server, client = await hosted()
    server.sync_outputs = []

    with pytest.raises(errors.RunLost, match="neither an output nor which run it was") as caught:
        await client.runs.sync(server.deployment["id"], {})

    assert caught.value.run_id is None
    assert len(server.log.submissions()) == 1


async def test_the_record_of_the_end_may_come_a_little_after_the_outputs(hosted, time):
    server, client = await hosted()
    server.run |= {"id": server.sync_outputs[0]["run_id"], "status": "success"}
    server.states = [{"status": "running"}, {"status": "running"}]

    assert await client.runs.sync(server.deployment["id"], {})

    assert 0 < time.now < 5


async def test_a_synchronous_run_whose_end_is_never_recorded_is_lost(hosted, time):
    server, client = await hosted()
    server.run |= {"id": server.sync_outputs[0]["run_id"], "status": "running"}

    with pytest.raises(errors.RunLost, match="does not record that it ended") as caught:
        await client.runs.sync(server.deployment["id"], {})

    assert caught.value.run_id == server.run["id"]
    assert 60 <= time.now < 120


async def test_runs_of_a_workflow_tell_why_they_failed_and_only_outputs_as_outputs(hosted):
    server, client = await hosted()
    server.runs_of_workflow = rows()

    runs = await client.runs.list(workflow_id=WORKFLOW_ID)

    assert [type(run) for run in runs] == [Run, Run]
    assert all(run.error and run.error.node_class == "ImageInvert" for run in runs if run.status is RunStatus.FAILED)
    assert all(output.data for run in runs for output in run.outputs)


async def test_runs_of_a_workflow_can_be_of_one_status_although_the_platform_cannot_pick_them(hosted):
    server, client = await hosted()
    wanted = {number for number in range(250) if number % 50 == 7}
    server.runs_of_workflow = [
        row | ({"status": "success"} if number in wanted else {}) for number, row in enumerate(many(250))
    ]

    found = await client.runs.list(workflow_id=WORKFLOW_ID, status=RunStatus.SUCCESS, limit=3, offset=1)

    assert [int(run.id[-12:]) for run in found] == [57, 107, 157]


async def test_runs_of_a_workflow_can_be_of_one_deployment(hosted):
    server, client = await hosted()
    server.runs_of_workflow = [row | {"deployment_id": ID} for row in many(1)] + rows()

    assert len(await client.runs.list(workflow_id=WORKFLOW_ID, deployment_id=ID)) == 1


async def test_runs_of_a_deployment_are_listed_by_status(hosted):
    server, client = await hosted()
    server.runs_of_workflow = [*rows(), *(row | {"status": "success"} for row in many(1))]

    succeeded = await client.runs.list(deployment_id=ID, status=RunStatus.SUCCESS)

    assert [run.status for run in succeeded] == [RunStatus.SUCCESS] * 2
    assert len(await client.runs.list(deployment_id=ID)) == 3
    assert [("status=success" in each.path) for each in server.log.requests] == [False, True, False]


async def test_a_plain_list_of_a_deployments_runs_is_read_too(flaky):
    _, client = await flaky(answer({"detail": "Not Found"}, 404), answer(rows()))

    assert len(await client.runs.list(deployment_id=ID)) == len(rows())


async def test_all_runs_together_are_not_to_be_had(hosted):
    server, client = await hosted()

    with pytest.raises(errors.NotSupported, match="Name one of them"):
        await client.runs.list(status=RunStatus.FAILED)

    assert [each.path for each in server.log.requests] == ["/api/health"]


async def test_a_run_that_the_platform_cannot_cancel_goes_on(hosted):
    server, client = await hosted()
    server.run["status"] = "running"

    with pytest.raises(errors.Conflict, match="goes on"):
        await client.runs.cancel(server.run["id"])


async def test_a_run_that_has_ended_cannot_be_cancelled_and_says_how_it_ended(hosted):
    server, client = await hosted()

    with pytest.raises(errors.Conflict, match="already ended with the status success"):
        await client.runs.cancel(server.run["id"])


async def test_cancelling_a_cancelled_run_is_no_error(hosted):
    server, client = await hosted()
    server.run["status"] = "cancelled"

    assert (await client.runs.cancel(server.run["id"])).status == "success"


async def test_a_run_that_does_not_exist_cannot_be_cancelled(hosted):
    _, client = await hosted()

    with pytest.raises(errors.NotFound):
        await client.runs.cancel(ID)
