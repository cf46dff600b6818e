"""Texts as vectors on this machine, and exact search over them."""

from llmops_langchain.embeddings.hashed import HashedEmbeddings
from llmops_langchain.embeddings.identity import identity
from llmops_langchain.embeddings.local import default_embeddings
from llmops_langchain.embeddings.minilm import MiniLMEmbeddings
from llmops_langchain.embeddings.units import unit
from llmops_langchain.embeddings.vectors import VectorTable
from llmops_langchain.embeddings.wordllama import WordLlamaEmbeddings

__all__ = [
    "HashedEmbeddings",
    "MiniLMEmbeddings",
    "VectorTable",
    "WordLlamaEmbeddings",
    "default_embeddings",
    "identity",
    "unit",
]
