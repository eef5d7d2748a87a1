"""The tables. Every change here needs a migration; a test compares the two."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """A point in time. SQLite forgets the zone, so it is kept as UTC without one and handed out as UTC with one."""

    impl = sa.DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.astimezone(timezone.utc).replace(tzinfo=None) if value else None

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return value.replace(tzinfo=timezone.utc) if value else None


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def _id() -> sa.Column[str]:
    return sa.Column("id", sa.String(40), primary_key=True)


def _owner(*, is_indexed: bool = True) -> sa.Column[str]:
    return sa.Column("owner_id", sa.String(40), nullable=False, index=is_indexed or None)


def _ref(name: str, target: str, *, is_indexed: bool = True) -> sa.Column[str]:
    return sa.Column(name, sa.String(40), sa.ForeignKey(target), nullable=False, index=is_indexed or None)


def _time(name: str, *, nullable: bool = True, is_indexed: bool = False) -> sa.Column[datetime]:
    return sa.Column(name, UtcDateTime(), nullable=nullable, index=is_indexed or None)


api_keys = sa.Table(
    "api_keys",
    metadata,
    _id(),
    _owner(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("key_hash", sa.String(64), nullable=False, unique=True),
    sa.Column("scope", sa.String(10), nullable=False, server_default="full"),
    _time("created_at", nullable=False),
    _time("expires_at"),
    _time("revoked_at"),
)

files = sa.Table(
    "files",
    metadata,
    _id(),
    _owner(),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("content_type", sa.String(100), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("object_key", sa.String(300), nullable=False, unique=True),
    _time("created_at", nullable=False),
    _time("stored_at"),
)

machines = sa.Table(
    "machines",
    metadata,
    _id(),
    _owner(),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("type", sa.String(40), nullable=False),
    sa.Column("concurrency_limit", sa.Integer, nullable=False),
    sa.Column("endpoint", sa.Text),
    sa.Column("auth_token", sa.Text),
    sa.Column("comfyui", sa.String(200)),
    sa.Column("idle_timeout", sa.Float),
    sa.Column("keep_warm", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("deleted_at"),
)

pool_members = sa.Table(
    "pool_members",
    metadata,
    sa.Column("pool_id", sa.String(40), sa.ForeignKey("machines.id"), primary_key=True),
    sa.Column("machine_id", sa.String(40), sa.ForeignKey("machines.id"), primary_key=True, index=True),
)

workflows = sa.Table(
    "workflows",
    metadata,
    _id(),
    _owner(is_indexed=False),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("description", sa.Text),
    sa.Column("pinned", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("cover_image", sa.Text),
    sa.Column("selected_machine_id", sa.String(40)),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("deleted_at"),
)
_workflow_exists = workflows.c.deleted_at.is_(None)
sa.Index(  # as they are listed, read backwards; with the name, so that a search needs no row
    "ix_workflows_list",
    *(workflows.c[name] for name in ("owner_id", "pinned", "updated_at", "id", "name")),
    sqlite_where=_workflow_exists,
    postgresql_where=_workflow_exists,
)

workflow_versions = sa.Table(
    "workflow_versions",
    metadata,
    _id(),
    _ref("workflow_id", "workflows.id"),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("workflow", sa.JSON),
    sa.Column("workflow_api", sa.JSON),
    sa.Column("comment", sa.Text),
    sa.Column("user_name", sa.String(200)),
    _time("created_at", nullable=False),
    sa.UniqueConstraint("workflow_id", "version"),
)

deployments = sa.Table(
    "deployments",
    metadata,
    _id(),
    _owner(is_indexed=False),
    _ref("workflow_id", "workflows.id"),
    _ref("workflow_version_id", "workflow_versions.id"),
    _ref("machine_id", "machines.id"),
    sa.Column("name", sa.String(200), nullable=False),
    sa.Column("environment", sa.String(40), nullable=False),
    sa.Column("run_timeout", sa.Float),
    sa.Column("queue_timeout", sa.Float),
    sa.Column("concurrency_limit", sa.Integer),
    sa.Column("retry_elsewhere", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("check_machine", sa.Boolean, nullable=False, default=True, server_default=sa.true()),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("deactivated_at"),
    _time("deleted_at"),
    sa.Index("ix_deployments_list", "owner_id", "updated_at", "id"),
)
_deployment_exists = deployments.c.deleted_at.is_(None)
sa.Index(
    "uq_deployments_environment",
    deployments.c.workflow_id,
    deployments.c.environment,
    unique=True,
    sqlite_where=_deployment_exists,
    postgresql_where=_deployment_exists,
)

deployed_versions = sa.Table(
    "deployed_versions",
    metadata,
    _id(),
    _ref("deployment_id", "deployments.id", is_indexed=False),
    _ref("workflow_version_id", "workflow_versions.id", is_indexed=False),
    _ref("machine_id", "machines.id", is_indexed=False),
    _time("at", nullable=False),
    sa.Column("by", sa.String(200)),
    sa.Index("ix_deployed_versions_list", "deployment_id", "at", "id"),
)

runs = sa.Table(
    "runs",
    metadata,
    _id(),
    _owner(is_indexed=False),
    _ref("deployment_id", "deployments.id", is_indexed=False),
    _ref("workflow_id", "workflows.id", is_indexed=False),
    _ref("workflow_version_id", "workflow_versions.id"),
    _ref("machine_id", "machines.id", is_indexed=False),
    # While a machine of a pool has the run, that is its machine, and this the pool.
    sa.Column("pool_id", sa.String(40)),
    # The machine that died while it had the run, and the one that is at work on what waits for the run.
    sa.Column("lost_on", sa.String(40)),
    sa.Column("comes_from", sa.String(40)),
    sa.Column("inputs", sa.JSON, nullable=False),
    sa.Column("run_timeout", sa.Float, nullable=False),
    sa.Column("queue_timeout", sa.Float, nullable=False, server_default="86400"),
    sa.Column("preview_images", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("temporary_files", sa.Boolean, nullable=False, default=False, server_default=sa.false()),
    sa.Column("webhook", sa.JSON(none_as_null=True)),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("progress", sa.Float, nullable=False, default=0.0),
    sa.Column("live_status", sa.Text),
    sa.Column("error", sa.JSON(none_as_null=True)),
    sa.Column("idempotency_key", sa.String(200)),
    sa.Column("request_hash", sa.String(64)),
    sa.Column("is_cancel_requested", sa.Boolean, nullable=False, default=False),
    sa.Column("lease", sa.String(40)),
    _time("lease_expires_at"),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("last_event", sa.Integer, nullable=False, default=0),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("queued_at"),
    _time("queue_expires_at"),
    _time("started_at"),
    _time("running_at"),
    _time("ended_at"),
    sa.UniqueConstraint("owner_id", "idempotency_key"),
    sa.Index("ix_runs_claim", "machine_id", "status", "created_at"),
    # As they are listed: the newest first, all of them or those of one thing.
    sa.Index("ix_runs_list", "owner_id", "created_at", "id"),
    sa.Index("ix_runs_list_status", "owner_id", "status", "created_at", "id"),
    sa.Index("ix_runs_list_workflow", "workflow_id", "created_at", "id"),
    sa.Index("ix_runs_list_deployment", "deployment_id", "created_at", "id"),
    sa.Index("ix_runs_deployment_status", "deployment_id", "status"),
)

for _column in (runs.c.lease, runs.c.lease_expires_at, runs.c.queue_expires_at):
    # Empty in nearly all rows.
    _held = _column.is_not(None)
    sa.Index(f"ix_runs_{_column.name}", _column, sqlite_where=_held, postgresql_where=_held)

run_events = sa.Table(
    "run_events",
    metadata,
    sa.Column("run_id", sa.String(40), sa.ForeignKey("runs.id"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("payload", sa.JSON, nullable=False),
    _time("created_at", nullable=False),
)

run_outputs = sa.Table(
    "run_outputs",
    metadata,
    _id(),
    _ref("run_id", "runs.id"),
    sa.Column("position", sa.Integer, nullable=False),
    sa.Column("node_id", sa.Text),
    sa.Column("node_class", sa.Text),
    sa.Column("output_id", sa.Text),
    sa.Column("data", sa.JSON, nullable=False),
    _time("created_at", nullable=False),
)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    metadata,
    _id(),
    _ref("run_id", "runs.id"),
    sa.Column("status", sa.String(20), nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    _time("created_at", nullable=False),
    _time("next_attempt_at", is_indexed=True),
    _time("delivered_at"),
)

assets = sa.Table(
    "assets",
    metadata,
    _id(),
    _owner(is_indexed=False),
    sa.Column("name", sa.String(255), nullable=False),
    sa.Column("is_folder", sa.Boolean, nullable=False),
    sa.Column("parent_path", sa.Text, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("mime_type", sa.String(100)),
    sa.Column("file_size", sa.BigInteger),
    sa.Column("object_key", sa.String(300), unique=True),
    _time("created_at", nullable=False),
    _time("updated_at", nullable=False),
    _time("stored_at"),
    sa.UniqueConstraint("owner_id", "path"),
    sa.Index("ix_assets_list", "owner_id", "parent_path", "name"),
)

account_events = sa.Table(
    "account_events",
    metadata,
    # SQLite counts by itself only what it calls an integer.
    sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True),
    _owner(is_indexed=False),
    sa.Column("name", sa.String(20), nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    _time("created_at", nullable=False, is_indexed=True),
    sa.Index("ix_account_events_list", "owner_id", "number"),
    sqlite_autoincrement=True,  # so that no number is given a second time
)

answered_requests = sa.Table(
    "answered_requests",
    metadata,
    sa.Column("owner_id", sa.String(40), primary_key=True),
    sa.Column("key", sa.String(200), primary_key=True),
    sa.Column("request_hash", sa.String(64), nullable=False),
    sa.Column("made", sa.JSON, nullable=False),
    _time("created_at", nullable=False, is_indexed=True),
)
