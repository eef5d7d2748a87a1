"""What a deployment has run: a row for each change of its version or machine."""

from __future__ import annotations

from datetime import datetime
from uuid import uuid4

import sqlalchemy as sa

from ...models import DeployedVersion
from .database import Database, fetch
from .tables import deployed_versions, deployments, workflow_versions

_MOST = 1000
_NEWEST = (
    sa.select(deployed_versions, workflow_versions.c.version)
    .join(workflow_versions, workflow_versions.c.id == deployed_versions.c.workflow_version_id)
    .where(deployed_versions.c.deployment_id == sa.bindparam("deployment_id"))
    .order_by(deployed_versions.c.at.desc(), deployed_versions.c.id)
    .limit(_MOST)
)
_LAST = (
    sa.select(deployed_versions.c.workflow_version_id, deployed_versions.c.machine_id)
    .where(deployed_versions.c.deployment_id == sa.bindparam("deployment_id"))
    .order_by(deployed_versions.c.at.desc(), deployed_versions.c.id)
    .limit(1)
)
_NOW = sa.select(deployments.c.workflow_version_id, deployments.c.machine_id).where(
    deployments.c.id == sa.bindparam("deployment_id")
)


class DeploymentHistory:
    """Whether somebody may read it is for the caller to find out."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list(self, deployment_id: str) -> list[DeployedVersion]:
        """What a deployment has run, the newest first; the first is what it runs now."""
        rows = await self._database.rows(_NEWEST, deployment_id=deployment_id)
        return [DeployedVersion.model_validate(row) for row in rows]


def keep_history(connection: sa.Connection, now: datetime, deployment_id: str, *, by: str | None) -> None:
    """Write down what a deployment runs from now on, if that is something else than before."""
    current, last = (fetch(connection, query, deployment_id=deployment_id) for query in (_NOW, _LAST))
    if current != last:
        row = {"id": str(uuid4()), "deployment_id": deployment_id, "at": now, "by": by, **current[0]}
        connection.execute(sa.insert(deployed_versions).values(row))
