"""The name under which vectors are kept, so that those of two models are never compared."""

import hashlib
from enum import Enum
from urllib.parse import quote

from langchain_core.embeddings import Embeddings

__all__ = ["identity"]

_MODEL = (
    "model",
    "model_name",
    "model_id",
    "model_name_or_path",
    "model_path",
    "repo_id",
    "deployment",
    "deployment_name",
    "azure_deployment",
    "endpoint_name",
)
_SETTINGS = (
    "dimensions",
    "dimension",
    "size",
    "output_dimensionality",
    "model_version",
    "model_revision",
    "revision",
    "task_type",
    "input_type",
    "embedding_type",
    "instruction",
    "document_instruction",
    "embed_instruction",
    "query_instruction",
    "pooling",
    "truncate",
)
_LONGEST = 100
_HARMLESS = " /:@+,"  # may stand in a name of a model; `;` and `=` are ours


def identity(embeddings: Embeddings) -> str:
    """A stable name; the vectors of two embedders that share it can be compared.

    It consists of the class, the model, and the settings that change vectors: public attributes
    out of a fixed list, so it never holds a key. A URL or a long instruction is replaced by its
    digest. A wrapper with `underlying_embeddings`, as LangChain's `CacheBackedEmbeddings`, has the
    name of what it wraps. A class of your own whose objects give different vectors must tell them
    apart by an attribute `model_name`.

    Example:
        >>> from llmops_langchain.embeddings import HashedEmbeddings
        >>> identity(HashedEmbeddings(256))
        'llmops_langchain.HashedEmbeddings:hashed-words-1;dimensions=256'
    """
    inner = getattr(embeddings, "underlying_embeddings", None)
    if isinstance(inner, Embeddings):
        return identity(inner)
    models, settings = _told(embeddings, _MODEL), _told(embeddings, _SETTINGS)
    parts = [f"{name}={value}" for name, value in (models + settings)]
    if models:
        parts[0] = models[0][1]
    return ":".join(filter(None, (_class_name(type(embeddings)), ";".join(parts))))


def _class_name(kind: type) -> str:
    """Where the class is; of this package's own, where users import it from."""
    package, _, _ = __name__.partition(".")
    ours = kind.__module__.startswith(f"{package}.")
    return f"{package if ours else kind.__module__}.{kind.__qualname__}"


def _told(embeddings: Embeddings, names: tuple[str, ...]) -> list[tuple[str, str]]:
    """The attributes among `names` that are texts or numbers."""
    values = ((name, getattr(embeddings, name, None)) for name in names)
    return [(name, _shown(value)) for name, value in values if isinstance(value, str | int)]


def _shown(value: str | int) -> str:
    text = str(value.value if isinstance(value, Enum) else value)
    if len(text) > _LONGEST or "://" in text:
        return (
            f"digest-{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
        )
    return quote(text, safe=_HARMLESS, errors="replace")
