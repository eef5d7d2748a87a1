"""Alembic's entry: runs the migrations on the connection that it is given.

Alembic loads this file by path, outside of the package, so everything arrives through `config.attributes`.
"""

from alembic import context

attributes = context.config.attributes
context.configure(
    connection=attributes["connection"],
    target_metadata=attributes["target_metadata"],
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
