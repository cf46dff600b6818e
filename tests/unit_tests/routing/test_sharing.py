"""What routers decide and learn lasts, is shared, and is forgotten when it must be."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from models import CountingModel
from routed import EASY, RateLimitError, choices, large, small

from llmops_langchain import (
    ConfigurationError,
    LLMOps,
    ModelChoice,
    ModelRouter,
    NotFoundError,
    Settings,
)
from llmops_langchain.embeddings import HashedEmbeddings

DAY = 86_400.0
MARK = "llmops_route"

LEARNER = """
import sys
from llmops_langchain import LLMOps, ModelChoice
from langchain_core.language_models import FakeListChatModel

url, place = sys.argv[1], int(sys.argv[2])
with LLMOps(url) as ops:
    made = [
        ModelChoice(
            FakeListChatModel(responses=[name]),
            name=name,
            input_per_million=1,
            output_per_million=1,
        )
        for name in ("small", "large")
    ]
    router = ops.router(*made)
    for number in range(40):
        answer = router.invoke(f"question {place} {number}")
        router.feedback(answer.response_metadata["llmops_route"]["run_id"], number % 2)
"""


@pytest.fixture
def url(lasting_url: str) -> str:
    return lasting_url


@pytest.fixture
def ops(url: str) -> Iterator[LLMOps]:
    with LLMOps(url) as ops:
        yield ops


def router_of(ops: LLMOps, *models: Any, **options: Any) -> ModelRouter:
    return ops.router(*choices(*(models or (small(), large()))), **options)


def asked(router: ModelRouter, question: str = EASY, **metadata: str) -> UUID:
    run_id = uuid4()
    answer = router.invoke(question, {"run_id": run_id, "metadata": metadata})
    assert answer.response_metadata[MARK]["run_id"] == str(run_id)
    return run_id


def counted(ops: LLMOps, table: str) -> int:
    with ops.database.begin(read_only=True) as connection:
        return connection.exec_driver_sql(f"select count(*) from llmops_{table}").scalar_one()  # noqa: S608 - a name of ours


def test_another_process_explains_judges_and_learns(ops, url: str) -> None:
    run_id = asked(router_of(ops))
    ops.flush()
    with LLMOps(url) as other:
        elsewhere = router_of(other)
        decision = elsewhere.explain(run_id)
        assert (decision.choice.name, decision.id) == ("small", run_id)
        assert decision.to_dict() == router_of(ops).explain(run_id).to_dict()
        elsewhere.feedback(run_id, 0.0)
        elsewhere.learn(_lessons(40))
        other.flush()
    mine = router_of(ops)
    mine.refresh()
    assert mine.decide("poem 99").predicted["small"].trust > 0.15
    assert mine.decide("poem 99").choice.name == "large"


def test_a_choice_that_is_gone_is_told_by_its_name(ops, url: str) -> None:
    run_id = asked(router_of(ops))
    ops.flush()
    with LLMOps(url) as other:
        decision = router_of(other, large()).explain(run_id)
        assert decision.choice.name == "small"
        with pytest.raises(NotFoundError):
            router_of(other).explain(uuid4())


def test_pools_learn_apart(ops) -> None:
    router_of(ops).learn(_lessons(40))
    apart = router_of(ops, pool="another")
    apart.refresh()
    assert apart.decide("poem 99").predicted["small"].trust == 0
    assert router_of(ops).decide("poem 99").predicted["small"].trust > 0.15


def test_who_failed_here_rests_elsewhere_too(ops, url: str) -> None:
    router_of(ops, small(error=RateLimitError()), large()).invoke(EASY)
    ops.flush()
    with LLMOps(url) as other:
        elsewhere = router_of(other)
        elsewhere.refresh()
        decision = elsewhere.decide(EASY)
        assert [(each.name, each.why) for each in decision.excluded] == [("small", "cooldown")]


def test_a_later_word_on_an_answer_replaces_an_earlier_one(ops) -> None:
    router = router_of(ops)
    run_id = asked(router)
    for score in (1.0, 0.0, 0.25):
        router.feedback(run_id, score)
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        kept = connection.exec_driver_sql("select score, source from llmops_outcomes").all()
    assert [tuple(row) for row in kept] == [(0.25, "feedback")]
    with pytest.raises(ConfigurationError, match="between 0 and 1"):
        router.feedback(run_id, 7)


def test_no_text_is_kept(ops) -> None:
    router = router_of(ops)
    run_id = asked(router, "a secret question", thread_id="t")
    router.feedback(run_id, 1.0)
    ops.flush()
    with ops.database.begin(read_only=True) as connection:
        for table in ("decisions", "outcomes"):
            rows = connection.exec_driver_sql(f"select * from llmops_{table}").all()  # noqa: S608 - a name of ours
            assert len(rows) == 1
            assert "secret" not in str(
                [bytes(v) if isinstance(v, memoryview) else v for v in rows[0]]
            )


@pytest.mark.parametrize("whom", [{"user": "ann"}, {"thread": "t1"}])
def test_who_is_forgotten_is_learnt_from_no_more(ops, url: str, whom: dict[str, str]) -> None:
    router = router_of(ops)
    with ops.track(user="ann", thread="t1"):
        for each in (asked(router, f"poem {n}") for n in range(25)):
            router.feedback(each, 0.0)
    with ops.track(user="bob", thread="t2"):
        router.feedback(asked(router, "poem"), 1.0)
    ops.flush()
    with LLMOps(url) as other:
        elsewhere = router_of(other)
        elsewhere.refresh()
        assert elsewhere.decide("poem 3").predicted["small"].trust > 0.15
        assert ops.forget(**whom)["routing"] == 50
        assert (counted(ops, "decisions"), counted(ops, "outcomes")) == (1, 1)
        for each in (router, elsewhere):
            each.refresh()
            assert each.decide("poem 3").predicted["small"].trust == 0


def test_decisions_go_with_time_and_what_was_learnt_stays(lasting_url: str, clock) -> None:
    with LLMOps(lasting_url, Settings(decision_retention=7 * DAY), clock=clock) as ops:
        router = router_of(ops)
        router.feedback(asked(router), 1.0)
        ops.flush()
        assert ops.maintain()["routing"]["expired"] == 0
        clock.advance(8 * DAY)
        assert ops.maintain()["routing"]["expired"] == 1
        assert (counted(ops, "decisions"), counted(ops, "outcomes")) == (0, 1)


def test_feedback_on_a_decision_of_another_embedder_spoils_nothing(url: str) -> None:
    with LLMOps(url) as ops:
        run_id = asked(router_of(ops, embeddings=HashedEmbeddings(64)))
    with LLMOps(url) as ops:
        router = router_of(ops, embeddings=HashedEmbeddings(128))
        router.feedback(run_id, 1.0)
        assert router.learn(_lessons(30)) == 60
        ops.flush()
        assert counted(ops, "outcomes") == 60
        assert router.decide("poem 3").predicted["small"].trust > 0


def test_with_a_key_prompts_are_encrypted_and_another_key_reads_nothing(url: str) -> None:
    from cryptography.fernet import Fernet

    mine, other = (Fernet.generate_key().decode() for _ in range(2))
    with LLMOps(url, Settings(encryption_key=mine)) as ops:
        router_of(ops).learn(_lessons(30))
        ops.flush()
    for key, knows in ((mine, True), (other, False)):
        with LLMOps(url, Settings(encryption_key=key)) as again:
            router = router_of(again)
            router.refresh()
            assert (router.decide("poem 3").predicted["small"].trust > 0) is knows
    with LLMOps(url, Settings(require_encryption=True)) as unkeyed:
        router = router_of(unkeyed, pool="unkeyed")
        router.feedback(asked(router), 1.0)
        unkeyed.flush()
        with unkeyed.database.begin(read_only=True) as connection:
            sql = "select count(seen) from llmops_decisions where pool = 'unkeyed'"
            assert connection.exec_driver_sql(sql).scalar_one() == 0


def test_a_database_that_is_gone_costs_no_answer(tmp_path: Path, caplog) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/no/such/folder/a.db") as ops:
        router = router_of(ops)
        assert router.invoke(EASY).text == "by the small one"
        run_id = asked(router)
        router.feedback(run_id, 1.0)
        assert router.explain(run_id).choice.name == "small"
    assert not any("hello" in message for message in caplog.messages)


def test_an_app_that_is_off_keeps_nothing(tmp_path: Path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/a.db", Settings(disabled=True)) as ops:
        router = router_of(ops)
        run_id = asked(router)
        router.feedback(run_id, 1.0)
        assert router.explain(run_id).choice.name == "small"
    assert not list(tmp_path.iterdir())


def test_what_was_learnt_travels_as_a_file(ops, tmp_path: Path) -> None:
    router = router_of(ops, embeddings=HashedEmbeddings())
    with ops.track(user="ann"):
        router.learn(_lessons(30))
    path = tmp_path / "learnt.jsonl"
    assert router.export_outcomes(path) == 60
    assert "ann" not in path.read_text()
    assert "poem" not in path.read_text()
    with LLMOps("sqlite://") as other:
        elsewhere = router_of(other, embeddings=HashedEmbeddings())
        assert elsewhere.import_outcomes(path) == elsewhere.import_outcomes(path) == 60
        mine, theirs = (each.decide("poem 99").predicted["small"] for each in (router, elsewhere))
        assert (mine.quality, mine.trust) == pytest.approx((theirs.quality, theirs.trust), abs=0.01)
        other.flush()
        assert counted(other, "outcomes") == 60
        with pytest.raises(ConfigurationError, match="learnt by"):
            router_of(other, embeddings=HashedEmbeddings(64)).import_outcomes(path)
        lines = path.read_text().splitlines()
        path.write_text("\n".join([*lines[:3], "{}", *lines[3:]]))
        with pytest.raises(ConfigurationError, match="line 4"):
            elsewhere.import_outcomes(path)
        path.write_text("no header")
        with pytest.raises(ConfigurationError, match="first line"):
            elsewhere.import_outcomes(path)


def test_one_loud_voice_is_bounded(ops) -> None:
    router = router_of(ops)
    for number in range(6):
        with ops.track(user=f"user {number}"):
            router.feedback(asked(router, f"poem {number}"), 1.0)
    with ops.track(user="a troll"):
        for number in range(60):
            router.feedback(asked(router, f"poem {number}"), 0.0)
    router.refresh()
    learner = ops._parts.logbooks.of("default").learner
    _, lessons = learner.lessons
    praised = np.nanmax(lessons.scores, axis=1) == 1.0
    assert lessons.counts[~praised].sum() <= 0.26 * lessons.counts.sum()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_process_may_fork_while_its_router_learns() -> None:
    router = ModelRouter(*choices(small(), large()), embeddings=HashedEmbeddings())
    for number in range(30):
        for at in range(20):
            router.feedback(asked(router, f"poem {number} {at}"), at % 2)
        if not (child := os.fork()):
            os._exit(0 if router.decide("poem 7").choice else 1)
        assert os.waitpid(child, 0)[1] == 0
    router.refresh()
    assert router.decide("poem 7").predicted["small"].trust > 0


def test_four_processes_learn_into_one_store(url: str) -> None:
    started = [
        subprocess.Popen([sys.executable, "-c", LEARNER, url, str(place)]) for place in range(4)
    ]
    assert [process.wait(120) for process in started] == [0] * 4
    with LLMOps(url) as ops:
        made = [
            ModelChoice(CountingModel(model_name=name), input_per_million=1, output_per_million=1)
            for name in ("small", "large")
        ]
        router = ops.router(*made)
        router.refresh()
        assert (counted(ops, "decisions"), counted(ops, "outcomes")) == (160, 160)
        assert len(ops._parts.logbooks.of("default").learner) == 160


def _lessons(number: int) -> list[dict[str, Any]]:
    """Poems are for the large model."""
    return [
        {"prompt": f"poem {at}", "scores": {"small": 0.0, "large": 1.0}} for at in range(number)
    ]


def _bytes(value: object) -> bytes:
    return bytes(value) if isinstance(value, bytes | memoryview) else str(value).encode()
