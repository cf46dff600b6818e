"""Which calls are cached, and under which name."""

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from langchain_core.messages import BaseMessage

from llmops_langchain.cache.call import Asking, Call
from llmops_langchain.cache.options import CacheOptions, checked_ttl, current_options
from llmops_langchain.cache.stats import Tally
from llmops_langchain.ledger import Scope, Share, current_scope
from llmops_langchain.wrapping import CallParts, core_messages, core_parts

if TYPE_CHECKING:
    from llmops_langchain.cache.semantic import SemanticTier

__all__ = ["Calls"]

logger = logging.getLogger(__name__)

_MOST_TOLD = 100
"""Reasons not to cache that are logged, each once."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Calls:
    """Names calls as the options in force, the scope and the semantic tier want it.

    Args:
        ttl: Seconds an answer lives; `None` without an end.
        share: Who may be given an answer, unless the options say otherwise.
        semantic: Reads the question of a call that may be compared by meaning.
        tally: What is not cached is counted there.
        disabled: Name nothing.
    """

    def __init__(
        self,
        *,
        ttl: float | None,
        share: Share,
        semantic: "SemanticTier | None",
        tally: Tally,
        disabled: bool,
    ) -> None:
        self._ttl, self._share, self._semantic = checked_ttl(ttl), share, semantic
        self._tally, self._disabled = tally, disabled
        self._told: set[str] = set()

    def of_core(self, prompt: str, llm_string: str) -> Call | None:
        """The call for which core asks a cache."""
        return self.of(
            lambda owner: core_parts(prompt, llm_string, scope=owner),
            current_scope(),
            said=partial(core_messages, prompt),
        )

    def of(
        self,
        name: Callable[[str], CallParts],
        scope: Scope,
        metadata: Mapping[str, Any] = _NOTHING,
        *,
        said: Callable[[], Sequence[BaseMessage]] = tuple,
        run_id: object = None,
    ) -> Call | None:
        """The call that `name` makes of its owner; `None` if it is not to be cached.

        Args:
            name: Given whose answer it is, returns the parts of the key, or raises `TypeError`.
            scope: For whom the call is made.
            metadata: LangChain's, for what the scope leaves open.
            said: Returns the messages, for who wants to know what of them is the question.
            run_id: LangChain's.
        """
        if self._disabled:
            return None
        options, whose = current_options(), scope.filled_from(metadata)
        named = None if options.bypass else self._named(name, whose, options)
        if named is None:
            self._tally.add("bypassed")
        if named is None or self._semantic is None:
            return named
        is_declared = whose.workspace is not None or (options.share or self._share) != "workspace"
        read = partial(self._semantic.asked, named.parts, options, said, is_declared=is_declared)
        return named._replace(asking=Asking(read, run_id))

    def _named(
        self, name: Callable[[str], CallParts], scope: Scope, options: CacheOptions
    ) -> Call | None:
        try:
            owner = scope.owner(options.share or self._share)
            if owner is None:
                return None
            parts = name(owner)
            ttl = self._ttl if options.ttl is None else checked_ttl(options.ttl)
            return Call(key=parts.key, parts=parts, options=options, ttl=ttl, scope=scope)
        except Exception as error:  # noqa: BLE001 - an odd message or model must not break the user's call
            # A `TypeError` names a type or a setting; the text of others may quote a value.
            said = str(error) if isinstance(error, TypeError) else type(error).__name__
            if said not in self._told and len(self._told) < _MOST_TOLD:
                self._told.add(said)
                logger.warning("calls like this are not cached: %s", said)
            return None
