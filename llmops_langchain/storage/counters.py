"""Counters that only grow, shared by processes."""

from functools import cache

from sqlalchemy import Insert, bindparam

from llmops_langchain.storage.leases import Into
from llmops_langchain.storage.schema import generations

__all__ = ["advance"]


@cache
def advance(into: Into) -> Insert:
    """Count one more of what `name` names; whoever does so too waits for the end of this one."""
    insert = into(generations).values(name=bindparam("name"), value=1)
    more = {"value": generations.c.value + 1}
    return insert.on_conflict_do_update(index_elements=["name"], set_=more)
