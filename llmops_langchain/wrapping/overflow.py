"""Is this error a provider's "your prompt is too long", and which figures does it give?"""

import re
from dataclasses import dataclass

from llmops_langchain.errors import LLMOpsError

__all__ = ["Overflow", "overflow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Overflow:
    """A provider refused a prompt because it is too long; its figures, if it gave some."""

    tokens: int | None = None
    """Tokens of the prompt, as the provider counts them."""
    limit: int | None = None
    """Tokens the prompt may have; what was asked for the answer is taken off."""


_STATUSES = frozenset({None, 400, 413, 422})
"""HTTP statuses of such a refusal; what has none did not come over HTTP."""

_WORDS = re.compile(
    r"context[ _]?(?:length|window)[ _]?exceeded|exceed_context_size|prompt is too long"
    r"|maximum (?:context|prompt) length|maximum context length"
    r"|exceeds? (?:the |this model's )?(?:available )?context (?:window|limit|size)"
    r"|input is too long for|input tokens exceed the configured limit"
    r"|input token count .{0,40}exceeds the maximum"
    r"|number of tokens in the prompt cannot exceed|reduce the length of the (?:messages|prompt)",
    re.IGNORECASE,
)
"""How providers say it: OpenAI, vLLM, llama.cpp, Anthropic, Mistral, xAI, Bedrock, Gemini, Cohere,
Groq and LiteLLM."""

_FIGURES = tuple(
    re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[\\d,]+)", pattern), re.IGNORECASE | re.DOTALL)
    for pattern in (
        r"length is <limit> tokens.{0,80}\(<tokens> in .{0,60}, <output> in the comp",  # OpenAI
        r"(?:length is|limit of) <limit> tokens.{0,60}resulted in <tokens> tokens",  # OpenAI
        r"prompt is too long: <tokens> tokens > <limit>",  # Anthropic
        r"context limit: <tokens> \+ <output> > <limit>",  # Anthropic
        r"token count \(<tokens>\) exceeds the maximum .{0,40}?\(<limit>\)",  # Gemini
        r"request \(<tokens> tokens\) exceeds the available context size \(<limit>",  # llama.cpp
        r"prompt contains <tokens> tokens.{0,80}model with <limit> maximum",  # Mistral
        r"prompt length is <limit> but the request contains <tokens> tokens",  # xAI
        r"prompt cannot exceed <limit> - received <tokens>",  # Cohere
    )
)


def overflow(error: BaseException) -> Overflow | None:
    """Return what a provider said of a prompt that is too long; `None` for any other error.

    LangChain's `ContextOverflowError` is one, whatever it says. Providers whose errors LangChain
    does not map are known by their words.
    """
    if isinstance(error, LLMOpsError):
        return None
    # By name: older releases of langchain-core have no such class.
    mapped = any(each.__name__ == "ContextOverflowError" for each in type(error).__mro__)
    said = f"{error} {getattr(error, 'code', None)}"  # OpenAI's client leaves the code out
    refused = getattr(error, "status_code", None) in _STATUSES and _WORDS.search(said)
    return _figures(said) if mapped or refused else None


def _figures(said: str) -> Overflow:
    found = next(filter(None, (pattern.search(said) for pattern in _FIGURES)), None)
    if found is None:
        return Overflow()
    told = {name: int(digits.replace(",", "")) for name, digits in found.groupdict().items()}
    limit = told["limit"] - told.get("output", 0)
    # Figures that do not explain the refusal are not the ones they were taken for.
    return (
        Overflow(tokens=told["tokens"], limit=limit) if told["tokens"] > limit > 0 else Overflow()
    )
