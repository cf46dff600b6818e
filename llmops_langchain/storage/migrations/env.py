"""Run by Alembic: on the connection it is given, or as SQL for a named dialect."""

from alembic import context

from llmops_langchain.storage.schema import VERSION_TABLE, metadata

options = {"target_metadata": metadata, "version_table": VERSION_TABLE}
given = context.config.attributes

if context.is_offline_mode():
    context.configure(dialect_name=given["dialect"], literal_binds=True, **options)
else:
    context.configure(connection=given["connection"], render_as_batch=True, **options)

with context.begin_transaction():
    context.run_migrations()
