"""Why a call was not answered from the cache, for whoever has to change that."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.cache.explain import Explanation, explain
from llmops_langchain.cache.store import Entry
from llmops_langchain.wrapping import PARTS, CallParts

NOW = 1_800_000_000.0
values = st.fixed_dictionaries(dict.fromkeys(PARTS, st.sampled_from([b"a", b"b"])))


def parts(**changes: bytes) -> CallParts:
    return CallParts(**{**dict.fromkeys(PARTS, b"a"), **changes})


def entry(age: float = 12.0, *, ttl: float = 3600.0, **changes: bytes) -> Entry:
    """A call kept `age` seconds ago that differs in these parts."""
    kept = NOW - age
    fingerprint = parts(**changes).fingerprint
    return Entry(value=b"", created_at=kept, expires_at=kept + ttl, fingerprint=fingerprint)


def explained(*kept: Entry) -> Explanation:
    return explain(parts().fingerprint, kept, now=NOW)


def test_the_part_that_differs_is_named_with_a_hint() -> None:
    told = explained(entry(history=b"b"))
    assert (told.status, told.differs, told.age) == ("miss", ("history",), 12.0)
    assert str(told) == (
        "miss: `history` differs from the nearest kept call, 12 s old (an earlier turn)"
    )


@pytest.mark.parametrize(
    ("changes", "start"),
    [
        (("tools", "history"), "miss: `tools` and `history` differ from the nearest kept call"),
        (("scope", "model", "question"), "miss: `scope`, `model` and `question` differ from"),
    ],
    ids=["two", "three"],
)
def test_several_parts_make_one_sentence(changes, start) -> None:
    assert str(explained(entry(**dict.fromkeys(changes, b"b")))).startswith(start)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_a_hint(part) -> None:
    told = explained(entry(**{part: b"b"}))
    assert told.differs == (part,)
    assert told.reason.endswith(")")


def test_a_fresh_answer_is_a_hit() -> None:
    told = explained(entry(model=b"b"), entry())
    assert (told.status, told.differs, str(told)) == ("hit", (), "hit: kept 12 s ago")


def test_a_stale_answer_is_expired() -> None:
    told = explained(entry(7200.0))
    assert (told.status, told.age) == ("expired", 7200.0)
    assert str(told) == "expired: the answer was kept 2 h ago and is too old"


def test_whoever_asks_says_what_is_too_old() -> None:
    fingerprint = parts().fingerprint
    told = explain(fingerprint, [entry()], now=NOW, accepts=lambda kept, now: now < kept.created_at)
    assert told.status == "expired"


@pytest.mark.parametrize(
    "kept",
    [[], [Entry(value=b"", created_at=NOW)], [Entry(value=b"", created_at=NOW, fingerprint=b"a")]],
    ids=["nothing", "no fingerprint", "another form"],
)
def test_with_nothing_to_compare_it_says_so(kept) -> None:
    told = explained(*kept)
    assert (told.status, told.differs, told.age) == ("miss", (), None)
    assert str(told) == "miss: nothing is kept that it could be compared with"


def test_of_equally_near_calls_the_newest_is_taken() -> None:
    told = explained(entry(30.0, tools=b"b"), entry(5.0, model=b"b"), entry(9.0, tools=b"b"))
    assert (told.differs, told.age) == (("model",), 5.0)


@given(st.lists(values, min_size=1, max_size=4))
def test_the_nearest_call_differs_in_the_fewest_parts(calls) -> None:
    told = explained(*(entry(**call) for call in calls))
    fewest = min(calls, key=lambda call: sum(each != b"a" for each in call.values()))
    assert len(told.differs) == sum(each != b"a" for each in fewest.values())


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (-3.0, "0 s"),
        (0.4, "0 s"),
        (119.0, "119 s"),
        (120.0, "2 min"),
        (7300.0, "2 h"),
        (2e5, "2 d"),
    ],
)
def test_ages_are_told_as_one_reads_them(age, words) -> None:
    assert f"{words} " in f"{explained(entry(age, tools=b'b'))} ".replace("days", "d")


def test_a_call_without_a_key_tells_why() -> None:
    told = Explanation(status="no key", reason="the tool 'web_search' runs at the provider")
    assert str(told) == "no key: the tool 'web_search' runs at the provider"
