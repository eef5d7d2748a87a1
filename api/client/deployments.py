"""Deployments: workflow versions on machines, ready to be run."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from pydantic import Field

from ..errors import Conflict, NotFound, ServerError
from ..models import DeployedVersion, Deployment, DeploymentInput, DeploymentOutput, Graph, WorkflowVersion
from .changes import UNCHANGED, Unchanged, changes, given
from .pages import PAGE, read_pages, unique
from .platform import Platform, checked_id

# Inside of the class `list` is its method.
DeploymentList = list[Deployment]
HistoryList = list[DeployedVersion]

_OUTPOST_PAGE = 1000
"""Rows that are asked for at a time where they come without their graphs."""
_NEVER_READ = "-"


class _ListedVersion(WorkflowVersion):
    workflow: Graph | None = Field(default=None, validation_alias=_NEVER_READ)
    workflow_api: Graph | None = Field(default=None, validation_alias=_NEVER_READ)


class _Listed(Deployment):
    """A row of a list. The hosted platform puts both graphs into each, which may be megabytes: they are passed over."""

    # Records are frozen, which pyright does not see: nobody puts another version in its place.
    version: _ListedVersion | None = None  # pyright: ignore[reportIncompatibleVariableOverride]
    input_types: list[DeploymentInput] | None = Field(default=None, validation_alias=_NEVER_READ)
    output_types: list[DeploymentOutput] | None = Field(default=None, validation_alias=_NEVER_READ)


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
            if not self._platform.is_vague(error):
                raise
            raise NotFound(
                f"There is no deployment {deployment_id}, or it belongs to another account. "
                f"Check the id and the API key. ({error})"
            ) from error

    async def list(self, environment: str | None = None, *, is_fluid: bool | None = None) -> DeploymentList:
        """All deployments without their graphs, inputs and outputs, of one environment if it is given.

        `is_fluid` picks those on machines that are started when a run needs them, or those on others.
        """
        found = await self._list(environment, is_fluid)
        if is_fluid is None and not self._platform.is_outpost:
            # Without is_fluid the hosted platform leaves out the deployments of its own serverless machines.
            found += await self._list(environment, True)
        return unique(found)

    async def create(
        self,
        *,
        workflow_id: str,
        workflow_version_id: str,
        machine_id: str,
        environment: str = "production",
        name: str | None = None,
        run_timeout: float | None = None,
        queue_timeout: float | None = None,
        concurrency_limit: int | None = None,
        retry_elsewhere: bool | None = None,
        check_machine: bool | None = None,
        idempotency_key: str | None = None,
    ) -> Deployment:
        """Make a deployment, or change the one of the same workflow and environment.

        Times are in seconds. The hosted platform keeps no names of deployments. Raises NotFound for a workflow, version
        or machine that does not exist, Unprocessable for a graph whose nodes and models the machine lacks unless
        `check_machine` is False, and NotSupported for what only our own server has. The same
        `idempotency_key` does it once.
        """
        own = given(queue_timeout=queue_timeout, retry_elsewhere=retry_elsewhere, check_machine=check_machine)
        await self._require_outpost_for(own)
        version_id = checked_id(workflow_version_id)
        limits = given(run_timeout=run_timeout, concurrency_limit=concurrency_limit)
        body = {
            "workflow_id": checked_id(workflow_id),
            "workflow_version_id": version_id,
            "version_id": version_id,
            "machine_id": checked_id(machine_id),
            "environment": environment,
        }
        body |= given(name=name) | limits | own
        key = idempotency_key or str(uuid4())
        made = await self._platform.post("/deployment", Deployment, json=body, idempotency_key=key)
        if limits and not self._platform.is_outpost:
            # The hosted platform takes limits only as a change.
            return await self._patch(made.id, limits)
        return made

    async def update(
        self,
        deployment_id: str,
        *,
        workflow_version_id: str | None = None,
        machine_id: str | None = None,
        environment: str | None = None,
        name: str | None = None,
        run_timeout: float | Unchanged | None = UNCHANGED,
        queue_timeout: float | Unchanged | None = UNCHANGED,
        concurrency_limit: int | Unchanged | None = UNCHANGED,
        retry_elsewhere: bool | None = None,
        check_machine: bool | None = None,
    ) -> Deployment:
        """Change a deployment; what is not named stays, and None takes a limit away.

        Raises NotFound. Raises NotSupported for what the hosted platform cannot change: the environment and the name,
        and taking a limit away; and for what only our own server has.
        """
        deployment_id = checked_id(deployment_id)
        body = given(
            workflow_version_id=checked_id(workflow_version_id) if workflow_version_id else None,
            machine_id=checked_id(machine_id) if machine_id else None,
            environment=environment,
            name=name,
        )
        limits = changes(run_timeout=run_timeout, concurrency_limit=concurrency_limit)
        own = changes(queue_timeout=queue_timeout) | given(retry_elsewhere=retry_elsewhere, check_machine=check_machine)
        await self._require_outpost_for(own)
        if environment or name or None in limits.values():
            await self._platform.require_outpost(
                "change the name or the environment of a deployment, or take a limit away",
                instead="Create another deployment.",
            )
        return await self._patch(deployment_id, body | limits | own)

    async def history(self, deployment_id: str) -> HistoryList:
        """What a deployment has run, the newest first. Raises NotFound; NotSupported on the hosted platform."""
        deployment_id = checked_id(deployment_id)
        await self._platform.require_outpost(
            "tell what a deployment has run before", instead="Choose among all versions of its workflow."
        )
        return await self._platform.get(f"/deployment/{deployment_id}/history", HistoryList)

    async def delete(self, deployment_id: str) -> None:
        """Delete a deployment. Raises NotFound; Conflict for one that the hosted platform keeps, which are most."""
        deployment_id = checked_id(deployment_id)
        try:
            await self._platform.delete(f"/deployment/{deployment_id}")
        except ServerError as error:
            if not self._platform.is_vague(error):
                raise
            deployment = await self.get(deployment_id)
            raise Conflict(
                f"{self._platform.connection.origin} deletes only deployments that are shares, and {deployment_id} is "
                f"one for {deployment.environment}. ({error})"
            ) from error

    async def deactivate(self, deployment_id: str) -> Deployment:
        """Let a deployment take no more runs until it is activated again. Raises NotFound.

        The hosted platform only stops the processes of a deployment on one of its serverless machines: Conflict for
        others, and BadRequest while it has runs.
        """
        deployment_id = checked_id(deployment_id)
        try:
            return await self._platform.post(f"/deployment/{deployment_id}/deactivate", Deployment)
        except ServerError as error:
            if not self._platform.is_vague(error):
                raise
            await self.get(deployment_id)
            raise Conflict(
                f"Deployment {deployment_id} has no processes of its own that {self._platform.connection.origin} could "
                f"stop. It goes on to take runs. ({error})"
            ) from error

    async def activate(self, deployment_id: str) -> Deployment:
        """Let a deployment take runs again. Raises NotFound; NotSupported on the hosted platform."""
        deployment_id = checked_id(deployment_id)
        await self._platform.require_outpost(
            "activate a deployment",
            instead="Create it again: for the same workflow and environment it is the same one.",
        )
        return await self._platform.post(f"/deployment/{deployment_id}/activate", Deployment)

    async def _list(self, environment: str | None, is_fluid: bool | None) -> DeploymentList:
        async def page(offset: int, size: int) -> list[Deployment]:
            params = {"environment": environment, "is_fluid": is_fluid, "page_size": size, "offset": offset}
            return [*await self._platform.get("/deployments", list[_Listed], params=params)]

        return await read_pages(page, page_size=lambda: _OUTPOST_PAGE if self._platform.is_outpost else PAGE)

    async def _require_outpost_for(self, settings: dict[str, Any]) -> None:
        if settings:
            await self._platform.require_outpost(
                f"be told the {', '.join(settings)} of a deployment", instead="Leave it out: the platform decides."
            )

    async def _patch(self, deployment_id: str, body: dict[str, Any]) -> Deployment:
        try:
            return await self._platform.patch(f"/deployment/{deployment_id}", Deployment, json=body)
        except ServerError as error:
            if self._platform.is_vague(error):
                await self.get(deployment_id)  # raises NotFound, where that is what it means
            raise
