"""What the embedders on this machine have in common."""

from abc import abstractmethod
from typing import Any

from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray
from typing_extensions import override

from llmops_langchain.embeddings.units import unit

__all__ = ["LocalEmbeddings"]


class LocalEmbeddings(Embeddings):
    """Unit vectors, computed in the calling thread; any text will do, also an empty one."""

    @override
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if not texts:
            return []
        # UTF-8 cannot express a lone surrogate, and so no tokenizer takes it.
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors: list[list[float]] = unit(self._vectors(clean)).tolist()
        return vectors

    @override
    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]

    @abstractmethod
    def _vectors(self, texts: list[str]) -> NDArray[Any]:
        """One row a text, of any length but 0; there is at least one text."""
