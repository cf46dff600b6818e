"""A question taken apart once, so that it can be compared with many others."""

import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from llmops_langchain.text.edits import edits
from llmops_langchain.text.function_words import (
    BEFORE_INFINITIVE,
    BEFORE_VERB,
    DIRECTIONS,
    FRAME,
    FUNCTION,
    NEGATIONS,
    QUESTION_WORDS,
    SUBJECTS,
    WHETHER,
)
from llmops_langchain.text.lexicon import known, lemma, negative, only_verb, weight
from llmops_langchain.text.quantities import COUNTED, Quantities, quantities_of
from llmops_langchain.text.tables import listed
from llmops_langchain.text.words import Word, signs_of, words_of

__all__ = ["Question", "Term", "comparable", "question_of"]

_REMEMBERED = 4_096
_LONGEST = 64
"""Words up to which questions are compared; nothing longer was ever seen in training."""

_LATIN = 0x250
"""Signs below are Latin letters with and without accents."""

_SHOUTED = 0.6
"""Share of words with a capital from which on capitals mark no names."""

_RECOGNISED, _RECOGNISED_WITHOUT_SMALL = 0.65, 0.75
"""Share of words that must be English ones, and where there are no small words among them. Of
French or German questions it is mostly under a half."""

_NOISE = frozenset(listed("um uh er erm hmm ah oh please hello hi hey hiya cheers"))
_FILLERS = frozenset(listed("thanks thank yeah well just"))
_OPENINGS = frozenset(listed("so like and team well okay ok yeah just"))
_POLITE = (
    "sorry to bother you but",
    "i was wondering if",
    "i would like to know",
    "sorry to bother you",
    "i was wondering",
    "i am wondering",
    "can you tell me",
    "could you tell me",
    "i want to know",
    "just wondering",
    "quick question",
    "good afternoon",
    "good evening",
    "good morning",
    "do you know",
    "excuse me",
    "i wonder",
    "tell me",
    "hi there",
    "hi team",
    "hi all",
)
"""Begins a question and says nothing of it; what contains another stands before it."""
_THANKS = ("thanks in advance", "many thanks", "thank you")
_PHRASES = {
    listed(phrase): word
    for word, phrases in {
        "enable": "turn on,switch on",
        "disable": "turn off,switch off",
        "create": "set up",
        "register": "sign up",
        "login": "log in,sign in,log on",
        "logout": "log out,sign out",
        "cancel": "call off",
        "return": "give back,send back,take back,bring back",
        "postpone": "put off",
        "complete": "fill in,fill out",
        "submit": "hand in",
        "check": "find out",
        "join": "opt in",
        "leave": "opt out",
        "revert": "roll back",
        "stop": "shut down",
        "repay": "pay back",
        "participate": "take part",
        "calculate": "work out",
        "continue": "carry on",
        "discard": "throw away,throw out",
        "collect": "pick up",
        "remove": "take away,get rid",
        "seek": "look for",
        "also": "as well",
        "email": "e mail",
        "wifi": "wi fi",
    }.items()
    for phrase in phrases.split(",")
}
"""Two words that mean one; the first also in any of its forms."""

_KINDS = tuple(
    (kind, tuple(f" {phrase} " for phrase in phrases.split(",")))
    for kind, phrases in {
        "duration": "how long",
        "frequency": "how often,how frequently",
        "time": "what time,when,what date,which day,deadline,due date,opening hours,what day",
        "amount": "how much,cost,costs,price,prices,fee,fees,charge,how expensive",
        "count": "how many,number of",
        "place": "where",
        "person": "who,whom,whose",
        "reason": "why,how come,reason,cause,causes",
        "difference": "difference,versus,vs",
        "manner": "how,steps,way to,process,procedure,what do i do,what should i do",
    }.items()
)
"""What is asked for, the most telling phrase first."""

_SHORTEST_SLIP = 5
_SPELLABLE = sorted(
    word
    for word in FUNCTION | COUNTED | {word for _, each in _KINDS for word in listed("".join(each))}
    if len(word) >= _SHORTEST_SLIP
)
"""Words that are looked up, and so must be spelt right."""


@dataclass(frozen=True, slots=True)
class Term:
    """A word of content."""

    text: str
    lemma: str
    place: int
    """Position among the words of the question."""
    role: str
    """The direction it stands behind: `to` in `from Leeds to York` for `York`."""
    weight: float
    """How much it says, 0.2 to 1."""
    name: bool
    """Begins with a capital, and not because a sentence does."""
    frame: bool
    verb: bool
    """It stands where a verb does."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is compared of a question."""

    normal: str
    """One text for all that are the same but for case, punctuation and politeness."""
    signs: str
    """Signs of code and sums, and emoji, in order."""
    words: tuple[str, ...]
    terms: tuple[Term, ...]
    small: frozenset[str]
    """The small words in it."""
    quantities: Quantities
    negations: int
    kind: str
    """What is asked for: `time`, `amount`, …; empty if nothing tells."""
    latin: bool
    """Whether it is written in Latin letters."""
    plain: int
    """Words that are neither names nor numbers."""
    recognised: int
    """Those of them that are English."""


@lru_cache(_REMEMBERED)
def question_of(text: str) -> Question:
    """The parts of a question; those asked last are remembered.

    Example:
        >>> question = question_of("Hi, what's the fee for Leeds? Thanks!")
        >>> question.normal, [term.lemma for term in question.terms], question.kind
        ('what is the fee for leeds', ['fee', 'leeds'], 'amount')
    """
    words = _without_politeness(words_of(text))
    latin = _is_latin(text)
    signs = signs_of(text)
    normal = " ".join([*(word.text for word in words), signs]) if latin else _exact(text)
    words = _joined(_repaired(words))
    texts = tuple(word.text for word in words)
    quantities = quantities_of(words)
    small = [word.text for word in words if _is_small(word)]
    plain = _plain(words)
    return Question(
        normal=normal.strip(),
        signs=signs,
        words=texts,
        terms=tuple(_terms(words, texts, quantities)),
        small=frozenset(small),
        quantities=quantities,
        negations=sum(word in NEGATIONS for word in small) + sum(map(negative, texts)),
        kind=_kind(texts),
        latin=latin,
        plain=len(plain),
        recognised=sum(word in FUNCTION or known(word) for word in plain),
    )


def comparable(a: Question, b: Question) -> bool:
    """Whether both are English and no longer than 64 words, so that features mean something."""
    if not (a.latin and b.latin) or max(len(a.words), len(b.words)) > _LONGEST:
        return False
    wanted = _RECOGNISED if a.small or b.small else _RECOGNISED_WITHOUT_SMALL
    return 0 < wanted * (a.plain + b.plain) <= a.recognised + b.recognised


def _exact(text: str) -> str:
    """Of scripts whose signs we cannot judge nothing but case and space is levelled."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def _is_latin(text: str) -> bool:
    """Whether no letter or sign that belongs to a letter is of another script."""
    return all(
        ord(sign) < _LATIN or not unicodedata.category(sign).startswith(("L", "M")) for sign in text
    )


def _is_small(word: Word) -> bool:
    """A word that is talked about, as `WHERE` in a question on SQL, is none."""
    return word.text in FUNCTION and not word.marked


def _plain(words: list[Word]) -> list[str]:
    """Words that belong to a language: no names, letters, numbers and words that are quoted."""
    return [
        word.text
        for place, word in enumerate(words)
        if word.text.isalpha()
        and (len(word.text) > 1 or word.text in FUNCTION)
        and not (word.marked or (word.capital and place))
    ]


def _without_politeness(words: list[Word]) -> list[Word]:
    """What is said around a question, and not what is asked."""
    kept = [word for word in words if word.text not in _NOISE]
    while (shorter := _stripped(kept)) != kept:
        kept = shorter
    return [word for word in kept if word.text not in _FILLERS or word.marked] or words


def _stripped(words: list[Word]) -> list[Word]:
    """Without one phrase at either end, as long as a question is left."""
    texts = tuple(word.text for word in words)
    for phrase in map(listed, _POLITE):
        if len(texts) > len(phrase) + 1 and texts[: len(phrase)] == phrase:
            return words[len(phrase) :]
    for phrase in map(listed, _THANKS):
        if len(texts) > len(phrase) + 1 and texts[-len(phrase) :] == phrase:
            return words[: -len(phrase)]
    return words[1:] if texts[0:1] and texts[0] in _OPENINGS and texts[2:] else words


def _repaired(words: list[Word]) -> list[Word]:
    """With small words, units and dates spelt right, which are looked up and not compared."""
    return [word if known(word.text) else word._replace(text=_spelt(word.text)) for word in words]


@lru_cache(_REMEMBERED)
def _spelt(word: str) -> str:
    """The small word that this one, which is no known word, is a slip of, or the word itself."""
    if len(word) < _SHORTEST_SLIP or not word.isalpha() or word in FUNCTION:
        return word
    near = (each for each in _SPELLABLE if each[0] == word[0] and edits(word, each, 1) == 1)
    return next(near, word)


def _joined(words: list[Word]) -> list[Word]:
    """`turned off` becomes `disable`, and so on."""
    found: list[Word] = []
    for word in words:
        before = found[-1] if found else None
        if before and (one := _one_word(before.text, word.text)):
            found[-1] = before._replace(text=one)
        else:
            found.append(word)
    return found


def _one_word(first: str, second: str) -> str | None:
    return _PHRASES.get((lemma(first), second)) or _PHRASES.get((first, second))


def _terms(words: list[Word], texts: tuple[str, ...], quantities: Quantities) -> list[Term]:
    shouted = sum(word.capital for word in words) > _SHOUTED * len(words)
    role, found = "", []
    for place, word in enumerate(words):
        if _is_small(word):
            role = _role(texts, place, role)
        elif place not in quantities.used:
            form = lemma(word.text)
            found.append(
                Term(
                    text=word.text,
                    lemma=form,
                    place=place,
                    role=role,
                    weight=weight(form),
                    name=word.capital and place > 0 and not shouted,
                    frame=form in FRAME,
                    verb=place == 0 or texts[place - 1] in BEFORE_VERB,
                )
            )
    return found


def _role(texts: tuple[str, ...], place: int, role: str) -> str:
    """The part that the words behind this small word play."""
    if texts[place] == "to" and _infinitive(texts, place):
        return ""
    return DIRECTIONS.get(texts[place], role)


def _infinitive(texts: tuple[str, ...], place: int) -> bool:
    """Whether this `to` belongs to a verb, as in `how to convert`."""
    before, behind = texts[place - 1 : place], texts[place + 1 : place + 2]
    return bool(BEFORE_INFINITIVE.intersection(before)) or any(map(only_verb, behind))


def _kind(texts: tuple[str, ...]) -> str:
    padded = f" {' '.join(texts)} "
    for kind, phrases in _KINDS:
        if any(phrase in padded for phrase in phrases):
            return kind
    if not QUESTION_WORDS.isdisjoint(texts):
        return "thing"
    asks = texts[:1] + tuple(verb for verb, subject in pairwise(texts) if subject in SUBJECTS)
    return "" if WHETHER.isdisjoint(asks) else "whether"
