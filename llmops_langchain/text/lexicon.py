"""What English words mean to each other: how common they are, synonyms and opposites.

The list is made from WordNet 3.0 (Princeton University, 2006) by `benchmarks/make_lexicon.py`, its
licence stands beside it in `lexicon.LICENSE`; `opposites.txt` adds pairs that WordNet lacks.
"""

import gzip
from functools import cache, lru_cache
from importlib.resources import files
from math import log
from typing import NamedTuple

from llmops_langchain.text.tables import listed

__all__ = [
    "SPELLINGS",
    "known",
    "lemma",
    "names_person",
    "names_thing",
    "negative",
    "only_verb",
    "opposed",
    "synonyms",
    "weight",
]

_WORDS = 32_768  # remembered for each question that can be asked about a word
_PAIRS = 65_536

_ENDINGS = (
    ("ies", "y"), ("sses", "ss"), ("xes", "x"), ("ches", "ch"), ("shes", "sh"), ("oes", "o"),
    ("s", ""), ("ied", "y"), ("ed", "e"), ("ed", ""), ("ing", "e"), ("ing", ""), ("es", "e"),
    ("er", ""), ("est", ""),
)  # fmt: skip
SPELLINGS = (
    ("our", "or"), ("yse", "yze"), ("ise", "ize"), ("isa", "iza"), ("tre", "ter"), ("ogue", "og"),
    ("ll", "l"), ("ae", "e"), ("oe", "e"), ("mme", "m"), ("ence", "ense"), ("tyre", "tire"),
    ("que", "ck"), ("isi", "izi"),
)  # fmt: skip
"""British beside American."""
_PREFIXES = listed(
    """un in im ir dis non de mis ex en em out up down over under pre post pro anti sub super inter
    intra re"""
)
_NEGATING = listed("in im il ir dis non")
_SHORTEST_STEM = 4
"""Letters left without a prefix or an ending; of shorter rests nearly every one is a word."""


class _Entry(NamedTuple):
    weight: float
    flags: str
    senses: frozenset[str]
    axes: frozenset[int]


class _Lexicon(NamedTuple):
    entries: dict[str, _Entry]
    irregular: dict[str, str]
    opposites: frozenset[tuple[str, str]]


@cache
def _lexicon() -> _Lexicon:
    folder = files("llmops_langchain.text")
    lines = gzip.decompress(folder.joinpath("lexicon.txt.gz").read_bytes()).decode().splitlines()
    entries = [line.split("\t") for line in lines if "=" not in line]
    irregular = dict(line.split("=") for line in lines if "=" in line)
    opposites = [
        (word, other)
        for line in folder.joinpath("opposites.txt").read_text("utf-8").splitlines()
        if line and not line.startswith("#")
        for word, others in [line.split(": ")]
        for other in others.split()
    ]
    return _Lexicon(
        {
            word: _Entry(
                _rarity(rank, len(entries)),
                flags,
                frozenset(senses.split()),
                frozenset(map(int, axes.split())),
            )
            for rank, (word, flags, senses, axes) in enumerate(entries)
        },
        irregular,
        frozenset(opposites) | {(other, word) for word, other in opposites},
    )


def _rarity(rank: int, words: int) -> float:
    return max(0.2, log(rank + 20) / log(words + 20))


@lru_cache(_WORDS)
def lemma(word: str) -> str:
    """The dictionary form; of a word that is not in the list a plural `s` is cut off.

    Example:
        >>> lemma("charging"), lemma("deliveries"), lemma("went"), lemma("quokkas")
        ('charge', 'delivery', 'go', 'quokka')
    """
    lexicon = _lexicon()
    if word in lexicon.irregular:
        return lexicon.irregular[word]
    if len(word) < _SHORTEST_STEM or word.endswith("ss"):
        return word
    if word in lexicon.entries and word.endswith(("er", "est")):
        return word
    for ending, put in _ENDINGS:
        if word.endswith(ending) and (base := _listed(word[: -len(ending)] + put)):
            return base
    if word in lexicon.entries or not word.endswith("s") or word.endswith(("us", "is")):
        return word
    return word[:-1]


def _listed(base: str) -> str | None:
    """The form if it is in the list, also without a doubled last letter (`stopped`)."""
    entries = _lexicon().entries
    if len(base) > 1 and base in entries:
        return base
    single = base[:-1]
    return (
        single
        if len(base) >= _SHORTEST_STEM and base[-1] == base[-2] and single in entries
        else None
    )


@lru_cache(_WORDS)
def _entries(word: str) -> tuple[_Entry, ...]:
    """What is known of the word as it stands, then of its dictionary form."""
    entries = _lexicon().entries
    return tuple(entries[form] for form in dict.fromkeys((word, lemma(word))) if form in entries)


@lru_cache(_WORDS)
def known(word: str) -> bool:
    """Whether the word, its dictionary form or its American spelling is in the list."""
    return (
        bool(_entries(word))
        or word in _lexicon().irregular
        or any(pair[0] in word and _entries(word.replace(*pair)) for pair in SPELLINGS)
    )


def weight(word: str) -> float:
    """How much a dictionary form says, from 0.2 (the commonest) to 1 (rare, or not in the list)."""
    entry = _lexicon().entries.get(word)
    return 1.0 if entry is None else entry.weight


def names_person(word: str) -> bool:
    """Whether the first meaning of the word is a person."""
    return any("p" in entry.flags for entry in _entries(word)[:1])


def names_thing(word: str) -> bool:
    """Whether it is something to point at, which a word that is not in the list mostly is."""
    return all("c" in entry.flags for entry in _entries(word)[:1])


def only_verb(word: str) -> bool:
    """Whether the word is a verb and nothing else."""
    entry = _lexicon().entries.get(word)
    return entry is not None and "v" in entry.flags


@lru_cache(_PAIRS)
def synonyms(a: str, b: str) -> bool:
    """Whether two words share one of their common meanings, or one they are derived from.

    Example:
        >>> synonyms("begins", "start"), synonyms("rice", "potatoes")
        (True, False)
    """
    return not _senses(a).isdisjoint(_senses(b))


@lru_cache(_WORDS)
def _senses(word: str) -> frozenset[str]:
    return frozenset().union(*(entry.senses for entry in _entries(word)))


@lru_cache(_PAIRS)
def opposed(a: str, b: str) -> bool:
    """Whether two words are opposites, by the dictionary or by their prefixes.

    Example:
        >>> opposed("allowed", "banned"), opposed("unlock", "lock"), opposed("pay", "price")
        (True, True, False)
    """
    first, second = lemma(a), lemma(b)
    if first == second:
        return False
    if not _lexicon().opposites.isdisjoint({(first, second), (a, b)}):
        return True
    if synonyms(a, b):
        return False
    return any(-axis in _axes(b) for axis in _axes(a)) or bool(
        _without_prefix(first) & _without_prefix(second)
    )


@lru_cache(_WORDS)
def negative(word: str) -> bool:
    """Whether the word says the opposite of what is left of it without its prefix.

    Example:
        >>> negative("unsafe"), negative("illegal"), negative("invoice")
        (True, True, False)
    """
    rest = word.removeprefix("un")
    if rest != word and len(rest) >= _SHORTEST_STEM and known(rest):
        return True
    rests = (word.removeprefix(prefix) for prefix in _NEGATING if word.startswith(prefix))
    return any(-axis in _axes(rest) for rest in rests for axis in _axes(word))


@lru_cache(_WORDS)
def _axes(word: str) -> frozenset[int]:
    return frozenset().union(*(entry.axes for entry in _entries(word)))


@lru_cache(_WORDS)
def _without_prefix(word: str) -> frozenset[str]:
    """The word, and what is left of it without a prefix that can turn its meaning."""
    rests = {word.removeprefix(prefix) for prefix in _PREFIXES}
    return frozenset({word, *(rest for rest in rests if len(rest) >= _SHORTEST_STEM)})
