"""The semantic tier: answers to questions that mean the same, where the error stays in bounds."""

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.runnables.config import var_child_runnable_config

from llmops_langchain.cache.agreement import answers_agree
from llmops_langchain.cache.asked import Asked, ExactOnly, Split, asked_in, listed, marked
from llmops_langchain.cache.background import Background
from llmops_langchain.cache.breaker import Breaker
from llmops_langchain.cache.calibration import Bound, Standing, decides_to_ask
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.codec import decode
from llmops_langchain.cache.evidence_book import EvidenceBook, take_in
from llmops_langchain.cache.evidence_rows import Evidence
from llmops_langchain.cache.match import Candidate, Match
from llmops_langchain.cache.meaning import Meaning
from llmops_langchain.cache.options import CacheOptions
from llmops_langchain.cache.semantic_index import SemanticIndex
from llmops_langchain.cache.semantic_policy import Comparison, SemanticPolicy
from llmops_langchain.cache.stats import Tally
from llmops_langchain.cache.store import Entry
from llmops_langchain.cache.verifier import shipped_verifier
from llmops_langchain.clock import Clock
from llmops_langchain.embeddings import identity
from llmops_langchain.errors import LLMOpsError
from llmops_langchain.storage.kept import Subject
from llmops_langchain.wrapping import CallParts

__all__ = ["SemanticTier"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOOKS_BETWEEN_READS = 4
"""Evidence of other processes is read every two seconds."""

_LOOKS_BETWEEN_SWEEPS = 120
"""Questions whose answers were invalidated or had to go are dropped about once a minute."""

_JUDGES, _MOST_PENDING = 4, 1_000
"""Comparisons at a time, and those that wait; a call beyond that is not compared."""

_PATIENCE = 2.0
"""Seconds that `close` waits for comparisons under way."""

_IN_A_ROW = 3
"""Failures after which the tier rests for a while."""


class Answers(Protocol):
    """Where kept answers are."""

    def recent(self, key: bytes) -> Entry | None:
        """The fresh entry in memory."""

    def load(self, key: bytes) -> Entry | None:
        """The fresh entry, from the store."""

    @property
    def is_away(self) -> bool:
        """Whether the store failed a moment ago: then nothing is known to be gone."""


class _Parts(NamedTuple):
    """What the tier works with, once it was needed."""

    meaning: Meaning
    book: EvidenceBook


class SemanticTier:
    """Looks for answers by meaning, serves what the bound allows, and gathers the evidence for it.

    Any failure (an embedder that is down, a table that is locked) leaves a call to the exact tier:
    it is counted and logged once a minute, and after some in a row the tier rests for five seconds.

    Args:
        policy: What it is to do.
        embeddings: Makes the vectors if the policy names nobody; called once, when first needed.
        index: Makes the index of the embedder with that identity.
        evidence: Where evidence is kept.
        orphans: Some questions (scope and key) whose answers are gone.
        answers: Where the kept answers are.
        tally: What was done is counted there.
        clock: Returns seconds since the Unix epoch.
    """

    def __init__(
        self,
        policy: SemanticPolicy,
        *,
        embeddings: Callable[[], Embeddings],
        index: Callable[[str], SemanticIndex],
        evidence: Evidence,
        orphans: Callable[[], Sequence[tuple[bytes, bytes]]],
        answers: Answers,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._policy, self._embeddings, self._index = policy, embeddings, index
        self._evidence, self._orphans, self._answers = evidence, orphans, answers
        self._tally, self._clock = tally, clock
        self._breaker = Breaker(clock, "the semantic tier")
        self._later = Background(_JUDGES, _MOST_PENDING)
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock."""
        self._made: _Parts | None = None
        self._making = threading.Lock()
        self._looks = self._failures = 0
        self._is_warned = self._is_renewing = self._is_sweep_due = False

    def asked(
        self,
        parts: CallParts,
        options: CacheOptions,
        said: Callable[[], Sequence[BaseMessage]],
        *,
        is_declared: bool,
    ) -> Asked | None:
        """The question of a call; `None`, and counted, if it is answered by equal calls alone."""
        try:
            self._check_scope(is_declared=is_declared)
            split = self._split(options, said)
            return asked_in(parts, split, max_chars=self._policy.max_chars)
        except ExactOnly as because:
            self._tally.add_exact_only(str(because))
        except Exception as error:  # noqa: BLE001 - a function of the user's must not break the call
            self._tally.add_exact_only("`question` or `sources` failed")
            self._breaker.warn(f"`question` or `sources` raised {type(error).__name__}")
        return None

    def look(self, call: Call) -> Match | None:
        """The best kept answer to a question that may mean the same; served or to be compared."""
        asked = call.asking.asked
        return None if asked is None else self._safely(partial(self._look, call, asked))

    def learn(
        self, call: Call, entry: Entry, match: Match | None, told: Sequence[Generation]
    ) -> None:
        """Remember the question of a kept answer; compare the answer with the one not served."""
        if (asked := call.asking.asked) is None:
            return
        self._safely(partial(self._learn, asked, call.key, entry))
        if match is not None and match.is_sampled:
            compare = partial(self._compare, call, asked, match, told[0])
            if not self._later.submit(self._in_this_scope(compare)):
                self._tally.add("undecided")

    def feedback(self, run_id: str, *, correct: bool, by: str | None) -> bool:
        """Take in whether an answer found by meaning was right; whether the run is known."""
        known = take_in(self._evidence, run_id, correct=correct, by=by, now=self._clock())
        if self._made is not None:
            self._made.book.read()
        return known

    def calibration(self, wait: float) -> Standing:
        """What the evidence allows now, after so many seconds at most for comparisons under way.

        Raises:
            LLMOpsError: If the embedder or the database fails.
        """
        self._later.wait(wait)
        try:
            book = self._parts().book
        except LLMOpsError:
            raise
        except Exception as error:  # each embedder has errors of its own
            msg = f"the embedder cannot be used: {type(error).__name__}"
            raise LLMOpsError(msg) from error
        book.read()
        return book.standing

    def clear(self) -> None:
        """Forget every question; what was learnt about errors stays."""
        index = self._index("") if self._made is None else self._made.meaning.index
        index.clear()  # whoever embedded them

    def forget(self, whom: Subject, keys: Collection[bytes]) -> int:
        """Delete the evidence that is about somebody's answers, and every question in memory.

        For a tier without a database: questions that are asked again are known again.
        """
        self.clear()
        return self._evidence.forget(whom, keys)

    def look_around(self) -> None:
        """See what other processes did; called twice a second."""
        if self._made is None or self._breaker.is_open:
            return
        self._looks += 1
        self._safely(self._made.meaning.index.look_around)
        if self._looks % _LOOKS_BETWEEN_READS == 0:
            self._safely(self._made.book.read)
            self._is_sweep_due |= self._looks % _LOOKS_BETWEEN_SWEEPS == 0
            if not self._is_renewing:
                self._is_renewing = self._later.submit(partial(self._renew, self._made))

    def close(self) -> None:
        """Wait a moment for the comparisons under way; from now on none is made."""
        self._later.close(_PATIENCE)

    def _split(self, options: CacheOptions, said: Callable[[], Sequence[BaseMessage]]) -> Split:
        policy = self._policy
        if options.question is not None or options.sources:
            return Split(options.question, options.sources)
        messages = said()
        if policy.question is None and policy.sources is None:
            return marked(messages)
        question = policy.question(messages) if policy.question else None
        if policy.question and not question:
            reason = "`question` found none"
            raise ExactOnly(reason)
        return Split(question, listed(policy.sources(messages)) if policy.sources else ())

    def _look(self, call: Call, asked: Asked) -> Match | None:
        meaning, book = self._parts()
        now = self._clock()
        for candidate in meaning.candidates(asked, now=now, own=call.key):
            if book.is_refuted(call.key, candidate.key):
                continue
            entry = self._answers.recent(candidate.key) or self._answers.load(candidate.key)
            if entry is None and not self._answers.is_away:
                meaning.index.drop(asked.scope, [candidate.key])
            elif entry is not None and call.accepts(entry, now):
                return self._matched(call, asked, candidate, entry)
        return None

    def _matched(self, call: Call, asked: Asked, found: Candidate, entry: Entry) -> Match:
        meaning, book = self._parts()
        standing = book.standing
        is_good = standing.threshold is not None and found.score >= standing.threshold
        run_id = call.asking.run_id
        is_sampled = decides_to_ask(run_id, standing.sampling)
        match = Match(run_id, entry, found, standing, is_good and not is_sampled, is_sampled)
        if match.is_served:
            meaning.index.touch([(asked.scope, found.key)], now=self._clock())
            book.note(call, found, kind="served", now=self._clock())
        elif found.score >= book.would_serve_from:
            self._tally.add("shadowed")
        return match

    def _learn(self, asked: Asked, key: bytes, entry: Entry) -> None:
        meaning = self._parts().meaning
        meaning.learn(asked, key, now=self._clock(), expires_at=entry.expires_at)

    def _compare(self, call: Call, asked: Asked, match: Match, fresh: Generation) -> None:
        """Judge whether the kept answer would have done, and note it as evidence."""
        meaning, book = self._parts()
        comparison = Comparison(
            question=asked.question,
            matched=match.candidate.question,
            kept=_answer(decode(match.entry.value)[0]),
            fresh=_answer(fresh),
        )
        book.note(call, match.candidate, kind="shadow", now=self._clock())
        judge = self._policy.judge or partial(answers_agree, judged=meaning.compare)
        correct: object = judge(comparison)
        if correct is None:
            self._tally.add("undecided")
            return
        if not isinstance(correct, bool):  # a text such as "no" would count as right
            msg = f"a judge returns True, False or None, got {type(correct).__name__!r}"
            raise TypeError(msg)
        self._tally.add("judged")
        book.judged(call.asking.run_id, correct=correct, now=self._clock())

    def _renew(self, parts: _Parts) -> None:
        """Embed what another embedder left, a little at a time, and let go what is over."""
        try:
            if self._is_sweep_due:
                self._is_sweep_due = False
                for scope, key in self._orphans():
                    parts.meaning.index.drop(scope, [key])
            self._safely(partial(parts.meaning.renew, now=self._clock()))
            parts.book.look_after(now=self._clock())
        except Exception as error:  # noqa: BLE001 - the next round tries again
            self._breaker.warn(type(error).__name__)
        finally:
            self._is_renewing = False

    def _parts(self) -> _Parts:
        if self._made is None:
            with self._making:
                if self._made is None:
                    self._made = self._make()
        return self._made

    def _make(self) -> _Parts:
        policy = self._policy
        embeddings = policy.embeddings or self._embeddings()
        verifier, named = shipped_verifier(embeddings), identity(embeddings)
        bound = Bound(
            max_error=policy.max_error,
            confidence=policy.confidence,
            start=policy.start,
            shipped_threshold=verifier.threshold(policy.max_error),
            sampling=policy.sampling,
            floor=verifier.floor,
        )
        meaning = Meaning(embeddings, self._index(named), verifier)
        pool = f"{named} {verifier.version} {_name_of(policy.judge or answers_agree)}"
        return _Parts(meaning, EvidenceBook(self._evidence, pool, bound))

    def _safely(self, do: Callable[[], T]) -> T | None:
        if self._breaker.is_open:
            return None
        try:
            done = do()
        except Exception as error:  # noqa: BLE001 - a broken embedder or table must not break the call
            self._failed(error)
            return None
        self._failures = 0
        return done

    def _failed(self, error: Exception) -> None:
        """Count it, and rest after several in a row: one odd question says nothing of others."""
        self._tally.add("semantic_errors")
        self._failures += not isinstance(error, ValueError)
        self._breaker.failed(error)
        if self._failures >= _IN_A_ROW:
            self._breaker.open()

    def _in_this_scope(self, do: Callable[[], None]) -> Callable[[], None]:
        """To be done elsewhere, for the same scope: what a judge's model uses is attributed too.

        But it is no part of the run it comes after: its words must not reach that one's stream.
        """
        context = copy_context()
        context.run(var_child_runnable_config.set, None)

        def done() -> None:
            try:
                context.run(do)
            except Exception as error:  # noqa: BLE001 - a judge that fails leaves the tier as it is
                self._tally.add("semantic_errors")
                self._breaker.warn(f"the judge raised {type(error).__name__}")

        return done

    def _check_scope(self, *, is_declared: bool) -> None:
        if is_declared:
            return
        if not self._is_warned:
            self._is_warned = True
            logger.warning(
                "nothing is looked up by meaning outside of a declared scope: "
                "call inside `track(workspace=…)`"
            )
        reason = "no scope is declared"
        raise ExactOnly(reason)


def _answer(generation: Generation) -> AIMessage | str:
    message = generation.message if isinstance(generation, ChatGeneration) else None
    return message if isinstance(message, AIMessage) else generation.text


def _name_of(judge: Callable[..., object]) -> str:
    """What one judge says is no evidence for another."""
    named = judge if hasattr(judge, "__qualname__") else type(judge)
    return f"{named.__module__}.{named.__qualname__}"
