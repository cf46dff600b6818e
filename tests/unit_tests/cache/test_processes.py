"""What several processes do to one store at the same time: real processes, real stores."""

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from unit_tests.storage.processes import run, start

_MODEL = """
    import json, os, random, sys, threading, time
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import AIMessage
    from langchain_core.outputs import ChatGeneration, ChatResult
    from llmops_langchain import LLMOps, Settings
    from llmops_langchain.cache import redis_store, shelf, sql_store

    sql_store._PATIENCE = redis_store._PATIENCE = 60.0  # a busy machine is no error

    url, folder = sys.argv[1:3]
    where = {"cache_url": url} if "sqlite" not in url and "postgres" not in url else {}

    def opened(**settings):
        database = "sqlite://" if where else url
        return LLMOps(database, Settings(journal_dir=folder, **where, **settings))

    class Noting(BaseChatModel):
        seconds: float = 0.0

        @property
        def _llm_type(self):
            return "noting"

        def _generate(self, messages, stop=None, run_manager=None, **kwargs):
            with open(folder + "/calls", "a") as calls:
                calls.write("x")
            time.sleep(self.seconds)
            return ChatResult(generations=[ChatGeneration(message=AIMessage("the answer"))])
"""


@pytest.fixture(params=["file", "postgresql", "valkey"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store that processes share."""
    if request.param == "file":
        return f"sqlite:///{tmp_path}/a.db"
    return request.getfixturevalue(f"{request.param.removesuffix('ql')}_url")


def calls(folder: Path) -> int:
    """How often a model was asked, by anybody."""
    return len((folder / "calls").read_text())


def test_equal_calls_of_four_processes_ask_once(url: str, tmp_path: Path) -> None:
    source = """
    def work(number):
        ops = opened()
        model = ops.cached(Noting(seconds=0.5))
        said = []
        asking = [
            threading.Thread(target=lambda: said.append(model.invoke("q").content))
            for _ in range(16)
        ]
        for thread in asking: thread.start()
        for thread in asking: thread.join()
        assert said == ["the answer"] * 16, said
        ops.close()

    at_once(4, work)
    """
    run(_MODEL + source, url, tmp_path)
    assert calls(tmp_path) == 1


def test_another_process_asks_when_the_one_that_asked_is_killed(url: str, tmp_path: Path) -> None:
    source = """
    shelf._CLAIM = 1.5
    ops = opened()
    print("asking", flush=True)
    print(ops.cached(Noting(seconds=float(sys.argv[3]))).invoke("q").content)
    """
    leader = start(_MODEL + source, url, tmp_path, 600)
    while not (tmp_path / "calls").exists():
        assert leader.poll() is None, leader.communicate()[1]
    follower = start(_MODEL + source, url, tmp_path, 0)
    assert follower.stdout.readline() == "asking\n"
    os.kill(leader.pid, signal.SIGKILL)
    leader.communicate(timeout=60)
    said, _ = follower.communicate(timeout=60)
    assert (said, calls(tmp_path)) == ("the answer\n", 2)


@pytest.mark.parametrize("how", [pytest.param("clear", marks=pytest.mark.slow), "invalidate"])
def test_what_one_process_drops_another_does_not_serve(url: str, tmp_path: Path, how: str) -> None:
    source = """
    ops = opened()
    model = ops.cached(Noting())
    if sys.argv[3] == "serve":
        with ops.cache_options(tags=["doc"]):
            model.invoke("q")
        print("kept", flush=True)
        until = time.monotonic() + 30
        while ops.cache.explain(model, "q").status == "hit" and time.monotonic() < until:
            pass  # it is in this process's memory
        print(ops.cache.explain(model, "q").status)
    elif sys.argv[3] == "clear":
        ops.cache.clear()
    else:
        ops.cache.invalidate("doc")
    """
    serving = start(_MODEL + source, url, tmp_path, "serve")
    assert serving.stdout.readline() == "kept\n"
    run(_MODEL + source, url, tmp_path, how)
    said, errors = serving.communicate(timeout=60)
    assert said == "miss\n", errors


@pytest.mark.parametrize("rounds", [60, pytest.param(2_000, marks=pytest.mark.slow)])
def test_four_processes_with_all_they_can_do_make_no_error(
    url: str, tmp_path: Path, rounds: int
) -> None:
    source = """
    def work(number):
        ops = opened(cache_max_bytes=None if where else 200_000)
        model, rng = ops.cached(Noting()), random.Random(number)
        for _ in range(int(sys.argv[3])):
            question, tag = str(rng.randrange(50)), str(rng.randrange(5))
            with ops.cache_options(tags=[tag], refresh=rng.random() < 0.1):
                assert model.invoke(question).content == "the answer"
            if rng.random() < 0.05:
                ops.cache.invalidate(tag)
            if rng.random() < 0.01:
                ops.cache.clear()
        stats = ops.cache.stats()
        with open(folder + f"/stats-{number}", "w") as file:
            json.dump([stats.hits, stats.misses, stats.errors], file)
        ops.close()

    at_once(4, work)
    """
    run(_MODEL + source, url, tmp_path, rounds)
    told = [json.loads(path.read_text()) for path in tmp_path.glob("stats-*")]
    hits, misses, errors = map(sum, zip(*told, strict=True))
    assert (hits + misses, errors) == (4 * rounds, 0)
    assert hits > 0
