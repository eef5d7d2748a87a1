"""Machines: what executes runs."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import Conflict, PaymentRequired
from ..models import Graph, Machine, MachineLog, MachineVerdict
from .changes import given
from .pages import contains, read_pages
from .platform import Platform, checked_id

# Inside of the class `list` is its method.
MachineList = list[Machine]
LogList = list[MachineLog]


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
