"""Which vocabulary a model's text is counted with, and what its provider takes for images."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from tiktoken.model import encoding_name_for_model

from llmops_langchain.models import parse_model_name
from llmops_langchain.tokens.images import by_area, cropped, flat, patched, tiled
from llmops_langchain.tokens.media import Media

__all__ = ["Family", "family_of"]

_OPENAI = Media(image=tiled(85, 170))


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Models that are counted alike."""

    encoding: str
    """Name of the vocabulary, as tiktoken has it."""
    fit: str | None = None
    """Name of the fit (`token_fits.json`) from `encoding` to the model's own vocabulary."""
    media: Media = _OPENAI
    """What images, sound and pages cost."""
    with_tools: int = 0
    """Tokens that a request has more as soon as there are tools."""
    estimated: bool = True
    """Whether `encoding` is only a stand-in for the model's own vocabulary."""


_SAME_ORDINARY_TOKENS = {"o200k_harmony": "o200k_base"}
"""Vocabularies that differ in special tokens alone, and text never becomes one of those."""

_IMAGES: Mapping[str, Media] = MappingProxyType(
    {
        "gpt-4o-mini": Media(image=tiled(2_833, 5_667)),
        "gpt-4.1-mini": Media(image=patched(1.62)),
        "gpt-4.1-nano": Media(image=patched(2.46)),
        "gpt-5-mini": Media(image=patched(1.62)),
        "gpt-5-nano": Media(image=patched(2.46)),
        "o4-mini": Media(image=patched(1.72)),
        "gpt-5": Media(image=tiled(70, 140)),
        "o1": Media(image=tiled(75, 150)),
        "o3": Media(image=tiled(75, 150)),
        "computer-use": Media(image=tiled(65, 129)),
    }
)
"""What OpenAI's models take, by how their names begin, the first that fits; from its guide on
vision. Any other counts as `gpt-4o`."""

_PDF_OF_CLAUDE = 3_800
"""A page's text (1,500 to 3,000 tokens) and its picture, by Anthropic's guide on PDFs."""
_TOOL_PROMPT_OF_CLAUDE = 346
"""What Anthropic's system prompt for tools takes, by its guide on tool use."""
_NEW_CLAUDE = (4, 7)
"""The version from which on Claude has a smaller vocabulary and sees larger images."""
_OLD_EYES = Media(image=by_area(1_568, 1_600), page=_PDF_OF_CLAUDE)
_NEW_EYES = Media(image=by_area(2_576, 4_784), page=_PDF_OF_CLAUDE)
_GEMINI = Media(image=cropped(258), page=258, sound=32)
_GEMINI_3 = Media(image=flat(1_120), page=560, sound=32)
_GEMMA = Media(image=flat(256), page=258, sound=32)


def _fitted(fit: str, media: Media = _OPENAI, *, with_tools: int = 0) -> Family:
    return Family(encoding="o200k_base", fit=fit, media=media, with_tools=with_tools)


_CLAUDE = _fitted("claude", _NEW_EYES, with_tools=_TOOL_PROMPT_OF_CLAUDE)
_CLAUDE_3 = _fitted("claude-3", _OLD_EYES, with_tools=_TOOL_PROMPT_OF_CLAUDE)
_UNKNOWN = Family(encoding="o200k_base")

_STAND_INS: tuple[tuple[re.Pattern[str], Family], ...] = tuple(
    (re.compile(pattern), family)
    for pattern, family in (
        (r"gemini-3", _fitted("gemma", _GEMINI_3)),
        (r"gemini", _fitted("gemma", _GEMINI)),
        (r"(.*-)?gemma", _fitted("gemma", _GEMMA)),
        # Llama 4 has a vocabulary of its own, near o200k in size.
        (r"(?!.*llama-?4)(.*-)?llama-?(v)?[3-9]", _fitted("llama-3")),
        (r"(open-)?(mistral|ministral|magistral|codestral|devstral|pixtral)", _fitted("mistral")),
        (r"(.*-)?(qwen|qwq|qvq)", _fitted("qwen")),
        (r"(.*-)?deepseek", _fitted("deepseek")),
        (r"(.*-)?glm", _fitted("glm")),
        (r"(.*-)?(kimi|moonshot)", _fitted("kimi")),
    )
)
"""Other makers' models by how their names begin, the first that fits."""

_VERSION = re.compile(r"claude-(?:[a-z]+-)*?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")


def family_of(model: str) -> Family:
    """Return how to count for `model`; unknown models are counted as o200k, and say `estimated`."""
    name = parse_model_name(model).name
    try:
        encoding = encoding_name_for_model(name)
    except KeyError:
        return _stand_in(name)
    media = next((media for start, media in _IMAGES.items() if name.startswith(start)), _OPENAI)
    known = _SAME_ORDINARY_TOKENS.get(encoding, encoding)
    return Family(encoding=known, media=media, estimated=False)


def _stand_in(name: str) -> Family:
    if name.startswith("claude"):
        said = _VERSION.match(name)
        # Whose version is not said counts as a new one: too much rather than too little.
        version = (int(said[1]), int(said[2] or 0)) if said else _NEW_CLAUDE
        return _CLAUDE if version >= _NEW_CLAUDE else _CLAUDE_3
    return next((family for pattern, family in _STAND_INS if pattern.match(name)), _UNKNOWN)
