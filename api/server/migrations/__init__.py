"""Alembic's migrations. Append only: a migration that has been released is never edited."""
