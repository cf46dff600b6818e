"""What there is to be allowed, and what a pattern of permissions comes to."""

import re
from collections.abc import Collection, Iterable
from functools import lru_cache
from itertools import product

from llmops_langchain.errors import ConfigurationError

__all__ = ["PERMISSIONS", "Vocabulary", "told", "words"]

_NAME = "[a-z][a-z0-9_]*"
_WORD = re.compile(rf"{_NAME}(\.{_NAME}){{1,4}}")
_PATTERN = re.compile(rf"\*|({_NAME}|\*)(\.({_NAME}|\*)){{1,4}}")

PERMISSIONS = frozenset(
    f"{thing}.{act}"
    for thing, acts in {
        "workspace": "read update delete transfer",
        "members": "read invite update remove",
        "roles": "read create update delete",
        # `read_all`: also those that are not shared with the member.
        "projects": "read read_all create update delete share",
        "budgets": "read update",
        "keys": "read create rotate revoke",
        "audit": "read export record",
        "analytics": "read track export",
        "insights": "read",
        "context": "use",
        "router": "use",
        "cache": "read invalidate",
        "learning": "read write",
        "feedback": "write",
        "reviews": "read create approve",
        "deployments": "read create approve",
        "metrics": "read",
        "traces": "write",
    }.items()
    for act in acts.split()
)
"""Every permission of this package; an app adds its own with `Workspaces(permissions=…)`."""


class Vocabulary:
    """All permissions of one app; nothing else can be allowed.

    Args:
        more: Permissions of the app's own, such as `"prompts.publish"`.

    Raises:
        ConfigurationError: If one of them is no permission.

    Example:
        >>> sorted(Vocabulary().held(["budgets.*"]))
        ['budgets.*', 'budgets.read', 'budgets.update']
    """

    def __init__(self, more: Collection[str] = ()) -> None:
        for each in words(more, "permissions"):
            if not _WORD.fullmatch(each):
                msg = f"a permission is 2 to 5 words like `prompts.publish`, got {each!r}"
                raise ConfigurationError(msg)
        self.permissions = PERMISSIONS | frozenset(more)
        self._patterns = frozenset(_patterns(self.permissions))
        self._known = lru_cache(maxsize=1024)(self._held)  # of one object: it goes with it

    def held(self, patterns: Iterable[str]) -> frozenset[str]:
        """Every permission that one of them fits, and every pattern that they fill wholly."""
        return self._known(tuple(sorted(set(patterns))))

    def checked(self, patterns: Iterable[str], name: str = "permissions") -> tuple[str, ...]:
        """The patterns, each once and sorted, if each allows something.

        Raises:
            ConfigurationError: If there is none, or one is malformed or fits no permission at all.
        """
        given = tuple(sorted(set(words(patterns, name))))
        if not given:
            msg = f"`{name}` names no permission: write `projects.read`, `projects.*` or `*`"
            raise ConfigurationError(msg)
        for each in given:
            if not _PATTERN.fullmatch(each) or not self._matching(each):
                msg = (
                    f"{each!r} fits no permission: write `projects.read`, `projects.*` or `*`; an "
                    "app's own are named in `Workspaces(permissions=[…])`"
                )
                raise ConfigurationError(msg)
        return given

    def _held(self, patterns: tuple[str, ...]) -> frozenset[str]:
        allowed = frozenset().union(*map(self._matching, patterns))
        whole = {pattern for pattern in self._patterns if self._matching(pattern) <= allowed}
        return allowed | whole

    def _matching(self, pattern: str) -> frozenset[str]:
        parts = pattern.split(".")
        return frozenset(each for each in self.permissions if _fits(parts, each.split(".")))


def told(permissions: Iterable[str]) -> str:
    """Some permissions, for an error: three of them at most."""
    plain = sorted(each for each in permissions if "*" not in each)
    more = f" and {len(plain) - 3} more" if len(plain) > 3 else ""  # noqa: PLR2004 - a sentence holds no more
    return ", ".join(plain[:3]) + more


def words(given: Iterable[str], name: str) -> list[str]:
    """The texts of a list.

    Raises:
        ConfigurationError: If it is one text, or holds something else than texts.
    """
    listed = [given] if isinstance(given, str) else list(given)
    if isinstance(given, str) or not all(isinstance(each, str) for each in listed):
        msg = f"`{name}` is a list of texts, got {given!r}"
        raise ConfigurationError(msg)
    return listed


def _fits(pattern: list[str], permission: list[str]) -> bool:
    """Segment by segment; `*` at the end stands for all that follow, elsewhere for one."""
    if pattern[-1] == "*" and len(pattern) <= len(permission):
        pattern, permission = pattern[:-1], permission[: len(pattern) - 1]
    return len(pattern) == len(permission) and all(
        asked in ("*", given) for asked, given in zip(pattern, permission, strict=True)
    )


def _patterns(permissions: Iterable[str]) -> Iterable[str]:
    """Each permission with any of its segments left open, or all that follow one."""
    yield "*"
    for each in permissions:
        parts = each.split(".")
        yield from (".".join([*parts[:length], "*"]) for length in range(1, len(parts)))
        yield from map(".".join, product(*((part, "*") for part in parts)))
