"""Every column that can hold text: what it is, how long it stays, and what protects it."""

from dataclasses import dataclass

__all__ = ["TEXT_AT_REST", "TextAtRest"]

_KEY = "encrypted with an `encryption_key`, else plain"
_PLAIN = "plain"
_HASH = "a hash"

_UNTIL_EVENTS_GO = "`event_retention`; without one for ever"
_UNTIL_STALE = "until it goes stale (`cache_ttl`); earlier by `cache_max_bytes`"
_QUESTIONS = "until the answer goes stale; earlier by `max_items`"
_JUDGED = "a week unless judged; then the newest 20,000 of an embedder"
_BUDGET = "until `budgets.remove`"


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAtRest:
    """Some columns of one table that are alike."""

    table: str
    """Its name in the database."""
    columns: tuple[str, ...]
    """Their names in the database."""
    holds: str
    """What stands in them."""
    kept: str
    """For how long, or until when."""
    protection: str
    """What keeps a reader of the database from reading it."""
    forgotten: str
    """What `ops.forget` does to a person's rows."""


TEXT_AT_REST: tuple[TextAtRest, ...] = (
    TextAtRest(
        table="llmops_contents",
        columns=("body",),
        holds="prompts and answers, with `capture_content`",
        kept="`content_retention`",
        protection="encrypted (`capture_content` needs an `encryption_key`)",
        forgotten="deleted",
    ),
    TextAtRest(
        table="llmops_contents",
        columns=("workspace", "user_id", "thread"),
        holds="whose call it was",
        kept="`content_retention`",
        protection=_PLAIN,
        forgotten="deleted",
    ),
    TextAtRest(
        table="llmops_cache_entries",
        columns=("value",),
        holds="answers of models, results of graph nodes",
        kept=_UNTIL_STALE,
        protection=_KEY,
        forgotten="deleted, also where others share it",
    ),
    TextAtRest(
        table="llmops_cache_entries",
        columns=("key", "fingerprint"),
        holds="hashes of calls: a guess of a whole prompt can be checked",
        kept=_UNTIL_STALE,
        protection=_HASH,
        forgotten="deleted",
    ),
    TextAtRest(
        table="llmops_cache_entries",
        columns=("space",),
        holds="`answers` or `nodes`",
        kept=_UNTIL_STALE,
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_cache_tags",
        columns=("tag", "key"),
        holds="tags you give to answers; digests of whose call it was, keyed with an "
        "`encryption_key`; the call's hash",
        kept="with the answer",
        protection=_PLAIN,
        forgotten="deleted",
    ),
    TextAtRest(
        table="llmops_semantic_vectors",
        columns=("body",),
        holds="questions and their vectors, if the semantic tier is on",
        kept=_QUESTIONS,
        protection=_KEY,
        forgotten="emptied, then deleted",
    ),
    TextAtRest(
        table="llmops_semantic_vectors",
        columns=("embedding",),
        holds="the vector once more, for pgvector: much of a text can be guessed from it",
        kept=_QUESTIONS,
        protection="plain; not written with an `encryption_key`",
        forgotten="emptied, then deleted",
    ),
    TextAtRest(
        table="llmops_semantic_vectors",
        columns=("space", "scope", "key", "embedder"),
        holds="hashes of calls, the embedder's name",
        kept=_QUESTIONS,
        protection=_HASH,
        forgotten="deleted a minute later",
    ),
    TextAtRest(
        table="llmops_cache_feedback",
        columns=("workspace", "judged_by", "run_id"),
        holds="where, and by whom, an answer found by meaning was judged; LangChain's run id",
        kept=_JUDGED,
        protection=_PLAIN,
        forgotten="deleted: what the user said, and what is about the user's answers",
    ),
    TextAtRest(
        table="llmops_cache_feedback",
        columns=("call_key", "matched"),
        holds="hashes of calls",
        kept=_JUDGED,
        protection=_HASH,
        forgotten="deleted, if about the user's answers",
    ),
    TextAtRest(
        table="llmops_cache_feedback",
        columns=("space", "pool", "kind", "source"),
        holds="words of this package, names of models",
        kept=_JUDGED,
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_events",
        columns=("user_id", "thread", "task", "tags"),
        holds="names you give",
        kept=_UNTIL_EVENTS_GO,
        protection=_PLAIN,
        forgotten="emptied; the figures stay, so that budgets and reports hold",
    ),
    TextAtRest(
        table="llmops_events",
        columns=("cache_key", "features"),
        holds="a hash of the call and a small vector of its last turn",
        kept=_UNTIL_EVENTS_GO,
        protection=_HASH,
        forgotten="emptied",
    ),
    TextAtRest(
        table="llmops_events",
        columns=("workspace", "project", "agent", "name", "unit"),
        holds="names you give",
        kept=_UNTIL_EVENTS_GO,
        protection=_PLAIN,
        forgotten="stay",
    ),
    TextAtRest(
        table="llmops_events",
        columns=(
            *("provider", "model", "tier", "price_version"),
            *("status", "error_class", "cache_tier"),
        ),
        holds="names of models, prices and exceptions; never an exception's text",
        kept=_UNTIL_EVENTS_GO,
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_budgets",
        columns=("workspace", "project", "user_id", "agent", "scope"),
        holds="whose budget it is",
        kept=_BUDGET,
        protection=_PLAIN,
        forgotten="a user's own budgets are deleted",
    ),
    TextAtRest(
        table="llmops_budgets",
        columns=("period",),
        holds="`day`, `week`, `month` or `total`",
        kept=_BUDGET,
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_reservations",
        columns=("about",),
        holds="whose call money was set aside for, and the model's name",
        kept="a week after its lease (`budget_lease`) has ended",
        protection=_PLAIN,
        forgotten="the name is taken out",
    ),
    TextAtRest(
        table="llmops_reservations",
        columns=("kind", "windows"),
        holds="words and ids of this package",
        kept="a week after its lease (`budget_lease`) has ended",
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_prices",
        columns=("provider", "model", "tier"),
        holds="names of models you set a price for",
        kept="until `prices.remove`",
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
    TextAtRest(
        table="llmops_generations",
        columns=("name",),
        holds="names of counters; tags that were invalidated",
        kept="tags a day, the rest for ever",
        protection=_PLAIN,
        forgotten="a digest of whom was forgotten stays for a day",
    ),
    TextAtRest(
        table="llmops_leases",
        columns=("name", "owner"),
        holds="hashes of calls under way, names of this package, ids of processes",
        kept="seconds to minutes",
        protection=_PLAIN,
        forgotten="nothing personal",
    ),
)
