"""However a process is asked to end, no recorded event is lost and none is counted twice."""

import os
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen

import pytest
from sqlalchemy import select

from llmops_langchain import Database
from llmops_langchain.ledger import Ledger
from llmops_langchain.storage.schema import events

MODEL = """
import os, signal, sys, threading, time
from langchain_core.language_models import FakeListChatModel
from llmops_langchain import LLMOps

ops = LLMOps(sys.argv[1])  # at module level, as apps have it
model = FakeListChatModel(responses=["yes"])


def ask(user):
    with ops.track(user=str(user)):
        model.invoke("Well?")

"""

SLOW = """
ops.ledger._interval = 3600  # nothing is stored in between
"""

APP = (
    MODEL
    + SLOW
    + """
import uvicorn
from fastapi import FastAPI

app = FastAPI(lifespan=ops.lifespan)


@app.get("/{user}")
def answer(user: str):
    ask(user)
    return user

uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
"""
)


@pytest.fixture(params=["file", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


@contextmanager
def started(source: str, *arguments: object) -> Iterator[Popen[str]]:
    """A program that is ended, should the test fail."""
    command = [sys.executable, "-c", source, *map(str, arguments)]
    with Popen(command, stdin=PIPE, stdout=PIPE, stderr=PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def users(url: str) -> list[str]:
    """Whose calls are in the database, sorted."""
    with Database(url) as database:
        return sorted(user for (user,) in database.read(select(events.c.user)))


def users_after_the_next_process(url: str) -> list[str]:
    with Database(url) as database, Ledger(database) as ledger:
        ledger.flush()
    return users(url)


def numbers(last: int) -> list[str]:
    return sorted(map(str, range(last)))


def test_a_script_that_is_terminated_leaves_its_events_to_the_next_process(url: str) -> None:
    source = MODEL + SLOW + "for user in range(20):\n    ask(user)\nprint('asked', flush=True)\n"
    with started(source + "time.sleep(600)", url) as process:
        assert process.stdout.readline() == "asked\n"
        process.terminate()
        assert process.wait(60) == -signal.SIGTERM
    assert users_after_the_next_process(url) == numbers(20)


def test_a_script_that_ends_by_itself_stores_its_events(url: str) -> None:
    source = MODEL + SLOW + "for user in range(20):\n    ask(user)\n"
    with started(source, url) as process:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert users(url) == numbers(20)


def test_what_a_function_flushed_outlives_its_frozen_process(url: str) -> None:
    """A serverless platform stops a process between two calls, and may never wake it again."""
    source = MODEL + SLOW + "for user in range(20):\n    ask(user)\nops.flush()\n"
    with started(source + "os.kill(os.getpid(), signal.SIGKILL)", url) as process:
        assert process.wait(60) == -signal.SIGKILL
    assert users(url) == numbers(20)


def test_workers_of_a_preloaded_app_that_are_terminated_lose_nothing(url: str) -> None:
    """As gunicorn does it: the app is loaded, and has recorded, before the workers are forked."""
    source = """
ask("parent")
workers = []
for worker in range(3):
    child = os.fork()
    if child == 0:
        for number in range(10):
            ask(f"{worker}-{number}")
        os.write(1, b"asked\\n")  # at once: `print` may write the end of the line by itself
        time.sleep(600)
    workers.append(child)
sys.stdin.readline()
for child in workers:
    os.kill(child, signal.SIGTERM)
codes = [os.waitpid(child, 0)[1] for child in workers]
assert codes == [signal.SIGTERM] * 3, codes
"""
    with started(MODEL + SLOW + source, url) as process:
        for _ in range(3):
            assert process.stdout.readline() == "asked\n"
        _, said = process.communicate("\n", timeout=60)
        assert (process.returncode, said) == (0, "")
    expected = [f"{worker}-{number}" for worker in range(3) for number in range(10)]
    assert users_after_the_next_process(url) == sorted([*expected, "parent"])


def test_a_worker_that_flushes_when_it_exits_stores_its_events(url: str) -> None:
    """As `worker_exit` of gunicorn, which ends its workers without `atexit`."""
    source = """
child = os.fork()
if child == 0:
    for user in range(10):
        ask(user)
    ops.flush()
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
"""
    with started(MODEL + SLOW + source, url) as process:
        _, said = process.communicate(timeout=60)
        assert (process.returncode, said) == (0, "")
    assert users(url) == numbers(10)


@pytest.mark.allow_hosts(["127.0.0.1"])
class TestWebApp:
    @contextmanager
    def serving(self, url: str) -> Iterator[tuple[Popen[str], str]]:
        import socket

        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with started(APP, url, port) as process:
            where = f"http://127.0.0.1:{port}/"
            deadline = time.monotonic() + 60
            while not self.answers(where + "first"):
                assert process.poll() is None, process.stderr.read()
                assert time.monotonic() < deadline, "it does not answer"
                time.sleep(0.05)
            yield process, where

    def answers(self, where: str) -> bool:
        try:
            with urllib.request.urlopen(where, timeout=30) as answer:  # noqa: S310 - loopback
                return answer.status == 200
        except OSError:
            return False

    def test_terminated_it_stores_every_event_before_it_ends(self, url: str) -> None:
        with self.serving(url) as (process, where):
            assert all(self.answers(f"{where}{user}") for user in range(20))
            process.terminate()
            _, said = process.communicate(timeout=60)
            assert said == ""
        assert users(url) == sorted(["first", *numbers(20)])

    def test_killed_it_leaves_every_event_to_the_next_process(self, url: str) -> None:
        with self.serving(url) as (process, where):
            assert all(self.answers(f"{where}{user}") for user in range(20))
            process.kill()
            process.communicate(timeout=60)
        assert users_after_the_next_process(url) == sorted(["first", *numbers(20)])

    def test_terminated_while_it_answers_it_loses_nothing(self, url: str) -> None:
        from concurrent.futures import ThreadPoolExecutor

        with self.serving(url) as (process, where):
            with ThreadPoolExecutor(4) as clients:
                asked = {
                    str(user): clients.submit(self.answers, f"{where}{user}") for user in range(200)
                }
                os.kill(process.pid, signal.SIGTERM)
                answered = {user for user, told in asked.items() if told.result()}
            process.communicate(timeout=60)
        kept = users_after_the_next_process(url)
        assert len(kept) == len(set(kept))
        assert answered <= set(kept)
