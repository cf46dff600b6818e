"""Run by Alembic: on the connection it is given, or as SQL for a named dialect."""

from alembic import context

from llmops_langchain.storage.schema import VERSION_TABLE, metadata

given = context.config.attributes
context.configure(
    connection=given.get("connection"),
    dialect_name=given.get("dialect"),
    target_metadata=metadata,
    version_table=VERSION_TABLE,
    literal_binds=context.is_offline_mode(),
    render_as_batch=True,
)

with context.begin_transaction():
    context.run_migrations()
