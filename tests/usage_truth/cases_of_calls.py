"""One request at a time: every kind of token, tier and name that a provider bills by."""

from typing import Any

from langchain_core.messages import HumanMessage, SystemMessage
from pydantic import BaseModel

from usage_truth.loopback import Reply
from usage_truth.run import ASKED, Case, Run, case

__all__ = ["CASES"]

CASES: list[Case] = []
OPENAI, CLAUDE, OTHER = "OpenAI", "Anthropic", "texts and vectors"


def told(
    read: int,
    written: int,
    *,
    cached: int = 0,
    kept: int | None = None,
    heard: int = 0,
    thought: int = 0,
    spoken: int = 0,
) -> dict[str, Any]:
    """OpenAI's usage block: tokens read (cached, kept, heard) and written (thought, spoken).

    Only models whose writes to the cache cost extra tell `cache_write_tokens`.
    """
    into = {"cached_tokens": cached, "audio_tokens": heard}
    return {
        "prompt_tokens": read,
        "completion_tokens": written,
        "total_tokens": read + written,
        "prompt_tokens_details": into if kept is None else {**into, "cache_write_tokens": kept},
        "completion_tokens_details": {
            "reasoning_tokens": thought,
            "audio_tokens": spoken,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def claude_told(
    fresh: int, written: int, *, cached: int = 0, kept_5m: int = 0, kept_1h: int = 0
) -> dict[str, Any]:
    """Anthropic's usage block: input after the last breakpoint, output, and the prompt cache."""
    kept = {"ephemeral_5m_input_tokens": kept_5m, "ephemeral_1h_input_tokens": kept_1h}
    return {
        "input_tokens": fresh,
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": kept_5m + kept_1h,
        "cache_creation": kept,
        "output_tokens": written,
    }


@case(CASES, "a plain call", OPENAI, paid=1)
async def plain_call(run: Run) -> None:
    await run.invoke(run.openai())


@case(CASES, "a prompt partly read from the provider's cache", OPENAI, paid=1)
async def cached_prompt(run: Run) -> None:
    usage = told(2_000, 40, cached=1_536)
    await run.invoke(run.openai(Reply(usage=usage)))


@case(CASES, "a prompt partly written to the provider's cache", OPENAI, paid=1)
async def written_prompt(run: Run) -> None:
    usage = told(3_000, 40, cached=1_024, kept=1_536)
    await run.invoke(run.openai(Reply(usage=usage), model="gpt-5.6-sol"))


@case(CASES, "the same in the flex tier", OPENAI, paid=1)
async def written_flex(run: Run) -> None:
    reply = Reply(usage=told(3_000, 40, cached=1_024, kept=1_536), tier="flex")
    await run.invoke(run.openai(reply, model="gpt-5.6-sol", service_tier="flex"))


@case(CASES, "reasoning tokens", OPENAI, paid=1)
async def reasoning(run: Run) -> None:
    usage = told(120, 900, thought=832)
    await run.invoke(run.openai(Reply(usage=usage), model="gpt-5-mini"))


@case(CASES, "audio in and out", OPENAI, paid=1)
async def audio(run: Run) -> None:
    usage = told(300, 400, heard=250, spoken=320)
    await run.invoke(run.openai(Reply(usage=usage), model="gpt-audio"))


@case(CASES, "the flex tier, with cached and reasoning tokens", OPENAI, paid=1)
async def flex_tier(run: Run) -> None:
    usage = told(3_000, 700, cached=2_048, thought=512)
    reply = Reply(usage=usage, tier="flex")
    await run.invoke(run.openai(reply, model="gpt-5-mini", service_tier="flex"))


@case(CASES, "the priority tier, with cached tokens", OPENAI, paid=1)
async def priority_tier(run: Run) -> None:
    reply = Reply(usage=told(3_000, 200, cached=1_024), tier="priority")
    await run.invoke(run.openai(reply, model="gpt-5-mini", service_tier="priority"))


@case(CASES, "the priority tier, streamed", OPENAI, paid=1)
async def priority_streamed(run: Run) -> None:
    reply = Reply(usage=told(3_000, 13, cached=1_024), tier="priority")
    options = {"service_tier": "priority", "stream_usage": True}
    await run.stream(run.openai(reply, model="gpt-5-mini", **options))


@case(CASES, "three answers to one question (`n=3`)", OPENAI, paid=1)
async def three_answers(run: Run) -> None:
    await run.generate(run.openai(n=3), [[HumanMessage(ASKED)]])


@case(CASES, "a stream that ends with its usage", OPENAI, paid=1)
async def stream_with_usage(run: Run) -> None:
    await run.stream(run.openai(stream_usage=True))


@case(CASES, "a stream without usage", OPENAI, paid=1, told=False)
async def stream_without_usage(run: Run) -> None:
    await run.stream(run.openai())


@case(CASES, "an alias that a dated model answers", OPENAI, paid=1)
async def dated_name(run: Run) -> None:
    await run.invoke(run.openai(Reply(model="gpt-4o-mini-2024-07-18")))


@case(CASES, "a model no price list knows", OPENAI, paid=1)
async def unknown_name(run: Run) -> None:
    await run.invoke(run.openai(model="house-model-7b"))


@case(CASES, "a structured answer (`with_structured_output`)", OPENAI, paid=1)
async def structured_answer(run: Run) -> None:
    class Capital(BaseModel):
        """A capital city."""

        capital: str

    model = run.openai(Reply(text='{"capital": "Paris"}'))
    answer = await run.invoke(model.with_structured_output(Capital))
    assert answer == Capital(capital="Paris")


@case(CASES, "the Responses API, with cached and reasoning tokens", OPENAI, paid=1)
async def responses_api(run: Run) -> None:
    reply = Reply(usage=told(2_000, 300, cached=1_024, thought=256))
    await run.invoke(run.openai(reply, model="gpt-5-mini", use_responses_api=True))


@case(CASES, "the Responses API, streamed", OPENAI, paid=1)
async def responses_streamed(run: Run) -> None:
    reply = Reply(usage=told(2_000, 13, cached=1_024))
    await run.stream(run.openai(reply, model="gpt-5-mini", use_responses_api=True))


@case(CASES, "a plain call of Claude", CLAUDE, paid=1)
async def claude_plain(run: Run) -> None:
    await run.invoke(run.claude())


@case(CASES, "Claude under a dated name", CLAUDE, paid=1)
async def claude_dated(run: Run) -> None:
    reply = Reply(model="claude-haiku-4-5-20251001")
    await run.invoke(run.claude(reply, model="claude-haiku-4-5"))


@case(CASES, "Claude: read from and written to the cache, for 5 minutes", CLAUDE, paid=1)
async def claude_written_5m(run: Run) -> None:
    usage = claude_told(50, 90, cached=4_000, kept_5m=1_500)
    await run.invoke(run.claude(Reply(usage=usage)), [_kept("5m"), HumanMessage(ASKED)])


@case(CASES, "Claude: written for an hour", CLAUDE, paid=1)
async def claude_written_1h(run: Run) -> None:
    usage = claude_told(50, 90, cached=1_000, kept_1h=2_500)
    await run.invoke(run.claude(Reply(usage=usage)), [_kept("1h"), HumanMessage(ASKED)])


@case(CASES, "Claude, streamed, read from and written to the cache", CLAUDE, paid=1)
async def claude_streamed(run: Run) -> None:
    reply = Reply(usage=claude_told(50, 13, cached=3_000, kept_5m=1_500))
    await run.stream(run.claude(reply), [_kept("5m"), HumanMessage(ASKED)])


@case(CASES, "Claude, streamed, written for an hour", CLAUDE, paid=1)
async def claude_streamed_1h(run: Run) -> None:
    reply = Reply(usage=claude_told(50, 13, kept_1h=1_500))
    await run.stream(run.claude(reply), [_kept("1h"), HumanMessage(ASKED)])


@case(CASES, "Claude: a prompt over 100,000 tokens, at the higher rate", CLAUDE, paid=1)
async def claude_long(run: Run) -> None:
    reply = Reply(usage=claude_told(1_000, 500, cached=149_000))
    await run.invoke(run.claude(reply, model="claude-haiku-5-5"))


@case(CASES, "Claude calls a tool", CLAUDE, paid=1)
async def claude_tool(run: Run) -> None:
    tool = {"name": "weather", "description": "The weather.", "input_schema": {"type": "object"}}
    model = run.claude(Reply(tool=("weather", {"city": "Paris"})))
    assert (await run.invoke(model.bind_tools([tool]))).tool_calls


@case(CASES, "a model of the older text interface", OTHER, paid=1)
async def text_model(run: Run) -> None:
    await run.invoke(run.text_model())


@case(CASES, "the same, streamed, which tells no usage", OTHER, paid=1, told=False)
async def text_streamed(run: Run) -> None:
    await run.stream(run.text_model())


@case(CASES, "two texts in one request", OTHER, paid=1)
async def two_texts(run: Run) -> None:
    await run.generate(run.text_model(), [ASKED, "And that of Italy?"])


@case(CASES, "texts that are embedded", OTHER, paid=1)
async def embedded_texts(run: Run) -> None:
    embeddings = run.watch.embedding(run.embeddings())
    if run.mode == "sync":
        embeddings.embed_documents([ASKED, "Rome lies on the Tiber."])
    else:
        await embeddings.aembed_documents([ASKED, "Rome lies on the Tiber."])


def _kept(ttl: str) -> SystemMessage:
    """A system prompt that the provider is asked to keep in its cache."""
    control = {"type": "ephemeral", "ttl": ttl}
    return SystemMessage([{"type": "text", "text": "Be short.", "cache_control": control}])
