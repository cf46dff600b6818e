"""`track` says for whom a call is made; metadata may fill in, never override."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import asdict
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.ledger import Scope, current_scope, track

NAMES = ("workspace", "project", "task", "user", "agent", "thread")
KEYS = [*NAMES[:-1], *(f"{name}_id" for name in NAMES), "session_id"]
scopes = st.fixed_dictionaries({}, optional=dict.fromkeys(NAMES, st.text(max_size=5)))
tags = st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3)
metadata = st.dictionaries(st.sampled_from(KEYS), st.text(max_size=5) | st.integers() | st.none())


def test_outside_of_any_track_nobody_is_named() -> None:
    assert current_scope() == Scope()


@given(scopes, tags, scopes, tags)
def test_an_inner_track_overrides_what_it_names_and_inherits_the_rest(
    outer: dict, outer_tags: dict, inner: dict, inner_tags: dict
) -> None:
    with track(**outer, tags=outer_tags) as around:
        with track(**inner, tags=inner_tags) as scope:
            assert scope == current_scope()
            assert scope == Scope(**(outer | inner), tags=outer_tags | inner_tags)
        assert current_scope() == around == Scope(**outer, tags=outer_tags)
    assert current_scope() == Scope()


def test_an_error_inside_ends_the_scope_too() -> None:
    with pytest.raises(KeyError), track(project="shop"):
        raise KeyError
    assert current_scope() == Scope()


@given(scopes, tags, metadata)
def test_metadata_never_overrides_what_was_named(said: dict, tags: dict, metadata: dict) -> None:
    scope = Scope(**said, tags=tags)
    filled = asdict(scope.filled_from(metadata))
    assert filled.items() >= said.items()
    assert filled["tags"] == tags


@given(metadata)
def test_metadata_fills_what_is_silent(metadata: dict) -> None:
    filled = Scope().filled_from(metadata)
    for name in NAMES[:-1]:
        given = [metadata.get(key) for key in (name, f"{name}_id")]
        expected = next((str(each) for each in given if each is not None), None)
        assert getattr(filled, name) == expected


def test_a_thread_is_known_by_two_names() -> None:
    assert Scope().filled_from({"thread_id": "a", "session_id": "b"}).thread == "a"
    assert Scope().filled_from({"session_id": "b"}).thread == "b"


async def test_tasks_inherit_the_scope_and_keep_theirs_apart() -> None:
    async def run(task: str) -> Scope:
        with track(task=task):
            await asyncio.sleep(0)
            return current_scope()

    with track(project="shop"):
        found = await asyncio.gather(run("a"), run("b"), asyncio.to_thread(current_scope))
    assert found == [
        Scope(project="shop", task="a"),
        Scope(project="shop", task="b"),
        Scope(project="shop"),
    ]


def test_a_plain_thread_starts_empty() -> None:
    found = []
    with track(project="shop"):
        thread = Thread(target=lambda: found.append(current_scope()))
        thread.start()
        thread.join()
    assert found == [Scope()]


def test_a_copied_context_carries_the_scope() -> None:
    with ThreadPoolExecutor(1) as pool, track(project="shop") as scope:
        assert pool.submit(copy_context().run, current_scope).result() == scope


def test_a_block_may_be_left_in_another_context() -> None:
    """As a web framework does with `yield` dependencies."""
    block = track(project="p")
    copy_context().run(block.__enter__)
    block.__exit__(None, None, None)  # what was set there is not to be taken back here
    assert current_scope().project is None


def test_a_number_is_the_id_that_it_is_written_as() -> None:
    with track(user=42, project="p") as scope:  # type: ignore[arg-type]
        assert scope.user == "42"
