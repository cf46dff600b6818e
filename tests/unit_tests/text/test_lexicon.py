"""The list of words: forms, synonyms and opposites, and its size."""

from importlib.resources import files

import pytest

from llmops_langchain.text.lexicon import (
    known,
    lemma,
    names_person,
    names_thing,
    negative,
    only_verb,
    opposed,
    synonyms,
    weight,
)


@pytest.mark.parametrize(
    ("form", "base"),
    [
        ("charging", "charge"),
        ("deliveries", "delivery"),
        ("stopped", "stop"),
        ("children", "child"),
        ("went", "go"),
        ("glass", "glass"),
        ("status", "status"),
        ("boiler", "boiler"),
        ("zzyzxes", "zzyzxe"),
    ],
)
def test_forms_lead_to_the_dictionary_form(form, base) -> None:
    assert lemma(form) == base


@pytest.mark.parametrize("pair", ["start begin", "baggage luggage", "last final", "sofa couch"])
def test_synonyms_share_a_meaning_both_ways(pair) -> None:
    one, other = pair.split()
    assert synonyms(one, other)
    assert synonyms(other, one)
    assert not opposed(one, other)


@pytest.mark.parametrize(
    "pair",
    [
        "lock unlock",
        "include exclude",
        "enable disable",
        "allowed banned",
        "buying selling",
        "safe unsafe",
        "most least",
        "increase decrease",
        "landlord tenant",
        "import export",
    ],
)
def test_opposites_are_opposites_both_ways(pair) -> None:
    one, other = pair.split()
    assert opposed(one, other)
    assert opposed(other, one)


@pytest.mark.parametrize("pair", ["rice potato", "street house", "press express_", "go going"])
def test_other_words_are_neither(pair) -> None:
    one, other = pair.split()
    assert not opposed(one, other)


def test_a_prefix_can_make_a_word_negative() -> None:
    assert all(map(negative, ["unsafe", "illegal", "unable"]))
    assert not any(map(negative, ["invoice", "uncle", "income", "under"]))


def test_what_words_name() -> None:
    assert names_person("landlord")
    assert not names_person("boiler")
    assert names_thing("quokka")
    assert names_thing("boiler")
    assert not names_thing("quickly")
    assert only_verb("allow")
    assert not only_verb("order")


def test_rare_words_say_more_than_common_ones() -> None:
    assert 0.2 <= weight("be") < weight("ticket") < weight("quokka") == 1.0


def test_british_spelling_is_known() -> None:
    assert known("summarise")
    assert known("colour")
    assert not known("quokkaz")


def test_the_data_of_the_package_stay_small() -> None:
    shipped = [
        *files("llmops_langchain.text").iterdir(),
        files("llmops_langchain.cache") / "verifier_weights.json",
    ]
    sizes = [
        len(file.read_bytes()) for file in shipped if file.is_file() and ".py" not in file.name
    ]
    assert sum(sizes) < 300_000
    assert "Princeton" in files("llmops_langchain.text").joinpath("lexicon.LICENSE").read_text()
