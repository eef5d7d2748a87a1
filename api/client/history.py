"""Lists of runs. The hosted platform keeps there what it does not tell of a single run: why it failed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from pydantic import Field, model_validator

from ..errors import ApiError, ConnectionFailed, NotFound, NotSupported
from ..models import Failure, Record, Run, RunStatus, Workflow
from ..shapes import is_array
from .outcome import failure_in
from .pages import ReadPage, read_pages, unique
from .platform import Platform, checked_count

log = logging.getLogger("outpost.runs")

WORKFLOWS = 10
"""Workflows whose runs are the newest ones, where there is no list of all."""
WORKFLOWS_AT_ONCE = 4
NEWEST = 20
"""Runs of a workflow among which one that has just ended is looked for."""


@dataclass(frozen=True)
class RunFilter:
    """Which runs; all of them where it names nothing. The ids are in their usual spelling."""

    workflow_id: str | None = None
    deployment_id: str | None = None
    status: RunStatus | None = None

    @property
    def params(self) -> dict[str, str | None]:
        """As a query string."""
        status = self.status.value if self.status else None
        return {"workflow_id": self.workflow_id, "deployment_id": self.deployment_id, "status": status}

    def fits(self, run: Run) -> bool:
        """Whether a run of the workflow is one of them."""
        return self.status in (None, run.status) and self.deployment_id in (None, run.deployment_id)


async def list_runs(platform: Platform, wanted: RunFilter, *, limit: int, offset: int) -> list[Run]:
    """Runs, newest first. Raises NotSupported where the hosted platform has no such list."""
    if await platform.knows_outpost():
        return await read_pages(_runs(platform, wanted), limit=limit, offset=offset)
    if wanted.workflow_id:
        page = _runs_of_workflow(platform, wanted.workflow_id)
        is_all = wanted == RunFilter(wanted.workflow_id)
        return await read_pages(page, limit=limit, offset=offset, keep=None if is_all else wanted.fits)
    if wanted.deployment_id:
        return await read_pages(_runs_of_deployment(platform, wanted), limit=limit, offset=offset)
    raise NotSupported(f"{platform.connection.origin} lists runs only of one workflow or deployment. Name one of them.")


async def recent_runs(platform: Platform, *, limit: int) -> list[Run]:
    """The newest runs of all workflows; on the hosted platform of those that come first in its list."""
    limit = checked_count(limit, name="limit")
    if await platform.knows_outpost():
        return await list_runs(platform, RunFilter(), limit=limit, offset=0)
    turns = asyncio.Semaphore(WORKFLOWS_AT_ONCE)

    async def newest_of(workflow: Workflow) -> list[Run]:
        async with turns:
            try:
                return await read_pages(_runs_of_workflow(platform, workflow.id), limit=limit)
            except NotFound:
                return []  # it has been deleted since

    workflows = await platform.get("/workflows", list[Workflow], params={"limit": WORKFLOWS})
    found = await asyncio.gather(*map(newest_of, workflows[:WORKFLOWS]))
    return newest_first(unique([run for runs in found for run in runs]))[:limit]


def newest_first(runs: Iterable[Run]) -> list[Run]:
    """Runs in the order of lists; those of which it is not known when they were made come last."""
    return sorted(runs, key=lambda run: run.created_at or datetime.min.replace(tzinfo=timezone.utc), reverse=True)


async def failure_of(platform: Platform, run: Run) -> Failure | None:
    """Why a run failed, as far as the platform tells it anywhere."""
    if run.error or platform.is_outpost or not run.workflow_id:
        return run.error
    try:
        runs = await _runs_of_workflow(platform, run.workflow_id)(0, NEWEST)
    except (ApiError, ConnectionFailed) as error:
        log.debug("no reason found for run %s: %s", run.id, error)
        return None
    return next((each.error for each in runs if each.id == run.id), None)


def _runs(platform: Platform, wanted: RunFilter) -> ReadPage[Run]:
    async def page(offset: int, size: int) -> list[Run]:
        return await platform.get("/runs", list[Run], params={**wanted.params, "limit": size, "offset": offset})

    return page


def _runs_of_workflow(platform: Platform, workflow_id: str) -> ReadPage[Run]:
    async def page(offset: int, size: int) -> list[Run]:
        params = {"limit": size, "offset": offset}
        rows = await platform.get(f"/workflow/{workflow_id}/runs", list[_RawRun], params=params)
        return [row.tidied() for row in rows]

    return page


def _runs_of_deployment(platform: Platform, wanted: RunFilter) -> ReadPage[Run]:
    async def page(offset: int, size: int) -> list[Run]:
        params = {"status": wanted.params["status"], "limit": size, "offset": offset}
        found = await platform.get(f"/deployment/{wanted.deployment_id}/runs", _RunsOfDeployment, params=params)
        return [row.tidied() for row in found.data]

    return page


class _RawOutput(Record):
    data: Any = None  # as the machine told it: files, errors, timings


class _RawRun(Run):
    """A run in the hosted platform's lists, with all that its machine has told among the outputs."""

    raw_outputs: list[_RawOutput] = Field(default_factory=list[_RawOutput], validation_alias="outputs")

    def tidied(self) -> Run:
        """The run as it is read by its id, with its failure."""
        failures = (failure_in(each.data) for each in self.raw_outputs)
        error = self.error or next((failure for failure in failures if failure), None)
        outputs = [each for each in self.outputs if each.data]
        return Run.model_validate({**dict(self), "outputs": outputs, "error": error})


class _RunsOfDeployment(Record):
    """`{data, meta}`, or a plain list, as the hosted platform's own documentation has it."""

    data: list[_RawRun]

    @model_validator(mode="before")
    @classmethod
    def _wrap(cls, value: Any) -> Any:
        return {"data": value} if is_array(value) else value
