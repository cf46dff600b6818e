"""all-MiniLM-L6-v2 on onnxruntime, from a directory on this machine."""

import json
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from llmops_langchain.embeddings.base import LocalEmbeddings
from llmops_langchain.embeddings.loading import Once, needed
from llmops_langchain.errors import ConfigurationError

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from tokenizers import Tokenizer

__all__ = ["MINILM_FILES", "MINILM_PACKAGES", "MiniLMEmbeddings"]

MINILM_FILES = ("model.onnx", "tokenizer.json")
MINILM_PACKAGES = ("onnxruntime", "tokenizers")

_TOKENS = 256
"""The model was trained on no longer texts."""

_CHARACTERS = 128 * _TOKENS
"""What lies behind is not tokenized only to be cut; a word of over 100 letters is one token."""

_BATCH = 8
"""On one thread larger batches are no faster, and at 256 tokens each takes 12 MB a text."""

_ARCHITECTURE = {"hidden_size": 384, "num_hidden_layers": 6, "vocab_size": 30_522}


class MiniLMEmbeddings(LocalEmbeddings):
    """Unit vectors of 384 numbers from all-MiniLM-L6-v2, without torch and without a download.

    The mean of the token vectors, scaled to length 1 (Reimers and Gurevych, 2019); the same
    vectors as Chroma's own `ONNXMiniLM_L6_V2` gives, up to rounding. Only the first 256 tokens
    of a text count. The weights are read at the first use, in about 0.2 s. All threads may share
    one object; a forked child reads the weights anew.

    Args:
        directory: Holds `model.onnx` and `tokenizer.json`, as Chroma's
            `~/.cache/chroma/onnx_models/all-MiniLM-L6-v2/onnx` does.
        threads: How many processor cores one call may use.

    Raises:
        ConfigurationError: If `directory` lacks one of the files or holds another model, or
            `threads` is not positive.
        MissingExtraError: If `onnxruntime` or `tokenizers` is not installed.
    """

    model_name = "all-MiniLM-L6-v2"

    def __init__(self, directory: str | PathLike[str], *, threads: int = 1) -> None:
        if threads < 1:
            msg = f"`threads` must be positive, got {threads!r}"
            raise ConfigurationError(msg)
        needed(*MINILM_PACKAGES)
        self._directory, self._threads = Path(directory), threads
        _check(self._directory)
        self._loaded = Once(self._load)

    @override
    def _vectors(self, texts: list[str]) -> NDArray[np.float32]:
        tokenizer, session = self._loaded.get()
        # One by one: a batch would start threads, which are not there after a fork.
        ids = [tokenizer.encode(text[:_CHARACTERS]).ids for text in texts]
        # Neighbours of one length waste least on padding.
        order = sorted(range(len(ids)), key=lambda each: len(ids[each]))
        vectors = np.empty((len(ids), _ARCHITECTURE["hidden_size"]), np.float32)
        for start in range(0, len(order), _BATCH):
            batch = order[start : start + _BATCH]
            vectors[batch] = _pooled(session, [ids[each] for each in batch])
        return vectors

    def _load(self) -> "tuple[Tokenizer, InferenceSession]":
        import onnxruntime
        from tokenizers import Tokenizer

        onnxruntime.disable_telemetry_events()  # its builds for Windows have it on
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors alone
        tokenizer = Tokenizer.from_file(str(self._directory / "tokenizer.json"))
        tokenizer.enable_truncation(max_length=_TOKENS)
        tokenizer.no_padding()
        session = onnxruntime.InferenceSession(
            self._directory / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        return tokenizer, session


def _check(directory: Path) -> None:
    if missing := [name for name in MINILM_FILES if not (directory / name).is_file()]:
        msg = (
            f"{str(directory)!r} is no directory with {MiniLMEmbeddings.model_name}: "
            f"it lacks {' and '.join(f'`{name}`' for name in missing)}"
        )
        raise ConfigurationError(msg)
    about = directory / "config.json"
    told = json.loads(about.read_text("utf-8")) if about.is_file() else {}
    if other := [name for name, size in _ARCHITECTURE.items() if told.get(name, size) != size]:
        found = ", ".join(f"`{name}` {told[name]!r}" for name in other)
        msg = f"{str(directory)!r} holds another model than {MiniLMEmbeddings.model_name}: {found}"
        raise ConfigurationError(msg)


def _pooled(session: "InferenceSession", ids: list[list[int]]) -> NDArray[np.float32]:
    """The sum of the token vectors of each text, `float32`, shape `(texts, 384)`.

    Their mean differs only in length.
    """
    lengths = np.array([len(each) for each in ids])
    mask = (np.arange(lengths.max()) < lengths[:, np.newaxis]).astype(np.int64)
    padded = np.zeros_like(mask)
    padded[mask.astype(bool)] = np.concatenate(ids)
    told = {"input_ids": padded, "attention_mask": mask, "token_type_ids": np.zeros_like(mask)}
    (hidden,) = session.run(["last_hidden_state"], told)
    sums: NDArray[np.float32] = (mask[:, np.newaxis].astype(np.float32) @ hidden)[:, 0]
    return sums
