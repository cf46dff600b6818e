"""The eleven defects of LangChain's stock cache path, and which of them each way of ours has.

The table in `docs/cache.md` is read and every cell of it is tried: "yes" means the defect is there.
"""

import re
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.caches import BaseCache, InMemoryCache
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.globals import set_llm_cache
from langchain_core.language_models import LLM
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_openai import ChatOpenAI
from models import CountingModel, StreamingModel
from pydantic import PrivateAttr, create_model

from llmops_langchain import Database, ResponseCache
from llmops_langchain.cache import cached
from llmops_langchain.ledger import track

PAGE = Path(__file__).parents[2] / "docs" / "cache.md"


class Way:
    """One way to give a model a cache."""

    def __init__(self, cache: BaseCache, lay: Callable[[Any], Any]) -> None:
        self.cache, self.lay = cache, lay

    def break_store(self) -> None:
        """Let every lookup and update fail."""

        def fail(*_: object, **__: object) -> Any:
            msg = "the store is down"
            raise ConnectionError(msg)

        if isinstance(self.cache, InMemoryCache):
            self.cache.lookup = self.cache.update = fail
        else:
            self.cache._shelf._store.get = self.cache._shelf._store.put = fail


@contextmanager
def stock() -> Iterator[Way]:
    with everywhere(cache := InMemoryCache()):
        yield Way(cache, lambda model: model)


@contextmanager
def set_globally() -> Iterator[Way]:
    with Database("sqlite://") as database, everywhere(cache := ResponseCache(database)):
        yield Way(cache, lambda model: model)


@contextmanager
def laid_over() -> Iterator[Way]:
    with Database("sqlite://") as database:
        cache = ResponseCache(database)
        yield Way(cache, lambda model: cached(model, cache))


@contextmanager
def everywhere(cache: BaseCache) -> Iterator[None]:
    set_llm_cache(cache)
    yield
    set_llm_cache(None)


WAYS = {"stock": stock, "set_llm_cache": set_globally, "cached": laid_over}


class Together(CountingModel):
    """Answers when another call comes in, or after a moment."""

    _second: threading.Event = PrivateAttr(default_factory=threading.Event)

    def _ask(self, how: str) -> None:
        super()._ask(how)
        if self.calls > 1:
            self._second.set()
        self._second.wait(0.2)


class Offline(ChatOpenAI):
    """A provider's class that answers without asking."""

    _asked: list[int] = PrivateAttr(default_factory=list)

    def _generate(self, *_: Any, **__: Any) -> ChatResult:
        self._asked.append(1)
        return ChatResult(generations=[ChatGeneration(message=CountingModel()._message())])


class Text(LLM):
    """A text model that says how often it was asked."""

    _numbers: Any = PrivateAttr(default_factory=lambda: count(1))

    @property
    def _llm_type(self) -> str:
        return "text"

    def _call(self, *_: Any, **__: Any) -> str:
        return str(next(self._numbers))


def bills_hits(way: Way) -> bool:
    model, handler = way.lay(CountingModel()), UsageMetadataCallbackHandler()
    for _ in range(3):
        model.invoke("q", config={"callbacks": [handler]})
    return handler.usage_metadata["tested-model"]["input_tokens"] != 10


def reuses_ids(way: Way) -> bool:
    model = way.lay(CountingModel())
    return len({model.invoke("q").id for _ in range(3)}) < 3


def hands_out_what_it_stores(way: Way) -> bool:
    model = way.lay(CountingModel())
    model.invoke("q")
    model.invoke("q").response_metadata["edited"] = True
    return "edited" in model.invoke("q").response_metadata


def dies_with_its_store(way: Way) -> bool:
    model = way.lay(CountingModel())
    way.break_store()
    try:
        return model.invoke("q").content != "the answer"
    except ConnectionError:
        return True


def stampedes(way: Way) -> bool:
    model = way.lay(Together())
    model.batch(["q"] * 8)
    return model.calls > 1


def passes_streams_by(way: Way) -> bool:
    model = way.lay(StreamingModel())
    model.invoke("q")
    assert "".join(chunk.text for chunk in model.stream("q")).split()
    return model.calls > 1


def ignores_arguments_of_text_models(way: Way) -> bool:
    model = way.lay(Text())
    return model.invoke("q", temperature=0.0) == model.invoke("q", temperature=1.0)


def confuses_models_without_parameters(way: Way) -> bool:
    one, other = (way.lay(CountingModel(answer=name, temperature=1)) for name in "ab")
    return one.invoke("q").content == other.invoke("q").content


def overlooks_an_edited_schema(way: Way) -> bool:
    module = sys.modules["edited_schemas"] = ModuleType("edited_schemas")
    model = way.lay(CountingModel())
    for field in ("name", "title"):
        module.Answer = create_model("Answer", **{field: str}, __module__="edited_schemas")
        model.bind(response_format=module.Answer).invoke("q")
    del sys.modules["edited_schemas"]
    return model.calls == 1


def keys_on_the_wrong_settings(way: Way) -> bool:
    first, patient = (
        way.lay(Offline(model="gpt-4o", api_key="none", timeout=seconds)) for seconds in (1, 2)
    )
    with track(workspace="a"):
        first.invoke("q")
        patient.invoke("q")
    with track(workspace="b"):
        first.invoke("q")
    return (len(first._asked), len(patient._asked)) != (2, 0)


def gives_hits_without_counts(way: Way) -> bool:
    model = way.lay(CountingModel(usage=None))
    model.invoke("q")
    return "input_tokens" not in model.invoke("q").usage_metadata


DEFECTS: list[Callable[[Way], bool]] = [
    bills_hits,
    reuses_ids,
    hands_out_what_it_stores,
    dies_with_its_store,
    stampedes,
    passes_streams_by,
    ignores_arguments_of_text_models,
    confuses_models_without_parameters,
    overlooks_an_edited_schema,
    keys_on_the_wrong_settings,
    gives_hits_without_counts,
]


def claimed() -> dict[int, dict[str, bool]]:
    """The table of the page: for each number, whether a way has the defect."""
    rows = re.findall(
        r"^\| (\d+) \|[^|]*\| (yes|no) \| (yes|no) \| (yes|no) \|$", PAGE.read_text(), re.MULTILINE
    )
    return {
        int(number): dict(zip(WAYS, (cell == "yes" for cell in cells), strict=True))
        for number, *cells in rows
    }


def test_the_page_names_them_all() -> None:
    assert sorted(claimed()) == list(range(1, len(DEFECTS) + 1))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("number", "has"), list(enumerate(DEFECTS, 1)), ids=[each.__name__ for each in DEFECTS]
)
def test_the_table_of_the_page_is_true(number: int, has: Callable[[Way], bool], way: str) -> None:
    with WAYS[way]() as opened:
        assert has(opened) is claimed()[number][way]
