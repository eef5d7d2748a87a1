"""What the whole API needs: limited keys, pinned workflows, more kinds of machines, webhooks, assets."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("api_keys", sa.Column("scope", sa.String(length=10), nullable=False, server_default="full"))
    op.add_column("api_keys", sa.Column("expires_at", sa.DateTime(), nullable=True))

    op.add_column("machines", sa.Column("endpoint", sa.Text(), nullable=True))
    op.add_column("machines", sa.Column("auth_token", sa.Text(), nullable=True))
    op.add_column("machines", sa.Column("comfyui", sa.String(length=200), nullable=True))
    op.add_column("machines", sa.Column("idle_timeout", sa.Float(), nullable=True))
    op.add_column("machines", sa.Column("keep_warm", sa.Boolean(), nullable=False, server_default=sa.false()))

    op.add_column("workflows", sa.Column("pinned", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("workflows", sa.Column("cover_image", sa.Text(), nullable=True))
    op.add_column("workflows", sa.Column("selected_machine_id", sa.String(length=40), nullable=True))
    op.drop_index("ix_workflows_owner_id", "workflows")
    exists = sa.text("deleted_at IS NULL")
    op.create_index(
        "ix_workflows_list",
        "workflows",
        ["owner_id", "pinned", "updated_at", "id", "name"],
        sqlite_where=exists,
        postgresql_where=exists,
    )

    with op.batch_alter_table("deployments") as deployments:
        deployments.add_column(sa.Column("concurrency_limit", sa.Integer(), nullable=True))
        deployments.add_column(sa.Column("deactivated_at", sa.DateTime(), nullable=True))
        deployments.add_column(sa.Column("deleted_at", sa.DateTime(), nullable=True))
        deployments.drop_constraint(op.f("uq_deployments_workflow_id_environment"), type_="unique")
    op.drop_index("ix_deployments_owner_id", "deployments")
    op.create_index("ix_deployments_list", "deployments", ["owner_id", "updated_at", "id"])
    op.create_index(
        "uq_deployments_environment",
        "deployments",
        ["workflow_id", "environment"],
        unique=True,
        sqlite_where=exists,
        postgresql_where=exists,
    )

    op.add_column("runs", sa.Column("webhook", sa.JSON(none_as_null=True), nullable=True))
    for name in ("owner_id", "deployment_id", "workflow_id", "machine_id"):
        op.drop_index(f"ix_runs_{name}", "runs")
    op.create_index("ix_runs_list", "runs", ["owner_id", "created_at", "id"])
    op.create_index("ix_runs_list_status", "runs", ["owner_id", "status", "created_at", "id"])
    op.create_index("ix_runs_list_workflow", "runs", ["workflow_id", "created_at", "id"])
    op.create_index("ix_runs_list_deployment", "runs", ["deployment_id", "created_at", "id"])
    op.create_index("ix_runs_deployment_status", "runs", ["deployment_id", "status"])
    for name in ("lease", "lease_expires_at"):
        held = sa.text(f"{name} IS NOT NULL")
        op.create_index(f"ix_runs_{name}", "runs", [name], sqlite_where=held, postgresql_where=held)

    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("run_id", sa.String(length=40), nullable=False),
        sa.Column("status", sa.String(length=20), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(), nullable=True),
        sa.Column("delivered_at", sa.DateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_webhook_deliveries_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
    )
    op.create_index(op.f("ix_webhook_deliveries_run_id"), "webhook_deliveries", ["run_id"])
    op.create_index(op.f("ix_webhook_deliveries_next_attempt_at"), "webhook_deliveries", ["next_attempt_at"])

    op.create_table(
        "assets",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("owner_id", sa.String(length=40), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("is_folder", sa.Boolean(), nullable=False),
        sa.Column("parent_path", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("mime_type", sa.String(length=100), nullable=True),
        sa.Column("file_size", sa.BigInteger(), nullable=True),
        sa.Column("object_key", sa.String(length=300), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
        sa.Column("stored_at", sa.DateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("object_key", name=op.f("uq_assets_object_key")),
        sa.UniqueConstraint("owner_id", "path", name=op.f("uq_assets_owner_id_path")),
    )
    op.create_index("ix_assets_list", "assets", ["owner_id", "parent_path", "name"])
