"""Text (not chat) models that answer at once, and count how often they are asked."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.language_models import LLM, BaseLLM
from langchain_core.outputs import Generation, GenerationChunk, LLMResult
from pydantic import PrivateAttr
from typing_extensions import override

__all__ = ["TEXT", "AsyncStreaming", "Counted", "Simple", "Streaming"]

TEXT = "one two three "


class Simple(LLM):
    """Knows only `_call`, as most integrations do."""

    temperature: float | None = None
    text: str = TEXT
    _asked: list[str] = PrivateAttr(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self._asked)

    @property
    def _llm_type(self) -> str:
        return "simple"

    @override
    def _call(self, prompt: str, *args: Any, **kwargs: Any) -> str:
        self._asked.append(prompt)
        return self.text


class Streaming(Simple):
    """Answers word by word."""

    @override
    def _stream(self, prompt: str, *args: Any, **kwargs: Any) -> Iterator[GenerationChunk]:
        self._asked.append(prompt)
        yield from (GenerationChunk(text=f"{word} ") for word in self.text.split())


class AsyncStreaming(Streaming):
    """Word by word on the event loop too."""

    @override
    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[GenerationChunk]:
        for chunk in self._stream(*args, **kwargs):
            yield chunk


class Counted(BaseLLM):
    """Tells what a batch used, as OpenAI's text models do."""

    @property
    def _llm_type(self) -> str:
        return "counted"

    @override
    def _generate(self, prompts: list[str], *args: Any, **kwargs: Any) -> LLMResult:
        told = [[Generation(text="x", generation_info={"finish_reason": "stop"})] for _ in prompts]
        usage = {"prompt_tokens": 10 * len(prompts), "completion_tokens": 5 * len(prompts)}
        return LLMResult(generations=told, llm_output={"token_usage": usage})
