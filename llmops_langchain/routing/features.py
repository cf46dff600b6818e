"""What a prompt looks like to a router: a few numbers of its text, without a model."""

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.text.tables import listed

__all__ = ["FEATURES", "complexity", "complexity_of", "features_of"]

FEATURES = (
    "characters",
    "words",
    "word_length",
    "long_words",
    "distinct_words",
    "function_words",
    "numbers",
    "digits",
    "largest_number",
    "operators",
    "code",
    "lines",
    "question_marks",
    "capitals",
    "punctuation",
    "sentence_length",
    "capitalised",
    "other_scripts",
    "negations",
    "conditions",
    "reasons",
    "calculations",
    "blanks",
    "options",
    "option_length",
    "numeric_options",
    "quotes",
    "parentheses",
)
"""What `features_of` tells, in its order; lengths and counts without a bound as logarithms."""

_LOOKED_AT = 4_000
"""Characters that are read of a text: its first and its last half of them."""

_WORD = re.compile(r"[^\W\d_][\w']*")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_OPERATOR = re.compile(r"[=+*/^<>∑∫√%-]|\\\w+")
_CODE = re.compile(r"```|[{};]|==|\b(?:class|def|function|import|return)\b")
_SIGN = re.compile(r"[^\w\s]|_")
_SENTENCE = re.compile(r"[.!?](?:\s|$)")
_OPTION = re.compile(r"(?m)^\(?[A-Ea-e][.)][ \t]*(.*)$")
_NUMERIC = re.compile(r"[\s$%+.,\d/()a-z^-]*\d[\s$%+.,\d/()a-z^-]*")

_FUNCTION_WORDS = frozenset(
    listed(
        "a an and are as at be but by for from has have how in is it not of on or that the this to "
        "was were what which who with"
    )
)
_NEGATIONS = frozenset(listed("cannot except false never no none not"))
_CONDITIONS = frozenset(listed("assume given if let suppose when"))
_REASONS = frozenset(listed("derive explain prove show why"))
_CALCULATIONS = frozenset(listed("calculate compute determine find how many much solve"))
_LONG_WORD, _LONG_NUMBER = 8, 12
_MOST_MARKS = 20


def features_of(text: str) -> NDArray[np.float64]:
    """The features of a text, shape `(len(FEATURES),)`.

    Of a long text the first and the last 2,000 characters are read; its length counts whole.

    Example:
        >>> told = features_of("Why is 2 + 2 not 5?").tolist()
        >>> features = dict(zip(FEATURES, told, strict=True))
        >>> features["negations"], features["reasons"]
        (1.0, 1.0)
    """
    half = _LOOKED_AT // 2
    read = text if len(text) <= _LOOKED_AT else f"{text[:half]}\n{text[-half:]}"
    return np.array([*_of_words(read, len(text)), *_of_form(read)])


def complexity(text: str) -> float:
    """How hard a prompt looks, 0 to 1, before anything was learnt: longer, with more in it.

    Grows with the number of words, of figures, negations and conditions. The weights are set by
    hand; `benchmarks/routing.py` measures what they are worth against the length alone.
    """
    return complexity_of(features_of(text))


def complexity_of(features: NDArray[np.float64]) -> float:
    """`complexity` by the features of a text."""
    told = dict(zip(FEATURES, features.tolist(), strict=True))
    sum_ = told["words"] + 0.5 * told["numbers"] + told["negations"] + 0.5 * told["conditions"]
    return 1.0 / (1.0 + math.exp(3.5 - sum_))


def _of_words(text: str, length: int) -> list[float]:
    words = _WORD.findall(text)
    lower = [word.lower() for word in words]
    number, found = max(1, len(words)), _NUMBER.findall(text)
    values = [float(each) for each in found if len(each) < _LONG_NUMBER]
    # Of a text that is read in part, as many words as it seems to have.
    whole = number * max(1.0, length / max(1, len(text)))
    return [
        math.log1p(length),
        math.log1p(whole),
        sum(map(len, words)) / number,
        sum(len(word) > _LONG_WORD for word in words) / number,
        len(set(lower)) / number,
        _among(lower, _FUNCTION_WORDS) / number,
        math.log1p(len(found)),
        sum(map(len, found)) / max(1, len(text)),
        math.log1p(max(values, default=0.0)),
        100.0 * len(_OPERATOR.findall(text)) / max(1, len(text)),
        float(min(_MOST_MARKS, len(_CODE.findall(text)))),
        math.log1p(text.count("\n") + 1),
        float(min(_MOST_MARKS, text.count("?"))),
        sum(map(str.isupper, text)) / max(1, len(text)),
        len(_SIGN.findall(text)) / max(1, len(text)),
        math.log1p(number / max(1, len(_SENTENCE.findall(text)))),
        sum(word[0].isupper() for word in words) / number,
        0.0 if text.isascii() else sum(char > "\x7f" for char in text) / len(text),
        float(min(_MOST_MARKS, _among(lower, _NEGATIONS))),
        float(min(_MOST_MARKS, _among(lower, _CONDITIONS))),
        float(min(_MOST_MARKS, _among(lower, _REASONS))),
        float(min(_MOST_MARKS, _among(lower, _CALCULATIONS))),
    ]


def _of_form(text: str) -> list[float]:
    options = _OPTION.findall(text)
    length = sum(map(len, options)) / max(1, len(options))
    return [
        float("___" in text),
        float(min(_MOST_MARKS, len(options))),
        math.log1p(length),
        float(sum(_NUMERIC.fullmatch(option) is not None for option in options[:_MOST_MARKS])),
        float(min(_MOST_MARKS, text.count('"') + text.count("'"))),
        float(min(_MOST_MARKS, text.count("("))),
    ]


def _among(words: Sequence[str], known: frozenset[str]) -> int:
    return sum(word in known for word in words)
