"""Which kinds of work a task holds: authentication, payment, search, …, and the user's own."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Self

from langchain_core.embeddings import Embeddings

from llmops_langchain.learning.definitions import Definition, Lexicon, definitions_of, lexicon_of
from llmops_langchain.learning.evidence import Evidence, Kind, evidence_of
from llmops_langchain.learning.phrases import Hit, Phrases, Token, tokens_of
from llmops_langchain.learning.prototypes import Prototypes

__all__ = ["Pattern", "Patterns"]

_READ = 20_000
"""Characters of a text that are read."""

_ASKED = 16
"""Weak phrases of a text whose sentences are embedded."""

_SENTENCE = 400
"""Characters of the sentence around a weak phrase that are embedded."""

Filed = tuple[str, Kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """A kind of work that was found in a text."""

    name: str
    spans: tuple[tuple[int, int], ...]
    """Where in the text it says so: first character, and the one behind the last."""
    score: float
    """How much says so, 0 to 1: one clear phrase is 0.75."""


class Patterns:
    """Finds kinds of work by what they are called; needs no network and no model.

    Words count in all their forms, with or without hyphens, and in names of code. Safe to share
    between threads.

    Args:
        lexicon: What the kinds are called.
        embeddings: If given, a weak phrase also counts in a sentence that is much nearer to the
            prototypes of its pattern than to those of any other. Only such sentences are embedded.

    Example:
        >>> found = Patterns.default().found_in("As a user, I want to log-in and pay by card.")
        >>> [each.name for each in found]
        ['authentication', 'payment']
    """

    def __init__(self, lexicon: Lexicon, *, embeddings: Embeddings | None = None) -> None:
        self._lexicon, self._embeddings = lexicon, embeddings
        self._phrases = Phrases(_filed(lexicon.patterns))
        self._prototypes = None if embeddings is None else Prototypes(lexicon, embeddings)

    @classmethod
    def default(cls, *, embeddings: Embeddings | None = None) -> Self:
        """The eight patterns that come with the package.

        Args:
            embeddings: As for the class.

        Returns:
            Patterns that know authentication, crud, real_time, file_upload, payment, email,
            search and analytics.
        """
        return cls(_shipped(), embeddings=embeddings)

    @classmethod
    def from_yaml(cls, source: str | Path, *, embeddings: Embeddings | None = None) -> Self:
        """Patterns of one's own, in place of those of the package.

        Args:
            source: YAML text, or a `Path` to a file of it; `patterns.yaml` beside this module
                shows what it may hold.
            embeddings: As for the class.

        Returns:
            Patterns that know what the file defines.

        Raises:
            ConfigurationError: If it is no lexicon; the message names the entry.

        Example:
            >>> own = "{version: 1, patterns: {maps: {phrases: [map, geo location]}}}"
            >>> Patterns.from_yaml(own).found_in("Maps for all")[0].spans
            ((0, 4),)
        """
        return cls(lexicon_of(source), embeddings=embeddings)

    @property
    def names(self) -> tuple[str, ...]:
        """What can be found."""
        return tuple(self._lexicon.patterns)

    def extended(self, patterns: Mapping[str, Mapping[str, Any]]) -> Self:
        """These patterns and more; one of the same name is replaced. Nothing changes here.

        Args:
            patterns: By name, lists of literal `phrases`, `verbs`, `weak`, `not` and `prototypes`.

        Returns:
            New patterns.

        Raises:
            ConfigurationError: If an entry is wrong; the message names it.

        Example:
            >>> more = Patterns.default().extended(
            ...     {"maps": {"phrases": ["map"], "not": ["road map"]}}
            ... )
            >>> [each.name for each in more.found_in("Search on a map")]
            ['search', 'maps']
            >>> more.found_in("Discuss the road map")
            []
        """
        more = definitions_of(patterns)
        lexicon = Lexicon(patterns={**self._lexicon.patterns, **more}, none=self._lexicon.none)
        return type(self)(lexicon, embeddings=self._embeddings)

    def found_in(self, text: str) -> list[Pattern]:
        """The kinds of work that a text holds; of a very long one the beginning is read.

        Args:
            text: In any language; only phrases of the lexicon are found.

        Returns:
            In the order of the lexicon, each with the places that say so.
        """
        text = text[:_READ]
        tokens = tokens_of(text)
        hits = defaultdict[str, list[Hit[Kind]]](list)
        for hit in self._phrases.hits(tokens):
            name, kind = hit.value
            hits[name].append(Hit(kind, hit.first, hit.last))
        evidence = {name: evidence_of(tokens, hits[name]) for name in self.names if name in hits}
        points = {name: sum(counts for _, counts in each) for name, each in evidence.items()}
        points |= self._near(text, tokens, evidence, points)
        return [
            _pattern(name, tokens, evidence[name], points[name])
            for name in evidence
            if points[name] >= 1.0
        ]

    def _near(
        self,
        text: str,
        tokens: Sequence[Token],
        evidence: Mapping[str, Evidence],
        points: Mapping[str, float],
    ) -> dict[str, float]:
        """Patterns for which only the sentence around a weak phrase speaks."""
        open_ = [
            (name, hit) for name in evidence if points[name] < 1.0 for hit, _ in evidence[name]
        ][:_ASKED]
        if self._prototypes is None or not open_:
            return {}
        sentences = [_sentence(text, tokens, hit) for _, hit in open_]
        near = self._prototypes.near(sentences, [name for name, _ in open_])
        return {name: 1.0 for (name, _), is_near in zip(open_, near, strict=True) if is_near}


@cache
def _shipped() -> Lexicon:
    return lexicon_of(
        files("llmops_langchain.learning").joinpath("patterns.yaml").read_text("utf-8")
    )


def _filed(patterns: Mapping[str, Definition]) -> Iterator[tuple[str, Filed]]:
    for name, known in patterns.items():
        yield from ((each, (name, "phrases")) for each in known.phrases)
        yield from ((each, (name, "verbs")) for each in known.verbs)
        yield from ((each, (name, "weak")) for each in known.weak)
        yield from ((each, (name, "not")) for each in known.excluded)


def _sentence(text: str, tokens: Sequence[Token], hit: Hit[Kind]) -> str:
    here = tokens[hit.first].sentence
    first, last = hit.first, hit.last - 1
    while first > 0 and tokens[first - 1].sentence == here:
        first -= 1
    while last + 1 < len(tokens) and tokens[last + 1].sentence == here:
        last += 1
    start = max(tokens[first].start, tokens[hit.first].start - _SENTENCE // 2)
    return text[start : tokens[last].end][:_SENTENCE]


def _pattern(name: str, tokens: Sequence[Token], evidence: Evidence, points: float) -> Pattern:
    spans = tuple(
        sorted((tokens[hit.first].start, tokens[hit.last - 1].end) for hit, _ in evidence)
    )
    return Pattern(name=name, spans=spans, score=1.0 - 0.25**points)
