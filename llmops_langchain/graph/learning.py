"""Nodes that read what similar runs taught, and that learn how this one went."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import GraphBubbleUp

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.graph.reading import of_caller, read
from llmops_langchain.learning import Learning
from llmops_langchain.learning.finished import asked_in
from llmops_langchain.learning.judged import Verdict, fields_of
from llmops_langchain.learning.lessons import lessons_of
from llmops_langchain.wrapping.scoping import scope_of

__all__ = ["learn_node", "lessons_node"]

logger = logging.getLogger(__name__)


def lessons_node(
    learning: Learning,
    *,
    task_key: str | None = None,
    messages_key: str = "messages",
    output_key: str = "lessons",
    k: int = 3,
    max_tokens: int = 400,
    tech_stack: Sequence[str] = (),
    filter: Mapping[str, Any] | None = None,  # noqa: A002 - LangChain's word
    min_score: float = 0.3,
) -> Callable[[Any, RunnableConfig], dict[str, Any]]:
    """Return a node that writes lessons of similar runs to the state, as a text for a prompt.

    The text says that it holds records and no instructions; it is empty if there is nothing to
    say, or if the search fails, which is logged.

    Args:
        learning: Where to search: `ops.learning`.
        task_key: Where the state keeps the task; by default it is the last human message.
        messages_key: Where it keeps the conversation.
        output_key: Where the text goes.
        k: How many similar experiences are read.
        max_tokens: Tokens of the text, four characters each.
        tech_stack: Experiences with the like come first.
        filter: As for `learning.similar`.
        min_score: What is less alike is left out.
    """

    def lessons(state: Any, config: RunnableConfig) -> dict[str, Any]:
        try:
            task = _task(state, task_key, messages_key)
            if not task.strip():
                return {output_key: ""}
            matches = learning.similar(
                task,
                tech_stack,
                k,
                filter=filter,
                min_score=min_score,
                workspace=scope_of(of_caller(config)).workspace,
            )
        except Exception as error:  # noqa: BLE001 - help that fails does not break the graph
            logger.warning("no lessons were found: %s", type(error).__name__)
            return {output_key: ""}
        return {output_key: lessons_of(matches, max_tokens=max_tokens).text}

    return lessons


def learn_node(
    learning: Learning,
    *,
    judge: Callable[[Any], Verdict] | None = None,
    success_key: str = "success",
    task_key: str | None = None,
    messages_key: str = "messages",
    lessons_key: str | None = None,
    metrics_key: str | None = None,
    tech_stack: Sequence[str] = (),
) -> Callable[[Any, RunnableConfig], dict[str, Any]]:
    """Return a node that learns how a graph's run went, from its state; it changes nothing.

    A run of which nobody says how it went is not learnt, and what fails is logged.

    Args:
        learning: Learns: `ops.learning`.
        judge: Says of a state whether it is a success: `True` or `False`, 0 to 1, fields of an
            experience, or `None` if nobody knows. It may `interrupt`, to ask a human. Without one
            `success_key` says so.
        success_key: Where the state says so.
        task_key: Where it keeps the task; by default it is the last human message.
        messages_key: Where it keeps the conversation.
        lessons_key: Where it keeps lessons to be learnt, a list of texts.
        metrics_key: Where it keeps figures, by name.
        tech_stack: What the graph works with.

    Raises:
        ConfigurationError: If there is neither a judge nor a key.
    """
    if judge is None and not success_key:
        msg = "`learn_node` needs a `judge`, or a `success_key`"
        raise ConfigurationError(msg)

    def learn(state: Any, config: RunnableConfig) -> dict[str, Any]:
        try:
            verdict = read(state, success_key) if judge is None else judge(state)
            task = _task(state, task_key, messages_key)
            if verdict is None or not task.strip():
                return {}
            scope = scope_of(of_caller(config))
            told: dict[str, Any] = {
                "project_id": scope.project or "default",
                "task_description": task,
                "tech_stack": tech_stack,
                "lessons": (read(state, lessons_key) if lessons_key else None) or (),
                "metrics": (read(state, metrics_key) if metrics_key else None) or {},
                "agent": scope.agent,
                "workspace": scope.workspace,
                "user": scope.user,
                "thread": scope.thread,
            }
            learning.learn(**(told | fields_of(verdict)))
        except GraphBubbleUp:  # a judge that asks a human
            raise
        except Exception as error:  # noqa: BLE001 - help that fails does not break the graph
            logger.warning("a run was not learnt: %s", type(error).__name__)
        return {}

    return learn


def _task(state: Any, task_key: str | None, messages_key: str) -> str:
    if task_key is not None:
        return str(read(state, task_key) or "")
    return asked_in(read(state, messages_key))
