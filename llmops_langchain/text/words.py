"""Texts as words: one spelling for what is typed in many ways."""

import re
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

from llmops_langchain.text.tables import by_word, listed

__all__ = ["Word", "signs_of", "words_of"]

_PLAIN = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u02bc\u00b4`", "'"),  # curly and slanted quotes
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),  # hyphens, dashes, minus
        "\u2014": " - ",
    }
)
_TOKEN = re.compile(
    r"\d+(?:,\d{3})+(?:\.\d+)?|\d+:\d\d(?!\d)|\d+(?:\.\d+)*"  # 1,000.50 · 9:15 · 1.28
    r"|[^\W\d_]+(?:'[^\W\d_]+)*(?:\+\+|#(?!\w))?"  # don't · C++ · C#
    r"|[£$€¥%°]"
)
_SIGN = re.compile(
    r"[=<>^*\\{}\[\]|~+]"
    r"|(?<!\w)-+(?=\w)|(?<=\d )-(?= \d)"  # -5 · --force · 5 - 3, and neither a hyphen nor a dash
    r"|[^\w\s\x00-\u024f\u2000-\u206f\u20a0-\u20cf\u3000-\u303f\uff00-\uffef]"  # emoji, ∑
)
_QUOTED = re.compile(r'"[^"]{1,40}"')
_TAILS = {"re": "are", "ve": "have", "ll": "will", "m": "am", "d": "would"}
_IS = frozenset(listed("what where who how when why it that there here he she which this"))
_WRITTEN_OUT = by_word(
    {
        "can not": "can't cant cannot",
        "will not": "won't wont",
        "shall not": "shan't",
        "is not": "ain't isnt",
        "do not": "dont",
        "does not": "doesnt",
        "did not": "didnt",
        "are not": "arent",
        "was not": "wasnt",
        "were not": "werent",
        "have not": "havent",
        "has not": "hasnt",
        "could not": "couldnt",
        "should not": "shouldnt",
        "would not": "wouldnt",
        "let us": "let's",
        "i am": "im",
        "i have": "ive",
        "you are": "youre",
        "what is": "whats",
        "where is": "wheres",
        "who is": "whos",
        "how is": "hows",
        "when is": "whens",
        "that is": "thats",
        "there is": "theres",
        "going to": "gonna",
        "want to": "wanna",
        "please": "pls plz",
        "thanks": "thx",
        "you": "u",
    }
)


class Word(NamedTuple):
    """One word in lower case, and what its spelling in the text said."""

    text: str
    capital: bool = False
    """It began with a capital."""
    glued: bool = False
    """Nothing stood between it and the word before: `pm` in `3pm`."""
    marked: bool = False
    """In double quotes, or in capitals in a text that is not: a word that is talked about."""
    owner: bool = False
    """It ended in `'s` or `s'` and was no short form of `is`."""


def words_of(text: str) -> list[Word]:
    """The words of a text in order: short forms written out, punctuation dropped.

    Example:
        >>> [word.text for word in words_of("What\u2019s the fee, if I don't pay by 3pm?")]
        ['what', 'is', 'the', 'fee', 'if', 'i', 'do', 'not', 'pay', 'by', '3', 'pm']
    """
    plain = unicodedata.normalize("NFC", text.translate(_PLAIN))
    quoted = [match.span() for match in _QUOTED.finditer(plain)]
    shouted = 2 * sum(map(str.isupper, plain)) > sum(map(str.isalpha, plain))
    found: list[Word] = []
    end = -1
    for match in _TOKEN.finditer(plain):
        token, start = match.group(), match.start()
        marked = any(first <= start < last for first, last in quoted) or (
            len(token) > 1 and token.isalpha() and token.isupper() and not shouted
        )
        following = plain[match.end() : match.end() + 1]
        for word in _written_out(token, following):
            found.append(word._replace(glued=start == end, marked=marked))
            start = -2  # only the first of them touches what was before
        end = match.end()
    return found


def signs_of(text: str) -> str:
    """The signs that mean something of their own, in order: of code, of sums, and emoji.

    Example:
        >>> signs_of("Is a == b, or -a? (It's well-known.)")
        '==-'
    """
    return "".join(_SIGN.findall(text.translate(_PLAIN)))


def _written_out(token: str, following: str) -> Iterator[Word]:
    """The words a token stands for."""
    lower = token.lower()
    capital = token[0] != lower[0]
    stem, _, tail = lower.rpartition("'")
    if lower in _WRITTEN_OUT:
        yield from (Word(part, capital) for part in listed(_WRITTEN_OUT[lower]))
    elif not stem:
        yield Word(lower, capital, owner=following == "'" and lower.endswith("s"))
    elif tail == "t" and stem.endswith("n") and len(stem) > 1:
        yield from (Word(stem[:-1], capital), Word("not"))
    elif tail in _TAILS:
        yield from (Word(stem, capital), Word(_TAILS[tail]))
    elif tail == "s" and stem in _IS:
        yield from (Word(stem, capital), Word("is"))
    elif tail == "s":
        yield Word(stem, capital, owner=True)
    else:
        yield Word(lower.replace("'", ""), capital)
