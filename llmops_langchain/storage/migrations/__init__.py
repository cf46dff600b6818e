"""Alembic revisions; `migrate.py` runs them."""
