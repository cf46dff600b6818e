"""The weights in the package are those that the training script makes."""

import json
import sys
from importlib import import_module
from pathlib import Path

import pytest

from llmops_langchain.cache.verifier import WEIGHTS
from llmops_langchain.embeddings import MiniLMEmbeddings

ROOT = Path(__file__).parents[2]
FOW = ROOT.parent / "shared/data/cache/fow_pairs.jsonl"


@pytest.mark.slow
@pytest.mark.skipif(not FOW.is_file(), reason="needs ../shared/data/cache/fow_pairs.jsonl")
def test_training_anew_gives_the_weights_of_the_package(minilm_files, monkeypatch) -> None:
    pytest.importorskip("wordllama", reason="needs the package wordllama")
    monkeypatch.setattr(sys, "path", [*sys.path, str(ROOT / "benchmarks")])
    made = import_module("train_verifier").trained(MiniLMEmbeddings(minilm_files))
    shipped = json.loads(WEIGHTS.read_text("utf-8"))
    assert made["features"] == shipped["features"]
    assert [pair["a"] for pair in made["anchors"]] == [pair["a"] for pair in shipped["anchors"]]
    for name, family in shipped["families"].items():
        # The last digits of vectors differ between processors.
        assert made["families"][name]["weights"] == pytest.approx(family["weights"], abs=0.02)


@pytest.mark.skipif(not FOW.is_file(), reason="needs ../shared/data/cache/fow_pairs.jsonl")
def test_no_question_of_others_is_in_the_weights() -> None:
    shipped = WEIGHTS.read_text("utf-8").casefold()
    lines = map(json.loads, FOW.read_text("utf-8").splitlines())
    assert not [pair for pair in lines if pair["a"].casefold() in shipped]
