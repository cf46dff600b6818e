"""One database, SQLite or PostgreSQL, with one word for a transaction: `begin()`."""

from llmops_langchain.storage.database import Database

__all__ = ["Database"]
