"""An event comes back from a row and from a line of a journal as it went in."""

from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from sys import float_info
from types import MappingProxyType
from uuid import UUID, uuid4

import numpy as np
import orjson
import pytest
from hypothesis import given
from unit_tests.ledger.reading import any_event, metric

from llmops_langchain.ledger import Event
from llmops_langchain.ledger.event import as_row, from_row, storable
from llmops_langchain.ledger.journal import encode
from llmops_langchain.storage.schema import events


def journalled(event: Event) -> Event:
    line = encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    return from_row(orjson.loads(line))


def test_an_event_has_a_field_for_each_column() -> None:
    assert set(as_row(metric())) == {column.key for column in events.c}


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        metric().name = "other"


@given(any_event)
def test_a_row_is_its_event(event: Event) -> None:
    assert from_row(as_row(event)) == event


@given(any_event)
def test_a_journal_keeps_all_but_what_only_memory_knows(event: Event) -> None:
    expected = replace(event, cache_key=None, features=None)
    assert storable(journalled(event)) == storable(expected)


@given(any_event)
def test_a_storable_event_goes_through_the_journal_unchanged(event: Event) -> None:
    clean = replace(storable(event), cache_key=None, features=None)
    assert journalled(clean) == clean == storable(clean)


@pytest.mark.parametrize("event", [metric(0), metric(0.0), metric(ts=0.0, unit="", latency=0.0)])
def test_a_journal_tells_zero_from_nothing(event: Event) -> None:
    assert journalled(event) == event


def test_columns_of_a_later_release_are_passed_over() -> None:
    event = metric()
    assert from_row(as_row(event) | {"novelty": 1}) == event


def test_a_row_that_was_selected_is_an_event() -> None:
    event = metric(user="me")
    by_name = {column.name: as_row(event)[column.key] for column in events.c}
    assert from_row(by_name) == event


def test_ids_may_be_text() -> None:
    identity = uuid4()
    assert from_row({"name": "a", "ts": 0, "id": str(identity)}).id == identity


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3.0),
        (Decimal("1.25"), 1.25),
        (np.bool_(1), 1.0),
        (True, 1.0),
        (2**70, 2.0**70),
        (10**400, float_info.max),
        (-(10**400), -float_info.max),
    ],
)
def test_a_number_of_another_type_becomes_pythons_own(given: object, becomes: float) -> None:
    value = storable(metric(given)).value
    assert (value, type(value)) == (becomes, type(becomes))
    assert storable(journalled(metric(given))).value == becomes


def test_a_count_fits_its_column() -> None:
    event = storable(metric(input_tokens=2**40, cost=2**40, saved=-(2**70)))
    assert (event.input_tokens, event.cost, event.saved) == (2**31 - 1, 2**40, -(2**63))


def test_text_keeps_what_every_database_takes() -> None:
    event = storable(metric(project="a\0b\ud800c", tags={"k\0": "\udfff"}))
    assert (event.project, event.tags) == ("ab?c", {"k": "?"})


def test_only_text_that_is_indexed_is_cut() -> None:
    event = storable(metric(workspace="w" * 1000, agent="a" * 1000))
    assert (len(event.workspace), len(event.agent)) == (300, 1000)


def test_tags_may_be_any_mapping_and_a_value_anything() -> None:
    event = metric(tags=MappingProxyType({"env": UUID(int=1)}))
    assert journalled(event).tags == {"env": str(UUID(int=1))}
    assert storable(event).tags == {"env": str(UUID(int=1))}
