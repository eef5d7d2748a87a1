"""Deployments: a workflow version on a machine."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from ...models import Deployment, MachineRef, WorkflowRef, WorkflowVersion
from .database import Database, Row, fetch, found
from .keys import Owner
from .tables import deployments, machines, workflow_versions, workflows


class DeploymentStore:
    """Everything is scoped to an owner; what belongs to somebody else is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self,
        owner: Owner,
        *,
        workflow_id: str,
        workflow_version_id: str,
        machine_id: str,
        environment: str,
        name: str | None,
        run_timeout: float | None,
    ) -> Deployment:
        """Put a workflow version on a machine. A workflow has one deployment per environment, which this replaces."""
        await self._check_machine(owner, machine_id)
        workflow = await self._workflow_of(owner, workflow_id=workflow_id, version_id=workflow_version_id)
        now = self._database.now()
        values = {
            "workflow_version_id": workflow_version_id,
            "machine_id": machine_id,
            "name": name or workflow["name"],
            "run_timeout": run_timeout,
            "updated_at": now,
        }
        same = (deployments.c.workflow_id == workflow_id) & (deployments.c.environment == environment)
        change = sa.update(deployments).where(same).values(values).returning(deployments.c.id)
        added = {"owner_id": owner.id, "workflow_id": workflow_id, "environment": environment}
        new_id = str(uuid4())
        row = {**values, **added, "id": new_id, "created_at": now}

        def put(connection: sa.Connection) -> str:
            if not (rows := fetch(connection, change)):
                connection.execute(sa.insert(deployments).values(row))
            return rows[0]["id"] if rows else new_id

        return await self.get(owner, await self._database.write(put))

    async def list(self, owner: Owner, *, environment: str | None = None) -> list[Deployment]:
        """The owner's deployments without their graphs, newest change first."""
        query = _deployments(owner, with_graphs=False).order_by(deployments.c.updated_at.desc(), deployments.c.id)
        if environment:
            query = query.where(deployments.c.environment == environment)
        return [_deployment(row) for row in await self._database.rows(query)]

    async def get(self, owner: Owner, deployment_id: str) -> Deployment:
        """One deployment with the graphs of its version."""
        query = _deployments(owner, with_graphs=True).where(deployments.c.id == deployment_id)
        return _deployment(found(await self._database.rows(query), f"There is no deployment {deployment_id}"))

    async def _check_machine(self, owner: Owner, machine_id: str) -> None:
        mine = (machines.c.id == machine_id) & (machines.c.owner_id == owner.id) & machines.c.deleted_at.is_(None)
        found(await self._database.rows(sa.select(machines.c.id).where(mine)), f"There is no machine {machine_id}")

    async def _workflow_of(self, owner: Owner, *, workflow_id: str, version_id: str) -> Row:
        query = (
            sa.select(workflows.c.name)
            .join(workflow_versions, workflow_versions.c.workflow_id == workflows.c.id)
            .where(workflows.c.owner_id == owner.id, workflows.c.deleted_at.is_(None))
            .where(workflows.c.id == workflow_id, workflow_versions.c.id == version_id)
        )
        return found(await self._database.rows(query), f"There is no version {version_id} of a workflow {workflow_id}")


def _deployments(owner: Owner, *, with_graphs: bool) -> sa.Select[Any]:
    version = workflow_versions.c
    graphs = [version.workflow, version.workflow_api] if with_graphs else []
    columns = [
        deployments,
        workflows.c.name.label("workflow_name"),
        workflows.c.description,
        machines.c.name.label("machine_name"),
        machines.c.type.label("machine_type"),
        version.version,
        *graphs,
    ]
    return (
        sa.select(*columns)
        .join(workflows, workflows.c.id == deployments.c.workflow_id)
        .join(workflow_versions, version.id == deployments.c.workflow_version_id)
        .join(machines, machines.c.id == deployments.c.machine_id)
        .where(deployments.c.owner_id == owner.id, workflows.c.deleted_at.is_(None))
    )


def _deployment(row: Row) -> Deployment:
    version = {**row, "id": row["workflow_version_id"]}
    return Deployment.model_validate(
        {
            **row,
            "workflow": WorkflowRef(id=row["workflow_id"], name=row["workflow_name"]),
            "machine": MachineRef(id=row["machine_id"], name=row["machine_name"], type=row["machine_type"]),
            "version": WorkflowVersion.model_validate(version),
        }
    )
