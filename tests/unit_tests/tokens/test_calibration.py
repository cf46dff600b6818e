"""Predictions are corrected by what providers count, in every process and in nobody's way."""

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import one_of_each_kind
from hypothesis import given
from hypothesis import strategies as st

from llmops_langchain.errors import ConfigurationError, StorageError
from llmops_langchain.storage import Database
from llmops_langchain.tokens.calibration import Calibration

MODEL = "claude-opus-4-5"
RATIOS = st.floats(0.05, 20.0)


@pytest.fixture(params=["sqlite_memory", "sqlite_file", "postgresql"], scope="module")
def kind(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def opened(request, tmp_path_factory):
    with one_of_each_kind(
        request, tmp_path_factory.mktemp("calibration"), schema="calibration"
    ) as databases:
        yield databases


@pytest.fixture
def database(kind, opened) -> Database:
    found = opened(kind)
    with found.begin() as connection:
        connection.exec_driver_sql("DELETE FROM llmops_token_calibration")
    return found


def shared(database: Database) -> Calibration:
    """One that talks to the database only when told to."""
    return Calibration(database, interval=None)


def told(calibration: Calibration, *ratios: float, predicted: int = 10_000) -> None:
    for ratio in ratios:
        calibration.observe(MODEL, predicted, round(predicted * ratio))


def test_nothing_is_corrected_before_the_first_reply() -> None:
    assert Calibration().factor(MODEL) == 1.0


@given(st.floats(0.55, 2.4))
def test_three_replies_leave_less_than_a_twentieth_of_an_error(ratio) -> None:
    calibration = Calibration()
    told(calibration, ratio, ratio, ratio)
    assert calibration.factor(MODEL) == pytest.approx(ratio, rel=0.05)


@given(st.lists(st.tuples(RATIOS, st.integers(1, 10**6), st.floats(-1, 2)), max_size=50))
def test_a_factor_stays_within_bounds(replies) -> None:
    calibration = Calibration()
    for ratio, predicted, weight in replies:
        calibration.observe(MODEL, predicted, round(predicted * ratio), weight=weight)
    assert 0.5 <= calibration.factor(MODEL) <= 2.5


@given(st.lists(st.floats(0.8, 1.25), min_size=3, max_size=30), RATIOS)
def test_one_odd_reply_does_not_move_it_beyond_the_others(ratios, odd) -> None:
    calibration = Calibration()
    told(calibration, *ratios, odd)
    assert min(*ratios, 1.0) * 0.999 <= calibration.factor(MODEL) <= max(*ratios, 1.0) * 1.001


def test_small_prompts_and_images_weigh_little() -> None:
    for options in ({"predicted": 10}, {"predicted": 10_000, "weight": 0.05}):
        calibration = Calibration()
        told(calibration, 1.2, 1.2)
        predicted = options.pop("predicted")
        calibration.observe(MODEL, predicted, 3 * predicted, **options)
        assert calibration.factor(MODEL) == pytest.approx(1.2, rel=0.03)


@pytest.mark.parametrize(("predicted", "actual"), [(0, 10), (10, 0), (-1, 5)])
def test_a_reply_that_says_nothing_is_left_out(predicted, actual) -> None:
    calibration = Calibration()
    calibration.observe(MODEL, predicted, actual)
    assert calibration.factor(MODEL) == 1.0


def test_models_are_apart() -> None:
    calibration = Calibration()
    told(calibration, 1.4)
    assert calibration.factor("gemini-2.5-pro") == 1.0


def test_it_follows_what_changes() -> None:
    calibration = Calibration()
    told(calibration, *[1.0] * 20, *[1.3] * 20)
    assert calibration.factor(MODEL) == pytest.approx(1.3, rel=0.02)


def test_what_one_process_learns_another_reads(database) -> None:
    one, other = shared(database), shared(database)
    told(one, 1.3, 1.3, 1.3)
    one.flush()
    assert other.factor(MODEL) == 1.0
    other.flush()
    assert other.factor(MODEL) == pytest.approx(1.3, rel=0.02)


def test_processes_are_merged_by_what_they_saw(database) -> None:
    one, other, third = shared(database), shared(database), shared(database)
    told(one, 1.2, 1.2)
    told(other, 1.5)
    for calibration in (one, other, third):
        calibration.flush()
    assert third.factor(MODEL) == pytest.approx(1.3, rel=0.02)


def test_a_flush_counts_a_reply_once(database) -> None:
    calibration = shared(database)
    told(calibration, 1.2)
    for _ in range(5):
        calibration.flush()
    told(calibration, 1.4)
    calibration.flush()
    assert calibration.factor(MODEL) == pytest.approx(1.3, rel=0.03)


def test_what_is_settled_moves_little_with_one_reply(database) -> None:
    calibration = shared(database)
    told(calibration, *[1.2] * 10)
    calibration.flush()
    told(calibration, 2.5)
    assert calibration.factor(MODEL) == pytest.approx(1.2, rel=0.05)


def test_old_replies_fade_from_the_database_too(database) -> None:
    for _ in range(12):
        calibration = shared(database)
        calibration.flush()
        told(calibration, *[1.0] * 5)
        calibration.flush()
    for _ in range(16):
        told(calibration, *[1.2] * 5)
        calibration.flush()
    assert calibration.factor(MODEL) == pytest.approx(1.2, rel=0.02)


def test_many_threads_lose_no_reply(database) -> None:
    def learn(number: int) -> None:
        calibration = shared(database)
        for _ in range(4):
            calibration.observe(f"model-{number % 3}", 10_000_000, 12_000_000)
            calibration.flush()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(learn, range(6)))
    with database.begin(read_only=True) as connection:
        rows = connection.exec_driver_sql("SELECT ratio, replies FROM llmops_token_calibration")
        assert [(round(r, 6), round(n, 3)) for r, n in rows] == [(1.2, 8.0)] * 3


def test_a_database_that_fails_is_never_in_the_way(tmp_path, caplog) -> None:
    database = Database(f"sqlite:///{tmp_path}/missing/a.db")
    with pytest.raises(StorageError), database.begin():
        pass
    calibration = shared(database)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            told(calibration, 1.3)
            calibration.flush()
    assert calibration.factor(MODEL) == pytest.approx(1.3, rel=0.02)
    assert calibration.failures == 3
    assert len(caplog.records) == 1
    (tmp_path / "missing").mkdir()
    calibration.flush()
    other = shared(database)
    other.flush()
    assert other.factor(MODEL) == pytest.approx(1.3, rel=0.02)
    database.close()


def test_a_thread_reads_at_once_and_closing_writes(tmp_path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        first = Calibration(database)
        told(first, 1.4, 1.4, 1.4)
        first.close()
        second = Calibration(database, interval=0.01)
        arrived = threading.Event()
        while not arrived.wait(0.01):
            if second.factor(MODEL) > 1.3:
                arrived.set()
        second.close()
        assert second.factor(MODEL) == pytest.approx(1.4, rel=0.02)


def test_a_calibration_out_of_use_leaves_no_thread(tmp_path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        calibration = Calibration(database)
        calibration.factor(MODEL)
        thread = calibration._thread
        assert thread is not None
        assert thread.is_alive()
        del calibration
        thread.join(30)
        assert not thread.is_alive()


def test_a_forked_child_does_not_write_what_its_parent_learnt(tmp_path: Path) -> None:
    with Database(f"sqlite:///{tmp_path}/a.db") as database:
        calibration = shared(database)
        told(calibration, 1.4)
        calibration.after_fork()
        calibration.flush()
        other = shared(database)
        other.flush()
        assert other.factor(MODEL) == 1.0


def test_an_interval_must_be_positive() -> None:
    with pytest.raises(ConfigurationError):
        Calibration(interval=0)
