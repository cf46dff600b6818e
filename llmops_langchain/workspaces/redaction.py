"""Keep secrets out of the audit log, whatever an app records."""

import re
from collections.abc import Mapping
from typing import Any

from llmops_langchain.errors import ConfigurationError

__all__ = ["redacted"]

_NAMES = re.compile(
    r"pass(word|wd|phrase)?$|secret|token(?!s\b|_?count|s_)|api_?key|private_?key|authorization|"
    r"credential|cookie|^(auth|jwt|bearer|dsn)$",
    re.IGNORECASE,
)
_VALUES = re.compile(
    r"\b(?:"
    r"llmops_(?:key|inv)_\w+"  # ours
    r"|(?:sk|pk|rk|gsk|hf|xai)[-_][\w-]{16,}"  # OpenAI, Anthropic, Stripe, Groq, Hugging Face
    r"|gh[pousr]_\w{20,}|github_pat_\w{20,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|xox[abprs]-[\w-]{10,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*"  # a JWT
    r")|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"  # login and password of a URL
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
)
_MARK = "[redacted]"
_DEEPEST = 8
_SPACES = re.compile(r"[\s-]+")


def redacted(said: Mapping[str, Any]) -> dict[str, Any]:
    """The same, with the values of secret names and the secrets inside of texts taken out.

    Raises:
        ConfigurationError: If it is nested more than eight deep.

    Example:
        >>> redacted({"model": "gpt-5", "headers": {"Authorization": "Bearer abc"}})
        {'model': 'gpt-5', 'headers': {'Authorization': '[redacted]'}}
    """
    return {str(name): _value(str(name), value, 1) for name, value in said.items()}


def _value(name: str, value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        msg = f"what is recorded is nested more than {_DEEPEST} deep"
        raise ConfigurationError(msg)
    if _NAMES.search(_SPACES.sub("_", name)) and value not in (None, "", True, False):
        return _MARK
    if isinstance(value, str):
        return _VALUES.sub(_MARK, value)
    if isinstance(value, Mapping):
        return {str(key): _value(str(key), each, depth + 1) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(name, each, depth + 1) for each in value]
    return value
