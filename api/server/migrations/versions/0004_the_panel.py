"""What the panel shows: events of an account, who made a version, what a deployment ran; requests that repeat."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("workflow_versions", sa.Column("user_name", sa.String(length=200), nullable=True))

    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "account_events",
        sa.Column("number", number, autoincrement=True, nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_account_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_account_events_created_at"), "account_events", ["created_at"])
    op.create_index("ix_account_events_list", "account_events", ["owner_id", "number"])

    op.create_table(
        "answered_requests",
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=200), nullable=False),
        sa.Column("request_hash", sa.String(length=64), nullable=False),
        sa.Column("made", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.PrimaryKeyConstraint("owner_id", "key", name=op.f("pk_answered_requests")),
    )
    op.create_index(op.f("ix_answered_requests_created_at"), "answered_requests", ["created_at"])

    history = op.create_table(
        "deployed_versions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("deployment_id", sa.String(length=40), nullable=False),
        sa.Column("workflow_version_id", sa.String(length=40), nullable=False),
        sa.Column("machine_id", sa.String(length=40), nullable=False),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("by", sa.String(length=200), nullable=True),
        sa.ForeignKeyConstraint(["deployment_id"], ["deployments.id"], name=op.f("fk_deployed_versions_deployment_id")),
        sa.ForeignKeyConstraint(
            ["workflow_version_id"], ["workflow_versions.id"], name=op.f("fk_deployed_versions_workflow_version_id")
        ),
        sa.ForeignKeyConstraint(["machine_id"], ["machines.id"], name=op.f("fk_deployed_versions_machine_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deployed_versions")),
    )
    op.create_index("ix_deployed_versions_list", "deployed_versions", ["deployment_id", "at", "id"])
    _begin_histories(history)


def _begin_histories(history: sa.Table) -> None:
    """Every deployment ran something before its history was kept: what it runs now, as far as anybody knows."""
    deployments = sa.Table(
        "deployments",
        sa.MetaData(),
        *(sa.Column(name, sa.String(length=40)) for name in ("id", "workflow_version_id", "machine_id")),
        sa.Column("updated_at", sa.DateTime()),
    )
    connection = op.get_bind()
    names = ("deployment_id", "workflow_version_id", "machine_id", "at")
    rows = [
        {"id": str(uuid4()), **dict(zip(names, row, strict=True))} for row in connection.execute(sa.select(deployments))
    ]
    if rows:
        connection.execute(sa.insert(history), rows)
