"""Deployments: a workflow version on a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict, NotFound
from ...models import Deployment, DeploymentQuery, Graph
from .database import Database, Row, fetch, found, take_turns
from .history import keep_history
from .keys import Owner
from .machines import MANAGED
from .notes import note_thing
from .once import Made, Once, do_once
from .tables import deployments, machines, runs, workflow_versions, workflows
from .transitions import abandon

_STATE = [
    deployments.c.deactivated_at,
    deployments.c.deleted_at,
    workflows.c.deleted_at.label("workflow_deleted_at"),
    machines.c.deleted_at.label("machine_deleted_at"),
]
"""What can be in the way of a run."""


def _with_state(*columns: sa.ColumnElement[Any]) -> sa.Select[Any]:
    return (
        sa.select(*columns, *_STATE)
        .join(workflows, workflows.c.id == deployments.c.workflow_id)
        .join(machines, machines.c.id == deployments.c.machine_id)
        .where(deployments.c.id == sa.bindparam("deployment_id"), deployments.c.owner_id == sa.bindparam("owner_id"))
    )


_OF_RUNS = (
    *("id", "workflow_id", "workflow_version_id", "machine_id"),
    *("run_timeout", "queue_timeout", "check_machine"),
)
_RUNNABLE = _with_state(
    *(deployments.c[name] for name in _OF_RUNS),
    workflow_versions.c.workflow_api,
).join(workflow_versions, workflow_versions.c.id == deployments.c.workflow_version_id)
_STILL_RUNNABLE = _with_state().with_for_update(read=True)


def _deployments(*, with_graphs: bool) -> sa.Select[Any]:
    version = workflow_versions.c
    graphs = [version.workflow, version.workflow_api] if with_graphs else []
    columns = [
        deployments,
        workflows.c.name.label("workflow_name"),
        workflows.c.description,
        machines.c.name.label("machine_name"),
        machines.c.type.label("machine_type"),
        version.version,
        version.created_at.label("version_created_at"),
        *graphs,
    ]
    return (
        sa.select(*columns)
        .join(workflows, workflows.c.id == deployments.c.workflow_id)
        .join(workflow_versions, version.id == deployments.c.workflow_version_id)
        .join(machines, machines.c.id == deployments.c.machine_id)
        .where(deployments.c.owner_id == sa.bindparam("owner_id"))
        .where(workflows.c.deleted_at.is_(None), deployments.c.deleted_at.is_(None))
    )


_THIS = _deployments(with_graphs=True).where(deployments.c.id == sa.bindparam("deployment_id"))
_NEWEST_FIRST = (
    _deployments(with_graphs=False)
    .order_by(deployments.c.updated_at.desc(), deployments.c.id.desc())
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("offset"))
)


@dataclass(frozen=True)
class RunnableDeployment:
    """What a run needs to know of its deployment."""

    id: str
    workflow_id: str
    workflow_version_id: str
    machine_id: str
    run_timeout: float | None
    queue_timeout: float | None
    check_machine: bool
    workflow_api: Graph


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
        by: str | None = None,
        once: Once | None = None,
        **more: Any,
    ) -> Deployment:
        """Put a workflow version on a machine. A workflow has one deployment per environment, which this replaces.

        `by` is who does it; `more` are further columns, such as `name` and `run_timeout`: those that are None stay as
        they are.
        """
        now, more = self._database.now(), {name: value for name, value in more.items() if value is not None}

        def put(connection: sa.Connection) -> Made:
            deployment_id = put_deployment(
                connection,
                owner,
                now=now,
                workflow_id=workflow_id,
                workflow_version_id=workflow_version_id,
                machine_id=machine_id,
                environment=environment,
                more=more,
                by=by,
            )
            return {"id": deployment_id}

        made = await self._database.write(
            lambda connection: do_once(connection, now, owner, once, lambda: put(connection))
        )
        return await self.get(owner, made["id"])

    async def change(
        self,
        owner: Owner,
        deployment_id: str,
        values: Mapping[str, Any],
        *,
        by: str | None = None,
        once: Once | None = None,
    ) -> Deployment:
        """Give a deployment other values. Raises Conflict for an environment in which its workflow has another one."""
        now = self._database.now()
        update = sa.update(deployments).where(*_mine(owner, deployment_id)).values(**values, updated_at=now)
        this = sa.select(deployments.c.workflow_id).where(*_mine(owner, deployment_id)).with_for_update()

        def write(connection: sa.Connection) -> Made:
            row = found(fetch(connection, this), f"There is no deployment {deployment_id}")
            take_turns(connection, f"deployments of {row['workflow_id']}")
            if machine_id := values.get("machine_id"):
                _check_machine(connection, owner, machine_id)
            if version_id := values.get("workflow_version_id"):
                _check_version(connection, owner, workflow_id=row["workflow_id"], version_id=version_id)
            connection.execute(update)
            keep_history(connection, now, deployment_id, by=by)
            note_thing(connection, owner.id, "deployment", deployment_id, "updated")
            return {"id": deployment_id}

        try:
            await self._database.write(
                lambda connection: do_once(connection, now, owner, once, lambda: write(connection))
            )
        except IntegrityError as error:
            raise Conflict(
                f"The workflow has another deployment in the environment {values.get('environment')!r}. "
                "Delete it first."
            ) from error
        return await self.get(owner, deployment_id)

    async def set_active(self, owner: Owner, deployment_id: str, *, is_active: bool) -> Deployment:
        """Accept runs of a deployment, or no more of them. Those that were accepted go on."""
        now = None if is_active else self._database.now()
        return await self.change(owner, deployment_id, {"deactivated_at": now})

    async def delete(self, owner: Owner, deployment_id: str) -> None:
        """Forget a deployment. Its waiting runs fail with the reason; those at work go on."""
        now = self._database.now()
        change = sa.update(deployments).where(*_mine(owner, deployment_id)).values(deleted_at=now)

        def write(connection: sa.Connection) -> None:
            found(fetch(connection, change.returning(deployments.c.id)), f"There is no deployment {deployment_id}")
            these = runs.c.deployment_id == deployment_id
            abandon(connection, now, these, "The deployment was deleted before the run began")
            note_thing(connection, owner.id, "deployment", deployment_id, "deleted")

        await self._database.write(write)

    async def list(
        self,
        owner: Owner,
        query: DeploymentQuery = DeploymentQuery(),  # noqa: B008 (it is immutable)
    ) -> list[Deployment]:
        """The owner's deployments without their graphs, newest change first."""
        select = _NEWEST_FIRST
        if query.environment:
            select = select.where(deployments.c.environment == query.environment)
        if query.is_fluid is not None:
            select = select.where((machines.c.type == MANAGED) == query.is_fluid)
        rows = await self._database.rows(select, owner_id=owner.id, limit=query.limit, offset=query.offset)
        return [_deployment(row) for row in rows]

    async def get(self, owner: Owner, deployment_id: str) -> Deployment:
        """One deployment with the graphs of its version."""
        rows = await self._database.rows(_THIS, owner_id=owner.id, deployment_id=deployment_id)
        return _deployment(found(rows, f"There is no deployment {deployment_id}"))

    async def checks_machine(self, owner: Owner, workflow_id: str, *, environment: str) -> bool:
        """Whether a workflow's deployment in an environment is checked against its machine; a new one will be."""
        query = sa.select(deployments.c.check_machine).where(
            deployments.c.workflow_id == workflow_id,
            deployments.c.environment == environment,
            deployments.c.owner_id == owner.id,
            deployments.c.deleted_at.is_(None),
        )
        return all(row["check_machine"] for row in await self._database.rows(query))

    async def check(self, owner: Owner, deployment_id: str) -> None:
        """Raise NotFound when there is no such deployment."""
        query = sa.select(deployments.c.id).where(*_mine(owner, deployment_id))
        found(await self._database.rows(query), f"There is no deployment {deployment_id}")

    async def runnable(self, owner: Owner, deployment_id: str) -> RunnableDeployment:
        """A deployment as a run needs it.

        Raises NotFound also when its workflow or machine is gone, Conflict when it takes no runs.
        """
        rows = await self._database.rows(_RUNNABLE, deployment_id=deployment_id, owner_id=owner.id)
        row = _check_state(rows, deployment_id)
        if not row["workflow_api"]:
            raise Conflict("The deployment's workflow version has no workflow_api, so there is nothing to execute")
        return RunnableDeployment(**{name: row[name] for name in RunnableDeployment.__dataclass_fields__})


def check_runnable(connection: sa.Connection, owner: Owner, deployment_id: str) -> None:
    """Raise what `runnable` raises, and keep it from changing until the transaction ends."""
    _check_state(fetch(connection, _STILL_RUNNABLE, deployment_id=deployment_id, owner_id=owner.id), deployment_id)


def _check_state(rows: list[Row], deployment_id: str) -> Row:
    row = found(rows, f"There is no deployment {deployment_id}")
    for thing in ("workflow", "machine"):
        if row[f"{thing}_deleted_at"]:
            raise NotFound(f"The {thing} of the deployment {deployment_id} was deleted, so it cannot run any more")
    if row["deleted_at"]:
        raise NotFound(f"There is no deployment {deployment_id}")
    if row["deactivated_at"]:
        raise Conflict(f"The deployment {deployment_id} is deactivated. Activate it, then run it.")
    return row


def put_deployment(
    connection: sa.Connection,
    owner: Owner,
    *,
    now: datetime,
    workflow_id: str,
    workflow_version_id: str,
    machine_id: str,
    environment: str,
    more: Mapping[str, Any],
    by: str | None,
) -> str:
    """Put a workflow version on a machine, inside of a transaction; the deployment's id."""
    take_turns(connection, f"deployments of {workflow_id}")
    _check_machine(connection, owner, machine_id)
    workflow = _check_version(connection, owner, workflow_id=workflow_id, version_id=workflow_version_id)
    place = {"owner_id": owner.id, "workflow_id": workflow_id, "environment": environment}
    values = {"workflow_version_id": workflow_version_id, "machine_id": machine_id, "updated_at": now, **more}
    deployment_id, deed = _put(connection, place, values, name=workflow["name"])
    keep_history(connection, now, deployment_id, by=by)
    note_thing(connection, owner.id, "deployment", deployment_id, deed)
    return deployment_id


def _put(connection: sa.Connection, place: Row, values: Row, *, name: str) -> tuple[str, str]:
    """The id of the deployment of a workflow and environment, and whether it was created or updated."""
    same = [deployments.c[column] == place[column] for column in ("workflow_id", "environment")]
    change = sa.update(deployments).where(*same, deployments.c.deleted_at.is_(None))
    change = change.values(**values, deactivated_at=None).returning(deployments.c.id)
    if rows := fetch(connection, change):
        return rows[0]["id"], "updated"
    row = {"id": str(uuid4()), "name": name, **values, **place, "created_at": values["updated_at"]}
    connection.execute(sa.insert(deployments).values(row))
    return row["id"], "created"


def _mine(owner: Owner, deployment_id: str) -> list[sa.ColumnElement[bool]]:
    exists = deployments.c.deleted_at.is_(None)
    return [deployments.c.id == deployment_id, deployments.c.owner_id == owner.id, exists]


def _check_machine(connection: sa.Connection, owner: Owner, machine_id: str) -> None:
    mine = (machines.c.id == machine_id) & (machines.c.owner_id == owner.id) & machines.c.deleted_at.is_(None)
    query = sa.select(machines.c.id).where(mine).with_for_update(read=True)
    found(fetch(connection, query), f"There is no machine {machine_id}")


def _check_version(connection: sa.Connection, owner: Owner, *, workflow_id: str, version_id: str) -> Row:
    query = (
        sa.select(workflows.c.name)
        .join(workflow_versions, workflow_versions.c.workflow_id == workflows.c.id)
        .where(workflows.c.owner_id == owner.id, workflows.c.deleted_at.is_(None))
        .where(workflows.c.id == workflow_id, workflow_versions.c.id == version_id)
        .with_for_update(read=True, of=workflows)
    )
    return found(fetch(connection, query), f"There is no version {version_id} of a workflow {workflow_id}")


def _deployment(row: Row) -> Deployment:
    version = {
        "id": row["workflow_version_id"],
        "workflow_id": row["workflow_id"],
        "version": row["version"],
        "workflow": row.get("workflow"),
        "workflow_api": row.get("workflow_api"),
        "created_at": row["version_created_at"],
    }
    return Deployment.model_validate(
        {
            **row,
            "is_active": row["deactivated_at"] is None,
            "workflow": {"id": row["workflow_id"], "name": row["workflow_name"]},
            "machine": {"id": row["machine_id"], "name": row["machine_name"], "type": row["machine_type"]},
            "version": version,
        }
    )
