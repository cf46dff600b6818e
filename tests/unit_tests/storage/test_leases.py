"""One process at a time does something, and the next one when that one has died."""

import pytest
from conftest import FakeClock
from unit_tests.storage.processes import run

from llmops_langchain import Database
from llmops_langchain.errors import ConfigurationError
from llmops_langchain.storage.leases import lease


def test_who_comes_second_is_told_so(database: Database, clock: FakeClock) -> None:
    with lease(database, "tidy", 60, clock) as first, lease(database, "tidy", 60, clock) as second:
        assert first is not None
        assert second is None


def test_once_it_is_given_up_the_next_one_has_it(database: Database, clock: FakeClock) -> None:
    for _ in range(2):
        with lease(database, "tidy", 60, clock) as held:
            assert held is not None


def test_it_is_given_up_when_the_block_raises(database: Database, clock: FakeClock) -> None:
    with pytest.raises(ValueError, match="oh"), lease(database, "tidy", 60, clock):
        raise ValueError("oh")  # noqa: EM101 - any will do
    with lease(database, "tidy", 60, clock) as held:
        assert held is not None


def test_what_is_done_under_other_names_does_not_matter(database, clock: FakeClock) -> None:
    with lease(database, "tidy", 60, clock), lease(database, "sweep", 60, clock) as other:
        assert other is not None


def test_it_is_handed_over_when_it_runs_out(database: Database, clock: FakeClock) -> None:
    with lease(database, "tidy", 60, clock) as first:
        clock.advance(60)
        with lease(database, "tidy", 60, clock) as second:
            assert second is not None
            assert not first.renew()
        assert not first.renew()


def test_it_lasts_as_long_again_once_renewed(database: Database, clock: FakeClock) -> None:
    with lease(database, "tidy", 60, clock) as first:
        clock.advance(59)
        assert first.renew()
        clock.advance(59)
        with lease(database, "tidy", 60, clock) as second:
            assert second is None


def test_who_lost_it_does_not_end_the_others(database: Database, clock: FakeClock) -> None:
    with lease(database, "tidy", 60, clock):
        clock.advance(60)
        second = lease(database, "tidy", 60, clock)
        assert second.__enter__() is not None
    with lease(database, "tidy", 60, clock) as third:
        assert third is None
    second.__exit__(None, None, None)


def test_the_same_owner_may_take_it_again(database: Database, clock: FakeClock) -> None:
    with (
        lease(database, "tidy", 60, clock, owner="me"),
        lease(database, "tidy", 60, clock, owner="me") as again,
    ):
        assert again is not None


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_lease_has_a_length(clock: FakeClock, seconds: float) -> None:
    with (
        pytest.raises(ConfigurationError, match="seconds"),
        lease(Database("sqlite://"), "tidy", seconds, clock),
    ):
        pass


RACE = """
from llmops_langchain.clock import system_clock
from llmops_langchain.storage import Database
from llmops_langchain.storage.leases import lease

def work(_):
    inside = os.path.join(sys.argv[2], "inside")
    with Database(sys.argv[1], lock_timeout=60) as database:
        won = 0
        while won < 10:
            with lease(database, "tidy", 600, system_clock) as held:
                if held is not None:
                    won += 1
                    os.close(os.open(inside, os.O_CREAT | os.O_EXCL))  # fails if another is inside
                    os.unlink(inside)

Database(sys.argv[1]).upgrade()
at_once(4, work)
"""


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/llmops.db"


def test_processes_that_race_are_never_inside_together(url: str, tmp_path) -> None:
    run(RACE, url, tmp_path)


def test_a_process_that_was_killed_hands_it_over(url: str, clock: FakeClock) -> None:
    source = """
import signal
from llmops_langchain.storage import Database
from llmops_langchain.storage.leases import lease

def work(_):
    with lease(Database(sys.argv[1]), "tidy", 60, lambda: float(sys.argv[2])):
        if (child := os.fork()) == 0:
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(0)
        signal.pause()

if (child := os.fork()) == 0:
    work(0)
assert os.waitpid(child, 0)[1] == signal.SIGKILL
"""
    run(source, url, clock())
    with Database(url) as database:
        with lease(database, "tidy", 60, clock) as held:
            assert held is None
        clock.advance(60)
        with lease(database, "tidy", 60, clock) as held:
            assert held is not None
