"""What remote machines need: pools, time-outs for waiting, runs that are tried elsewhere, previews."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table(
        "pool_members",
        sa.Column("pool_id", sa.String(length=40), nullable=False),
        sa.Column("machine_id", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["pool_id"], ["machines.id"], name=op.f("fk_pool_members_pool_id")),
        sa.ForeignKeyConstraint(["machine_id"], ["machines.id"], name=op.f("fk_pool_members_machine_id")),
        sa.PrimaryKeyConstraint("pool_id", "machine_id", name=op.f("pk_pool_members")),
    )
    op.create_index(op.f("ix_pool_members_machine_id"), "pool_members", ["machine_id"])

    op.add_column("deployments", sa.Column("queue_timeout", sa.Float(), nullable=True))
    op.add_column("deployments", _flag("retry_elsewhere"))
    op.add_column("deployments", _flag("check_machine", default=True))

    op.add_column("runs", sa.Column("pool_id", sa.String(length=40), nullable=True))
    op.add_column("runs", sa.Column("lost_on", sa.String(length=40), nullable=True))
    op.add_column("runs", sa.Column("comes_from", sa.String(length=40), nullable=True))
    op.add_column("runs", sa.Column("queue_timeout", sa.Float(), nullable=False, server_default="86400"))
    op.add_column("runs", _flag("preview_images"))
    op.add_column("runs", _flag("temporary_files"))
    op.add_column("runs", sa.Column("queue_expires_at", sa.DateTime(), nullable=True))
    op.add_column("runs", sa.Column("running_at", sa.DateTime(), nullable=True))
    waits = sa.text("queue_expires_at IS NOT NULL")
    op.create_index(
        "ix_runs_queue_expires_at", "runs", ["queue_expires_at"], sqlite_where=waits, postgresql_where=waits
    )


def _flag(name: str, *, default: bool = False) -> sa.Column[bool]:
    return sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.true() if default else sa.false())
