"""Deployments, workflows and machines: one class each, with the hosted platform's ways evened out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..errors import NotFound, ServerError
from ..models import Deployment, Graph, Machine, Workflow, WorkflowCreated
from .platform import Platform, checked_id

PAGE = 100

# Inside of the classes below `list` is their method.
DeploymentList = list[Deployment]
WorkflowList = list[Workflow]
MachineList = list[Machine]


class Deployments:
    """Workflow versions on machines, ready to be run."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def get(self, deployment_id: str) -> Deployment:
        """One deployment. Raises NotFound."""
        deployment_id = checked_id(deployment_id)
        try:
            return await self._platform.get(f"/deployment/{deployment_id}", Deployment)
        except ServerError as error:
            if error.status != 500 or self._platform.is_outpost:
                raise
            # The hosted platform's answer to an id that it does not know.
            raise NotFound(
                f"There is no deployment {deployment_id}, or it belongs to another account. "
                f"Check the id and the API key. ({error})"
            ) from error

    async def list(self, environment: str | None = None) -> DeploymentList:
        """All deployments, of one environment if it is given."""
        params = {"environment": environment} if environment else {}
        found = await self._platform.get("/deployments", list[Deployment], params=params)
        if not self._platform.is_outpost:
            # Without is_fluid the hosted platform leaves out the deployments of its own serverless machines.
            found += await self._platform.get("/deployments", list[Deployment], params={**params, "is_fluid": "true"})
        return _unique(found)

    async def create(
        self,
        *,
        workflow_id: str,
        workflow_version_id: str,
        machine_id: str,
        environment: str = "production",
        name: str | None = None,
    ) -> Deployment:
        """Make a deployment, or change the one of the same workflow and environment."""
        version_id = checked_id(workflow_version_id)
        body = {
            "workflow_id": checked_id(workflow_id),
            "workflow_version_id": version_id,
            "version_id": version_id,
            "machine_id": checked_id(machine_id),
            "environment": environment,
        }
        return await self._platform.post("/deployment", Deployment, json=body | ({"name": name} if name else {}))


class Workflows:
    """Graphs that are kept on the platform."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def get(self, workflow_id: str) -> Workflow:
        """One workflow with its newest version. Raises NotFound."""
        return await self._platform.get(f"/workflow/{checked_id(workflow_id)}", Workflow)

    async def list(self) -> WorkflowList:
        """All workflows, without their graphs."""

        async def page(offset: int) -> list[Workflow]:
            params = {"limit": PAGE, "offset": offset}
            return await self._platform.get("/workflows", list[Workflow], params=params)

        return await _all_pages(page)

    async def create(self, name: str, workflow: Graph, *, workflow_api: Graph) -> WorkflowCreated:
        """Keep a graph as the first version of a new workflow."""
        # The hosted platform takes the graphs as texts here.
        body = {"name": name, "workflow_json": json.dumps(workflow), "workflow_api": json.dumps(workflow_api)}
        created = await self._platform.post("/workflow", WorkflowCreated, json=body)
        if created.workflow_version_id:
            return created
        version = next((each for each in (await self.get(created.workflow_id)).versions or [] if each), None)
        if version is None:
            raise NotFound(f"The workflow {created.workflow_id} was made, but the platform tells no version of it")
        return created.model_copy(update={"workflow_version_id": version.id, "version": version.version})


class Machines:
    """What executes runs."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform

    async def get(self, machine_id: str) -> Machine:
        """One machine. Raises NotFound."""
        return await self._platform.get(f"/machine/{checked_id(machine_id)}", Machine)

    async def list(self) -> MachineList:
        """All machines that are not deleted."""

        async def page(offset: int) -> list[Machine]:
            params = {"limit": PAGE, "offset": offset, "is_deleted": "false"}
            return await self._platform.get("/machines", list[Machine], params=params)

        return [machine for machine in await _all_pages(page) if not machine.deleted]


_Listed = TypeVar("_Listed", Deployment, Workflow, Machine)


async def _all_pages(page: Callable[[int], Awaitable[list[_Listed]]]) -> list[_Listed]:
    found: list[_Listed] = []
    while True:
        rows = await page(len(found))
        known = len(found)
        found = _unique(found + rows)
        if len(rows) < PAGE or len(found) == known:
            return found


def _unique(rows: list[_Listed]) -> list[_Listed]:
    return list({row.id: row for row in rows}.values())
