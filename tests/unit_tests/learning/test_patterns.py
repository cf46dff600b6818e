"""Kinds of work are found by what they are called, wherever and however that is written."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.embeddings import Embeddings

from llmops_langchain import ConfigurationError
from llmops_langchain.learning.patterns import Patterns
from llmops_langchain.learning.phrases import stem, words_of

LABELLED = Path(__file__).parents[4] / "shared/data/learning/patterns_labelled.jsonl"
EIGHT = (
    "authentication", "crud", "real_time", "file_upload", "payment", "email", "search",
    "analytics",
)  # fmt: skip
DEFAULT = Patterns.default()
ONLY = DEFAULT.extended({"only": {"phrases": ["log in", "search box", "pay"]}})
PIECES = (
    "log in", "PAY", "İstanbul", "ﬁ", "検索", "📦", "search-box", "\u0301", "want to", "add",
    "so that I", ". ", "-", "emailDialog",
)  # fmt: skip
WORDS = st.text(alphabet=st.characters(categories=["Ll", "Lu"], max_codepoint=127), min_size=3)


def names(text: str, patterns: Patterns = DEFAULT) -> list[str]:
    return [each.name for each in patterns.found_in(text)]


def said(text: str, patterns: Patterns = DEFAULT) -> list[str]:
    return [text[start:end] for each in patterns.found_in(text) for start, end in each.spans]


def test_the_eight_patterns_are_known() -> None:
    assert set(DEFAULT.names) == set(EIGHT)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Build a login page with OAuth2 and password reset", "authentication"),
        ("A recipe app where users can add, edit and delete recipes", "crud"),
        ("Show positions in real time over WebSockets", "real_time"),
        ("Let people upload photos from their phone", "file_upload"),
        ("A shop with a Stripe checkout page", "payment"),
        ("Send a newsletter by e-mail every week", "email"),
        ("Full-text search over all articles", "search"),
        ("Charts and statistics of monthly visitors", "analytics"),
    ],
)
def test_each_is_found_by_its_usual_words(text: str, expected: str) -> None:
    assert names(text) == [expected]


@pytest.mark.parametrize("form", ["log in", "login", "Log-In", "LOGIN", "logging in", "logged in",
                                  "logIn", "log\nin", "log\u2011in"])  # fmt: skip
def test_a_phrase_is_found_however_it_is_written(form: str) -> None:
    assert said(f"People {form} here") == [form]


@pytest.mark.parametrize(
    "text", ["Check the payload of a message", "Keep-alive connections", "The research of birds",
             "The log. In the end nothing", "Feed the cat", "Author and catalog"],
)  # fmt: skip
def test_a_word_inside_another_is_not_found(text: str) -> None:
    assert names(text) == []


def test_names_in_code_are_read_in_parts() -> None:
    assert said("Implement Ti.UI.EmailDialog") == ["Email"]


def test_the_plural_of_an_acronym_is_the_same_word() -> None:
    assert names("Show KPIs") == names("Show a KPI") == ["analytics"]


def test_a_verb_counts_where_somebody_may_do_it_not_at_the_head_of_a_ticket() -> None:
    assert names("As an editor, I want to easily remove articles") == ["crud"]
    assert names("Remove compound fields in the schema") == []


def test_what_a_story_is_for_is_no_part_of_it() -> None:
    assert names("As a member, I want a list of names, so that I can pay them") == []
    assert names("Build a site so that members can pay") == ["payment"]


def test_several_patterns_in_a_task_are_all_found() -> None:
    assert names("Users sign in, search, and pay an invoice") == [
        "authentication", "payment", "search",
    ]  # fmt: skip


@given(st.text())
def test_any_text_is_read_and_spans_lie_in_it(text: str) -> None:
    for found in DEFAULT.found_in(text):
        assert found.spans
        assert 0.75 <= found.score <= 1
        assert all(0 <= start < end <= len(text) for start, end in found.spans)


@given(st.lists(st.sampled_from(PIECES)))
def test_spans_hold_what_was_found(parts: list[str]) -> None:
    text = " ".join(parts)
    found = [each for each in ONLY.found_in(text) if each.name == "only"]
    allowed = {stem("".join(words_of(each))) for each in ("log in", "search box", "pay")}
    for start, end in (span for each in found for span in each.spans):
        assert stem("".join(words_of(text[start:end]))) in allowed


@given(WORDS, st.text())
def test_the_same_text_gives_the_same(word: str, text: str) -> None:
    assert DEFAULT.found_in(word + text) == Patterns.default().found_in(word + text)


@given(
    st.text(alphabet=st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=40)
)
def test_a_phrase_is_literal_not_a_regular_expression(phrase: str) -> None:
    if not words_of(phrase) or len(words_of(phrase)) > 8:
        return
    own = Patterns.default().extended({"own": {"phrases": [phrase]}})
    assert "own" not in names("zebra zebra zebra", own) or "zebra" in phrase.lower()


def test_metacharacters_match_themselves_only() -> None:
    own = Patterns.default().extended({"own": {"phrases": ["a.*b", "(x+)+y"]}})
    assert names("axxb xxxxy", own) == []


def test_a_long_text_is_cut_not_chewed() -> None:
    assert names("I can add an add. Add so that " * 100_000) == ["crud"]
    assert names("x" * 30_000 + " pay") == []


def test_extending_leaves_the_default_alone() -> None:
    more = DEFAULT.extended({"maps": {"phrases": ["map"], "not": ["road map"]}})
    assert names("A map, no road map", more) == ["maps"]
    assert said("A map, no road map", more) == ["map"]
    assert "maps" not in DEFAULT.names
    assert "maps" not in Patterns.default().names


def test_a_pattern_of_the_same_name_is_replaced() -> None:
    other = DEFAULT.extended({"search": {"phrases": ["treasure hunt"]}})
    assert names("Search the treasure", other) == []
    assert other.names == DEFAULT.names


def test_patterns_are_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("version: 1\npatterns:\n  maps:\n    phrases: [géo carte]\n", "utf-8")
    assert names("Une Géo-Carte", Patterns.from_yaml(path)) == ["maps"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "mapping"),
        ("[]", "mapping"),
        ("{version: 2, patterns: {a: {phrases: [b]}}}", "version"),
        ("{version: 1, patterns: {}}", "patterns"),
        ("{version: 1, patterns: {a: {phrases: [b]}}, extra: 1}", "'extra'"),
        ("{version: 1, patterns: {a b: {phrases: [b]}}}", "'a b'"),
        ("{version: 1, patterns: {1: {phrases: [b]}}}", "got 1"),
        ("{version: 1, patterns: {a: [b]}}", "'a'"),
        ("{version: 1, patterns: {a: {regex: [b]}}}", "'regex'"),
        ("{version: 1, patterns: {a: {phrases: b}}}", "`phrases` of pattern 'a'"),
        ("{version: 1, patterns: {a: {phrases: [401]}}}", "got 401"),
        ("{version: 1, patterns: {a: {phrases: ['--']}}}", "'--'"),
        ("{version: 1, patterns: {a: {phrases: [b c d e f g h i j]}}}", "8 words"),
        ("{version: 1, patterns: {a: {description: x}}}", "needs `phrases`"),
        ("{version: 1, patterns: {a: {description: [], phrases: [b]}}}", "`description`"),
        ("{version: 1, patterns: {a: {phrases: [b]}}, none: 3}", "`none`"),
        ("{version: 1, patterns: {a: &x {phrases: [b]}, c: *x}}", "aliases"),
        ("!!python/object/apply:os.system ['true']", "YAML"),
        ("{version: 2024-99-99}", "YAML"),
        ("[" * 20_000, "deeper"),
        ("? " * 20_000, "deeper"),
        ("{a: b", "YAML"),
        ("\x00", "YAML"),
        ("x" * 300_000, "characters"),
    ],
)  # fmt: skip
def test_a_wrong_lexicon_is_refused_by_name(text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(told)):
        Patterns.from_yaml(text)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"none\.yaml"):
        Patterns.from_yaml(tmp_path / "none.yaml")


@given(st.text())
def test_any_yaml_is_read_or_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Patterns.from_yaml(text)


class ByLetters(Embeddings):
    """Texts with a `z` point one way, all others another; counts what it embeds."""

    def __init__(self) -> None:
        self.batches = list[list[str]]()

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        self.batches.append(texts)
        return [[1.0, 0.0] if "z" in text else [0.0, 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


OWN = """
version: 1
none: [nothing at all]
patterns:
  quiz: {weak: [question], prototypes: [a quick quiz]}
  other: {phrases: [banana]}
"""


def test_a_weak_phrase_counts_where_its_sentence_is_near_the_prototypes() -> None:
    near = Patterns.from_yaml(OWN, embeddings=ByLetters())
    assert names("Soon. The zebra asks a question. Later.", near) == ["quiz"]
    assert names("A zebra. A question. The zebra.", near) == []
    assert names("The zebra asks a question.", Patterns.from_yaml(OWN)) == []


def test_prototypes_are_embedded_once_for_all_threads() -> None:
    embeddings = ByLetters()
    near = Patterns.from_yaml(OWN, embeddings=embeddings)
    assert embeddings.batches == []
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(near.found_in, ["A question"] * 50))
    assert embeddings.batches.count(["a quick quiz"]) == 1


def test_clear_phrases_are_never_embedded() -> None:
    embeddings = ByLetters()
    assert names("A banana", Patterns.from_yaml(OWN, embeddings=embeddings)) == ["other"]
    assert embeddings.batches == []


class Broken(ByLetters):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        raise ConnectionError(len(texts))


def test_without_a_working_embedder_words_are_left() -> None:
    broken = Patterns.default(embeddings=Broken())
    text = "Users log in and see a dashboard"
    assert names(text, broken) == names(text)


@pytest.mark.skipif(not LABELLED.exists(), reason="../shared/data is missing")
def test_labelled_stories_are_told_apart() -> None:
    rows = [json.loads(line) for line in LABELLED.read_text("utf-8").splitlines()]
    pairs = [(set(names(row["text"])), set(row["labels"])) for row in rows]
    right = sum(len(found & labels) for found, labels in pairs)
    all_ = sum(len(found) + len(labels) for found, labels in pairs)
    assert 2 * right / all_ >= 0.85
