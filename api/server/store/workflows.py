"""Workflows and their versions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from ...errors import Conflict
from ...models import (
    CloneRequest,
    Graph,
    VersionQuery,
    Workflow,
    WorkflowCreated,
    WorkflowQuery,
    WorkflowVersion,
)
from .database import Database, Row, fetch, found
from .deployments import put_deployment
from .keys import Owner
from .notes import note_thing
from .once import Made, Once, do_once
from .search import contains
from .tables import deployments, runs, workflow_versions, workflows
from .transitions import abandon

_MOST_GRAPHS = 10
"""Most versions that one answer has in full."""
PREVIEW = "preview"
"""The environment in which a version with a machine is deployed at once."""

_NEWEST_NUMBER = (
    sa.select(sa.func.max(workflow_versions.c.version))
    .where(workflow_versions.c.workflow_id == workflows.c.id)
    .scalar_subquery()
)
_THIS = sa.select(workflows).where(
    workflows.c.id == sa.bindparam("workflow_id"),
    workflows.c.owner_id == sa.bindparam("owner_id"),
    workflows.c.deleted_at.is_(None),
)
_LIST = (
    sa.select(workflows, _NEWEST_NUMBER.label("latest_version"))
    .where(workflows.c.owner_id == sa.bindparam("owner_id"), workflows.c.deleted_at.is_(None))
    .limit(sa.bindparam("limit"))
    .offset(sa.bindparam("offset"))
)
_SORTED = {
    "updated": _LIST.order_by(workflows.c.pinned.desc(), workflows.c.updated_at.desc(), workflows.c.id.desc()),
    "created": _LIST.order_by(workflows.c.pinned.desc(), workflows.c.created_at.desc(), workflows.c.id.desc()),
    "name": _LIST.order_by(workflows.c.pinned.desc(), sa.func.lower(workflows.c.name), workflows.c.id),
}
_NEWEST = (
    sa.select(workflow_versions)
    .where(workflow_versions.c.workflow_id == sa.bindparam("workflow_id"))
    .order_by(workflow_versions.c.version.desc())
    .limit(sa.bindparam("versions"))
)
_LAST_NUMBER = sa.select(sa.func.max(workflow_versions.c.version)).where(
    workflow_versions.c.workflow_id == sa.bindparam("workflow_id")
)
_WITHOUT_GRAPHS = [each for each in workflow_versions.c if each.name not in ("workflow", "workflow_api")]


class WorkflowStore:
    """Everything is scoped to an owner; what belongs to somebody else is NotFound."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self,
        owner: Owner,
        *,
        name: str,
        description: str | None,
        workflow: Graph | None,
        workflow_api: Graph | None,
        comment: str | None = None,
        preview_on: str | None = None,
        by: str | None = None,
        once: Once | None = None,
    ) -> WorkflowCreated:
        """Keep a new workflow with its first version, and deploy that on the machine `preview_on`, if one is given.

        `by` is who does it.
        """
        now, workflow_id, version_id = self._database.now(), str(uuid4()), str(uuid4())
        row = {"id": workflow_id, "owner_id": owner.id, "name": name, "description": description}
        version = {"id": version_id, "workflow_id": workflow_id, "version": 1, "comment": comment, "user_name": by}
        graphs = {"workflow": workflow, "workflow_api": workflow_api}

        def add(connection: sa.Connection) -> Made:
            connection.execute(sa.insert(workflows).values(**row, created_at=now, updated_at=now))
            connection.execute(sa.insert(workflow_versions).values(**version, **graphs, created_at=now))
            note_thing(connection, owner.id, "workflow", workflow_id, "created")
            deployment_id = _preview(
                connection, owner, now, workflow_id=workflow_id, version_id=version_id, machine_id=preview_on, by=by
            )
            made = {"workflow_id": workflow_id, "workflow_version_id": version_id, "version": 1}
            return {**made, "machine_id": preview_on, "deployment_id": deployment_id}

        made = await self._database.write(
            lambda connection: do_once(connection, now, owner, once, lambda: add(connection))
        )
        return WorkflowCreated.model_validate(made)

    async def list(self, owner: Owner, query: WorkflowQuery = WorkflowQuery()) -> list[Workflow]:  # noqa: B008 (it is immutable)
        """Workflows without their versions, the pinned first."""
        select = _SORTED[query.sort]
        if query.search:
            select = select.where(contains(workflows.c.name, query.search))
        rows = await self._database.rows(select, owner_id=owner.id, limit=query.limit, offset=query.offset)
        return [Workflow.model_validate(row) for row in rows]

    async def get(self, owner: Owner, workflow_id: str, *, versions: int = 0) -> Workflow:
        """A workflow with its newest `versions` versions in full."""
        this = {"workflow_id": workflow_id}

        def read(connection: sa.Connection) -> Row:
            row = found(fetch(connection, _THIS, **this, owner_id=owner.id), f"There is no workflow {workflow_id}")
            newest = fetch(connection, _NEWEST, **this, versions=versions) if versions else []
            last = newest[0]["version"] if newest else connection.execute(_LAST_NUMBER, this).scalar()
            return {**row, "versions": newest, "latest_version": last}

        return Workflow.model_validate(await self._database.read(read))

    async def change(self, owner: Owner, workflow_id: str, values: Mapping[str, Any]) -> Workflow:
        """Give a workflow other values. Pinning is no change of the workflow, and leaves its place among the others."""
        if set(values) - {"pinned"}:
            values = {**values, "updated_at": self._database.now()}
        change = sa.update(workflows).where(*_mine(owner, workflow_id)).values(values).returning(workflows.c.id)

        def write(connection: sa.Connection) -> None:
            found(fetch(connection, change), f"There is no workflow {workflow_id}")
            note_thing(connection, owner.id, "workflow", workflow_id, "updated")

        if values:
            await self._database.write(write)
        return await self.get(owner, workflow_id)

    async def delete(self, owner: Owner, workflow_id: str) -> None:
        """Hide a workflow and its deployments, until it is restored. Runs that wait on it fail with the reason; others
        go on."""
        now = self._database.now()
        change = sa.update(workflows).where(*_mine(owner, workflow_id)).values(deleted_at=now)

        def write(connection: sa.Connection) -> None:
            found(fetch(connection, change.returning(workflows.c.id)), f"There is no workflow {workflow_id}")
            theirs = (deployments.c.workflow_id == workflow_id) & deployments.c.deleted_at.is_(None)
            connection.execute(sa.update(deployments).where(theirs).values(deleted_at=now))
            abandon(connection, now, runs.c.workflow_id == workflow_id, "The workflow was deleted before the run began")
            note_thing(connection, owner.id, "workflow", workflow_id, "deleted")

        await self._database.write(write)

    async def restore(self, owner: Owner, workflow_id: str) -> None:
        """Bring back a workflow that was deleted, with the deployments that it had then. One that is there stays."""
        this = (workflows.c.id == workflow_id) & (workflows.c.owner_id == owner.id)

        def write(connection: sa.Connection) -> None:
            query = sa.select(workflows.c.deleted_at).where(this).with_for_update()
            row = found(fetch(connection, query), f"There is no workflow {workflow_id}")
            if row["deleted_at"] is None:
                return
            connection.execute(sa.update(workflows).where(this).values(deleted_at=None))
            # Those that were deleted together with it, and none that had been before.
            together = (deployments.c.workflow_id == workflow_id) & (deployments.c.deleted_at == row["deleted_at"])
            connection.execute(sa.update(deployments).where(together).values(deleted_at=None))
            note_thing(connection, owner.id, "workflow", workflow_id, "created")

        await self._database.write(write)

    async def clone(
        self, owner: Owner, workflow_id: str, wanted: CloneRequest, *, once: Once | None = None
    ) -> Workflow:
        """Copy a workflow with its newest version, or with all of them."""
        now, clone_id = self._database.now(), str(uuid4())

        def copy(connection: sa.Connection) -> Made:
            row = found(
                fetch(connection, _THIS, workflow_id=workflow_id, owner_id=owner.id),
                f"There is no workflow {workflow_id}",
            )
            name = wanted.name or f"{row['name'][:190]} (Cloned)"
            clone = {**row, "id": clone_id, "name": name, "pinned": False, "created_at": now, "updated_at": now}
            connection.execute(sa.insert(workflows).values(clone))
            copied = sa.select(workflow_versions).where(workflow_versions.c.workflow_id == workflow_id)
            copied = copied.order_by(workflow_versions.c.version.desc())
            for version in fetch(connection, copied if wanted.all_versions else copied.limit(1)):
                number = version["version"] if wanted.all_versions else 1
                new = {"id": str(uuid4()), "workflow_id": clone_id, "version": number, "created_at": now}
                connection.execute(sa.insert(workflow_versions).values({**version, **new}))
            note_thing(connection, owner.id, "workflow", clone_id, "created")
            return {"id": clone_id}

        made = await self._database.write(
            lambda connection: do_once(connection, now, owner, once, lambda: copy(connection))
        )
        return await self.get(owner, made["id"], versions=1)

    async def versions(self, owner: Owner, workflow_id: str, query: VersionQuery) -> list[WorkflowVersion]:
        """The versions of a workflow, newest first, without their graphs unless they are asked for."""
        await self.get(owner, workflow_id)
        columns = [workflow_versions] if query.include_graphs else _WITHOUT_GRAPHS
        select = sa.select(*columns).where(workflow_versions.c.workflow_id == workflow_id)
        if query.search:
            select = select.where(contains(workflow_versions.c.comment, query.search))
        limit = min(query.limit, _MOST_GRAPHS) if query.include_graphs else query.limit
        select = select.order_by(workflow_versions.c.version.desc()).limit(limit).offset(query.offset)
        return [WorkflowVersion.model_validate(row) for row in await self._database.rows(select)]

    async def version(self, owner: Owner, workflow_id: str, number: int) -> WorkflowVersion:
        """One version of a workflow, by its number."""
        await self.get(owner, workflow_id)
        this = (workflow_versions.c.workflow_id == workflow_id) & (workflow_versions.c.version == number)
        rows = await self._database.rows(sa.select(workflow_versions).where(this))
        return WorkflowVersion.model_validate(found(rows, f"The workflow {workflow_id} has no version {number}"))

    async def version_by_id(self, owner: Owner, version_id: str) -> WorkflowVersion:
        """One version of any workflow, by its id."""
        query = sa.select(workflow_versions).join(workflows, workflows.c.id == workflow_versions.c.workflow_id)
        query = query.where(workflow_versions.c.id == version_id, *_mine(owner))
        rows = await self._database.rows(query)
        return WorkflowVersion.model_validate(found(rows, f"There is no workflow version {version_id}"))

    async def add_version(
        self,
        owner: Owner,
        workflow_id: str,
        *,
        workflow: Graph | None,
        workflow_api: Graph | None,
        comment: str | None,
        preview_on: str | None = None,
        by: str | None = None,
        once: Once | None = None,
    ) -> WorkflowVersion:
        """Keep another version of a workflow, with the next number, and deploy it on the machine `preview_on`.

        `by` is who does it.
        """
        now, version_id = self._database.now(), str(uuid4())
        # Whoever adds a version writes the workflow's row first, so two at once take turns.
        touch = sa.update(workflows).where(*_mine(owner, workflow_id)).values(updated_at=now)
        last = sa.select(sa.func.max(workflow_versions.c.version)).where(workflow_versions.c.workflow_id == workflow_id)
        graphs = {"workflow": workflow, "workflow_api": workflow_api, "comment": comment, "user_name": by}

        def add(connection: sa.Connection) -> Made:
            found(fetch(connection, touch.returning(workflows.c.id)), f"There is no workflow {workflow_id}")
            number = (connection.execute(last).scalar() or 0) + 1
            row = {"id": version_id, "workflow_id": workflow_id, "version": number, "created_at": now, **graphs}
            connection.execute(sa.insert(workflow_versions).values(row))
            note_thing(connection, owner.id, "workflow", workflow_id, "updated")
            _preview(
                connection, owner, now, workflow_id=workflow_id, version_id=version_id, machine_id=preview_on, by=by
            )
            return {"id": version_id}

        try:
            made = await self._database.write(
                lambda connection: do_once(connection, now, owner, once, lambda: add(connection))
            )
        except IntegrityError as error:
            raise Conflict(f"The workflow {workflow_id} is being changed by somebody else; try again") from error
        return await self.version_by_id(owner, made["id"])


def _preview(
    connection: sa.Connection,
    owner: Owner,
    now: datetime,
    *,
    workflow_id: str,
    version_id: str,
    machine_id: str | None,
    by: str | None,
) -> str | None:
    """Deploy a version on a machine, if there is one; the deployment's id."""
    if machine_id is None:
        return None
    return put_deployment(
        connection,
        owner,
        now=now,
        workflow_id=workflow_id,
        workflow_version_id=version_id,
        machine_id=machine_id,
        environment=PREVIEW,
        more={},
        by=by,
    )


def _mine(owner: Owner, workflow_id: str | None = None) -> list[sa.ColumnElement[bool]]:
    mine = [workflows.c.owner_id == owner.id, workflows.c.deleted_at.is_(None)]
    return [*mine, workflows.c.id == workflow_id] if workflow_id else mine
