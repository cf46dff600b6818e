"""Count for vocabularies that are not on this machine: a linear fit on what a text is made of."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from llmops_langchain.tokens.features import KINDS, SCRIPTS, histogram

__all__ = ["FITS", "Fit", "fit"]

FITS = files("llmops_langchain.tokens").joinpath("token_fits.json")
"""What `benchmarks/train_token_fit.py` writes; its data card is beside it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """What the tokens of one vocabulary are, given those of o200k."""

    composed: bool
    """Whether the vocabulary meets a text with its accents composed (NFC): count it so too."""
    least: float
    """Tokens for each of o200k's that a text has at least: a fit is not to be trusted below."""
    most: float
    """And at most."""
    each: float
    """For a token of o200k."""
    word: float
    """For a word between spaces."""
    bytes_: NDArray[np.float64]
    """For a byte of UTF-8, shape `(256,)`; for those inside a character 0."""
    scripts: tuple[tuple[bytes, float], ...]
    """For the two bytes that a character of a script begins with."""

    def tokens(self, text: str, counted: int) -> int:
        """Return about how many tokens `text` has; at least one unless it is empty.

        Args:
            text: Without lone surrogates.
            counted: Its tokens in o200k.
        """
        raw = text.encode()
        about = self.each * counted + self.word * len(text.split())
        about += float(histogram(raw) @ self.bytes_)
        if not text.isascii():
            about += sum(weight * raw.count(pair) for pair, weight in self.scripts)
        return max(round(min(max(about, self.least * counted), self.most * counted)), counted > 0)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> "Fit":
        """Return the fit that is written so in `FITS`."""
        weights = data["weights"]
        bytes_ = np.zeros(256)
        for kind, members in KINDS.items():
            bytes_[list(members)] = weights[kind]
        scripts = [(pair, weights[name]) for name, pairs in SCRIPTS.items() for pair in pairs]
        return cls(
            composed=data["composed"],
            least=data["least"],
            most=data["most"],
            each=weights["o200k"],
            word=weights["words"],
            bytes_=bytes_,
            scripts=tuple(scripts),
        )


@cache
def fit(name: str) -> Fit:
    """Return the fit of one vocabulary by its name in `FITS`."""
    return Fit.from_dict(_all()[name])


@cache
def _all() -> dict[str, dict[str, Any]]:
    fits: dict[str, dict[str, Any]] = json.loads(FITS.read_text(encoding="utf-8"))["fits"]
    return fits
