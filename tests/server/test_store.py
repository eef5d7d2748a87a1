"""The store by itself: the one way in which a status changes, and what a transaction holds together."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import datetime, timezone
from pathlib import Path
from uuid import uuid4

import pytest
import sqlalchemy as sa
from comfyui_outpost.api.errors import NotFound
from comfyui_outpost.api.events import LogLine
from comfyui_outpost.api.models import TRANSITIONS, Deployment, Failure, RunRequest, RunStatus
from comfyui_outpost.api.server.store import Store, open_store
from comfyui_outpost.api.server.store.keys import Owner
from comfyui_outpost.api.server.store.runs import Limits
from comfyui_outpost.api.server.store.tables import api_keys
from comfyui_outpost.api.server.store.tables import runs as runs_table
from comfyui_outpost.api.server.store.work import ClaimedRun
from comfyui_outpost.tests.fakes.backings import SQLITE_NAME
from comfyui_outpost.tests.fakes.deploying import deploy

from .graphs import ECHO

LEASE = str(uuid4())
NOW = datetime.now(timezone.utc)
ENDS = [status for status in RunStatus if status.is_terminal]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[Store, None]:
    store = await open_store(f"sqlite:///{tmp_path / SQLITE_NAME}")
    yield store
    await store.database.close()


@pytest.fixture
async def deployment(store: Store) -> Deployment:
    holder, _ = await store.keys.create("a key")
    owner = holder.owner
    found = await deploy(store, owner, graph=ECHO, name="echo", slots=1)
    return found.model_copy(update={"description": owner.id})


async def _run_in(store: Store, deployment: Deployment, status: RunStatus) -> ClaimedRun:
    """A run that is in this status and is held by `LEASE`, however it came there."""
    owner = _owner(deployment)
    request = RunRequest(deployment_id=deployment.id)
    run_id = await store.runs.create(owner, deployment, request=request, inputs=request.inputs, limits=Limits(60, 60))
    change = sa.update(runs_table).where(runs_table.c.id == run_id).values(status=status.value, lease=LEASE)
    await store.database.write(lambda connection: connection.execute(change))
    return ClaimedRun(
        id=run_id,
        owner_id=owner.id,
        deployment_id=deployment.id,
        workflow_id=str(deployment.workflow_id),
        workflow_version_id=str(deployment.workflow_version_id),
        machine_id=str(deployment.machine_id),
        lease=LEASE,
        inputs={},
        run_timeout=60,
        queue_timeout=60,
        queue_expires_at=None,
        created_at=NOW,
        started_at=NOW,
        queued_at=NOW,
        attempts=1,
        workflow_api=ECHO,
    )


def _owner(deployment: Deployment) -> Owner:
    return Owner(str(deployment.description))


@pytest.mark.parametrize("before", RunStatus, ids=lambda status: status.value)
async def test_a_status_changes_only_as_the_table_allows(store: Store, deployment: Deployment, before: RunStatus):
    for after in RunStatus:
        run = await _run_in(store, deployment, before)
        log = await store.runs.events(run.id, after=0)
        happened = await store.work.advance(run, after, failure=Failure(message="x"), events=[LogLine("x")])
        now = await store.runs.get(_owner(deployment), run.id)
        assert happened is (after in TRANSITIONS[before]), (before, after)
        assert now.status is (after if happened else before)
        if not happened:
            assert await store.runs.events(run.id, after=0) == log, "a change that is refused leaves no event"
            assert now.error is None
            assert now.ended_at is None


@pytest.mark.parametrize(
    "status", [status for status in RunStatus if status.is_terminal], ids=lambda status: status.value
)
async def test_an_ended_run_has_its_end_in_its_row_and_as_its_last_event(
    store: Store, deployment: Deployment, status: RunStatus
):
    run = await _run_in(store, deployment, RunStatus.RUNNING)
    await store.work.advance(run, status)
    now = await store.runs.get(_owner(deployment), run.id)
    assert now.ended_at is not None
    assert now.progress == (1.0 if status is RunStatus.SUCCESS else 0.0)
    (*_, (number, payload)) = await store.runs.events(run.id, after=0)
    assert payload == {"event": "status", "data": {"status": status.value, "prompt_id": run.id}}
    assert await store.runs.last_event(run.id) == number


@pytest.mark.parametrize(
    "status", [status for status in RunStatus if status.is_terminal], ids=lambda status: status.value
)
async def test_nothing_moves_a_run_that_has_ended(store: Store, deployment: Deployment, status: RunStatus):
    run = await _run_in(store, deployment, status)
    log = await store.runs.events(run.id, after=0)
    await store.runs.request_cancel(run.id)
    await store.work.release(run)
    assert await store.work.recover(all_of_them=True) == []
    assert (await store.runs.get(_owner(deployment), run.id)).status is status
    assert await store.runs.events(run.id, after=0) == log


async def test_an_event_and_its_status_come_together_or_not_at_all(store: Store, deployment: Deployment):
    run = await _run_in(store, deployment, RunStatus.RUNNING)
    log = await store.runs.events(run.id, after=0)
    with pytest.raises(sa.exc.StatementError):
        await store.work.advance(run, RunStatus.SUCCESS, events=[LogLine("x", timestamp=object())])
    assert (await store.runs.get(_owner(deployment), run.id)).status is RunStatus.RUNNING
    assert await store.runs.events(run.id, after=0) == log


async def test_a_run_of_a_deployment_that_has_just_gone_is_no_other_run(store: Store, deployment: Deployment):
    owner, request = _owner(deployment), RunRequest(deployment_id=deployment.id)
    await store.runs.create(owner, deployment, request=request, inputs=request.inputs, limits=Limits(60, 60))
    seen = await store.deployments.runnable(owner, deployment.id)
    await store.deployments.delete(owner, deployment.id)
    for key in (None, "a key of 8"):
        with pytest.raises(NotFound, match=f"There is no deployment {deployment.id}"):
            await store.runs.create(owner, seen, request=request, inputs=request.inputs, limits=Limits(60, 60), key=key)


async def test_a_revoked_key_opens_nothing(store: Store):
    owner, key = await store.keys.create("a key")
    assert await store.keys.holder_of(key) == owner
    change = sa.update(api_keys).values(revoked_at=store.database.now())
    await store.database.write(lambda connection: connection.execute(change))
    assert await store.keys.holder_of(key) is None


async def test_only_a_keys_hash_is_kept(store: Store):
    _, key = await store.keys.create("a key")
    (row,) = await store.database.rows(sa.select(api_keys))
    assert len(row["key_hash"]) == 64
    assert all(key not in str(value) for value in row.values())
