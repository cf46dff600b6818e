"""The semantic tier: answers to questions that mean the same, where the error stays in bounds."""

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextvars import copy_context
from functools import partial
from typing import NamedTuple, Protocol, TypeVar

from langchain_core.embeddings import Embeddings
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGeneration, Generation

from llmops_langchain.cache.agreement import answers_agree
from llmops_langchain.cache.asked import Asked, ExactOnly, Split, asked_in, listed, marked
from llmops_langchain.cache.breaker import Breaker
from llmops_langchain.cache.calibration import Bound, Standing, decides_to_ask
from llmops_langchain.cache.call import Call
from llmops_langchain.cache.codec import decode
from llmops_langchain.cache.evidence_book import EvidenceBook
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
from llmops_langchain.wrapping import CallParts

__all__ = ["SemanticTier"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_LOOKS_BETWEEN_READS = 4
"""Evidence of other processes is read every two seconds."""

_JUDGES, _MOST_PENDING = 4, 1_000
"""Comparisons at a time, and those that wait; a call beyond that is not compared."""

_PATIENCE = 30.0
"""Seconds that `calibration` waits for judgments under way."""


class Answers(Protocol):
    """Where kept answers are."""

    def recent(self, key: bytes) -> Entry | None:
        """The fresh entry in memory."""

    def load(self, key: bytes) -> Entry | None:
        """The fresh entry, from the store."""


class _Parts(NamedTuple):
    """What the tier works with, once it was needed."""

    meaning: Meaning
    book: EvidenceBook


class SemanticTier:
    """Looks for answers by meaning, serves what the bound allows, and gathers the evidence for it.

    Any failure (an embedder that is down, a table that is locked) leaves a call to the exact tier:
    it is counted, logged once a minute, and the tier rests for five seconds.

    Args:
        policy: What it is to do.
        embeddings: Makes the vectors if the policy names nobody; called once, when first needed.
        index: Makes the index of the embedder with that identity.
        evidence: Where evidence is kept.
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
        answers: Answers,
        tally: Tally,
        clock: Clock,
    ) -> None:
        self._policy, self._embeddings, self._index = policy, embeddings, index
        self._evidence, self._answers, self._tally, self._clock = evidence, answers, tally, clock
        self._breaker = Breaker(clock, opens_on=Exception)
        self._made: _Parts | None = None
        self.after_fork()

    def after_fork(self) -> None:
        """Start anew: another thread of the parent may have held a lock."""
        self._making = threading.Lock()
        # Of its own: a judge may take long, and lookups of asyncio wait for the cache's threads.
        self._later_on: Executor = ThreadPoolExecutor(_JUDGES, "llmops-cache-judge")
        self._pending: set[Future[None]] = set()
        self._looks = 0
        self._is_warned = False

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
        asked = call.asked()
        return None if asked is None else self._safely(partial(self._look, call, asked))

    def learn(
        self, call: Call, entry: Entry, match: Match | None, told: Sequence[Generation]
    ) -> None:
        """Remember the question of a kept answer; compare the answer with the one not served."""
        if (asked := call.asked()) is None:
            return
        self._safely(partial(self._learn, asked, call.key, entry))
        if match is not None and match.is_sampled and len(self._pending) < _MOST_PENDING:
            self._later(partial(self._compare, call, asked, match, told[0]))

    def feedback(self, run_id: str, *, correct: bool, by: str | None) -> bool:
        """Take in whether an answer found by meaning was right; whether the run is known."""
        book = self._parts().book
        return book.feedback(run_id, correct=correct, by=by, now=self._clock())

    def calibration(self) -> Standing:
        """What the evidence allows now, that of calls under way included."""
        wait(set(self._pending), timeout=_PATIENCE)
        book = self._parts().book
        book.read()
        return book.standing

    def clear(self) -> None:
        """Forget every question; what was learnt about errors stays."""
        self._parts().meaning.index.clear()

    def look_around(self) -> None:
        """See what other processes did; called twice a second."""
        if self._made is None or self._breaker.is_open:
            return
        self._looks += 1
        self._safely(self._made.meaning.index.look_around)
        if self._looks % _LOOKS_BETWEEN_READS == 0:
            self._safely(self._made.book.read)
            if not self._pending:
                self._later(partial(self._renew, self._made))

    def close(self) -> None:
        """Wait for the comparisons under way; from now on none is made."""
        wait(set(self._pending), timeout=_PATIENCE)
        self._later_on.shutdown(wait=False)

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
            if entry is None:
                meaning.index.drop(asked.scope, [candidate.key])
            elif call.accepts(entry, now):
                return self._matched(call, asked, candidate, entry)
        return None

    def _matched(self, call: Call, asked: Asked, found: Candidate, entry: Entry) -> Match:
        meaning, book = self._parts()
        standing = book.standing
        is_good = standing.threshold is not None and found.score >= standing.threshold
        is_sampled = decides_to_ask(call.run_id, standing.sampling)
        match = Match(call.run_id, entry, found, standing, is_good and not is_sampled, is_sampled)
        if match.is_served:
            meaning.index.touch([(asked.scope, found.key)], now=self._clock())
            book.note(call.run_id, call.key, found, kind="served", now=self._clock())
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
        book.note(call.run_id, call.key, match.candidate, kind="shadow", now=self._clock())
        judge = self._policy.judge or partial(answers_agree, embed=meaning.embed)
        correct = judge(comparison)
        if correct is None:
            self._tally.add("undecided")
            return
        self._tally.add("judged")
        book.judged(call.run_id, correct=bool(correct), now=self._clock())

    def _renew(self, parts: _Parts) -> None:
        """Embed what another embedder left, a little at a time; and let old evidence go."""
        parts.meaning.renew(now=self._clock())
        parts.book.look_after(now=self._clock())

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
        return _Parts(meaning, EvidenceBook(self._evidence, f"{named} {verifier.version}", bound))

    def _safely(self, do: Callable[[], T]) -> T | None:
        if self._breaker.is_open:
            return None
        try:
            return do()
        except Exception as error:  # noqa: BLE001 - a broken embedder or table must not break the call
            self._tally.add("semantic_errors")
            self._breaker.failed(error)
            return None

    def _later(self, do: Callable[[], None]) -> None:
        """Do it in a worker thread, in this context: a judge's own calls are attributed too."""
        context = copy_context()

        def work() -> None:
            try:
                context.run(do)
            except Exception as error:  # noqa: BLE001 - a judge that fails leaves the tier as it is
                self._tally.add("semantic_errors")
                self._breaker.warn(
                    error if isinstance(error, LLMOpsError) else type(error).__name__
                )

        try:
            future = self._later_on.submit(work)
        except RuntimeError:  # closed, or no thread can be started
            return
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)

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
