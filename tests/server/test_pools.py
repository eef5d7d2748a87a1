"""Many machines: which one a run goes to, and what becomes of it when one of them is down, or dies in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from typing import Any
from uuid import uuid4

import pytest
from aiohttp import web
from comfyui_outpost.tests.fakes.comfyui import node_class
from comfyui_outpost.tests.fakes.flaky import text
from comfyui_outpost.tests.fakes.serving import reset

from .gpus import QUICK, Box, boxes, deploy_on, diffusion, impatient, pool_of, work_for_ever
from .machines import ScriptedMachine, put_out_text
from .talking import Talker

pytestmark = pytest.mark.shared_platform

A, B = "plain.safetensors", "xl/base.safetensors"


@pytest.fixture(scope="module")
def shared_settings() -> dict[str, Any]:
    """One that soon notices what happens to its machines."""
    return {"kinds": {"comfyui": impatient, "builtin": lambda _: ScriptedMachine(put_out_text)}, "health": QUICK}


async def until(owner: Talker, path: str, is_so: Callable[[Any], bool]) -> Any:
    """What the platform answers once it is so."""

    async def poll() -> Any:
        while not is_so(answer := await owner.get(path)):
            await asyncio.sleep(0.01)
        return answer

    return await asyncio.wait_for(poll(), 20)


async def listed(owner: Talker, machine_id: str, status: str) -> Any:
    """A machine as the list has it, which asks nobody, once it has this status."""

    def find(machines: Any) -> Any:
        return next(each for each in machines if each["id"] == machine_id)

    return find(await until(owner, "/machines", lambda machines: find(machines)["status"] == status))


async def statuses(owner: Talker, run_id: str) -> list[str]:
    return [event.status for event in await owner.follow(run_id) if event.status]


class TestPools:
    async def test_it_names_its_machines_and_is_as_well_as_the_best_of_them(self, owner: Talker, allow_log):
        async with boxes(owner, "one", "two") as (one, two):
            pool_id = await pool_of(owner, one, two, two)
            made = await owner.get(f"/machine/{pool_id}")
            assert made["machine_ids"] == [one.machine_id, two.machine_id]
            assert (made["type"], made["status"], made["endpoint"]) == ("pool", "ready", None)
            one.comfyui.is_down = True
            assert (await owner.get(f"/machine/{pool_id}"))["status"] == "ready"
            two.comfyui.is_down = True
            how = await owner.get(f"/machine/{pool_id}")
            assert how["status"] == "error"
            assert how["status_reason"].startswith("one: The machine's ComfyUI cannot be reached")
            assert "; two: The machine's" in how["status_reason"]
            [in_list] = [each for each in await owner.get("/machines") if each["id"] == pool_id]
            assert in_list["machine_ids"] == [one.machine_id, two.machine_id]

    async def test_only_machines_of_ones_own_can_be_in_it_and_no_pools(self, owner: Talker, stranger: Talker):
        foreign = (await stranger.get("/machines"))[0]["id"]
        async with boxes(owner, "one") as (one,):
            pool_id = await pool_of(owner, one)
            for wrong, says in (
                ([str(uuid4())], "There is no machine"),
                ([foreign], f"There is no machine {foreign}"),
                ([one.machine_id, pool_id], "'all of them' is a pool itself"),
                ([], "at least 1 item"),
                (None, "Field required"),
            ):
                body = {"name": "mine", "type": "pool"} | ({} if wrong is None else {"machine_ids": wrong})
                said = await owner.refused(422, "POST", "/machine/create", body)
                assert said.startswith("body.machine_ids: "), said
                assert says in said
            assert [each["name"] for each in await owner.get("/machines")] == ["built-in", "one", "all of them"]

    async def test_a_machine_in_a_pool_is_deleted_only_by_force_and_is_then_out_of_it(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            pool_id = await pool_of(owner, one, two)
            said = await owner.refused(409, "DELETE", f"/machine/{one.machine_id}")
            assert said.startswith(f"The machine {one.machine_id} is in pools: 'all of them'.")
            await owner.delete(f"/machine/{one.machine_id}?force=true")
            assert (await owner.get(f"/machine/{pool_id}"))["machine_ids"] == [two.machine_id]
            run = await owner.end_of(await owner.queue(await deploy_on(owner, pool_id, diffusion())))
            assert (run["status"], run["machine_id"], one.sent) == ("success", two.machine_id, 0)

    async def test_runs_wait_for_a_pool_that_has_no_machine_and_say_so_at_their_end(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            pool_id = await pool_of(owner, one)
            deployment = await deploy_on(owner, pool_id, diffusion(), queue_timeout=0.3)
            await owner.delete(f"/machine/{one.machine_id}?force=true")
            run = await owner.end_of(await owner.queue(deployment))
            assert run["status"] == "timeout"
            why = "The run waited longer than its queue time-out of 0.3 seconds: The pool has no machine any more"
            assert run["error"]["message"] == why


class TestPlaces:
    async def test_runs_at_once_are_spread_over_the_machines(self, owner: Talker):
        async with boxes(owner, "one", "two", "three") as gpus:
            for box in gpus:
                box.comfyui.script = work_for_ever
            deployment = await deploy_on(owner, await pool_of(owner, *gpus), diffusion())
            runs = [await owner.queue(deployment) for _ in range(4)]
            at_work = [await owner.until(run_id, "running") for run_id in runs[:3]]
            assert {run["machine_id"] for run in at_work} == {box.machine_id for box in gpus}
            waiting = await owner.get(f"/run/{runs[3]}?queue_position=true")
            assert (waiting["status"], waiting["queue_position"]) == ("queued", 0)
            for run_id in runs[:3]:
                await owner.post(f"/run/{run_id}/cancel", None)
            await owner.until(runs[3], "running")
            await owner.post(f"/run/{runs[3]}/cancel", None)

    async def test_a_run_goes_where_its_models_are_loaded(self, owner: Talker):
        async with boxes(owner, "one", "two") as gpus:
            pool_id = await pool_of(owner, *gpus)
            with_a, with_b = [await deploy_on(owner, pool_id, diffusion(model)) for model in (A, B)]
            places: dict[str, set[str]] = {with_a: set(), with_b: set()}
            for deployment in (with_a, with_b, with_a, with_a, with_b, with_b, with_a, with_b):
                run = await owner.end_of(await owner.queue(deployment))
                assert run["status"] == "success"
                places[deployment].add(run["machine_id"])
            assert [len(found) for found in places.values()] == [1, 1]
            assert places[with_a] != places[with_b], "a model that is loaded need not make room for another one"

    async def test_a_run_goes_only_where_its_nodes_and_models_are(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            pool_id = await pool_of(owner, one, two)
            one.comfyui.classes["CheckpointLoaderSimple"] = node_class(ckpt_name=[["other.ckpt"]])
            two.comfyui.script = work_for_ever
            deployment = await deploy_on(owner, pool_id, diffusion())
            runs = [await owner.queue(deployment) for _ in range(2)]
            assert (await owner.until(runs[0], "running"))["machine_id"] == two.machine_id
            assert (await owner.get(f"/run/{runs[1]}"))["status"] == "queued"
            # The other one is free for those that need less, although they came later.
            simple = await deploy_on(owner, pool_id, {"1": diffusion()["3"] | {"inputs": SAVED}, "2": EMPTY})
            later = await owner.end_of(await owner.queue(simple))
            assert (later["status"], later["machine_id"]) == ("success", one.machine_id)
            for run_id in reversed(runs):
                await owner.post(f"/run/{run_id}/cancel", None)
            assert (one.sent, two.sent) == (1, 1)


SAVED = {"images": ["2", 0], "filename_prefix": "x"}
EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8}}


class TestMachinesThatAreDown:
    async def test_it_takes_no_runs_and_comes_back_by_itself(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            deployment = await deploy_on(owner, await pool_of(owner, one, two), diffusion())
            one.comfyui.is_down = True
            await listed(owner, one.machine_id, "error")
            for _ in range(3):
                run = await owner.end_of(await owner.queue(deployment))
                assert (run["status"], run["machine_id"]) == ("success", two.machine_id)
            two.comfyui.is_down, one.comfyui.is_down = True, False
            await listed(owner, two.machine_id, "error")
            run = await owner.end_of(await owner.queue(deployment))
            assert (run["status"], run["machine_id"]) == ("success", one.machine_id)

    async def test_a_run_waits_for_its_only_machine_and_says_why(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            deployment = await deploy_on(owner, one.machine_id, diffusion())
            one.comfyui.is_down = True
            await listed(owner, one.machine_id, "error")
            run_id = await owner.queue(deployment)
            waiting = await owner.get(f"/run/{run_id}")
            assert waiting["status"] == "queued"
            assert waiting["live_status"].startswith("Waiting: The machine's ComfyUI cannot be reached")
            one.comfyui.is_down = False
            run = await owner.end_of(run_id)
            assert (run["status"], one.sent) == ("success", 1)
            assert not (run["live_status"] or "").startswith("Waiting")

    async def test_a_run_that_waits_in_vain_ends_with_the_reason(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            deployment = await deploy_on(owner, one.machine_id, diffusion(), queue_timeout=0.3)
            one.comfyui.is_down = True
            await listed(owner, one.machine_id, "error")
            run_id = await owner.queue(deployment)
            assert await statuses(owner, run_id) == ["queued", "timeout"]
            message = (await owner.get(f"/run/{run_id}"))["error"]["message"]
            assert message.startswith("The run waited longer than its queue time-out of 0.3 seconds: The machine's")
            assert one.sent == 0

    async def test_what_it_was_not_sent_yet_goes_to_another_one(self, owner: Talker):
        async with boxes(owner, "one", "two") as (one, two):
            deployment = await deploy_on(owner, await pool_of(owner, one, two), diffusion())

            async def die(request: web.Request) -> web.Response:
                one.comfyui.die()
                reset(request)
                return web.Response()

            one.comfyui.fail("/ws", die)  # it is listened to before it is sent anything
            run_id = await owner.queue(deployment)
            assert await statuses(owner, run_id) == ["queued", "started", "queued", "started", "running", "success"]
            assert (await owner.get(f"/run/{run_id}"))["machine_id"] == two.machine_id
            assert (one.sent, two.sent) == (0, 1)

    async def test_a_run_that_no_machine_can_be_sent_fails_after_three_tries(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            deployment = await deploy_on(owner, one.machine_id, diffusion())
            one.comfyui.fail("/ws", *[text("a proxy that has nobody behind it", status=502)] * 3)
            run_id = await owner.queue(deployment)
            assert (await statuses(owner, run_id))[-1] == "failed"
            message = (await owner.get(f"/run/{run_id}"))["error"]["message"]
            assert message == "The machine's ComfyUI answered a request with 502"
            assert (len(one.comfyui.faults["/ws"]), one.sent) == (0, 0)


class TestMachinesThatDie:
    @pytest.fixture
    async def gpus(self, owner: Talker, allow_log) -> AsyncGenerator[list[Box], None]:
        allow_log("could not be stopped on its machine")
        async with boxes(owner, "one", "two") as gpus:
            for box in gpus:
                box.comfyui.script = work_for_ever
            yield gpus

    async def died(self, owner: Talker, gpus: list[Box], run_id: str) -> list[Box]:
        """The box that has died with a run, and the other one."""
        at_work = await owner.until(run_id, "running")
        gpus = sorted(gpus, key=lambda box: box.machine_id != at_work["machine_id"])
        await gpus[0].comfyui.wait_until(lambda: gpus[0].comfyui.running is not None)
        gpus[0].comfyui.die()
        return gpus

    async def test_the_run_is_tried_once_more_elsewhere_if_that_is_allowed(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True))
        dead, other = await self.died(owner, gpus, run_id)
        await other.comfyui.wait_until(lambda: other.comfyui.running is not None)
        assert other.comfyui.running
        other.comfyui.running.interruption.set()
        assert await statuses(owner, run_id) == [
            *("queued", "started", "running"),
            *("queued", "started", "running", "failed"),
        ]
        assert (dead.sent, other.sent) == (1, 1)

    async def test_its_second_machine_ends_it(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True))
        at_work = await owner.until(run_id, "running")
        first, second = sorted(gpus, key=lambda box: box.machine_id != at_work["machine_id"])
        second.comfyui.script = type(second.comfyui)().script
        first.comfyui.die()
        run = await owner.end_of(run_id)
        assert (run["status"], run["machine_id"]) == ("success", second.machine_id)
        assert [len(output["data"]["images"]) for output in run["outputs"]] == [1], "of the second one alone"
        assert run["error"] is None

    async def test_without_that_it_fails_with_the_reason(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion()))
        dead, other = await self.died(owner, gpus, run_id)
        assert await statuses(owner, run_id) == ["queued", "started", "running", "failed"]
        message = (await owner.get(f"/run/{run_id}"))["error"]["message"]
        assert message.startswith("The machine's ComfyUI cannot be reached")
        assert (dead.sent, other.sent) == (1, 0)

    async def test_it_is_not_tried_a_third_time(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True))
        dead, other = await self.died(owner, gpus, run_id)
        await other.comfyui.wait_until(lambda: other.comfyui.running is not None)
        dead.comfyui.is_down = False
        await listed(owner, dead.machine_id, "ready")
        other.comfyui.die()
        run = await owner.end_of(run_id)
        assert run["status"] == "failed"
        assert (dead.sent, other.sent) == (1, 1)

    async def test_it_does_not_go_back_to_the_machine_that_died(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        deployment = await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True)
        run_id = await owner.queue(deployment)
        at_work = await owner.until(run_id, "running")
        dead, other = sorted(gpus, key=lambda box: box.machine_id != at_work["machine_id"])
        other.comfyui.is_down = True
        await listed(owner, other.machine_id, "error")
        dead.comfyui.restart()  # it is there again at once
        later = await owner.queue(deployment)
        assert (await owner.until(later, "running"))["machine_id"] == dead.machine_id, "it takes runs again"
        waiting = await owner.get(f"/run/{run_id}")
        assert (waiting["status"], dead.sent, other.sent) == ("queued", 2, 0), "but not the one it died with"
        other.comfyui.is_down = False
        await other.comfyui.wait_until(lambda: other.comfyui.running is not None)
        assert (await owner.get(f"/run/{run_id}"))["machine_id"] == other.machine_id

    async def test_there_is_no_elsewhere_for_a_deployment_on_one_machine(self, owner: Talker, gpus: list[Box]):
        deployment = await deploy_on(owner, gpus[0].machine_id, diffusion(), retry_elsewhere=True)
        run_id = await owner.queue(deployment)
        await self.died(owner, gpus, run_id)
        assert (await owner.end_of(run_id))["status"] == "failed"
        assert [box.sent for box in gpus] == [1, 0]

    async def test_there_is_no_elsewhere_in_a_pool_of_one(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, gpus[0])
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True))
        await self.died(owner, gpus, run_id)
        assert (await owner.end_of(run_id))["status"] == "failed"
        assert [box.sent for box in gpus] == [1, 0]

    async def test_a_run_that_was_cancelled_meanwhile_is_not_tried_again(self, owner: Talker, gpus: list[Box]):
        pool_id = await pool_of(owner, *gpus)
        run_id = await owner.queue(await deploy_on(owner, pool_id, diffusion(), retry_elsewhere=True))
        await self.died(owner, gpus, run_id)
        await owner.post(f"/run/{run_id}/cancel", None)
        assert (await owner.end_of(run_id))["status"] == "cancelled"
        assert sum(box.sent for box in gpus) <= 2


class TestTimeouts:
    async def test_waiting_for_a_busy_machine_and_running_have_limits_of_their_own(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            one.comfyui.script = work_for_ever
            running = await deploy_on(owner, one.machine_id, diffusion(), run_timeout=0.5, queue_timeout=60)
            waiting = await deploy_on(owner, one.machine_id, diffusion(), run_timeout=60, queue_timeout=0.2)
            first, second = await owner.queue(running), await owner.queue(waiting)
            assert await statuses(owner, second) == ["queued", "timeout"]
            assert await statuses(owner, first) == ["queued", "started", "running", "timeout"]
            for run_id, says in (
                (first, "The run took longer than its time-out of 0.5 seconds"),
                (second, "The run waited longer than its queue time-out of 0.2 seconds: its machine had no free place"),
            ):
                assert (await owner.get(f"/run/{run_id}"))["error"]["message"] == says
            await one.comfyui.wait_until(lambda: not one.comfyui.running and not one.comfyui.pending)
            assert one.sent == 1

    async def test_waiting_in_the_queue_of_the_comfyui_is_waiting(self, owner: Talker):
        """Somebody uses the ComfyUI by hand: the run has its machine, and has not begun."""
        async with boxes(owner, "one") as (one,):
            one.comfyui.script = work_for_ever
            one.comfyui.pending.append([0, "by hand", {}, {"client_id": "a browser"}, []])
            await one.comfyui.changed()
            await one.comfyui.wait_until(lambda: one.comfyui.running is not None)
            deployment = await deploy_on(owner, one.machine_id, diffusion(), run_timeout=0.1, queue_timeout=1)
            run_id = await owner.queue(deployment)
            assert await statuses(owner, run_id) == ["queued", "started", "timeout"]
            run = await owner.get(f"/run/{run_id}")
            assert run["error"]["message"].startswith("The run waited longer than its queue time-out of 1 seconds")
            assert one.comfyui.pending == [], "it was taken out of the queue"
            assert one.comfyui.interruptions == [], "and what somebody does by hand goes on"

    async def test_the_time_until_its_beginning_is_told_apart(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            run = await owner.end_of(await owner.queue(await deploy_on(owner, one.machine_id, diffusion())))
            assert 0 <= run["cold_start_duration"] < run["duration"]
            assert 0 < run["run_duration"] <= run["duration"]

    async def test_a_limit_can_be_set_changed_and_taken_away(self, owner: Talker):
        async with boxes(owner, "one") as (one,):
            deployment = await deploy_on(owner, one.machine_id, diffusion(), queue_timeout=5)
            path = f"/deployment/{deployment}"
            made = await owner.get(path)
            assert (made["queue_timeout"], made["retry_elsewhere"], made["check_machine"]) == (5, False, True)
            changed = await owner.patch(path, {"queue_timeout": None, "retry_elsewhere": True})
            assert (changed["queue_timeout"], changed["retry_elsewhere"], changed["check_machine"]) == (
                None,
                True,
                True,
            )
            for wrong in (0, -1, 1e9, "soon"):
                said = await owner.refused(422, "PATCH", path, {"queue_timeout": wrong})
                assert said.startswith("body.queue_timeout: ")
