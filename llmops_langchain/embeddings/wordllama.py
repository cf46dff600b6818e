"""The static word vectors in the wheel `wordllama`: less exact than MiniLM, far quicker."""

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from llmops_langchain.embeddings.base import LocalEmbeddings
from llmops_langchain.embeddings.loading import Once, needed
from llmops_langchain.errors import ConfigurationError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["WORDLLAMA_PACKAGES", "WordLlamaEmbeddings", "wordllama_files"]

WORDLLAMA_PACKAGES = ("wordllama", "tokenizers", "safetensors")

_WEIGHTS = "weights/l2_supercat_256.safetensors"
_TOKENIZER = "tokenizers/l2_supercat_tokenizer_config.json"
_UNKNOWN = [0]
"""The token that stands for a text without tokens: no vector is zero."""


class WordLlamaEmbeddings(LocalEmbeddings):
    """Unit vectors of 256 numbers: the mean of one fixed vector a token, whatever its context.

    The same as `WordLlama.embed(…, norm=True)` gives, up to rounding. The weights are read at the
    first use, in about 0.1 s; then a short text takes some 50 µs. All threads may share one
    object; a forked child reads the weights anew.

    The package itself is not imported, only its two files are read: on import it would set up
    logging for the whole process, and its own `load` may look for weights on the network.

    Raises:
        ConfigurationError: If the installed `wordllama` does not carry the weights.
        MissingExtraError: If `wordllama`, `tokenizers` or `safetensors` is not installed.
    """

    model_name = "l2_supercat_256"

    def __init__(self) -> None:
        needed(*WORDLLAMA_PACKAGES)
        files = wordllama_files()
        if missing := [file.name for file in files if not file.is_file()]:
            msg = (
                f"the package `wordllama` lacks {', '.join(missing)}: install version 0.4 or newer"
            )
            raise ConfigurationError(msg)
        self._weights, self._tokenizer = files
        self._loaded = Once(self._load)

    @override
    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        tokenizer, table = self._loaded.get()
        return np.stack([_sum(tokenizer, table, text) for text in texts])

    def _load(self) -> "tuple[Tokenizer, NDArray[np.float16]]":
        """The tokenizer, and a row a token."""
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer))
        tokenizer.no_padding()
        tokenizer.no_truncation()
        return tokenizer, load_file(self._weights)["embedding.weight"]


def wordllama_files() -> tuple[Path, Path]:
    """Where the weights and the tokenizer are, if the package carries them."""
    spec = find_spec("wordllama")
    folder = Path(spec.origin).parent if spec and spec.origin else Path("wordllama")
    return folder / _WEIGHTS, folder / _TOKENIZER


def _sum(tokenizer: "Tokenizer", table: NDArray[np.float16], text: str) -> NDArray[np.float32]:
    """The sum of the vectors of all tokens, which differs from their mean only in length."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids or _UNKNOWN
    # A row a different token: of a long text there is no more than the vocabulary has.
    tokens, counts = np.unique(ids, return_counts=True)
    return counts.astype(np.float32) @ table[tokens].astype(np.float32)
