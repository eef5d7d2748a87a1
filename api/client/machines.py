"""Machines: what executes runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Conflict, InvalidInput, PaymentRequired
from ..models import Graph, Machine, MachineLog, MachineVerdict
from .changes import UNCHANGED, Unchanged, changes, given
from .pages import contains, read_pages
from .platform import Platform, checked_id

# Inside of the class `list` is its method.
MachineList = list[Machine]
LogList = list[MachineLog]
NameList = list[str]

_KINDS = {
    "serverless": ("managed", "comfy-deploy-serverless", "modal-serverless", "runpod-serverless"),
    "pool": ("pool",),
}
"""The types that are changed by another call than those of ComfyUIs which run already."""
_CHANGEABLE = {
    "custom": ("name", "endpoint", "auth_token", "concurrency_limit"),
    "serverless": ("name", "concurrency_limit", "idle_timeout", "keep_warm"),
    "pool": ("name", "machine_ids"),
}


class Machines:
    """What executes runs."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def list(self, search: str | None = None) -> MachineList:
        """All machines that are not deleted, or those with a part of their name."""

        async def page(offset: int, size: int) -> list[Machine]:
            # The hosted platform lists the deleted ones, too, unless it is told not to.
            params = {"limit": size, "offset": offset, "is_deleted": False, "search": search}
            return await self._platform.get("/machines", list[Machine], params=params)

        return [row for row in await read_pages(page) if not row.deleted and contains(row.name, search)]

    async def get(self, machine_id: str) -> Machine:
        """One machine. Raises NotFound."""
        return await self._platform.get(f"/machine/{checked_id(machine_id)}", Machine)

    async def create(
        self,
        name: str,
        kind: str,
        *,
        endpoint: str | None = None,
        auth_token: str | None = None,
        comfyui: str | None = None,
        machine_ids: Sequence[str] | None = None,
        concurrency_limit: int | None = None,
        idle_timeout: float | None = None,
        keep_warm: bool | None = None,
    ) -> Machine:
        """A machine of any kind: `builtin`, `comfyui` with its endpoint, `managed`, which the server starts, or `pool`.

        A pool is the machines `machine_ids` under one name.

        Raises NotSupported on the hosted platform, where this call builds images.
        """
        await self._platform.require_outpost(
            "create machines of any kind", instead="Use create_custom or create_serverless."
        )
        body = given(
            name=name,
            type=kind,
            endpoint=endpoint,
            auth_token=auth_token,
            comfyui=comfyui,
            machine_ids=[checked_id(each) for each in machine_ids] if machine_ids is not None else None,
            concurrency_limit=concurrency_limit,
            idle_timeout=idle_timeout,
            keep_warm=keep_warm,
        )
        return await self._platform.post("/machine/create", Machine, json=body)

    async def create_custom(
        self, name: str, endpoint: str, *, auth_token: str | None = None, concurrency_limit: int | None = None
    ) -> Machine:
        """A ComfyUI that runs already, by its address. The token is kept by the platform and never told again."""
        body = given(name=name, type="classic", endpoint=endpoint, concurrency_limit=concurrency_limit)
        # The hosted platform refuses a body that does not name the token.
        return await self._platform.post("/machine/custom", Machine, json={**body, "auth_token": auth_token})

    async def create_serverless(
        self,
        name: str,
        *,
        comfyui: str | None = None,
        gpu: str | None = None,
        comfyui_version: str | None = None,
        concurrency_limit: int | None = None,
        idle_timeout: float | None = None,
        keep_warm: bool | None = None,
    ) -> Machine:
        """A ComfyUI that the platform starts when a run needs it and stops after `idle_timeout` seconds without one.

        A server of this package knows its ComfyUIs by the name `comfyui`. The hosted platform needs a `gpu` (`T4`,
        `H100`, …) and knows ComfyUIs by the hash of their commit, `comfyui_version`; there the machine is built first.
        """
        body = given(
            name=name,
            comfyui=comfyui,
            gpu=gpu,
            comfyui_version=comfyui_version,
            concurrency_limit=concurrency_limit,
            idle_timeout=idle_timeout,
            keep_warm=keep_warm,
        )
        return await self._platform.post("/machine/serverless", Machine, json=body)

    async def comfyuis(self) -> NameList:
        """The names of the ComfyUIs that the server's operator lets it start, for `create_serverless`.

        Raises NotSupported on the hosted platform.
        """
        await self._platform.require_outpost("tell which ComfyUIs it starts", instead="It builds any version.")
        return await self._platform.get("/machines/comfyuis", NameList)

    async def update(
        self,
        machine_id: str,
        *,
        name: str | None = None,
        endpoint: str | None = None,
        auth_token: str | Unchanged | None = UNCHANGED,
        concurrency_limit: int | None = None,
        idle_timeout: float | None = None,
        keep_warm: bool | None = None,
        machine_ids: Sequence[str] | None = None,
    ) -> Machine:
        """Change a machine; what is not named stays. What is at work goes on as it was.

        `endpoint` and `auth_token` are those of a ComfyUI that runs already: None takes its token away, and with
        another address a token that is kept has to be named again. `idle_timeout` and `keep_warm` are for one that the
        platform starts, `machine_ids` are all the machines of a pool.

        Raises NotFound, and InvalidInput for what this kind of machine does not have.
        """
        machine = await self.get(machine_id)
        kind = next((kind for kind, types in _KINDS.items() if machine.type in types), "custom")
        body = given(
            name=name,
            endpoint=endpoint,
            concurrency_limit=concurrency_limit,
            idle_timeout=idle_timeout,
            keep_warm=keep_warm,
            machine_ids=[checked_id(each) for each in machine_ids] if machine_ids is not None else None,
        ) | changes(auth_token=auth_token)
        for field in body:
            if field not in _CHANGEABLE[kind]:
                raise InvalidInput(f"{machine.name!r} is a machine that has no {field}", input_id=field)
        if kind == "serverless" and keep_warm is not None and not self._platform.is_outpost:
            body["keep_warm"] = int(keep_warm)  # the hosted platform wants to know how many
        return await self._platform.patch(f"/machine/{kind}/{machine.id}", Machine, json=body)

    async def start(self, machine_id: str) -> Machine:
        """Begin to start a ComfyUI of a machine that the server starts. Runs need none of this: they start it, too.

        How that ends is told in `processes` and `status_reason` of the machine. Raises NotFound, Conflict for a machine
        of another kind, and NotSupported on the hosted platform.
        """
        await self._platform.require_outpost("start a machine", instead="A run starts it.")
        return await self._platform.post(f"/machine/{checked_id(machine_id)}/start", Machine)

    async def stop(self, machine_id: str, *, force: bool = False) -> Machine:
        """Stop the ComfyUIs of a machine that the server starts: when their runs have ended, or, forced, at once.

        The next run starts one again. Raises as `start`.
        """
        await self._platform.require_outpost("stop a machine", instead="It stops when it has been idle for a while.")
        return await self._platform.post(f"/machine/{checked_id(machine_id)}/stop", Machine, json={"force": force})

    async def check(
        self, machine_id: str, workflow_api: Graph | None = None, *, workflow: Graph | None = None
    ) -> MachineVerdict:
        """What a machine lacks for an executable graph, or which node classes it lacks for the editor's.

        Raises NotFound, and NotSupported on the hosted platform.
        """
        await self._platform.require_outpost(
            "check a graph against a machine", instead="Run it: the run says what is missing."
        )
        body = given(workflow_api=workflow_api, workflow=workflow)
        return await self._platform.post(f"/machine/{checked_id(machine_id)}/check", MachineVerdict, json=body)

    async def logs(self, machine_id: str, *, limit_bytes: int | None = None) -> LogList:
        """What the processes of a machine that the server starts have printed, the newest first; of others nothing.

        `limit_bytes` are the last of each log, 64 KiB by default. Raises NotFound, and NotSupported on the hosted
        platform.
        """
        await self._platform.require_outpost("show the logs of a machine", instead="Its web page does.")
        params = {"limit_bytes": limit_bytes}
        return await self._platform.get(f"/machine/{checked_id(machine_id)}/logs", LogList, params=params)

    async def delete(self, machine_id: str, *, force: bool = False) -> None:
        """Delete a machine. Raises NotFound, and Conflict while deployments use it, unless it is forced."""
        machine_id = checked_id(machine_id)
        try:
            await self._platform.delete(f"/machine/{machine_id}", params={"force": force or None})
        except PaymentRequired as error:
            if self._platform.is_outpost:
                raise
            # The hosted platform's answer to that, which has nothing to do with payment.
            raise Conflict(f"Machine {machine_id} is in use. Delete its deployments, or force it. ({error})") from error
