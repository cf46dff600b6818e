"""Which vocabulary a model's text is counted with."""

from dataclasses import dataclass

from tiktoken.model import encoding_name_for_model

from llmops_langchain.models import parse_model_name

__all__ = ["Family", "family_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are counted alike."""

    encoding: str
    """Name of the vocabulary, as tiktoken has it."""
    factor: float = 1.0
    """The model's tokens for each token of `encoding`."""
    estimated: bool = True
    """Whether `encoding` is only a stand-in for the model's own vocabulary."""


_SAME_ORDINARY_TOKENS = {"o200k_harmony": "o200k_base"}
"""Vocabularies that differ in special tokens alone, and text never becomes one of those."""

_STAND_INS = {
    # Recent Claude models use about 35 % more tokens than o200k has.
    "claude": Family(encoding="o200k_base", factor=1.35),
    # Within about 13 % of o200k, in either direction.
    "gemini": Family(encoding="o200k_base"),
    "gemma": Family(encoding="o200k_base"),
}
_UNKNOWN = Family(encoding="o200k_base")


def family_of(model: str) -> Family:
    """Return how to count for `model`; unknown models are counted as o200k, and say `estimated`."""
    name = parse_model_name(model).name
    try:
        encoding = encoding_name_for_model(name)
    except KeyError:
        return next((f for start, f in _STAND_INS.items() if name.startswith(start)), _UNKNOWN)
    return Family(encoding=_SAME_ORDINARY_TOKENS.get(encoding, encoding), estimated=False)
