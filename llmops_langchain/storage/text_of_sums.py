"""Columns of sums and insights that can hold text."""

__all__ = ["TEXT_OF_SUMS"]

_PLAIN = "plain"
_SUMS = "hours of users 14 days, hours of projects 92; the rest for ever"
_INSIGHT = "90 days after it was found last"

TEXT_OF_SUMS: dict[str, tuple[tuple[tuple[str, ...], str, str, str, str], ...]] = {
    "llmops_rollups": (
        (("user_id",), "names you give", _SUMS, _PLAIN, "emptied; the figures stay"),
        (
            ("workspace", "project", "agent", "model", "name"),
            "names you give, names of models",
            _SUMS,
            _PLAIN,
            "stay",
        ),
        (
            ("sketch", "first_token"),
            "counts of values by size",
            _SUMS,
            _PLAIN,
            "nothing personal",
        ),
    ),
    "llmops_rollup_marks": (
        (("name",), "words of this package", "for ever", _PLAIN, "nothing personal"),
    ),
    "llmops_secrets": (
        (
            ("name", "value"),
            "random bytes that hashes of this database are made with",
            "for ever",
            _PLAIN,
            "nothing personal",
        ),
    ),
    "llmops_insight_states": (
        (
            ("workspace", "user_id", "body"),
            "whom an insight is about, and its figures",
            _INSIGHT,
            _PLAIN,
            "a user's own are deleted",
        ),
        (
            ("fingerprint", "type", "severity", "status"),
            "words and hashes of this package",
            _INSIGHT,
            _PLAIN,
            "nothing personal",
        ),
    ),
}
"""By table: columns, what stands in them, how long, what protects it, what `forget` does."""
