"""Whose call put an answer there: tags that only who knows the name can find again."""

import hashlib
from collections.abc import Sequence
from functools import partial

from llmops_langchain.ledger import Scope
from llmops_langchain.storage.kept import Subject

__all__ = ["Traces"]

_NONE: frozenset[str] = frozenset()


class Traces:
    """Digests of a user and of a conversation, as tags of the answers that their calls put there.

    Those who are given the answer later leave none. Workspaces share digests: to forget somebody
    in one of them drops the answers to calls of the same name in others, which costs these a call.

    Args:
        encryption_keys: As the cache has them: the first makes the digests, all find them again.
            Without one, who knows a name and can read the store can check it.

    Example:
        >>> traces = Traces()
        >>> traces.of(Scope(user="u1")) == traces.to_forget(Subject(user="u1"))
        True
        >>> traces.of(Scope(workspace="acme"))
        frozenset()
    """

    def __init__(self, encryption_keys: Sequence[str] = ()) -> None:
        self._secrets = [hashlib.sha256(key.encode()).digest() for key in encryption_keys] or [b""]

    def of(self, scope: Scope) -> frozenset[str]:
        """The tags of an answer to a call of this scope; none if it names nobody."""
        if scope.user is None and scope.thread is None:
            return _NONE
        return self._tags(self._secrets[:1], scope.user, scope.thread)

    def to_forget(self, whom: Subject) -> frozenset[str]:
        """The tags of the answers to forget, made under any of the keys or without one."""
        return self._tags({*self._secrets, b""}, whom.user, whom.thread)

    def _tags(
        self, secrets: Sequence[bytes] | set[bytes], user: str | None, thread: str | None
    ) -> frozenset[str]:
        named = (("user", user), ("thread", thread))
        given = [(kind, name) for kind, name in named if name is not None]
        return frozenset(_tag(secret, *each) for secret in secrets for each in given)


def _tag(secret: bytes, kind: str, name: str) -> str:
    digest = partial(hashlib.blake2b, digest_size=16, key=secret, person=kind.encode())
    return f"llmops:{kind}:{digest(name.encode('utf-8', 'surrogatepass')).hexdigest()}"
