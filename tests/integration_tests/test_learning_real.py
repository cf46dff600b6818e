"""Learning with real parts: a Chroma server, a language model, LangChain's retriever suite."""

# ruff: noqa: E402 - what may be missing is skipped first
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

for _name in ("langchain", "langchain_openai", "chromadb"):
    pytest.importorskip(_name, reason=f"needs the package {_name.replace('_', '-')}")

from langchain.agents import create_agent
from langchain_core.messages import AIMessage
from langchain_tests.integration_tests import RetrieversIntegrationTests
from langgraph.graph import START, MessagesState, StateGraph

from llmops_langchain import LearningRetriever, LLMOps, Settings
from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.learning import Learning
from llmops_langchain.learning.index import Place
from llmops_langchain.learning.rows import ExperienceRows
from llmops_langchain.storage import Database

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

TASK = "Write one line for the card of a fern"
LESSON = "Name the light that the plant needs."


@pytest.fixture(scope="module")
def chroma_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """URL of a real Chroma server."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("chroma")
    folder = tmp_path_factory.mktemp("chroma")
    running = subprocess.Popen(
        [command, "run", "--path", folder, "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        _wait_for(f"{url}/api/v2/heartbeat")
        yield url
    finally:
        running.terminate()
        running.wait(30)


def _wait_for(url: str) -> None:
    last = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - an address of ours
                return
        except OSError:
            if time.monotonic() > last:
                raise
            time.sleep(0.05)


def learning_on(database: Database, url: str) -> Learning:
    rows = ExperienceRows(database)
    return Learning(rows, place=Place(url=url), worth=0, most=3, interval=None)


def learn(learning: Learning, *tasks: str, **said: Any) -> None:
    for task in tasks:
        told = {"project_id": "p", "task_description": task, "success": True}
        learning.learn(**told | said)


TASKS = ("paint a fence", "count whales", "mend a kettle", "file a tax return", "tune a harp")


def test_a_server_is_searched_by_every_process(chroma_server, lasting_url) -> None:
    workspace = uuid4().hex
    with Database(lasting_url) as database:
        one, other = learning_on(database, chroma_server), learning_on(database, chroma_server)
        learn(one, *TASKS, workspace=workspace)
        one.flush()
        other.flush()  # has nothing left to do, and can search
        for learning in (one, other):
            (match,) = learning.similar("whales to count", k=1, workspace=workspace)
            assert match.experience.task_description == "count whales"
        assert one.forget(project_id="p", workspace=workspace) == len(TASKS)
        other.flush()
        assert other.rebuild(verify=True).surplus == 0
        assert other.similar("whales", workspace=workspace) == []
        one.close()
        other.close()


def test_an_app_names_its_server_in_the_settings(chroma_server, tmp_path) -> None:
    url = f"sqlite:///{tmp_path}/a.db"
    with LLMOps(url, Settings(chroma_url=chroma_server)) as ops:
        learn(ops.learning, *TASKS)
        ops.learning.flush()
        assert ops.learning.stats().indexed
        ops.learning.forget(project_id="p")


class TestRetrieverOnAServer(RetrieversIntegrationTests):
    @pytest.fixture(autouse=True)
    def _learning(self, chroma_server: str, database_url: str) -> Iterator[None]:
        with Database(database_url) as database:
            self.learning = learning_on(database, chroma_server)
            learn(self.learning, *TASKS)
            self.learning.flush()
            yield
            self.learning.forget(project_id="p")
            self.learning.close()

    @property
    def retriever_constructor(self) -> type[LearningRetriever]:
        return LearningRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"learning": self.learning}

    @property
    def retriever_query_example(self) -> str:
        return "harp"


def test_a_real_agent_is_shown_a_lesson_and_learnt_from(local_model: LocalModel) -> None:
    chat = local_model.chat_model(max_tokens=16)
    with LLMOps("sqlite://") as ops:
        learn(ops.learning, TASK, lessons=[LESSON])
        agent = create_agent(chat, middleware=ops.middleware(lessons=True))
        recorder = ops.recorder(lambda run: bool(run.text))
        ops.prices.set(local_model.model_name, input_per_million=1, output_per_million=1)
        with ops.track(project="cards"):
            told = agent.invoke({"messages": [("user", TASK)]}, {"callbacks": [recorder]})
            plain = chat.invoke(TASK)
        ops.flush()
        shown = told["messages"][-1].usage_metadata["input_tokens"]
        assert shown > plain.usage_metadata["input_tokens"] + 20  # the lesson was sent
        runs = ops.learning.similar(TASK, filter={"project_id": "cards"})
        assert runs[0].experience.metrics["input_tokens"] == shown
        assert runs[0].experience.metrics["cost"] > 0


def test_a_real_graph_learns_and_reads(local_model: LocalModel) -> None:
    chat = local_model.chat_model(max_tokens=16)

    class State(MessagesState, total=False):
        lessons: str
        success: bool

    with LLMOps("sqlite://") as ops:

        def answer(state: State) -> dict[str, Any]:
            said = chat.invoke([("system", state["lessons"] or "Be brief."), *state["messages"]])
            return {"messages": [said], "success": isinstance(said, AIMessage)}

        graph = StateGraph(State)
        for name, node in (
            ("read", ops.lessons_node()),
            ("answer", answer),
            ("learn", ops.learn_node()),
        ):
            graph.add_node(name, node)
        graph.add_edge(START, "read")
        graph.add_edge("read", "answer")
        graph.add_edge("answer", "learn")
        learn(ops.learning, TASK, lessons=[LESSON])
        state = graph.compile().invoke({"messages": [("user", TASK)]})
        assert LESSON in state["lessons"]
        (match, *_) = ops.learning.similar(TASK, filter={"project_id": "default"})
        assert match.experience.success
