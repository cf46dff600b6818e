"""Other makers' models are counted by a fit, and it is near what the best offline proxies count."""

import importlib
import json
import sys
from pathlib import Path
from unicodedata import normalize

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.tokens import counter_for
from llmops_langchain.tokens.families import family_of
from llmops_langchain.tokens.features import FEATURES, KINDS, features
from llmops_langchain.tokens.fitted import FITS, fit

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
NAMES = sorted(json.loads(FITS.read_text(encoding="utf-8"))["fits"])


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("claude-3-5-sonnet-20241022", "claude-3"),
        ("claude-opus-4-20250514", "claude-3"),
        ("anthropic:claude-opus-4-5", "claude-3"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-3"),
        ("claude-opus-4-6", "claude-3"),
        ("claude-opus-4-7", "claude"),
        ("claude-opus-4.8", "claude"),
        ("claude-sonnet-5", "claude"),
        ("claude-sonnet-latest", "claude"),
        ("models/gemini-2.5-pro", "gemma"),
        ("gemini-3-flash-preview", "gemma"),
        ("google/gemma-3-27b-it", "gemma"),
        ("groq:llama-3.3-70b-versatile", "llama-3"),
        ("meta-llama/Meta-Llama-3.1-8B-Instruct-Turbo", "llama-3"),
        ("meta-llama/llama-4-maverick", None),
        ("mistral-large-latest", "mistral"),
        ("codestral-2508", "mistral"),
        ("Qwen/Qwen3-235B-A22B", "qwen"),
        ("deepseek-chat", "deepseek"),
        ("deepseek-r1-distill-llama-70b", "llama-3"),  # whose vocabulary it has,
        ("glm-4.6", "glm"),
        ("moonshotai/kimi-k2", "kimi"),
        ("my-model", None),
        ("gpt-4o", None),
    ],
)
def test_a_model_is_counted_by_its_makers_fit(model, name) -> None:
    found = family_of(model)
    assert found.fit == name
    assert found.estimated is (model != "gpt-4o")


@pytest.mark.parametrize("name", NAMES)
@given(text=st.text())
def test_a_fit_keeps_near_what_it_rests_on(name, text) -> None:
    counted = counter_for("gpt-4o").text(text)
    whole, found = text.encode("utf-8", "replace").decode(), fit(name)
    tokens = found.tokens(whole, counted)
    assert (tokens > 0) == (text != "")
    assert counted * found.least - 1 <= tokens <= max(1, counted * found.most + 1)


@given(text=st.text())
def test_a_fit_is_the_weighted_sum_of_the_features(text) -> None:
    whole = text.encode("utf-8", "replace").decode()
    counted = counter_for("gpt-4o").text(whole)
    weights = json.loads(FITS.read_text(encoding="utf-8"))["fits"]["gemma"]
    about = features(whole, counted) @ np.array([weights["weights"][name] for name in FEATURES])
    held = min(max(about, weights["least"] * counted), weights["most"] * counted)
    assert abs(fit("gemma").tokens(whole, counted) - max(held, counted > 0)) <= 0.5 + 1e-6


def test_every_byte_that_begins_a_character_is_of_one_kind() -> None:
    members = [code for each in KINDS.values() for code in each]
    assert len(set(members)) == len(members)
    assert set(members) >= {chr(code).encode()[0] for code in range(0xD800)}


def test_composed_and_decomposed_accents_are_one_text_to_claude() -> None:
    text = "Tự do và nhân quyền là của mọi người. " * 5
    for model in ("claude-opus-4-7", "claude-opus-4-1"):
        counter = counter_for(model)
        assert counter.text(normalize("NFD", text)) == counter.text(normalize("NFC", text))


@given(text=st.text(st.characters(categories=["Cs", "Ll"]), min_size=1))
def test_lone_surrogates_are_counted_too(text) -> None:
    assert counter_for("claude-opus-4-7").text(text) > 0


def test_a_fit_works_on_an_estimate_too(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "quicktok", None)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    vocabularies = importlib.import_module("llmops_langchain.tokens.vocabularies")
    counting = importlib.import_module("llmops_langchain.tokens.counting")
    text = "The quick brown fox jumps over the lazy dog. " * 20
    found = vocabularies.vocabulary.__wrapped__("o200k_base")
    assert found.backend == "estimate"
    estimated = counting.TokenCounter(family_of("claude-opus-4-7"), found).text(text)
    assert estimated == pytest.approx(counter_for("claude-opus-4-7").text(text), rel=0.3)


@pytest.mark.skipif(
    not (BENCHMARKS.parents[1] / "shared" / "data").is_dir(), reason="../shared/data is missing"
)
@pytest.mark.parametrize(("name", "mean"), [("claude", 0.12), ("claude-3", 0.12), ("gemma", 0.075)])
def test_texts_it_never_saw_are_near_the_proxies(name, mean, monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    token_texts = importlib.import_module("token_texts")
    counting = importlib.import_module("counting")
    proxies = counting.kept_proxies()
    errors = [
        np.abs(counting.errors(name, texts, proxies)).mean()
        for kind, texts in token_texts.reported().items()
        # Installed packages change; what is in the repository's data does not.
        if not kind.startswith("Python")
    ]
    assert len(errors) == 31
    assert np.mean(errors) <= mean
