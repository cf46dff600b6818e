"""Asks the user's model for summaries: each once, whoever wants it; no harm is done if it fails."""

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextvars import copy_context

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig

from llmops_langchain.ledger import track
from llmops_langchain.memory.summary_marks import NOTHING, Summary
from llmops_langchain.memory.transcripts import asked_for, parts_of
from llmops_langchain.models import context_limits
from llmops_langchain.tokens import counter_for, model_name

__all__ = ["Order", "SummaryWriter"]

_REMEMBERED = 1_000
"""Summaries that are kept in mind."""

_SOURCE = {"lc_source": "summarization"}
"""How LangChain's own summaries are marked."""

_CONFIG: RunnableConfig = {
    "metadata": {**_SOURCE},
    # Keeps a graph that streams messages from streaming this one into the user's answer.
    "tags": ["nostream"],
}

# Where providers say how an answer ended, and their words for one that they keep back.
_ENDINGS = ("finish_reason", "stop_reason", "stopReason")
_WITHHELD = frozenset(
    (
        "blocklist",
        "content_filter",
        "content_filtered",
        "guardrail_intervened",
        "prohibited_content",
        "recitation",
        "refusal",
        "safety",
        "sensitive",
        "spii",
    )
)

_logger = logging.getLogger(__name__)


class Order:
    """Some messages that a summary is to stand for too.

    Args:
        known: The summary that there is.
        left: The messages that are added to it.
        digests: For each of them the digest of a summary that ends with it.
        silent: Which of them the model is not shown.
        most: Tokens the summary may have.
        shorten: Returns a text of at most so many tokens.
    """

    def __init__(
        self,
        known: Summary,
        left: Sequence[BaseMessage],
        digests: Sequence[bytes],
        *,
        silent: Callable[[BaseMessage], bool],
        most: int,
        shorten: Callable[[str], str],
    ) -> None:
        self.known, self.digests = known, digests
        self.most, self.shorten = most, shorten
        read = [(at, message) for at, message in enumerate(left, start=1) if not silent(message)]
        self._ends, self.messages = [at for at, _ in read], [message for _, message in read]

    def made(self, text: str, done: int) -> Summary:
        """The summary once so many of `messages` are in it, and what is silent between them."""
        ends = self._ends[done] - 1 if done < len(self._ends) else len(self.digests)
        if not ends:
            return self.known
        return Summary(text, self.digests[ends - 1], self.known.messages + ends)


class SummaryWriter:
    """Makes summaries by a model and remembers them; safe to share between threads.

    Args:
        model: Who writes them.
        prompt: What it is told to do.
        timeout: Seconds to wait for one; it is kept when it comes later.
    """

    def __init__(self, model: BaseChatModel, prompt: str, timeout: float | None) -> None:
        self._model, self._prompt, self._timeout = model, prompt, timeout
        limits = context_limits(model_name(model), profile=getattr(model, "profile", None))
        self.most = max(1, limits.max_input_tokens // 8)
        """Tokens of a summary that the model can still read, and write anew."""
        # The rest is for two summaries, the instructions, and counts that are an estimate.
        self._part = max(1, limits.max_input_tokens // 2)
        self._known: OrderedDict[bytes, Summary] = OrderedDict()
        self._changing = threading.Lock()
        self._writing: dict[bytes, Future[Summary]] = {}
        self._logged: set[str] = set()

    def remembered(self, digests: Sequence[bytes]) -> tuple[Summary, int]:
        """The summary that stands for the most of some messages, and for how many of them.

        Args:
            digests: One for each message, of it and all before it.
        """
        with self._changing:
            for place in range(len(digests) if self._known else 0, 0, -1):
                if (found := self._known.get(digests[place - 1])) is not None:
                    self._known.move_to_end(found.digest)
                    return found, place
        return NOTHING, 0

    def written(self, order: Order) -> Summary:
        """The summary with all of the messages; with less, or as it was, where the model fails."""
        key = order.digests[-1]
        with self._changing:
            if key in self._known:
                return self._known[key]
            writing = self._writing.get(key)
            is_first = writing is None
            future = self._writing[key] = writing or Future()
        if is_first:
            self._start(lambda: self._write(order, key, future))
        try:
            return future.result(self._timeout)
        except TimeoutError as error:
            self._failed(type(error).__name__)
            return order.known

    def _start(self, write: Callable[[], None]) -> None:
        """Write here, or where nobody has to wait for it to the end, not even a program's."""
        if self._timeout is None:
            write()
        else:
            context = copy_context()
            threading.Thread(
                target=context.run, args=(write,), name="llmops-summary", daemon=True
            ).start()

    def _write(self, order: Order, key: bytes, future: Future[Summary]) -> None:
        made = order.known
        try:
            made = self._asked(order)
        finally:
            with self._changing:
                self._writing.pop(key, None)
            future.set_result(made)

    def _asked(self, order: Order) -> Summary:
        """Ask part by part; what is done stays done when a later part fails."""
        made, text = order.made(order.known.text, 0), order.known.text
        try:
            parts = parts_of(order.messages, counter_for(self._model).text, self._part)
            for part, done in parts:
                said = self._said(asked_for(self._prompt, text, part, order.most))
                text = order.shorten(said) if said else ""
                if not text:
                    self._failed("it said nothing")
                    break
                made = order.made(text, done) if done else made
                self._remember(made)
        except Exception as error:  # noqa: BLE001 - help that fails leaves the plain cut
            self._failed(type(error).__name__)
        return made

    def _said(self, asked: list[BaseMessage]) -> str:
        with track(tags=_SOURCE):
            answer = self._model.invoke(asked, _CONFIG)
        return "" if answer.tool_calls or _is_withheld(answer) else answer.text.strip()

    def _remember(self, made: Summary) -> None:
        with self._changing:
            self._known[made.digest] = made
            while len(self._known) > _REMEMBERED:
                self._known.popitem(last=False)

    def _failed(self, why: str) -> None:
        if why not in self._logged:
            self._logged.add(why)
            _logger.warning("no summary was made (%s); the last one stays", why)


def _is_withheld(answer: AIMessage) -> bool:
    """Whether a provider, or its model, refused to answer, as far as it says so."""
    ends = [str(answer.response_metadata.get(name)).lower() for name in _ENDINGS]
    is_refused = bool(answer.additional_kwargs.get("refusal"))
    return is_refused or any(end.rpartition(".")[2] in _WITHHELD for end in ends)
