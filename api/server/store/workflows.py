"""Workflows and their versions."""

from __future__ import annotations

from uuid import uuid4

import sqlalchemy as sa

from ...models import Graph, Workflow, WorkflowCreated
from .database import Database, found
from .keys import Owner
from .tables import workflow_versions, workflows


class WorkflowStore:
    """Everything is scoped to an owner; what belongs to somebody else is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, owner: Owner, *, name: str, description: str | None, workflow: Graph | None, workflow_api: Graph | None
    ) -> WorkflowCreated:
        """Keep a new workflow with its first version."""
        now, workflow_id, version_id = self._database.now(), str(uuid4()), str(uuid4())
        row = {"id": workflow_id, "owner_id": owner.id, "name": name, "description": description}
        version = {"id": version_id, "workflow_id": workflow_id, "version": 1}
        graphs = {"workflow": workflow, "workflow_api": workflow_api}

        def add(connection: sa.Connection) -> None:
            connection.execute(sa.insert(workflows).values(**row, created_at=now, updated_at=now))
            connection.execute(sa.insert(workflow_versions).values(**version, **graphs, created_at=now))

        await self._database.write(add)
        return WorkflowCreated(workflow_id=workflow_id, workflow_version_id=version_id, version=1)

    async def list(self, owner: Owner, *, limit: int, offset: int) -> list[Workflow]:
        """Workflows without their versions, newest first."""
        query = sa.select(workflows).where(workflows.c.owner_id == owner.id, workflows.c.deleted_at.is_(None))
        query = query.order_by(workflows.c.updated_at.desc(), workflows.c.id).limit(limit).offset(offset)
        return [Workflow.model_validate(row) for row in await self._database.rows(query)]

    async def get(self, owner: Owner, workflow_id: str, *, versions: int) -> Workflow:
        """A workflow with its newest `versions` versions in full."""
        query = sa.select(workflows).where(
            workflows.c.id == workflow_id, workflows.c.owner_id == owner.id, workflows.c.deleted_at.is_(None)
        )
        newest = sa.select(workflow_versions).where(workflow_versions.c.workflow_id == workflow_id)
        newest = newest.order_by(workflow_versions.c.version.desc()).limit(versions)
        row = found(await self._database.rows(query), f"There is no workflow {workflow_id}")
        return Workflow.model_validate({**row, "versions": await self._database.rows(newest)})
