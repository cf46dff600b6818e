"""Every store keeps what `Store` promises: one more place for answers is one more param here."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cache as once
from itertools import product
from threading import Barrier
from typing import Any
from uuid import uuid4

import pytest
from conftest import FakeClock, one_of_each_kind
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmops_langchain import Database
from llmops_langchain.cache.memory_store import MemoryStore
from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.cache.sql_store import SqlStore
from llmops_langchain.cache.store import Entry, Store
from llmops_langchain.errors import ConfigurationError

NOW = FakeClock().now
KEY, OTHER, THIRD = (bytes([each]) * 32 for each in (0, 128, 255))
SQL = ("sqlite_memory", "sqlite_file", "postgresql")

OpenStore = Callable[..., Store]


def entry(value: bytes = b"answer", *tags: str, at: float = NOW, **fields: Any) -> Entry:
    return Entry(value=value, created_at=at, tags=frozenset(tags), **fields)


@pytest.fixture(scope="module")
def databases(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Database]]:
    with one_of_each_kind(request, tmp_path_factory.mktemp("stores"), schema="stores") as opened:
        yield opened


@pytest.fixture(params=["memory_store", *SQL, "valkey"])
def open_store(request: pytest.FixtureRequest) -> Iterator[OpenStore]:
    """Opens stores on one place, which is empty at first; `name` tells its spaces apart."""
    test = f"test_{uuid4().hex}"
    if request.param == "memory_store":
        yield once(MemoryStore)
    elif request.param == "valkey":
        url = request.getfixturevalue("valkey_url")
        with ExitStack() as opened:
            yield lambda name="answers": opened.enter_context(RedisStore(url, space=test + name))
    else:
        database = request.getfixturevalue("databases")(request.param)
        yield lambda name="answers", **options: SqlStore(database, space=test + name, **options)


@pytest.fixture
def store(open_store: OpenStore) -> Store:
    return open_store()


@pytest.fixture
def other(open_store: OpenStore) -> Store:
    """What another process sees: an object of its own on the same place."""
    return open_store()


class TestEntries:
    def test_what_was_never_kept_is_not_there(self, store: Store) -> None:
        assert store.get(KEY) is None

    def test_an_entry_comes_back_as_it_was_kept_but_for_its_tags(self, store, other) -> None:
        kept = entry(
            b"\x00\xff", "a", at=NOW + 0.25, expires_at=NOW + 60.5, fingerprint=b"\x00\xfe"
        )
        assert store.put(KEY, kept)
        assert store.get(KEY) == other.get(KEY) == replace(kept, tags=frozenset())

    def test_an_entry_without_an_end_and_parts_comes_back_too(self, store: Store) -> None:
        store.put(KEY, entry(b""))
        assert store.get(KEY) == entry(b"")

    def test_a_long_value_comes_back_whole(self, store: Store) -> None:
        store.put(KEY, entry(value := os.urandom(1_000_000)))
        assert store.get(KEY).value == value

    def test_the_latest_entry_replaces_every_field(self, store: Store) -> None:
        store.put(KEY, entry(b"old", expires_at=NOW + 9, fingerprint=b"old"))
        store.put(KEY, entry(b"new", at=NOW + 1))
        assert store.get(KEY) == entry(b"new", at=NOW + 1)

    def test_keys_do_not_meet(self, store: Store) -> None:
        store.put(KEY, entry(b"1"))
        store.put(OTHER, entry(b"2"))
        assert (store.get(KEY).value, store.get(OTHER).value) == (b"1", b"2")
        assert store.get(THIRD) is None

    def test_a_stale_entry_is_returned_for_the_caller_to_judge(self, store, clock) -> None:
        store.put(KEY, entry(expires_at=NOW + 60))
        store.put(OTHER, entry(at=NOW + 100))
        clock.advance(100)
        assert not store.get(KEY).is_fresh(clock())

    def test_an_end_beyond_all_time_is_none_in_effect(self, store: Store) -> None:
        assert store.put(KEY, entry(expires_at=float("inf")))
        assert store.get(KEY).is_fresh(1e300)


class TestPurge:
    def test_what_is_stale_goes_and_the_rest_stays(self, store: Store, other: Store) -> None:
        store.put(KEY, entry(b"1", "a", expires_at=NOW + 60))
        store.put(OTHER, entry(b"2", expires_at=NOW + 61))
        store.put(THIRD, entry(b"3"))
        assert other.purge(now=NOW + 60) == (0 if isinstance(store, RedisStore) else 1)
        assert isinstance(store, RedisStore) or store.get(KEY) is None
        assert store.get(OTHER).value == b"2"
        assert store.get(THIRD).value == b"3"


class TestTags:
    def test_invalidation_drops_the_entries_with_the_tag(self, store, other) -> None:
        store.put(KEY, entry(b"1", "a"))
        store.put(OTHER, entry(b"2", "b"))
        store.put(THIRD, entry(b"3"))
        other.invalidate(["a"], now=NOW)
        assert [store.get(key) is None for key in (KEY, OTHER, THIRD)] == [True, False, False]

    def test_the_keys_of_a_tag_are_told(self, store: Store, other: Store) -> None:
        store.put(KEY, entry(b"1", "a", "b"))
        store.put(OTHER, entry(b"2", "b"))
        store.put(THIRD, entry(b"3", "c"))
        assert set(other.tagged(["a", "b"])) == {KEY, OTHER}
        assert set(other.tagged(["b", "never"])) == {KEY, OTHER}
        assert list(store.tagged([])) == []

    def test_an_entry_has_the_tags_it_was_kept_with_last(self, store: Store) -> None:
        store.put(KEY, entry(b"1", "a"))
        store.put(KEY, entry(b"2", "b"))
        store.tag(KEY, ["c"])
        assert [list(store.tagged([tag])) for tag in "abc"] == [[], [KEY], [KEY]]

    def test_more_keys_than_fit_on_a_page_are_told(self, store: Store) -> None:
        keys = {number.to_bytes(32, "big") for number in range(1_100)}
        for key in keys:
            store.put(key, entry(b"", "a"))
        assert set(store.tagged(["a"])) == keys

    def test_what_was_invalidated_has_no_tag(self, store: Store) -> None:
        store.put(KEY, entry(b"1", "a"))
        store.invalidate(["a"], now=NOW)
        assert list(store.tagged(["a"])) == []

    def test_any_of_several_tags_is_enough(self, store: Store) -> None:
        store.put(KEY, entry(b"1", "a", "b"))
        store.put(OTHER, entry(b"2", "c"))
        store.put(THIRD, entry(b"3", "d"))
        store.invalidate(["b", "c", "e"], now=NOW)
        assert [store.get(key) is None for key in (KEY, OTHER, THIRD)] == [True, True, False]

    @pytest.mark.parametrize("tag", ["", "*", "a:b/c d", "größe \N{SNOWMAN}", "x" * 200, "%_'\""])
    def test_a_tag_is_any_text_and_no_pattern(self, store: Store, tag: str) -> None:
        store.put(KEY, entry(b"1", tag))
        store.put(OTHER, entry(b"2", "other"))
        store.invalidate([tag], now=NOW)
        assert [store.get(key) is None for key in (KEY, OTHER)] == [True, False]

    def test_a_later_entry_has_its_own_tags_only(self, store: Store) -> None:
        store.put(KEY, entry(b"1", "a"))
        store.put(KEY, entry(b"2", "b"))
        store.invalidate(["a"], now=NOW)
        assert store.get(KEY).value == b"2"
        store.invalidate(["b"], now=NOW)
        assert store.get(KEY) is None

    def test_a_tag_added_later_counts_beside_the_first(self, store, other) -> None:
        for key in (KEY, OTHER, THIRD):
            store.put(key, entry(b"1", "a"))
        store.tag(KEY, ["b", "c"])
        other.tag(OTHER, ["c", "a"])
        store.invalidate(["c"], now=NOW)
        assert [store.get(key) is None for key in (KEY, OTHER, THIRD)] == [True, True, False]
        store.invalidate(["a"], now=NOW)
        assert store.get(THIRD) is None

    def test_tagging_changes_nothing_else(self, store: Store) -> None:
        kept = entry(b"1", expires_at=NOW + 60, fingerprint=b"parts")
        store.put(KEY, kept)
        store.tag(KEY, ["a"])
        assert store.get(KEY) == kept

    def test_tagging_what_is_not_there_does_nothing(self, store: Store) -> None:
        store.tag(KEY, ["a"])
        assert store.get(KEY) is None
        store.put(KEY, entry())
        store.invalidate(["a"], now=NOW)
        assert store.get(KEY) is not None

    def test_tagging_brings_nothing_back(self, store: Store) -> None:
        store.put(KEY, entry(b"1", "a"))
        store.invalidate(["a"], now=NOW)
        store.tag(KEY, ["a"])
        assert store.get(KEY) is None

    def test_a_tag_can_be_used_again_after_its_invalidation(self, store: Store) -> None:
        store.put(KEY, entry(b"old", "a"))
        store.invalidate(["a"], now=NOW)
        store.put(KEY, entry(b"new", "a"))
        store.put(OTHER, entry(b"plain"))
        store.tag(OTHER, ["a"])
        assert (store.get(KEY).value, store.get(OTHER).value) == (b"new", b"plain")
        store.invalidate(["a"], now=NOW)
        assert (store.get(KEY), store.get(OTHER)) == (None, None)

    def test_a_tag_of_very_many_entries_drops_them_all(self, store: Store) -> None:
        keys = [number.to_bytes(32) for number in range(600)]
        for key in keys:
            store.put(key, entry(b"1", "a"))
        store.put(THIRD, entry())
        store.invalidate(["a"], now=NOW)
        assert [key for key in keys if store.get(key)] == []
        assert store.get(THIRD) is not None


class TestClear:
    def test_nothing_is_left_for_anybody(self, store, other) -> None:
        store.put(KEY, entry(b"1", "a"))
        other.put(OTHER, entry(b"2"))
        other.clear()
        assert (store.get(KEY), store.get(OTHER), store.newest(9)) == (None, None, [])

    def test_what_is_kept_afterwards_stays(self, store: Store) -> None:
        store.put(KEY, entry(b"old", "a"))
        store.clear()
        store.put(KEY, entry(b"new"))
        store.invalidate(["a"], now=NOW)
        assert store.get(KEY).value == b"new"


class TestGeneration:
    def test_it_grows_with_each_change_and_is_returned_by_it(self, store, other) -> None:
        seen = [store.generation()]
        seen.append(store.clear())
        seen.append(other.invalidate(["a"], now=NOW))
        seen.append(other.clear())
        seen.append(store.invalidate(["a", "b"], now=NOW))
        assert seen == sorted(set(seen))
        assert store.generation() == other.generation() == seen[-1]

    def test_keeping_and_reading_leave_it_as_it_is(self, store: Store) -> None:
        before = store.generation()
        store.put(KEY, entry(b"1", "a"), seen=before)
        store.tag(KEY, ["b"])
        store.get(KEY)
        assert store.generation() == before

    def test_an_answer_from_before_clear_is_not_kept(self, store, other) -> None:
        seen = store.generation()
        other.clear()
        assert not store.put(KEY, entry(), seen=seen)
        assert store.get(KEY) is None

    def test_an_answer_from_before_the_invalidation_of_its_tag_is_not_kept(
        self, store, other
    ) -> None:
        seen = store.generation()
        other.invalidate(["a"], now=NOW)
        other.invalidate(["z"], now=NOW)
        assert not store.put(KEY, entry(b"1", "a", "b"), seen=seen)
        assert store.get(KEY) is None

    def test_an_answer_that_is_not_kept_leaves_the_earlier_one(self, store: Store) -> None:
        seen = store.generation()
        store.clear()
        store.put(KEY, entry(b"newer"))
        store.put(KEY, entry(b"older"), seen=seen)
        assert store.get(KEY).value == b"newer"

    def test_the_invalidation_of_another_tag_does_not_matter(self, store: Store) -> None:
        seen = store.generation()
        store.invalidate(["a"], now=NOW)
        assert store.put(KEY, entry(b"1", "b"), seen=seen)
        assert store.put(OTHER, entry(b"2"), seen=seen)
        assert (store.get(KEY).value, store.get(OTHER).value) == (b"1", b"2")

    def test_very_many_invalidated_tags_are_all_remembered(self, store: Store) -> None:
        seen = store.generation()
        store.invalidate([str(number) for number in range(1100)], now=NOW)
        assert not store.put(KEY, entry(b"1", "0"), seen=seen)
        assert not store.put(KEY, entry(b"1", "1099"), seen=seen)
        assert store.put(KEY, entry(b"1", "0"), seen=store.generation())

    def test_a_call_that_began_afterwards_is_kept(self, store, other) -> None:
        store.clear()
        seen = other.invalidate(["a"], now=NOW)
        assert store.put(KEY, entry(b"1", "a"), seen=seen)
        assert other.get(KEY) is not None

    def test_without_a_generation_everything_is_kept(self, store: Store) -> None:
        store.clear()
        store.invalidate(["a"], now=NOW)
        assert store.put(KEY, entry(b"1", "a"))
        assert store.get(KEY) is not None


class TestClaims:
    def claim(self, store: Store, owner: str, key: bytes = KEY, *, at: float = 0) -> bool:
        return store.claim(key, owner, now=NOW + at, until=NOW + at + 30)

    def test_one_of_two_has_it(self, store, other) -> None:
        assert self.claim(store, "me")
        assert not self.claim(other, "you")
        assert self.claim(other, "you", OTHER)

    def test_whoever_has_it_may_claim_it_again(self, store, other) -> None:
        self.claim(store, "me")
        assert self.claim(other, "me", at=20)
        assert not self.claim(store, "you", at=40)

    def test_it_is_free_after_release(self, store, other) -> None:
        self.claim(store, "me")
        store.release(KEY, "me")
        assert self.claim(other, "you")

    def test_nobody_releases_the_claim_of_another(self, store: Store) -> None:
        self.claim(store, "me")
        store.release(KEY, "you")
        store.release(OTHER, "me")
        assert not self.claim(store, "you")

    def test_it_is_free_once_it_is_stale(self, store, other) -> None:
        self.claim(store, "me")
        assert not self.claim(other, "you", at=29)
        assert self.claim(other, "you", at=30)
        assert not self.claim(store, "me", at=31)

    def test_whoever_lost_it_cannot_release_it(self, store: Store) -> None:
        self.claim(store, "me")
        self.claim(store, "you", at=30)
        store.release(KEY, "me")
        assert not self.claim(store, "third", at=31)

    def test_renewal_keeps_all_claims_of_an_owner(self, store, other) -> None:
        self.claim(store, "me")
        self.claim(store, "me", OTHER)
        self.claim(store, "you", THIRD)
        other.renew("me", until=NOW + 60)
        free = [self.claim(store, "third", key, at=59) for key in (KEY, OTHER, THIRD)]
        assert free == [False, False, True]

    def test_renewal_takes_nothing_from_others(self, store: Store) -> None:
        self.claim(store, "me")
        self.claim(store, "you", at=30)
        store.renew("me", until=NOW + 90)
        store.renew("nobody", until=NOW + 90)
        assert self.claim(store, "third", at=60)

    def test_the_answer_ends_it(self, store, other) -> None:
        self.claim(store, "me")
        store.put(KEY, entry(), owner="me")
        assert self.claim(other, "you")

    def test_an_answer_that_is_not_kept_ends_it_too(self, store: Store) -> None:
        seen = store.generation()
        self.claim(store, "me")
        store.clear()
        assert not store.put(KEY, entry(), seen=seen, owner="me")
        assert self.claim(store, "you")

    def test_the_answer_of_another_leaves_it(self, store: Store) -> None:
        self.claim(store, "me")
        store.put(KEY, entry())
        store.put(KEY, entry(), owner="you")
        store.put(OTHER, entry(), owner="me")
        assert not self.claim(store, "you")

    def test_of_16_threads_exactly_one_has_it(self, store: Store) -> None:
        start = Barrier(16)

        def claim(number: int) -> bool:
            start.wait()
            return self.claim(store, f"owner {number}")

        with ThreadPoolExecutor(16) as threads:
            assert sum(threads.map(claim, range(16))) == 1


class TestUse:
    @pytest.fixture
    def three(self, store: Store) -> Store:
        for place, key in enumerate((KEY, OTHER, THIRD)):
            store.put(key, entry(b"1", "a", at=NOW + place, fingerprint=key))
        return store

    def order(self, store: Store, limit: int = 9) -> list[bytes]:
        return [each.fingerprint for each in store.newest(limit)]

    def test_the_newest_come_first_and_no_more_than_asked_for(self, three, other) -> None:
        assert self.order(three) == self.order(other) == [THIRD, OTHER, KEY]
        assert self.order(three, 2) == [THIRD, OTHER]
        assert self.order(three, 0) == []

    def test_they_come_without_values_and_tags(self, store: Store) -> None:
        kept = entry(b"1", "a", expires_at=NOW + 60, fingerprint=b"parts")
        store.put(KEY, kept)
        assert list(store.newest(1)) == [replace(kept, value=b"", tags=frozenset())]

    def test_what_was_used_counts_as_new(self, three, other) -> None:
        three.touch([KEY], now=NOW + 10)
        assert self.order(other) == [KEY, THIRD, OTHER]

    def test_what_was_kept_again_counts_as_new(self, three: Store) -> None:
        three.put(OTHER, entry(b"2", at=NOW + 10, fingerprint=b"again"))
        assert self.order(three) == [b"again", THIRD, KEY]

    def test_what_was_dropped_is_not_among_them(self, three: Store) -> None:
        three.put(OTHER, entry(b"2", at=NOW + 10, fingerprint=OTHER))
        three.invalidate(["a"], now=NOW)
        assert self.order(three) == [OTHER]

    def test_using_what_is_not_there_does_nothing(self, store: Store) -> None:
        store.touch([KEY], now=NOW)
        store.touch([], now=NOW)
        assert (store.get(KEY), store.newest(9)) == (None, [])


@pytest.mark.parametrize("open_store", [*SQL, "valkey"], indirect=True)
class TestSpaces:
    @pytest.fixture
    def nodes(self, open_store: OpenStore) -> Store:
        return open_store("nodes")

    def test_they_hold_entries_and_claims_of_their_own(self, store, nodes) -> None:
        store.put(KEY, entry())
        store.claim(KEY, "me", now=NOW, until=NOW + 30)
        assert (nodes.get(KEY), nodes.newest(9)) == (None, [])
        assert nodes.claim(KEY, "you", now=NOW, until=NOW + 30)

    def test_they_tell_and_purge_entries_of_their_own(self, store, nodes) -> None:
        nodes.put(KEY, entry(b"1", "a", expires_at=NOW + 60))
        assert list(store.tagged(["a"])) == []
        assert store.purge(now=NOW + 60) == 0
        assert nodes.get(KEY) is not None

    def test_a_change_of_one_leaves_the_other(self, store, nodes) -> None:
        nodes.put(KEY, entry(b"1", "a"))
        before = nodes.generation()
        store.invalidate(["a"], now=NOW)
        store.clear()
        assert nodes.put(OTHER, entry(b"2", "a"), seen=before)
        assert nodes.generation() == before
        assert (nodes.get(KEY).value, nodes.get(OTHER).value) == (b"1", b"2")


@pytest.mark.parametrize("open_store", ["memory_store", *SQL], indirect=True)
class TestByteBound:
    def fill(self, store: Store, *numbers: int, size: int = 1000) -> None:
        for number in numbers:
            store.put(number.to_bytes(32), entry(bytes(size), at=NOW + number))

    def kept(self, store: Store) -> list[int]:
        return [number for number in range(100) if store.get(number.to_bytes(32))]

    def test_the_least_recently_used_are_let_go(self, open_store: OpenStore) -> None:
        store = open_store(max_bytes=50_000)
        self.fill(store, *range(25))
        store.touch([(0).to_bytes(32)], now=NOW + 24.5)
        self.fill(store, *range(25, 50))
        kept = self.kept(store)
        assert {0, 49} <= set(kept) <= {0, *range(2, 50)}
        assert kept[1:] == list(range(kept[1], 50))

    def test_what_it_replaces_frees_its_bytes(self, open_store: OpenStore) -> None:
        store = open_store(max_bytes=50_000)
        self.fill(store, *range(20), *range(20), *range(20))
        assert self.kept(store) == list(range(20))

    def test_what_was_dropped_frees_its_bytes(self, open_store: OpenStore) -> None:
        store = open_store(max_bytes=50_000)
        self.fill(store, *range(20))
        store.clear()
        self.fill(store, *range(20, 45))
        assert self.kept(store) == list(range(20, 45))

    def test_what_is_larger_than_all_of_it_is_not_kept(self, open_store: OpenStore) -> None:
        store = open_store(max_bytes=50_000)
        self.fill(store, 1)
        store.claim(KEY, "me", now=NOW, until=NOW + 30)
        assert not store.put(KEY, entry(bytes(50_000)), owner="me")
        assert self.kept(store) == [1]
        assert store.claim(KEY, "you", now=NOW, until=NOW + 30)

    def test_it_must_be_positive(self, open_store: OpenStore) -> None:
        with pytest.raises(ConfigurationError, match="`max_bytes` must be positive, got 0"):
            open_store(max_bytes=0)


@dataclass
class Model:
    """What `Store` says, in the plainest words; `generations` are those seen so far."""

    entries: dict[bytes, Entry] = field(default_factory=dict)
    used: list[bytes] = field(default_factory=list)
    claims: dict[bytes, tuple[str, float]] = field(default_factory=dict)
    dropped: list[frozenset[str] | None] = field(default_factory=list)  # `None`: everything

    def get(self, key: bytes) -> Entry | None:
        found = self.entries.get(key)
        return found and replace(found, tags=frozenset())

    def put(self, key: bytes, kept: Entry, *, began: int | None, owner: str | None) -> bool:
        self.release(key, owner)
        since = [] if began is None else self.dropped[began:]
        if any(tags is None or tags & kept.tags for tags in since):
            return False
        self.entries[key] = kept
        self.touch([key])
        return True

    def tag(self, key: bytes, tags: frozenset[str]) -> None:
        if key in self.entries:
            known = self.entries[key]
            self.entries[key] = replace(known, tags=known.tags | tags)

    def drop(self, tags: frozenset[str] | None) -> None:
        self.dropped.append(tags)
        left = self.entries.items() if tags is not None else ()
        self.entries = {key: each for key, each in left if not each.tags & tags}

    def claim(self, key: bytes, owner: str, *, now: float, until: float) -> bool:
        holder, ends = self.claims.get(key, (owner, until))
        if holder == owner or now >= ends:
            self.claims[key] = (owner, until)
        return self.claims[key][0] == owner

    def renew(self, owner: str, *, until: float) -> None:
        mine = [key for key, (holder, _) in self.claims.items() if holder == owner]
        self.claims |= dict.fromkeys(mine, (owner, until))

    def release(self, key: bytes, owner: str | None) -> None:
        if self.claims.get(key, ("",))[0] == owner:
            del self.claims[key]

    def touch(self, keys: list[bytes]) -> None:
        self.used = [key for key in self.used if key not in keys] + keys

    def newest(self, limit: int) -> list[Entry]:
        latest = [key for key in reversed(self.used) if key in self.entries][:limit]
        return [replace(self.get(key), value=b"") for key in latest]


ALL_KEYS = [KEY, OTHER, THIRD]
ALL_OWNERS = ["me", "you", "third"]
KEYS = st.sampled_from(ALL_KEYS)
OWNERS = st.sampled_from(ALL_OWNERS)
TAGS = st.frozensets(st.sampled_from("abc"), max_size=2)
SOME_TAGS = st.frozensets(st.sampled_from("abc"), min_size=1, max_size=2)
OPERATIONS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(
        st.just("put"),
        KEYS,
        st.binary(max_size=3),
        TAGS,
        st.none() | st.integers(0, 3),
        st.none() | OWNERS,
    ),
    st.tuples(st.just("tag"), KEYS, TAGS),
    st.tuples(st.just("clear")),
    st.tuples(st.just("invalidate"), SOME_TAGS),
    st.tuples(st.just("claim"), KEYS, OWNERS),
    st.tuples(st.just("renew"), OWNERS),
    st.tuples(st.just("release"), KEYS, OWNERS),
    st.tuples(st.just("touch"), KEYS),
    st.tuples(st.just("newest"), st.integers(0, 3)),
)


class BesideTheModel:
    """Does each operation to a store and to the model, and compares what they answer."""

    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.model, self.clock = store, Model(), clock
        self.generations = [store.clear()]
        for key, owner in product(ALL_KEYS, [*ALL_OWNERS, "last"]):
            store.release(key, owner)

    def do(self, operation: str, *args: Any) -> None:
        self.clock.advance(10)
        getattr(self, operation)(*args)

    def get(self, key: bytes) -> None:
        assert self.store.get(key) == self.model.get(key)

    def put(
        self, key: bytes, value: bytes, tags: frozenset[str], ago: int | None, owner: str | None
    ) -> None:
        kept = entry(value, *tags, at=self.clock(), fingerprint=key + value)
        began = None if ago is None else max(len(self.generations) - 1 - ago, 0)
        seen = None if began is None else self.generations[began]
        told = self.store.put(key, kept, seen=seen, owner=owner)
        assert told == self.model.put(key, kept, began=began, owner=owner)

    def tag(self, key: bytes, tags: frozenset[str]) -> None:
        self.store.tag(key, tags)
        self.model.tag(key, tags)

    def clear(self) -> None:
        self.generations.append(self.store.clear())
        self.model.drop(None)

    def invalidate(self, tags: frozenset[str]) -> None:
        self.generations.append(self.store.invalidate(tags, now=self.clock()))
        self.model.drop(tags)

    def claim(self, key: bytes, owner: str) -> None:
        times = {"now": self.clock(), "until": self.clock() + 30}
        assert self.store.claim(key, owner, **times) == self.model.claim(key, owner, **times)

    def renew(self, owner: str) -> None:
        """A claim that is stale already may be gone, or not: nothing is promised about it."""
        ends = [until for holder, until in self.model.claims.values() if holder == owner]
        if all(self.clock() < each for each in ends):
            self.store.renew(owner, until=self.clock() + 30)
            self.model.renew(owner, until=self.clock() + 30)

    def release(self, key: bytes, owner: str) -> None:
        self.store.release(key, owner)
        self.model.release(key, owner)

    def touch(self, key: bytes) -> None:
        self.store.touch([key], now=self.clock())
        self.model.touch([key])

    def newest(self, limit: int) -> None:
        assert list(self.store.newest(limit)) == self.model.newest(limit)

    def compare_all(self) -> None:
        for key in ALL_KEYS:
            self.get(key)
            self.claim(key, "last")
        self.newest(3)
        assert self.generations == sorted(set(self.generations))
        assert self.store.generation() == self.generations[-1]


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(operations=st.lists(OPERATIONS, min_size=5, max_size=30))
def test_any_sequence_of_operations_answers_as_the_model_does(
    store: Store, clock: FakeClock, operations: list[tuple[Any, ...]]
) -> None:
    both = BesideTheModel(store, clock)
    for operation in operations:
        both.do(*operation)
    both.compare_all()


def test_a_forked_child_starts_with_an_empty_memory() -> None:
    store = MemoryStore()
    store.put(KEY, entry())
    store.claim(KEY, "me", now=NOW, until=NOW + 30)
    store.after_fork()
    assert store.get(KEY) is None
    assert store.claim(KEY, "you", now=NOW, until=NOW + 30)
