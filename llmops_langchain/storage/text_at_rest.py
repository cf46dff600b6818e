"""Every column that can hold text: what it is, how long it stays, and what protects it."""

from dataclasses import dataclass

from llmops_langchain.storage.text_of_sums import TEXT_OF_SUMS
from llmops_langchain.storage.text_of_teams import TEXT_OF_TEAMS

__all__ = ["TEXT_AT_REST", "TextAtRest"]

_KEY = "encrypted with an `encryption_key`, else plain"
_PLAIN = "plain"
_HASH = "a hash"

_UNTIL_EVENTS_GO = "`event_retention`; without one for ever"
_UNTIL_STALE = "until it goes stale (`cache_ttl`); earlier by `cache_max_bytes`"
_QUESTIONS = "until the answer goes stale; earlier by `max_items`"
_JUDGED = "a week unless judged; then the newest 20,000 of an embedder"
_CHAT = "`history_retention` after the last message; without one until it is deleted"
_DECIDED = "`decision_retention`"
_LEARNT = "the newest 20,000 of a pool"
_EXPERIENCE = "`experience_retention`; without one until `learning.forget`"
_BUDGET = "until `budgets.remove`"


@dataclass(frozen=True, slots=True)  # by position: each row below is a line of a table
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


TEXT_AT_REST: tuple[TextAtRest, ...] = tuple(
    TextAtRest(table, *row)
    for table, rows in {
        "llmops_contents": (
            (
                ("body",),
                "prompts and answers, with `capture_content`",
                "`content_retention`",
                "encrypted (`capture_content` needs an `encryption_key`)",
                "deleted",
            ),
            (
                ("workspace", "user_id", "thread"),
                "whose call it was",
                "`content_retention`",
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_messages": (
            (
                ("body",),
                "messages of chat histories",
                _CHAT,
                _KEY,
                "deleted",
            ),
            (("message_id",), "ids of messages", _CHAT, _PLAIN, "deleted"),
        ),
        "llmops_chats": (
            (
                ("workspace", "session", "user_id"),
                "whose conversation it is, and its name",
                _CHAT,
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_token_calibration": (
            (("model",), "names of models", "for ever", _PLAIN, "nothing personal"),
        ),
        "llmops_cache_entries": (
            (
                ("value",),
                "answers of models, results of graph nodes",
                _UNTIL_STALE,
                _KEY,
                "deleted, also where others share it",
            ),
            (
                ("key", "fingerprint"),
                "hashes of calls: a guess of a whole prompt can be checked",
                _UNTIL_STALE,
                _HASH,
                "deleted",
            ),
            (("space",), "`answers` or `nodes`", _UNTIL_STALE, _PLAIN, "nothing personal"),
        ),
        "llmops_cache_tags": (
            (
                ("tag", "key"),
                (
                    "tags you give to answers; digests of whose call it was, keyed with an "
                    "`encryption_key`; the call's hash"
                ),
                "with the answer",
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_semantic_vectors": (
            (
                ("body",),
                "questions and their vectors, if the semantic tier is on",
                _QUESTIONS,
                _KEY,
                "emptied, then deleted",
            ),
            (
                ("embedding",),
                "the vector once more, for pgvector: much of a text can be guessed from it",
                _QUESTIONS,
                "plain; not written with an `encryption_key`",
                "emptied, then deleted",
            ),
            (
                ("space", "scope", "key", "embedder"),
                "hashes of calls, the embedder's name",
                _QUESTIONS,
                _HASH,
                "deleted a minute later",
            ),
        ),
        "llmops_cache_feedback": (
            (
                ("workspace", "judged_by", "run_id"),
                "where, and by whom, an answer found by meaning was judged; LangChain's run id",
                _JUDGED,
                _PLAIN,
                "deleted: what the user said, and what is about the user's answers",
            ),
            (
                ("call_key", "matched"),
                "hashes of calls",
                _JUDGED,
                _HASH,
                "deleted, if about the user's answers",
            ),
            (
                ("space", "pool", "kind", "source"),
                "words of this package, names of models",
                _JUDGED,
                _PLAIN,
                "nothing personal",
            ),
        ),
        "llmops_decisions": (
            (
                ("seen",),
                "the vector of a prompt that was routed: much of a text can be guessed from it",
                _DECIDED,
                _KEY,
                "deleted",
            ),
            (
                ("workspace", "user_id", "thread"),
                "whose call it was",
                _DECIDED,
                _PLAIN,
                "deleted",
            ),
            (
                ("body", "pool", "choice", "answered_by", "embedder"),
                "figures of a decision; names of models and pools",
                _DECIDED,
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_outcomes": (
            (
                ("seen",),
                "the vector of a prompt whose answer was judged",
                _LEARNT,
                _KEY,
                "deleted",
            ),
            (("workspace", "user_id", "thread"), "whose call it was", _LEARNT, _PLAIN, "deleted"),
            (
                ("choice", "pool", "source", "embedder"),
                "words of this package, names of models and pools",
                _LEARNT,
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_experiences": (
            (
                ("body", "vector"),
                "tasks, lessons, steps, tools and figures of finished runs, and the task's vector",
                _EXPERIENCE,
                _KEY,
                "deleted",
            ),
            (
                ("task_key",),
                "a hash of a task's words: a guess of a whole task can be checked",
                _EXPERIENCE,
                _HASH,
                "deleted",
            ),
            (
                ("workspace", "project", "user_id", "thread", "agent"),
                "whose run it was",
                _EXPERIENCE,
                _PLAIN,
                "deleted",
            ),
            (
                ("model", "failure", "embedder"),
                "names of models, and of what went wrong",
                _EXPERIENCE,
                _PLAIN,
                "deleted",
            ),
        ),
        "llmops_router_state": (
            (
                ("pool", "choice"),
                "names of models and pools",
                "for ever",
                _PLAIN,
                "nothing personal",
            ),
        ),
        "llmops_events": (
            (
                ("user_id", "thread", "task", "tags"),
                "names you give",
                _UNTIL_EVENTS_GO,
                _PLAIN,
                "emptied; the figures stay, so that budgets and reports hold",
            ),
            (
                ("cache_key", "features"),
                "a hash of the call and a small vector of its last turn",
                _UNTIL_EVENTS_GO,
                _HASH,
                "emptied",
            ),
            (
                ("workspace", "project", "agent", "name", "unit"),
                "names you give",
                _UNTIL_EVENTS_GO,
                _PLAIN,
                "stay",
            ),
            (
                (
                    *("provider", "model", "tier", "price_version"),
                    *("status", "error_class", "cache_tier"),
                ),
                "names of models, prices and exceptions; never an exception's text",
                _UNTIL_EVENTS_GO,
                _PLAIN,
                "nothing personal",
            ),
        ),
        "llmops_budgets": (
            (
                ("workspace", "project", "user_id", "agent", "scope"),
                "whose budget it is",
                _BUDGET,
                _PLAIN,
                "a user's own budgets are deleted",
            ),
            (("period",), "`day`, `week`, `month` or `total`", _BUDGET, _PLAIN, "nothing personal"),
        ),
        "llmops_reservations": (
            (
                ("about",),
                "whose call money was set aside for, and the model's name",
                "a week after its lease (`budget_lease`) has ended",
                _PLAIN,
                "the name is taken out",
            ),
            (
                ("kind", "windows"),
                "words and ids of this package",
                "a week after its lease (`budget_lease`) has ended",
                _PLAIN,
                "nothing personal",
            ),
        ),
        "llmops_prices": (
            (
                ("provider", "model", "tier"),
                "names of models you set a price for",
                "until `prices.remove`",
                _PLAIN,
                "nothing personal",
            ),
        ),
        **TEXT_OF_SUMS,
        **TEXT_OF_TEAMS,
        "llmops_generations": (
            (
                ("name",),
                "names of counters; tags that were invalidated",
                "tags a day, the rest for ever",
                _PLAIN,
                "a digest of whom was forgotten stays for a day",
            ),
        ),
        "llmops_leases": (
            (
                ("name", "owner"),
                "hashes of calls under way, names of this package, ids of processes",
                "seconds to minutes",
                _PLAIN,
                "nothing personal",
            ),
        ),
    }.items()
    for row in rows
)
