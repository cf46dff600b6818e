"""What is large is made once, whoever asks."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from unit_tests.storage.processes import run

from llmops_langchain.embeddings.loading import Once


def test_many_threads_make_it_once() -> None:
    made, start = [], threading.Barrier(8)

    def make() -> object:
        made.append(object())
        return made[-1]

    once = Once(make)

    def ask(_: int) -> object:
        start.wait()
        return once.get()

    with ThreadPoolExecutor(8) as pool:
        got = set(pool.map(ask, range(8)))
    assert got == set(made)
    assert len(made) == 1


def test_after_a_failure_it_is_tried_again() -> None:
    outcomes = iter([OSError("busy"), "made"])

    def make() -> str:
        if isinstance(outcome := next(outcomes), OSError):
            raise outcome
        return outcome

    once = Once(make)
    with pytest.raises(OSError, match="busy"):
        once.get()
    assert once.get() == "made"


def test_a_forked_child_makes_its_own() -> None:
    """Also when another thread was making it at that moment."""
    source = """
    import threading
    from llmops_langchain.embeddings.loading import Once

    making, go_on = threading.Event(), threading.Event()
    def make():
        making.set()
        go_on.wait()
        return os.getpid()

    once = Once(make)
    thread = threading.Thread(target=once.get)
    thread.start()
    making.wait()
    if (child := os.fork()) == 0:
        go_on.set()
        os._exit(0 if once.get() == os.getpid() else 1)
    go_on.set()
    thread.join()
    print(os.waitpid(child, 0)[1], once.get() == os.getpid())
    """
    assert run(source) == "0 True\n"
