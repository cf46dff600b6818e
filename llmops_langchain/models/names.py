"""One name for one model, whatever its host or LangChain added to it."""

import re
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["PROVIDERS", "ModelName", "parse_model_name"]

PROVIDERS: dict[str, str | None] = {
    "amazon": "aws",
    "amazon_bedrock": "aws",
    "anthropic": "anthropic",
    "anthropic_bedrock": "aws",
    "aws": "aws",
    "azure": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "baseten": "baseten",
    "bedrock": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle_anthropic": "aws",
    "bedrock_mantle_openai": "aws",
    "cerebras": "cerebras",
    "cloudflare": "cloudflare",
    "cohere": "cohere",
    "databricks": "databricks",
    "deepseek": "deepseek",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "google": "google",
    "google_anthropic_vertex": "google",
    "google_genai": "google",
    "google_vertexai": "google",
    "groq": "groq",
    "litellm": None,  # a gateway: the next part of the name says who answers
    "meta": "meta",
    "minimax": "minimax",
    "mistral": "mistral",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "novita": "novita",
    "openai": "openai",
    "openrouter": "openrouter",
    "ovhcloud": "ovhcloud",
    "perplexity": "perplexity",
    "together": "together",
    "together_ai": "together",
    "togetherai": "together",
    "vertex_ai": "google",
    "vertexai": "google",
    "voyage": "voyageai",
    "voyageai": "voyageai",
    "x_ai": "x-ai",
    "xai": "x-ai",
    "zai": "zai",
    "zhipuai": "zhipuai",
}
"""What LangChain (`ls_provider`, `init_chat_model`) and gateways call a provider, with `-` written
as `_`, to its id in the price data."""


class _Host(NamedTuple):
    """How a host writes ids: `listed` is what its price list shows, `name` the model's own name."""

    provider: str
    pattern: re.Pattern[str]


_BEDROCK_REGIONS = r"(?:[a-z]{2}(?:-gov)?|apac|global|regional)"
_BEDROCK_MAKERS = (
    r"(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|nvidia|openai"
    r"|qwen|stability|writer|zai)"
)
_HOSTS = (
    # models/gemini-2.5-pro · publishers/google/models/… · projects/…/publishers/anthropic/models/…
    _Host(
        "google", re.compile(r"(?:(?:.+/)?publishers/[^/]+/)?models/(?P<listed>(?P<name>[^/]+))")
    ),
    # claude-sonnet-4-5@20250929, as Vertex AI writes it
    _Host("google", re.compile(r"(?P<listed>(?P<name>claude-[^@/]+@\w+))")),
    _Host("fireworks", re.compile(r"(?P<listed>accounts/[^/]+/(?:models|routers)/(?P<name>.+))")),
    # us.anthropic.claude-sonnet-4-5-20250929-v1:0, bare or at the end of an ARN
    _Host(
        "aws",
        re.compile(
            rf"(?:arn:aws.*/)?(?P<listed>(?:{_BEDROCK_REGIONS}\.)?{_BEDROCK_MAKERS}\."
            r"(?P<name>[^/]+?)(?:-v\d+)?(?::\w+)*)"
        ),
    ),
)
# A date, a month, or the number of a stable version of Google's (`gemini-2.5-flash-001`).
_DATE = re.compile(r"(?:[-@](?:20\d{2}-\d{2}-\d{2}|20\d{6}|default)|-\d{4}|-00\d)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelName:
    """A model's name without what hosts add; all parts are lower case."""

    provider: str | None
    """Id of whoever answers, as the price data writes it; `None` if the name does not say."""
    name: str
    """The model's own name, as its maker writes it."""
    listed: str
    """The model as the provider's own list writes it, e.g. with Bedrock's region and maker."""
    given: str
    """What was asked for; some providers list models under a name that begins with their own."""

    @property
    def family(self) -> str:
        """`name` without its date."""
        return _undated(self.name)

    @property
    def candidates(self) -> tuple[str, ...]:
        """The names to look a model up by, from the most exact to its undated family."""
        names = self.given, self.listed, _undated(self.listed), self.name, self.family
        return tuple(dict.fromkeys(names))


def parse_model_name(name: str, provider: str | None = None) -> ModelName:
    """Take apart whatever an app, LangChain, a gateway or a response calls a model.

    Args:
        name: `gpt-5`, `openai:gpt-5`, `azure/gpt-4o`, `us.anthropic.claude-…-v1:0`, …
        provider: Who answers, in LangChain's word (`ls_provider`) or the price data's; it wins
            over what the name says. A word that is not in `PROVIDERS` is kept as it is.
    """
    said = None if provider is None else PROVIDERS.get(_word(provider), provider.strip().lower())
    given = name.strip().lower()
    known, rest = _without_provider(given, said)
    own, listed = rest.rpartition("/")[2] or rest, rest
    for host in _HOSTS:
        if match := host.pattern.fullmatch(rest):
            known, own, listed = known or host.provider, match["name"], match["listed"]
            break
    # A provider's word in front is the caller's way of saying who, unless that was said apart.
    return ModelName(
        provider=known, name=own, listed=listed, given=listed if said is None else given
    )


def _without_provider(name: str, known: str | None) -> tuple[str | None, str]:
    """Cut off leading provider words (`litellm/azure/…`) as long as they agree with `known`."""
    for mark in ":/":
        word, _, rest = name.partition(mark)
        if rest and _word(word) in PROVIDERS:
            provider = PROVIDERS[_word(word)]
            if known is None or provider in (known, None):
                return _without_provider(rest, known or provider)
    return known, name


def _word(provider: str) -> str:
    return provider.strip().lower().replace("-", "_")


def _undated(name: str) -> str:
    return _DATE.sub("", name)
