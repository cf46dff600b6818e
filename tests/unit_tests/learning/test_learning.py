"""What is learnt is kept, found, and forgotten, on every database."""

import io
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet
from langchain_core.embeddings import Embeddings

from llmops_langchain import ConfigurationError, LLMOps, Settings
from llmops_langchain.learning import Experience, Learning
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.storage import Database

DAY = 86_400.0

LOGIN, PAY, MAIL = (
    "Build the login page with passwords",
    "Stripe checkout for the shop",
    "Send the newsletter by e-mail",
)


@pytest.fixture
def ops(database_url: str) -> Iterator[LLMOps]:
    with LLMOps(database_url) as ops:
        yield ops


@pytest.fixture
def learning(ops: LLMOps) -> Learning:
    return ops.learning


@pytest.fixture
def in_memory() -> Iterator[Learning]:
    """For what no database has a part in."""
    with LLMOps("sqlite://") as ops:
        yield ops.learning


def learn(learning: Learning, task: str = LOGIN, **said: Any) -> Experience:
    return learning.learn(**{"project_id": "p", "task_description": task, "success": True} | said)


def tasks(matches: list[Any]) -> list[str]:
    return [each.experience.task_description for each in matches]


def test_what_is_learnt_is_given_back_whole(learning) -> None:
    run_id = uuid4()
    told = {
        "project_id": "shop",
        "tech_stack": ["React", "fastapi", "react"],
        "metrics": {"completion_time_seconds": 900, "cost_usd": "3.5", "iterations_needed": 2},
        "lessons": ["Hash the passwords."],
        "model": "gpt-5-mini",
        "agent": "builder",
        "tools": ["shell", "shell"],
        "steps": ["plan", "write", "test"],
        "failure": None,
        "user": "anne",
        "thread": "t",
        "run_id": str(run_id),
        "ts": 1_800_000_000.0,
    }
    learnt = learn(learning, **told)
    (match,) = learning.similar(LOGIN)
    assert match.experience == learnt
    assert learnt.tech_stack == ("fastapi", "react")
    assert learnt.metrics == {"completion_time": 900, "cost": 3.5, "iterations": 2}
    assert (learnt.tools, learnt.steps) == (("shell",), ("plan", "write", "test"))
    assert (learnt.run_id, learnt.user, learnt.thread) == (run_id, "anne", "t")


def test_the_similar_come_first_with_scores_from_0_to_1(learning) -> None:
    for task in (PAY, LOGIN, MAIL):
        learn(learning, task)
    found = learning.similar("Login with a password", k=3)
    assert tasks(found)[0] == LOGIN
    scores = [each.score for each in found]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= score <= 1 for score in scores)
    assert len(learning.similar(LOGIN, k=1)) == 1


def test_runs_of_one_task_by_one_configuration_are_one_match(learning) -> None:
    for number in range(4):
        learn(learning, success=number != 0, model="a", metrics={"iterations": number})
    learn(learning, f"{LOGIN.upper()}.", model="a")
    learn(learning, model="b")
    learn(learning, project_id="other", model="a")
    found = learning.similar(LOGIN, k=10)
    assert sorted((each.count, each.successes) for each in found) == [(1, 1), (1, 1), (5, 4)]
    assert max(found, key=lambda each: each.count).success_rate == 0.8


def test_a_like_stack_comes_first(learning) -> None:
    learn(learning, "Build an API", tech_stack=["django"])
    learn(learning, "Build an API", tech_stack=["fastapi", "postgres"])
    first = learning.similar("Build an API", ["FastAPI"])[0]
    assert "fastapi" in first.experience.tech_stack


@pytest.mark.parametrize(
    ("wanted", "number"),
    [
        ({"success": True}, 1),
        ({"success": False}, 1),
        ({"project_id": "a"}, 1),
        ({"project_id": "nobody's"}, 0),
        ({"model": "m"}, 1),
        ({"agent": "x"}, 1),
        ({"failure": "timeout"}, 1),
        ({"tech_stack": ["React"]}, 2),
        ({"tech_stack": ["react", "vue"]}, 1),
        ({"pattern": "authentication"}, 2),
        ({"pattern": "payment"}, 0),
        ({"since": 200.0}, 1),
        ({"until": 200.0}, 1),
        ({"success": None}, 2),
    ],
)
def test_filters_hold(in_memory, wanted, number) -> None:
    learn(in_memory, project_id="a", model="m", tech_stack=["react"], ts=100.0)
    told = {"agent": "x", "failure": "timeout", "tech_stack": ["react", "vue"], "ts": 200.0}
    learn(in_memory, project_id="b", success=False, **told)
    assert len(in_memory.similar(LOGIN, filter=wanted)) == number


def test_success_and_age_count_where_they_are_asked_to(clock) -> None:
    with LLMOps("sqlite://", clock=clock) as ops:
        for number in range(3):
            learn(ops.learning, LOGIN, project_id=f"old{number}", success=False, model="bad")
            learn(ops.learning, f"{LOGIN} now", project_id=f"good{number}", model="good")
            learn(ops.learning, f"{LOGIN} soon", project_id="old", ts=clock() - 100 * DAY)
        by_outcome = ops.learning.similar(LOGIN, k=9, outcome_weight=1.0)
        assert [each.experience.model for each in by_outcome][-3:] == ["bad"] * 3
        by_age = ops.learning.similar(LOGIN, k=9, half_life=DAY)
        assert by_age[-1].experience.project_id == "old"


def test_no_workspace_sees_another_ones(ops, learning) -> None:
    learn(learning)
    with ops.track(workspace="acme"):
        learn(learning, project_id="q", success=False)
        assert [each.experience.workspace for each in learning.similar(LOGIN)] == ["acme"]
        assert learning.predict_success(LOGIN).base_rate < 0.5
        assert learning.stats().experiences == 1
    assert [each.experience.workspace for each in learning.similar(LOGIN)] == [None]
    assert learning.similar(LOGIN, workspace="none") == []
    assert learning.stats().experiences == 1
    assert learning.forget(project_id="q") == 0
    assert learning.forget(project_id="q", workspace="acme") == 1


def test_a_row_of_another_workspace_is_not_written_over(ops, learning) -> None:
    run_id = uuid4()
    with ops.track(workspace="a"):
        learn(learning, run_id=run_id)
    with ops.track(workspace="b"):
        learn(learning, PAY, run_id=run_id)
    assert tasks(learning.similar(LOGIN, workspace="a")) == [LOGIN]
    assert tasks(learning.similar(LOGIN, workspace="b")) == [PAY]


def test_a_later_word_on_a_run_takes_the_earlier_ones_place(learning) -> None:
    run_id = uuid4()
    learn(learning, run_id=run_id, success=False)
    assert learning.similar(LOGIN)[0].successes == 0
    learn(learning, run_id=run_id, success=True)
    (match,) = learning.similar(LOGIN)
    assert (match.count, match.successes) == (1, 1)


def test_another_process_finds_it_within_a_second(lasting_url, clock) -> None:
    with LLMOps(lasting_url, clock=clock) as one, LLMOps(lasting_url, clock=clock) as other:
        learn(one.learning)
        assert other.learning.similar(LOGIN)
        learn(one.learning, PAY)
        clock.advance(1.0)
        assert len(other.learning.similar(LOGIN)) == 2
        one.learning.forget(project_id="p")
        clock.advance(1.0)
        assert other.learning.similar(LOGIN) == []


def test_forgetting_deletes_it_everywhere_at_once(ops, learning) -> None:
    learn(learning, user="anne", workspace="acme")
    learn(learning, PAY, user="anne")
    learn(learning, MAIL, thread="t")
    kept = learn(learning, "Draw a chart")
    assert learning.similar(PAY)
    assert ops.forget(user="anne")["learning"] == 2
    assert ops.forget(thread="t")["learning"] == 1
    assert tasks(learning.similar(PAY)) == [kept.task_description]
    assert learning.similar(LOGIN, workspace="acme") == []
    assert learning.forget(ids=[kept.id]) == 1
    assert learning.similar(PAY) == []


def test_what_is_old_goes_after_its_retention(database_url, clock) -> None:
    with LLMOps(database_url, Settings(experience_retention=DAY), clock=clock) as ops:
        learn(ops.learning)
        assert ops.maintain()["learning"] == {"expired": 0}
        clock.advance(DAY + 1)
        assert ops.maintain()["learning"] == {"expired": 1}
        assert ops.learning.similar(LOGIN) == []


def test_an_export_is_learnt_again_and_twice_is_once(learning, tmp_path) -> None:
    for task in (LOGIN, PAY):
        learn(learning, task, metrics={"cost": 1.5}, lessons=["Test it."], run_id=uuid4())
    file = tmp_path / "experiences.jsonl"
    assert learning.export(file) == 2
    with LLMOps("sqlite://") as other:
        for _ in range(2):
            assert other.learning.import_(file).learnt == 2
        assert other.learning.stats().experiences == 2
        again = io.StringIO()
        other.learning.export(again)
        assert sorted(again.getvalue().splitlines()) == sorted(file.read_text().splitlines())
        assert other.learning.import_(file, workspace="acme").learnt == 2
        assert tasks(other.learning.similar(LOGIN, k=1, workspace="acme")) == [LOGIN]


def test_wrong_lines_are_counted_and_named(learning) -> None:
    good = {"project_id": "p", "task_description": LOGIN, "success": True, "ts": 1.0}
    good["id"] = str(uuid4())
    lines = [
        json.dumps(good),
        "{torn",
        "[]",
        "",
        json.dumps(good | {"success": "perhaps"}),
        json.dumps({name: good[name] for name in ("id", "ts", "success")}),
        json.dumps(good | {"colour": "red"}),
    ]
    imported = learning.import_(io.BytesIO("\n".join(lines).encode()))
    assert (imported.learnt, imported.rejected) == (1, 5)
    assert [line for line, _ in imported.reasons] == [2, 3, 5, 6, 7]
    assert "`success`" in imported.reasons[2][1]
    assert "'colour'" in imported.reasons[4][1]
    with pytest.raises(ConfigurationError, match="path or an open file"):
        learning.import_(7)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"task_description": ""}, "task_description"),
        ({"task_description": "  \n"}, "task_description"),
        ({"task_description": None}, "task_description"),
        ({"project_id": ""}, "project_id"),
        ({"project_id": None}, "project_id"),
        ({"success": "yes"}, "success"),
        ({"success": 0.5}, "success"),
        ({"success": None}, "success"),
        ({"metrics": {"cost": float("nan")}}, "cost"),
        ({"metrics": {"cost": "much"}}, "cost"),
        ({"metrics": [1]}, "metrics"),
        ({"tech_stack": "react"}, "tech_stack"),
        ({"lessons": [7]}, "lessons"),
        ({"ts": -1.0}, "ts"),
        ({"ts": float("inf")}, "ts"),
        ({"run_id": "no uuid"}, "run_id"),
        ({"workspace": "w" * 301}, "workspace"),
        ({"user": "u" * 301}, "user"),
    ],
)
def test_wrong_input_is_refused_and_named(in_memory, wrong, word) -> None:
    with pytest.raises(ConfigurationError, match=word):
        learn(in_memory, **wrong)
    assert in_memory.stats().experiences == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"k": 0},
        {"k": 1.5},
        {"outcome_weight": 2},
        {"half_life": 0},
        {"filter": {"colour": "red"}},
        {"filter": {"success": "yes"}},
        {"filter": {"tech_stack": "react"}},
        {"filter": {"since": "yesterday"}},
    ],
)
def test_wrong_questions_are_refused(in_memory, wrong) -> None:
    with pytest.raises(ConfigurationError):
        in_memory.similar(LOGIN, **wrong)
    with pytest.raises(ConfigurationError, match="task_description"):
        in_memory.similar(" ")


def test_strange_and_huge_texts_are_kept(learning) -> None:
    strange = "a\0b \ud800 \U0001f600 ﷽"
    learn(learning, strange, lessons=["\ud800"], tech_stack=["Größe"])
    learn(learning, "x" * 300_000, failure="f" * 1_000)
    assert len(learning.similar(strange)) == 2
    longest = max(tasks(learning.similar("x")), key=len)
    assert 100_000 <= len(longest) < 100_010


def test_a_redactor_sees_texts_before_anything_else_does(learning) -> None:
    learning.redact = lambda text: text.replace("hunter2", "[secret]")
    learnt = learn(learning, f"{LOGIN} hunter2", lessons=["Use hunter2"], steps=["type hunter2"])
    assert "hunter2" not in json.dumps(learnt.to_dict())
    assert "[secret]" in learning.similar(LOGIN)[0].experience.lessons[0]

    def broken(_: str) -> str:
        raise RuntimeError

    learning.redact = broken
    with pytest.raises(RuntimeError):
        learn(learning, PAY)
    assert learning.stats().experiences == 1


def test_texts_are_encrypted_where_there_is_a_key(tmp_path) -> None:
    url, key = f"sqlite:///{tmp_path}/a.db", Fernet.generate_key().decode()
    with LLMOps(url, Settings(encryption_key=key)) as ops:
        learn(ops.learning, "Find the philosopher's stone", lessons=["Look in the quicksilver"])
        assert ops.learning.similar("stone")
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"philosopher" not in file.read_bytes()
    with LLMOps(url) as ops:
        assert ops.learning.similar("stone") == []
        assert ops.learning.rebuild(verify=True).unreadable > 0
    with (
        LLMOps(url, Settings(require_encryption=True)) as ops,
        pytest.raises(ConfigurationError, match="encryption_key"),
    ):
        learn(ops.learning)


def test_disabled_it_keeps_and_finds_nothing(tmp_path) -> None:
    with LLMOps(f"sqlite:///{tmp_path}/a.db", Settings(disabled=True)) as ops:
        assert learn(ops.learning).task_description == LOGIN
        assert ops.learning.similar(LOGIN) == []
        assert ops.learning.predict_success(LOGIN).known is False
        assert ops.learning.estimate(LOGIN).known is False
        assert ops.learning.suggest("p") == []
        assert ops.learning.forget(project_id="p") == 0
        assert ops.learning.stats().experiences == 0
    assert not list(tmp_path.iterdir())


class Broken(Embeddings):
    """An embedder whose service is away."""

    model_name = "broken"

    def __init__(self) -> None:
        self.works = False

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        if not self.works:
            raise ConnectionError
        return [[float(len(text)), 1.0] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self.embed_documents([text])[0]


def test_without_an_embedder_words_are_left_and_vectors_come_later(database, caplog) -> None:
    embeddings = Broken()
    learning = Learning(ExperienceRows(database), embeddings, interval=None)
    for task in (LOGIN, PAY):
        learn(learning, task)
    assert tasks(learning.similar("the login page", k=1)) == [LOGIN]
    assert caplog.text.count("by words alone") == 1
    assert learning.rebuild(verify=True).embedded == 2
    embeddings.works, told = True, []
    assert learning.rebuild(progress=lambda *done: told.append(done)).embedded == 2
    assert told == [(2, 2)]
    assert learning.rebuild(verify=True).right
    assert learning.similar(LOGIN, k=1)[0].similarity == 1.0


def test_another_embedder_embeds_anew(lasting_url) -> None:
    from llmops_langchain.embeddings import HashedEmbeddings

    with Database(lasting_url) as database:
        rows = ExperienceRows(database)
        learn(Learning(rows, HashedEmbeddings(64), interval=None))
        other = Learning(rows, HashedEmbeddings(128), interval=None)
        assert tasks(other.similar(LOGIN)) == [LOGIN]
        other.flush()
        assert other.rebuild(verify=True).right
        assert tasks(other.similar(LOGIN)) == [LOGIN]


async def test_the_async_twins_say_the_same(ops, learning) -> None:
    with ops.track(workspace="acme"):
        await learning.alearn(project_id="p", task_description=LOGIN, success=True)
        assert await learning.asimilar(LOGIN) == learning.similar(LOGIN)
        assert await learning.apredict_success(LOGIN) == learning.predict_success(LOGIN)
        assert (await learning.aestimate(LOGIN)).known is False
        assert await learning.asuggest("p") == learning.suggest("p")
        assert await learning.astats() == learning.stats()
        assert await learning.aforget(project_id="p") == 1


def test_many_are_learnt_in_a_few_transactions(learning) -> None:
    runs = [{"project_id": n, "task_description": f"Task {n}", "success": 1} for n in range(1_100)]
    assert learning.learn_many(iter(runs)) == 1_100
    stats = learning.stats()
    assert (stats.experiences, stats.in_memory, stats.projects) == (1_100, 1_100, 1_100)


def test_what_comes_up_again_is_a_candidate_for_a_pattern(in_memory) -> None:
    assert in_memory.candidates() == []
    for number in range(12):
        learn(in_memory, f"Translate chapter {number} of the manual into Danish")
        learn(in_memory, f"Water plant {number} in the greenhouse")
    found = in_memory.candidates()
    words = {word for candidate, _ in found for word in candidate.words}
    assert all(examples for _, examples in found)
    assert words & {"translate", "danish", "manual", "chapter", "greenhouse", "water", "plant"}


def test_a_workspace_can_be_read_ahead(learning) -> None:
    learn(learning, workspace="acme")
    assert (learning.warm(), learning.warm(workspace="acme")) == (0, 1)


def test_the_figures_are_told(learning) -> None:
    learn(learning, tech_stack=["react"], model="m", metrics={"cost": 1}, ts=5.0)
    learn(learning, PAY, tech_stack=["react", "stripe"], success=False, failure="timeout", ts=9.0)
    stats = learning.stats()
    assert (stats.experiences, stats.success_rate, stats.tasks) == (2, 0.5, 2)
    assert stats.tech_stacks == {"react": 2, "stripe": 1}
    assert set(stats.patterns) == {"authentication", "payment"}
    assert (stats.models, stats.failures) == ({"m": 1}, {"timeout": 1})
    assert (stats.metrics, stats.oldest, stats.newest) == (("cost",), 5.0, 9.0)
