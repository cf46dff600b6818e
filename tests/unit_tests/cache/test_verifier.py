"""The verifier as it ships: what passes, what never does, and whose weights it takes."""

import json
import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from llmops_langchain.cache.verifier import WEIGHTS, Scale, Verifier, shipped_verifier
from llmops_langchain.embeddings import (
    HashedEmbeddings,
    MiniLMEmbeddings,
    WordLlamaEmbeddings,
    unit,
)
from llmops_langchain.errors import ConfigurationError

SHIPPED = json.loads(WEIGHTS.read_text("utf-8"))
FAMILIES = sorted(SHIPPED["families"])
NEAR = st.floats(0.0, 1.0)

TEMPLATES = (
    "Can I {} after {} days?",
    "May we {} at {}pm?",
    "Do I have to {} within {} weeks?",
    "Is it possible to {} on the {}th of June?",
    "What happens if I {} more than {} times?",
    "How much does it cost to {} for {} people?",
)
DEEDS = ("cancel the booking", "return the shoes", "open a second account", "feed the cat")
NOT = {"Can I": "Can I not", "May we": "May we not", "Do I": "Do I not", "Is it": "Is it not",
       "if I": "if I do not", "does it": "does it not"}  # fmt: skip


def of_family(name: str) -> Verifier:
    return Verifier(SHIPPED["families"][name], version="test")


def negated(question: str) -> str:
    return next(question.replace(a, b, 1) for a, b in NOT.items() if a in question)


class Stretched(Embeddings):
    """An embedder nobody knows: hashed words with another scale of cosines."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.calls.append(len(texts))
        return [[*vector, 2.0] for vector in HashedEmbeddings().embed_documents(texts)]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


class Constant(Embeddings):
    """An embedder that knows nothing."""

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [[1.0, 0.0] for _ in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


@pytest.fixture(params=FAMILIES)
def verifier(request) -> Verifier:
    return of_family(request.param)


@pytest.mark.parametrize(
    "question", ["Hi, Can I park here? Thanks!!", "can i  park here", "CAN I PARK HERE"]
)
def test_one_question_in_two_spellings_is_certain(verifier, question) -> None:
    assert verifier.verdict(question, "Can I park here?", 0.1) == (1.0, ())


def test_a_slip_passes_the_strictest_threshold(verifier) -> None:
    slips = (
        "How do I renew my pasport?",
        "how do i rnew my passport",
        "How do I renew my passprot?",
    )
    for slip in slips:
        assert verifier.verdict(
            slip, "How do I renew my passport?", 0.8
        ).score >= verifier.threshold(0.01)


def test_a_small_change_of_words_passes_the_strictest_threshold(verifier) -> None:
    score = verifier.verdict("How can I renew my card?", "How do I renew my card?", 0.98).score
    assert score >= verifier.threshold(0.01)


@pytest.mark.parametrize(("template", "deed"), [*product(TEMPLATES, DEEDS)])
def test_a_negation_never_passes(verifier, template, deed) -> None:
    question = template.format(deed, 4)
    score = verifier.verdict(question, negated(question), 1.0).score
    assert score < verifier.threshold(0.01)


@pytest.mark.parametrize(("template", "deed"), [*product(TEMPLATES, DEEDS)])
def test_another_number_never_passes(verifier, template, deed) -> None:
    score = verifier.verdict(template.format(deed, 4), template.format(deed, 9), 1.0).score
    assert score < verifier.threshold(0.01)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("How do I fly from Oslo to Rome?", "How do I fly from Rome to Oslo?"),
        ("How do I lock the door?", "How do I unlock the door?"),
        ("Is the bar open on Monday?", "Is the bar open on Friday?"),
        ("How do I reset my password?", "How do I reset my colleague's password?"),
        ("Is the branch in Camden open?", "Is the branch in Brixton open?"),
        ("How do I cook rice?", "How do I cook quinoa?"),
        ("solve -x = 5", "solve x = 5"),
        ("What does 5 - 3 make?", "What does 5 + 3 make?"),
    ],
)
def test_traps_never_pass(verifier, one, other) -> None:
    verdict = verifier.verdict(one, other, 0.9)
    assert verdict.score < verifier.threshold(0.01)
    assert verdict.reasons


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Wie ändere ich mein Passwort?", "Wie lösche ich mein Passwort?"),
        ("cuanto cuesta el vuelo", "cuanto cuesta el hotel"),
        ("Как изменить пароль?", "Как удалить пароль?"),
        ("パスワードを変更する", "パスワードを削除する"),
        ("हिन्दी में", "हनद म"),
        ("???", "!!!"),
        ("\U0001f642", "\U0001f621"),
        ("", "?"),
        ("word " * 70, "word " * 71),
    ],
)
def test_what_cannot_be_compared_never_passes(verifier, one, other) -> None:
    assert verifier.verdict(one, other, 1.0).score < verifier.floor


@pytest.mark.parametrize(
    "text", ["Wie ändere ich mein Passwort?", "Как дела?", "ですか", "word " * 90, "?", ""]
)
def test_the_same_text_passes_in_any_language(verifier, text) -> None:
    assert verifier.verdict(text, text, 1.0).score == 1.0
    assert verifier.verdict(text, text.upper().lower(), 1.0).score == 1.0


@settings(max_examples=50, deadline=None)
@given(st.sampled_from(FAMILIES), st.text(max_size=80), st.text(max_size=80), st.floats())
def test_any_verdict_is_a_probability_with_fixed_reasons(family, one, other, cosine) -> None:
    verdict = of_family(family).verdict(one, other, cosine)
    assert 0.0 <= verdict.score <= 1.0
    assert not math.isnan(verdict.score)
    assert verdict == of_family(family).verdict(other, one, cosine)
    assert set(verdict.reasons) <= {
        "not comparable",
        "opposite words",
        "one is negated",
        "another direction",
        "another number or sign",
        "a number is missing",
        "another day or time",
        "another unit",
        "another name",
        "a name is missing",
        "words changed places",
        "another person",
        "something else is asked",
        "other words",
    }


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(FAMILIES), NEAR, NEAR)
def test_a_nearer_vector_never_lowers_a_score(family, one, other) -> None:
    verifier = of_family(family)
    low, high = sorted((one, other))
    pair = "How do I order a card?", "I want another card, how do I get one?"
    assert verifier.verdict(*pair, low).score <= verifier.verdict(*pair, high).score


def test_a_higher_share_of_wrong_never_raises_a_threshold(verifier) -> None:
    thresholds = [verifier.threshold(error) for error in np.linspace(0.0, 1.0, 101)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == 1.01
    assert thresholds[-1] >= verifier.floor > 0.0


def test_the_thresholds_promised_are_reached(verifier) -> None:
    assert verifier.threshold(0.01) < 1.0
    assert verifier.threshold(0.05) < verifier.threshold(0.01)


def test_known_embedders_have_weights_of_their_own() -> None:
    hashed = shipped_verifier(HashedEmbeddings())
    assert hashed.version == f"{SHIPPED['version']}-hashed"
    assert hashed.threshold(0.01) == of_family("hashed").threshold(0.01)


def test_wordllama_has_weights_of_its_own() -> None:
    pytest.importorskip("wordllama", reason="needs the package wordllama")
    assert shipped_verifier(WordLlamaEmbeddings()).version.endswith("-wordllama")


def test_minilm_has_weights_of_its_own(minilm_files) -> None:
    assert shipped_verifier(MiniLMEmbeddings(minilm_files)).version.endswith("-minilm")


def test_an_unknown_embedder_is_asked_once_for_the_anchors() -> None:
    embeddings = Stretched()
    verifier = shipped_verifier(embeddings)
    assert embeddings.calls == [2 * len(SHIPPED["anchors"])]
    assert verifier.version == f"{SHIPPED['version']}-generic"
    assert verifier.threshold(0.01) == of_family("generic").threshold(0.01)


def test_cosines_of_an_unknown_embedder_are_brought_to_scale() -> None:
    plain, stretched = HashedEmbeddings(), Stretched()
    pair = "How do I order a new card?", "I want another card, how do I get one?"
    scores = []
    for embeddings in (plain, stretched):
        one, other = unit(embeddings.embed_documents(list(pair)))
        scale = Scale.measured(embeddings, SHIPPED["anchors"])
        verifier = Verifier(SHIPPED["families"]["generic"], version="test", scale=scale)
        scores.append(verifier.verdict(*pair, float(one @ other)).score)
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)


@pytest.mark.parametrize("embeddings", [Constant(), DeterministicFakeEmbedding(size=64)])
def test_of_an_embedder_without_a_meaning_only_the_same_question_passes(embeddings) -> None:
    verifier = shipped_verifier(embeddings)
    assert verifier.threshold(0.2) == 1.0
    assert verifier.verdict("Is it open?", "is it open", 0.3).score == 1.0
    assert verifier.verdict("How can I park?", "How do I park?", 1.0).score < 1.0


@given(NEAR, NEAR)
def test_a_scale_keeps_the_order(one, other) -> None:
    scale = Scale.measured(HashedEmbeddings(), SHIPPED["anchors"])
    low, high = sorted((one, other))
    assert -1.0 <= scale.to(low) <= scale.to(high) <= 1.0


def test_weights_for_other_features_are_refused() -> None:
    weights = SHIPPED["families"]["minilm"] | {"weights": [1.0]}
    with pytest.raises(ConfigurationError, match="other features"):
        Verifier(weights, version="0")


def test_the_weights_say_where_they_are_from_and_hold_no_foreign_text() -> None:
    told = SHIPPED["provenance"]
    assert "Mabon ap Gwyn" in json.dumps(told)
    assert {each["licence"].split(",")[0] for each in told["data"]} == {"MIT", "CC BY 4.0"}
