"""Counts equal tiktoken's, from whatever holds the vocabulary; without one they are estimated."""

import json
import logging
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmops_langchain.tokens import TokenCounter, counter_for
from llmops_langchain.tokens.families import Family
from llmops_langchain.tokens.vocabularies import Vocabulary, vocabulary

UDHR = Path(__file__).parents[4] / "shared" / "data" / "context" / "udhr27.json"
CODE = [
    Path(json.__file__).read_text(encoding="utf-8"),
    "def f(x):\n\treturn {'a': [1, 22, 333, 4444], **x}  # ünïcödé\r\n\r\n\n    \t \n",
    "SELECT\n    *\nFROM t WHERE a<>'it''s' AND b>=1e-9;\n" * 20,
    "<div class=\"x\">I'll we'VE DON'T \u2019s</div>\n\n\n\n",
    "🇩🇪👩‍👩‍👧 e\u0301 ﷽ \u200b\ufeff" + " " * 300 + "=" * 200,
    "<|endoftext|><|fim_prefix|> <|endofprompt|><|im_start|>",
]
TEXT = (
    st.text()
    | st.text(st.sampled_from(" \t\r\n'sStT019aZéあ한\u0627-_/<|>"))
    | st.sampled_from(CODE)
)


def load(encoding: str) -> Vocabulary:
    """Load past the cache of vocabularies."""
    return vocabulary.__wrapped__(encoding)


def counter(encoding: str) -> TokenCounter:
    return TokenCounter(Family(encoding=encoding, estimated=False), load(encoding))


@pytest.fixture
def no_quicktok(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "quicktok", None)


@pytest.fixture
def tiktoken_only(tiktoken_cache, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "quicktok", None)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tiktoken_cache))


@pytest.fixture
def no_vocabulary(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "quicktok", None)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))


@pytest.fixture(scope="module")
def counters() -> dict[str, TokenCounter]:
    return {encoding: counter(encoding) for encoding in ("o200k_base", "cl100k_base")}


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_any_text_counts_as_with_tiktoken(counters, official, text) -> None:
    for encoding, ours in counters.items():
        assert ours.text(text) == len(official[encoding].encode_ordinary(text))


@pytest.mark.parametrize("text", CODE)
def test_code_and_oddities_count_as_with_tiktoken(counters, official, text) -> None:
    for encoding, ours in counters.items():
        assert ours.text(text) == len(official[encoding].encode_ordinary(text))


@pytest.mark.skipif(not UDHR.is_file(), reason="../shared/data/context/udhr27.json is missing")
def test_27_languages_count_as_with_tiktoken(counters, official) -> None:
    for text in json.loads(UDHR.read_text(encoding="utf-8")).values():
        for encoding, ours in counters.items():
            assert ours.text(text) == len(official[encoding].encode_ordinary(text))
            for line in text.splitlines():
                assert ours.text(line) == len(official[encoding].encode_ordinary(line))


@given(st.text(st.characters(categories=["Cs", "Ll"]), min_size=1))
def test_lone_surrogates_are_replaced_and_counted(counters, official, text) -> None:
    assert counters["o200k_base"].text(text) == len(official["o200k_base"].encode_ordinary(text))


@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_quicktok_comes_first(encoding) -> None:
    assert load(encoding).backend == "quicktok"


@pytest.mark.usefixtures("tiktoken_only")
@pytest.mark.parametrize("encoding", ["o200k_base", "cl100k_base"])
def test_tiktoken_counts_if_its_file_is_in_its_cache(official, encoding) -> None:
    ours = counter(encoding)
    assert (ours.backend, ours.estimated) == ("tiktoken", False)
    for text in [*CODE, "\ud800"]:
        assert ours.text(text) == len(official[encoding].encode_ordinary(text))


@pytest.mark.usefixtures("no_vocabulary")
def test_without_a_vocabulary_tokens_are_estimated_and_it_is_said(caplog) -> None:
    with caplog.at_level(logging.WARNING):
        ours = counter("o200k_base")
    assert (ours.backend, ours.estimated) == ("estimate", True)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "llmops-langchain[tokens]" in caplog.text


@pytest.mark.usefixtures("no_quicktok")
@pytest.mark.parametrize("folder", ["damaged", ""])
def test_a_file_that_tiktoken_would_fetch_again_is_not_asked_for(
    tiktoken_cache, tmp_path, monkeypatch, folder
) -> None:
    for file in tiktoken_cache.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[:-1])
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", folder and str(tmp_path))
    assert load("o200k_base").backend == "estimate"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.usefixtures("no_quicktok")
def test_the_older_variable_names_the_cache_too(tiktoken_cache, monkeypatch) -> None:
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setenv("DATA_GYM_CACHE_DIR", str(tiktoken_cache))
    assert load("cl100k_base").backend == "tiktoken"


@pytest.mark.usefixtures("no_vocabulary")
@pytest.mark.skipif(not UDHR.is_file(), reason="../shared/data/context/udhr27.json is missing")
@pytest.mark.parametrize(("encoding", "mean"), [("o200k_base", 0.16), ("cl100k_base", 0.20)])
def test_an_estimate_is_near_in_27_languages(official, encoding, mean) -> None:
    ours, theirs = counter(encoding), official[encoding]
    texts = json.loads(UDHR.read_text(encoding="utf-8")).values()
    errors = [abs(ours.text(t) / len(theirs.encode_ordinary(t)) - 1) for t in texts]
    assert sum(errors) / len(errors) <= mean
    assert max(errors) <= 0.6


@pytest.mark.usefixtures("no_vocabulary")
@given(text=st.text(st.characters()))
def test_an_estimate_never_raises_and_is_positive(text) -> None:
    for encoding in ("o200k_base", "p50k_base"):
        estimated = load(encoding).count(text)
        assert isinstance(estimated, int)
        assert (estimated > 0) == (text != "")


@pytest.mark.parametrize(
    ("model", "encoding", "estimated"),
    [
        ("gpt-4o-2024-08-06", "o200k_base", False),
        ("openai:gpt-4.1-mini", "o200k_base", False),
        ("azure/gpt-5", "o200k_base", False),
        ("o3", "o200k_base", False),
        ("groq/openai/gpt-oss-20b", "o200k_base", False),
        ("gpt-4-turbo", "cl100k_base", False),
        ("gpt-3.5-turbo", "cl100k_base", False),
        ("text-embedding-3-small", "cl100k_base", False),
        ("my-model", "o200k_base", True),
    ],
)
def test_a_model_is_counted_with_its_own_vocabulary(official, model, encoding, estimated) -> None:
    text = "Der schnelle braune Fuchs übersprang 早い茶色の狐 быструю лису."
    assert counter_for(model).text(text) == len(official[encoding].encode_ordinary(text))
    assert counter_for(model).estimated is estimated
