"""Which part is made of which: one database, one ledger, one price book for all of them."""

import logging
from dataclasses import dataclass
from functools import partial
from weakref import WeakValueDictionary

from llmops_langchain.analytics import Analytics
from llmops_langchain.analytics.insight_rows import InsightRows
from llmops_langchain.cache import ResponseCache, SemanticPolicy, Store, store_for
from llmops_langchain.callbacks import Contents, UsageCallbackHandler
from llmops_langchain.callbacks.gate import Gate
from llmops_langchain.clock import Clock
from llmops_langchain.embeddings import default_embeddings
from llmops_langchain.graph import SqlNodeCache
from llmops_langchain.learning import Learning
from llmops_langchain.learning.index import Place
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.ledger import (
    Budgets,
    EventRows,
    Ledger,
    Reservations,
    RollupTable,
    Slices,
    StoredPrices,
)
from llmops_langchain.memory import Chats
from llmops_langchain.models import nano_dollars
from llmops_langchain.ops.offers import offers
from llmops_langchain.routing import ModelRouter
from llmops_langchain.routing.logbooks import Logbooks
from llmops_langchain.routing.rows import RoutingRows
from llmops_langchain.settings import Settings
from llmops_langchain.storage import Database
from llmops_langchain.storage.kept import Kept, Maintenance
from llmops_langchain.tokens.calibration import Calibration
from llmops_langchain.workspaces import Workspaces, anchors_to_file, keys_of_file

__all__ = ["Parts", "made_of"]

logger = logging.getLogger(__name__)

_WORTH_AN_INDEX = 1_000
"""Experiences from which on Chroma's index is kept beside them, where nobody chose its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Everything that one `LLMOps` works with."""

    database: Database
    ledger: Ledger
    prices: StoredPrices
    cache: ResponseCache
    node_cache: SqlNodeCache
    stores: tuple[Store, ...]
    usage: UsageCallbackHandler
    contents: Contents
    chats: Chats
    calibration: Calibration
    logbooks: Logbooks
    learning: Learning
    reservations: Reservations
    budgets: Budgets
    slices: Slices | None
    workspaces: Workspaces
    analytics: Analytics
    routers: "WeakValueDictionary[int, ModelRouter]"
    """Those that were made and still live, by their `id`."""
    gate: Gate
    maintenance: Maintenance


def made_of(
    url: str, settings: Settings, semantic: SemanticPolicy | None, *, clock: Clock
) -> Parts:
    """Make the parts; nothing is opened.

    Raises:
        ConfigurationError: If the URL or a setting cannot be honoured.
        MissingExtraError: If the driver of the database is not installed.
    """
    database, ledger = _records(url, settings, clock=clock)
    # Disabled, nothing is opened: a look-up would read the prices that were set.
    of_prices = Database("sqlite://") if settings.disabled else database
    prices = StoredPrices(of_prices, fallback=settings.fallback_price, clock=clock)
    # The price data takes a quarter of a second to load: now, not inside the first call.
    prices.preload()
    cache, node_cache, stores = _caches(database, prices, settings, semantic, clock=clock)
    contents = _contents(database, ledger, settings, clock=clock)
    capture = contents.capture if settings.capture_content else None
    usage = UsageCallbackHandler(ledger, prices, capture=capture, clock=clock)
    reservations = _reservations(database, ledger, settings, clock=clock)
    budgets = Budgets(database, ledger, reservations, clock=clock)
    slices = _slices(reservations, ledger, settings, clock=clock)
    chats = _chats(database, settings, clock=clock)
    logbooks = _logbooks(database, ledger, settings, clock=clock)
    learning = _learning(database, settings, clock=clock)
    workspaces = _workspaces(database, budgets, settings, clock=clock)
    rollups = RollupTable(database, retention=settings.event_retention, clock=clock)
    routers = WeakValueDictionary[int, ModelRouter]()
    kept: dict[str, Kept] = {
        "cache": cache,
        "nodes": node_cache,
        "contents": contents,  # of an earlier run, perhaps, that captured them
        "chats": chats,
        "budgets": budgets,
        "routing": logbooks,
        "learning": learning,
        "workspaces": workspaces,
        **_of_events(database, rollups, settings),
    }
    return Parts(
        database=database,
        ledger=ledger,
        prices=prices,
        cache=cache,
        node_cache=node_cache,
        stores=stores,
        usage=usage,
        contents=contents,
        chats=chats,
        calibration=Calibration(None if settings.disabled else database, clock=clock),
        logbooks=logbooks,
        learning=learning,
        reservations=reservations,
        budgets=budgets,
        slices=slices,
        workspaces=workspaces,
        analytics=Analytics(
            database,
            ledger,
            rollups=rollups,
            prices=prices,
            budgets=budgets,
            offers=partial(offers, routers),
            clock=clock,
        ),
        routers=routers,
        gate=_gate((reservations, ledger, usage, prices), slices, settings, clock=clock),
        maintenance=Maintenance(database, kept, clock=clock),
    )


def _gate(
    parts: tuple[Reservations, Ledger, UsageCallbackHandler, StoredPrices],
    slices: Slices | None,
    settings: Settings,
    *,
    clock: Clock,
) -> Gate:
    is_strict = settings.on_store_failure == "refuse"
    return Gate(*parts, clock=clock, refuses_blindly=is_strict, slices=slices)


def _of_events(database: Database, rollups: RollupTable, settings: Settings) -> dict[str, Kept]:
    """The events, and what is worked out from them."""
    return {
        "events": EventRows(database, retention=settings.event_retention),
        "rollups": rollups,
        "insights": InsightRows(database),
    }


def _records(url: str, settings: Settings, *, clock: Clock) -> tuple[Database, Ledger]:
    database = Database(
        url,
        schema=settings.db_schema,
        auto_migrate=settings.auto_migrate,
        lock_timeout=settings.lock_timeout,
    )
    ledger = Ledger(
        database,
        durability=settings.durability,
        journal_dir=settings.journal_dir,
        disabled=settings.disabled,
        clock=clock,
    )
    return database, ledger


def _caches(
    database: Database,
    prices: StoredPrices,
    settings: Settings,
    semantic: SemanticPolicy | None,
    *,
    clock: Clock,
) -> tuple[ResponseCache, SqlNodeCache, tuple[Store, ...]]:
    may_write = bool(settings.encryption_key) or not settings.require_encryption
    if not may_write:
        logger.warning(
            "`require_encryption` is set and there is no `encryption_key`: "
            "answers are kept in this process' memory alone"
        )
    answers, nodes = (
        store_for(
            database,
            url=settings.cache_url,
            space=space,
            max_bytes=settings.cache_max_bytes,
            may_write=may_write,
        )
        for space in ("answers", "nodes")
    )
    cache = ResponseCache(
        answers,
        ttl=settings.cache_ttl,
        max_items=settings.cache_max_items,
        share=settings.cache_share,
        wait=settings.cache_wait,
        encryption_keys=settings.encryption_key,
        prices=prices,
        semantic=semantic,
        rows=database if may_write else None,
        embeddings_dir=settings.embeddings_dir,
        disabled=settings.disabled,
        clock=clock,
    )
    node_cache = SqlNodeCache(
        nodes,
        ttl=settings.cache_ttl,
        encryption_keys=settings.encryption_key,
        disabled=settings.disabled,
        clock=clock,
    )
    return cache, node_cache, (answers, nodes)


def _contents(database: Database, ledger: Ledger, settings: Settings, *, clock: Clock) -> Contents:
    contents = Contents(
        database,
        encryption_keys=settings.encryption_key,
        retention=settings.content_retention,
        at_once=settings.durability == "commit",
        clock=clock,
    )
    ledger.flush_too(contents.flush)
    return contents


def _chats(database: Database, settings: Settings, *, clock: Clock) -> Chats:
    return Chats(
        database,
        encryption_keys=settings.encryption_key,
        retention=settings.history_retention,
        clock=clock,
    )


def _logbooks(database: Database, ledger: Ledger, settings: Settings, *, clock: Clock) -> Logbooks:
    rows = RoutingRows(
        database,
        encryption_keys=settings.encryption_key,
        keeps_prompts=bool(settings.encryption_key) or not settings.require_encryption,
        retention=settings.decision_retention,
    )
    embeddings = partial(default_embeddings, settings.embeddings_dir)
    logbooks = Logbooks(None if settings.disabled else rows, embeddings, clock=clock)
    ledger.flush_too(logbooks.flush)
    return logbooks


def _learning(database: Database, settings: Settings, *, clock: Clock) -> Learning:
    rows = ExperienceRows(
        database,
        encryption_keys=settings.encryption_key,
        may_write=bool(settings.encryption_key) or not settings.require_encryption,
        retention=settings.experience_retention,
    )
    place, was_chosen = _place(database, settings)
    return Learning(
        None if settings.disabled else rows,
        partial(default_embeddings, settings.embeddings_dir),
        place=place,
        worth=0 if was_chosen else _WORTH_AN_INDEX,
        clock=clock,
    )


def _workspaces(
    database: Database, budgets: Budgets, settings: Settings, *, clock: Clock
) -> Workspaces:
    of_file = () if settings.audit_key_file is None else keys_of_file(settings.audit_key_file)
    workspaces = Workspaces(
        database,
        audit_keys=(*settings.audit_key, *of_file),
        retention=settings.workspace_retention,
        budgets=budgets,
        clock=clock,
    )
    if settings.audit_anchor_file is not None:
        workspaces.on_anchor(anchors_to_file(settings.audit_anchor_file))
    return workspaces


def _place(database: Database, settings: Settings) -> tuple[Place | None, bool]:
    """Where the index of experiences is, and whether somebody chose that place."""
    if settings.chroma_url is not None:
        return Place(url=settings.chroma_url), True
    if settings.chroma_dir is not None:
        return Place(folder=settings.chroma_dir), True
    # Vectors tell much of a text: they stay out of a plain file where texts are encrypted.
    if database.path is None or settings.encryption_key:
        return None, False
    return Place(folder=database.path.with_name(f"{database.path.name}-chroma")), False


def _reservations(
    database: Database, ledger: Ledger, settings: Settings, *, clock: Clock
) -> Reservations:
    return Reservations(
        database,
        ledger,
        clock=clock,
        lease=settings.budget_lease,
        allow_unscoped=settings.unscoped == "allow",
    )


def _slices(
    reservations: Reservations, ledger: Ledger, settings: Settings, *, clock: Clock
) -> Slices | None:
    if settings.budget_slice is None:
        return None
    size = nano_dollars(settings.budget_slice)
    return Slices(reservations, ledger, size=size, clock=clock)
