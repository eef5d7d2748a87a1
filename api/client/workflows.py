"""Workflows: graphs that are kept on the platform, in versions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal
from uuid import uuid4

from ..errors import NotFound, ServerError
from ..models import Graph, Machine, Workflow, WorkflowCreated, WorkflowVersion
from .changes import UNCHANGED, Unchanged, changes, given
from .pages import contains, is_pattern, read_pages
from .platform import Platform, checked_count, checked_id, json_text
from .unanswered import Unanswered

# Inside of the class `list` is its method.
WorkflowList = list[Workflow]
VersionList = list[WorkflowVersion]
_Graphs = tuple[Graph | None, Graph | None]
"""The editor's and the executable one."""
Sort = Literal["updated", "created", "name"]
"""The newest change first, the newest workflow, or the name that is first in the alphabet."""

_LOOKED_AT = 100
"""Workflows of a name among which one is looked for whose making was not answered. Pinned ones come first."""
_VERSIONS_LOOKED_AT = 3
"""The newest ones, with their graphs, which are large."""


class Workflows:
    """Graphs that are kept on the platform, in versions."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._unanswered = Unanswered(platform)

    async def list(
        self, search: str | None = None, *, sort: Sort = "updated", limit: int | None = None, offset: int = 0
    ) -> WorkflowList:
        """Workflows without their graphs, pinned ones first. All of them, if not `limit`.

        `search` is a part of the name; capitals and small letters are the same. The hosted platform knows no `sort`: it
        has the newest change first.
        """
        is_sorted = sort != "updated" and await self._platform.knows_outpost()

        async def page(offset: int, size: int) -> list[Workflow]:
            params = {"limit": size, "offset": offset, "search": search, "sort": sort if is_sorted else None}
            return await self._platform.get("/workflows", list[Workflow], params=params)

        def is_meant(workflow: Workflow) -> bool:
            return contains(workflow.name, search)

        return await read_pages(page, offset=offset, limit=limit, keep=is_meant if is_pattern(search) else None)

    async def get(self, workflow_id: str, *, versions: int = 1) -> Workflow:
        """One workflow with so many of its newest versions in full. Raises NotFound."""
        # One is what it answers when it is not asked for a number.
        params = {"limit": checked_count(versions, name="versions")} if versions != 1 else None
        found = await self._platform.get(f"/workflow/{checked_id(workflow_id)}", Workflow, params=params)
        # The hosted platform's list of no versions is [null].
        return found.model_copy(update={"versions": [each for each in found.versions or [] if each]})

    async def create(
        self,
        name: str,
        workflow: Graph,
        *,
        workflow_api: Graph,
        description: str | None = None,
        comment: str | None = None,
        machine_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkflowCreated:
        """Keep a graph as the first version of a new workflow, with a comment, which the hosted platform leaves out.

        With a machine it is also deployed there, in the environment `preview`. Raises NotFound for one that does not
        exist. With the `idempotency_key` of an earlier call it is that workflow, also while that call is at work. The
        hosted platform knows no keys: there it is looked for, by its name and graphs and the time when it was made.
        """
        # The hosted platform takes the graphs as texts here.
        body = {"name": name, "workflow_json": json_text(workflow), "workflow_api": json_text(workflow_api)}
        machine = checked_id(machine_id) if machine_id else None
        body |= given(description=description, comment=comment, machine_id=machine)
        key = idempotency_key or str(uuid4())
        graphs = workflow, workflow_api

        async def send() -> WorkflowCreated:
            return await self._platform.post("/workflow", WorkflowCreated, json=body, idempotency_key=key)

        async def find(since: datetime) -> WorkflowCreated | None:
            found = await self._made(name, lambda each: each.name == name, graphs, since=since)
            return found and WorkflowCreated(workflow_id=found.id)

        created = await self._unanswered.once(("/workflow", key), send, find=find)
        if created.workflow_version_id:
            return created
        if description:
            await self._patch(created.workflow_id, {"description": description})
        version = next((each for each in (await self.get(created.workflow_id)).versions or [] if each), None)
        if version is None:
            raise NotFound(f"The workflow {created.workflow_id} was made, but the platform tells no version of it")
        return created.model_copy(update={"workflow_version_id": version.id, "version": version.version})

    async def update(
        self,
        workflow_id: str,
        *,
        name: str | Unchanged = UNCHANGED,
        description: str | Unchanged | None = UNCHANGED,
        pinned: bool | Unchanged = UNCHANGED,
        cover_image: str | Unchanged | None = UNCHANGED,
        selected_machine_id: str | Unchanged | None = UNCHANGED,
    ) -> Workflow:
        """Change a workflow; what is not named stays, and None clears, which the hosted platform cannot.

        Raises NotFound, also for a machine that does not exist; NotSupported for clearing on the hosted platform.
        """
        workflow_id = checked_id(workflow_id)
        if isinstance(selected_machine_id, str):
            selected_machine_id = checked_id(selected_machine_id)
        body = changes(
            name=name,
            description=description,
            pinned=pinned,
            cover_image=cover_image,
            selected_machine_id=selected_machine_id,
        )
        if None in body.values():
            await self._platform.require_outpost("clear a field of a workflow", instead="Give it another value.")
        updated = await self._patch(workflow_id, body)
        if "pinned" in body and len(body) > 1 and not self._platform.is_outpost:
            # The hosted platform heeds nothing else in a request that pins.
            del body["pinned"]
            updated = await self._patch(workflow_id, body)
        return updated

    async def delete(self, workflow_id: str) -> None:
        """Delete a workflow; its deployments take no more runs. `restore` undoes it. Raises NotFound."""
        await self._platform.delete(f"/workflow/{checked_id(workflow_id)}")

    async def restore(self, workflow_id: str) -> Workflow:
        """Bring back a workflow that was deleted, with its deployments as they were. Raises NotFound."""
        return await self._patch(checked_id(workflow_id), {"deleted": False})

    async def clone(
        self,
        workflow_id: str,
        *,
        name: str | None = None,
        all_versions: bool = False,
        idempotency_key: str | None = None,
    ) -> Workflow:
        """A copy with the newest version as version 1, or with all versions. Without a name it is called like it.

        `idempotency_key` is as in `create`.

        Raises NotFound; NotSupported for all versions on the hosted platform.
        """
        workflow_id = checked_id(workflow_id)
        if all_versions:
            await self._platform.require_outpost(
                "clone all versions of a workflow", instead="Clone the newest, or read the versions and add them."
            )
        body, path = given(name=name, all_versions=all_versions or None), f"/workflow/{workflow_id}/clone"
        key = idempotency_key or str(uuid4())

        async def send() -> Workflow:
            return await self._platform.post(path, Workflow, json=body, idempotency_key=key)

        async def find(since: datetime) -> Workflow | None:
            source = await self.get(workflow_id)
            newest = next((each for each in source.versions or [] if each), None)
            if newest is None:
                return None

            def is_meant(each: Workflow) -> bool:
                # Without a name, the hosted platform appends something to that of the source.
                return each.id != workflow_id and name in (None, each.name)

            graphs = newest.workflow, newest.workflow_api
            return await self._made(name or source.name, is_meant, graphs, since=since)

        return await self._unanswered.once((path, key), send, find=find)

    async def versions(
        self,
        workflow_id: str,
        *,
        search: str | None = None,
        limit: int | None = None,
        offset: int = 0,
        include_graphs: bool = False,
    ) -> VersionList:
        """The versions of a workflow, newest first: all of them, if not `limit`. Raises NotFound.

        `search` is a part of the comment. Graphs are large, and left out unless they are asked for.
        """
        workflow_id = checked_id(workflow_id)

        async def page(offset: int, size: int) -> list[WorkflowVersion]:
            graphs = include_graphs or None
            params = {"limit": size, "offset": offset, "search": search, "include_graphs": graphs}
            rows = await self._platform.get(f"/workflow/{workflow_id}/versions", list[WorkflowVersion], params=params)
            return rows if include_graphs else [_without_graphs(row) for row in rows]

        def is_meant(version: WorkflowVersion) -> bool:
            return contains(version.comment, search)

        keep = is_meant if is_pattern(search) else None
        found = await read_pages(page, offset=offset, limit=limit, keep=keep)
        if not found and not self._platform.is_outpost:
            await self.get(workflow_id)  # The hosted platform's answer for a deleted workflow is an empty list.
        return found

    async def version(self, workflow_id: str, number: int) -> WorkflowVersion:
        """One version of a workflow by its number, from 1. Raises NotFound."""
        number = checked_count(number, name="number")
        return await self._platform.get(f"/workflow/{checked_id(workflow_id)}/version/{number}", WorkflowVersion)

    async def version_by_id(self, workflow_version_id: str) -> WorkflowVersion:
        """One version by its own id. Raises NotFound."""
        return await self._platform.get(f"/workflow-version/{checked_id(workflow_version_id)}", WorkflowVersion)

    async def add_version(
        self,
        workflow_id: str,
        workflow: Graph,
        *,
        workflow_api: Graph,
        comment: str | None = None,
        machine_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> WorkflowVersion:
        """Keep a graph as the newest version of a workflow. Raises NotFound.

        With a machine it is also deployed there, in the environment `preview`. `idempotency_key` is as in `create`.
        """
        machine = checked_id(machine_id) if machine_id else None
        body = {"workflow": workflow, "workflow_api": workflow_api} | given(comment=comment, machine_id=machine)
        path = f"/workflow/{checked_id(workflow_id)}/version"
        key = idempotency_key or str(uuid4())

        async def send() -> WorkflowVersion:
            return await self._platform.post(path, WorkflowVersion, json=body, idempotency_key=key)

        async def find(since: datetime) -> WorkflowVersion | None:
            newest = await self.versions(workflow_id, limit=_VERSIONS_LOOKED_AT, include_graphs=True)
            fresh = (each for each in newest if each.created_at is None or each.created_at >= since)
            return next((each for each in fresh if _holds(each, (workflow, workflow_api), comment=comment)), None)

        return await self._unanswered.once((path, key), send, find=find)

    async def aclose(self) -> None:
        """End what is at work for nobody any more."""
        await self._unanswered.aclose()

    async def _made(
        self, search: str, is_meant: Callable[[Workflow], bool], graphs: _Graphs, *, since: datetime
    ) -> Workflow | None:
        """A workflow that was made since then, and whose only version holds these graphs."""
        for each in await self.list(search, limit=_LOOKED_AT):
            if is_meant(each) and each.created_at and each.created_at >= since:
                versions = (await self.get(each.id, versions=2)).versions or []
                if len(versions) == 1 and versions[0] and _holds(versions[0], graphs):
                    return each
        return None

    async def _patch(self, workflow_id: str, body: dict[str, Any]) -> Workflow:
        try:
            return await self._platform.patch(f"/workflow/{workflow_id}", Workflow, json=body)
        except ServerError as error:
            if self._platform.is_vague(error) and (machine_id := body.get("selected_machine_id")):
                await self._platform.get(f"/machine/{machine_id}", Machine)  # raises NotFound, if that is what it means
            raise


def _holds(version: WorkflowVersion, graphs: _Graphs, *, comment: str | None = None) -> bool:
    return (version.workflow, version.workflow_api) == graphs and (not comment or version.comment == comment)


def _without_graphs(version: WorkflowVersion) -> WorkflowVersion:
    return version.model_copy(update={"workflow": None, "workflow_api": None})
