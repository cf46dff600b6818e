"""What the phrases that stand in a text say for a kind of work, and how much."""

from collections.abc import Iterable, Sequence
from typing import Literal

from llmops_langchain.learning.phrases import Hit, Token, longest
from llmops_langchain.text.tables import listed

__all__ = ["Evidence", "Kind", "evidence_of"]

Kind = Literal["phrases", "verbs", "weak", "not"]

Evidence = list[tuple[Hit[Kind], float]]
"""Places that speak for a pattern, and what each counts."""

_HALF = 0.5
"""What a weak phrase counts; and the share that is left of what only says what for."""

_MODALS = frozenset(listed("can could may might"))
_WISHES = frozenset(
    listed(
        """want wants able ability like allow allows allowed enable enables let lets option options
        possible possibility way ways need needs wish wishes easy easier capability permitted
        permission"""
    )
)
_BETWEEN = frozenset(listed("and or also then either both only"))
_PERSONS = frozenset(listed("me us them user users people anyone everyone"))
_HELPS = frozenset(listed("let lets help helps"))
_STORIES, _PURPOSES = frozenset(listed("want need like")), frozenset(listed("that i we"))
_REACH, _FAR = 8, 7
"""Words between a verb and `to` or `can`, and between those and the word that is a wish."""


def evidence_of(tokens: Sequence[Token], hits: Sequence[Hit[Kind]]) -> Evidence:
    """What speaks for a pattern; the same phrase counts once.

    Args:
        tokens: Of the text.
        hits: Every place where a phrase of the pattern stands.

    Returns:
        What counts, and how much; 1 in all is enough.
    """
    excluded = _reach(hit for hit in hits if hit.value == "not")
    allowed = [hit for hit in hits if hit.value != "not" and excluded.get(hit.first, 0) < hit.last]
    verbs = longest(hit for hit in allowed if hit.value == "verbs")
    ends = frozenset(hit.last for hit in verbs)
    strong = [hit for hit in allowed if hit.value == "phrases"]
    strong += [hit for hit in verbs if _is_wished(tokens, hit, ends)]
    kept = longest(strong)
    taken = _reach(kept)
    weak = [hit for hit in allowed if hit.value == "weak" and taken.keys().isdisjoint(_words(hit))]
    return _weighed(tokens, kept, longest(weak))


def _weighed(
    tokens: Sequence[Token], strong: Sequence[Hit[Kind]], weak: Sequence[Hit[Kind]]
) -> Evidence:
    """What each phrase counts; all that say what for are together half of one that says what."""
    aim, seen, found = _purpose(tokens), set[tuple[str, ...]](), list[tuple[Hit[Kind], float]]()
    for hit in (*strong, *weak):
        words = tuple(token.stem for token in tokens[hit.first : hit.last])
        counts = _HALF if hit.value == "weak" else 1.0
        if hit.first in aim:
            words, counts = ("",), _HALF if hit.value != "weak" else 0.0
        found.append((hit, 0.0 if words in seen else counts))
        seen.add(words)
    return found


def _purpose(tokens: Sequence[Token]) -> range:
    """Where a user story says what for: no part of what is asked for."""
    for number, token in enumerate(tokens[:-1]):
        follows = tokens[number + 1].word
        if token.word == "so" and follows in _PURPOSES:
            wished = any(each.word in _STORIES for each in tokens[:number])
            ends = (each.sentence > token.sentence for each in tokens)
            behind = next((at for at, ended in enumerate(ends) if ended), len(tokens))
            return range(number, behind) if wished else range(0)
    return range(0)


def _words(hit: Hit[Kind]) -> range:
    return range(hit.first, hit.last)


def _reach(hits: Iterable[Hit[Kind]]) -> dict[int, int]:
    """How far, from each of their tokens, the phrases go that it is in."""
    reach = dict[int, int]()
    for hit in hits:
        for at in _words(hit):
            reach[at] = max(reach.get(at, 0), hit.last)
    return reach


def _is_wished(tokens: Sequence[Token], hit: Hit[Kind], verbs: frozenset[int]) -> bool:
    """Whether somebody wants to, can or may do it, or it is one of a list of verbs."""
    at, sentence = hit.first - 1, tokens[hit.first].sentence
    others = 0
    for _ in range(_REACH):
        if at < 0 or tokens[at].sentence != sentence:
            break
        word = tokens[at].word
        if word in _MODALS:
            return True
        if word == "to":
            return any(each.word in _WISHES for each in tokens[max(0, at - _FAR) : at])
        if word in _PERSONS:
            return at > 0 and tokens[at - 1].word in _HELPS
        if at + 1 in verbs:
            others += 1
        elif not (word in _BETWEEN or word.endswith("ly")):
            break
        at -= 1
    return others > 0
