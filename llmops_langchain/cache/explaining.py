"""What the cache would do with a call now, and why; nothing is counted or changed."""

from collections.abc import Callable

from llmops_langchain.cache.call import Call
from llmops_langchain.cache.explain import Explanation, explain
from llmops_langchain.cache.options import current_options
from llmops_langchain.cache.shelf import Shelf
from llmops_langchain.ledger import Scope, Share
from llmops_langchain.wrapping import CallParts

__all__ = ["explained"]

_MOST_COMPARED = 1_000
"""Entries that a missed call is compared with to tell what is new in it."""


def explained(
    shelf: Shelf, name: Callable[[str], CallParts], scope: Scope, share: Share, *, now: float
) -> Explanation:
    """Look where the answer would be.

    Args:
        shelf: Where answers are.
        name: Given whose answer it is, returns the parts of the key, or raises `TypeError`.
        scope: For whom the call would be made.
        share: Who may be given an answer, unless the options in force say otherwise.
        now: Epoch seconds.
    """
    options = current_options()
    if options.bypass or options.refresh:
        return Explanation(status="miss", reason="the cache is switched off for this call")
    owner = scope.owner(options.share or share)
    if owner is None:
        return Explanation(status="no key", reason="the scope names no one to share with")
    try:
        parts = name(owner)
    except (TypeError, ValueError) as error:
        return Explanation(status="no key", reason=str(error))
    return _looked_for(shelf, Call(key=parts.key, parts=parts, options=options, ttl=None), now)


def _looked_for(shelf: Shelf, call: Call, now: float) -> Explanation:
    try:
        found = shelf.peek(call.key)
    except ValueError as error:
        return Explanation(status="miss", reason=f"the answer is kept, but {error}")
    if found is None and shelf.is_away:
        return Explanation(status="miss", reason="the store does not answer, see the log")
    kept = [found] if found else shelf.newest(_MOST_COMPARED)
    return explain(call.parts.fingerprint, kept, now=now, accepts=call.accepts)
