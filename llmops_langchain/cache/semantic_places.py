"""What a semantic tier works with, by where its answers are."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from llmops_langchain.cache.evidence_rows import EvidenceRows, MemoryEvidence
from llmops_langchain.cache.index_statements import ORPHANS
from llmops_langchain.cache.memory_index import MemoryIndex
from llmops_langchain.cache.semantic import SemanticTier
from llmops_langchain.cache.semantic_index import SemanticIndex
from llmops_langchain.cache.semantic_policy import SemanticPolicy
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.cache.sql_index import SqlIndex
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.stats import Tally
from llmops_langchain.cache.store import Store
from llmops_langchain.clock import Clock
from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.storage import Database
from llmops_langchain.storage.packing import Packer

__all__ = ["tier_for"]

_SPACE = "answers"

_IN_MEMORY = 10_000
"""Questions of a scope up to which memory searches, a hundred times faster than pgvector; beyond
that memory does not do."""


def tier_for(
    policy: SemanticPolicy,
    database: Database | None,
    *,
    store: Store,
    packer: Packer,
    shelf: Shelf,
    tally: Tally,
    embeddings_dir: Path | None,
    clock: Clock,
) -> SemanticTier:
    """The tier, made known to `shelf`.

    Args:
        policy: What it is to do.
        database: Where questions and evidence are kept; `None` keeps them in memory.
        store: Where the answers are.
        packer: How questions are written there.
        shelf: Where the answers are.
        tally: What is done is counted there.
        embeddings_dir: Folder of a MiniLM model, for a policy that names no embeddings.
        clock: Returns seconds since the Unix epoch.
    """
    tier = SemanticTier(
        policy,
        embeddings=partial(default_embeddings, embeddings_dir),
        index=partial(_index, policy, database, packer, tally),
        evidence=MemoryEvidence() if database is None else EvidenceRows(database),
        orphans=partial(_orphans, database, store),
        answers=shelf,
        tally=tally,
        clock=clock,
    )
    shelf.on_look = tier.look_around
    return tier


def _orphans(database: Database | None, store: Store) -> Sequence[tuple[bytes, bytes]]:
    """Some questions whose answers are gone, where one database has both."""
    if database is None or not isinstance(store, SqlStore):
        return ()
    return [(scope, key) for scope, key in database.read(ORPHANS, space=_SPACE)]


def _index(
    policy: SemanticPolicy, database: Database | None, packer: Packer, tally: Tally, embedder: str
) -> SemanticIndex:
    if database is None:
        return MemoryIndex(max_items=policy.max_items)
    return SqlIndex(
        database,
        packer,
        space=_SPACE,
        embedder=embedder,
        max_items=policy.max_items,
        pgvector=policy.max_items > _IN_MEMORY,
        on_unreadable=partial(tally.add, "unreadable"),
    )
