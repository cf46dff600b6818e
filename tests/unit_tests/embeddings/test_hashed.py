"""What is said of hashed words alone: the same vector everywhere, and what counts."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain import ConfigurationError
from llmops_langchain.embeddings import HashedEmbeddings, identity


def near(embeddings: HashedEmbeddings, a: str, b: str) -> float:
    return float(np.dot(*embeddings.embed_documents([a, b])))


def test_a_vector_is_the_same_in_every_release(hashed) -> None:
    """If this fails, `model_name` must end in another number: kept vectors are worth nothing."""
    vector = np.array(HashedEmbeddings(8).embed_query("Reset my Password, reset it!"))
    assert hashed.model_name == "hashed-words-1"
    known = [0.2099, 0.309, -0.309, -0.6739, 0.0, -0.4008, 0.1904, 0.3376]
    assert vector.round(4).tolist() == known


@pytest.mark.parametrize("seed", ["0", "1"])
def test_a_vector_is_the_same_in_every_process(hashed, seed) -> None:
    program = (
        "from llmops_langchain.embeddings import HashedEmbeddings\n"
        "print(HashedEmbeddings().embed_query('reset my pässword \\U0001f600'))"
    )
    command = [sys.executable, "-c", program]
    told = subprocess.check_output(command, env={"PYTHONHASHSEED": seed}, encoding="utf-8")
    assert told.strip() == str(hashed.embed_query("reset my pässword 😀"))


@given(text=st.text(max_size=60), dimensions=st.integers(1, 16))
def test_few_dimensions_give_unit_vectors_too(text, dimensions) -> None:
    """Also where all features of a text cancel."""
    vector = HashedEmbeddings(dimensions).embed_query(text)
    assert len(vector) == dimensions
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_case_width_and_space_do_not_count(hashed) -> None:
    wide = "\N{FULLWIDTH LATIN CAPITAL LETTER M}\N{FULLWIDTH LATIN CAPITAL LETTER Y}"
    assert near(hashed, f"Reset  {wide} PASSWORD", "reset my password\n") == pytest.approx(1)


def test_signs_count_inside_a_word_and_not_around_it(hashed) -> None:
    assert near(hashed, "C++", "C#") < 0.5
    assert near(hashed, "(reset) my 'password'?!", "reset my password") == pytest.approx(1)


def test_word_order_counts_a_little(hashed) -> None:
    assert 0.8 < near(hashed, "man bites dog", "dog bites man") < 0.99


def test_spelling_counts(hashed) -> None:
    assert near(hashed, "resetting", "resets") > near(hashed, "resetting", "weather") + 0.2


def test_a_word_said_often_counts_less_than_in_proportion(hashed) -> None:
    assert near(hashed, "password " * 50 + "weather", "weather") > 0.1


def test_texts_without_words_differ(hashed) -> None:
    assert abs(near(hashed, "?!", "👍")) < 0.5


def test_dimensions_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="`dimensions`"):
        HashedEmbeddings(0)


def test_other_dimensions_are_another_name(hashed) -> None:
    assert identity(HashedEmbeddings(256)) != identity(hashed)
