"""Chat models that answer at once, count how often they are asked, and say what they used."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field, PrivateAttr
from typing_extensions import override

USAGE = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}


class CountingModel(BaseChatModel):
    """Knows only `_generate`, as most small integrations do; copies share one count."""

    model_name: str = "tested-model"
    provider: str = "tested"
    answer: Any = "the answer"
    usage: dict[str, Any] | None = USAGE
    finish_reason: str = "stop"
    n: int = 1
    tool_calls: list[Any] = Field(default_factory=list)
    metadata_of_answer: dict[str, Any] = Field(default_factory=dict)
    error: Exception | None = None
    temperature: float | None = None
    timeout: float | None = None
    api_key: Any = None
    _asked: list[str] = PrivateAttr(default_factory=list)

    @property
    def calls(self) -> int:
        return len(self._asked)

    @property
    def _llm_type(self) -> str:
        return "counting"

    def _get_ls_params(self, stop: list[str] | None = None, **kwargs: Any) -> Any:
        named = {"ls_provider": self.provider, "ls_model_name": self.model_name}
        return {**super()._get_ls_params(stop=stop, **kwargs), **named}

    def _ask(self, how: str) -> None:
        self._asked.append(how)
        if self.error is not None:
            raise self.error

    def _message(self) -> AIMessage:
        # With n > 1 every choice carries the whole call's usage and no name, as OpenAI's do.
        name = {"model_name": self.model_name} if self.n == 1 else {}
        return AIMessage(
            self.answer,
            tool_calls=self.tool_calls,
            usage_metadata=self.usage,
            response_metadata={
                **name,
                "finish_reason": self.finish_reason,
                **self.metadata_of_answer,
            },
        )

    @override
    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._ask("generate")
        choices = [ChatGeneration(message=self._message()) for _ in range(self.n)]
        return ChatResult(generations=choices)

    @override
    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[each.__name__ for each in tools], **kwargs)


class AsyncModel(CountingModel):
    """Has an async method of its own."""

    @override
    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        self._ask("agenerate")
        return ChatResult(generations=[ChatGeneration(message=self._message())])


class StreamingModel(CountingModel):
    """Answers word by word; `breaks_after` so many words the connection dies."""

    answer: str = "one two three"
    breaks_after: int | None = None

    @override
    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        self._ask("stream")
        for number, word in enumerate(self.answer.split()):
            if number == self.breaks_after:
                msg = "the line is dead"
                raise ConnectionError(msg)
            yield ChatGenerationChunk(message=AIMessageChunk(f"{word} "))
        yield self._last_chunk()

    def _last_chunk(self) -> ChatGenerationChunk:
        said = {"model_name": self.model_name, "finish_reason": self.finish_reason}
        return ChatGenerationChunk(
            message=AIMessageChunk(
                "", usage_metadata=self.usage, response_metadata=said, chunk_position="last"
            )
        )


class AsyncStreamingModel(StreamingModel):
    """Streams on the event loop."""

    @override
    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop, None, **kwargs):
            yield chunk
