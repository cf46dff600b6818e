"""Messages in the form in which a model reads them: the same for objects and for core's JSON.

Ids, token counts and what a provider told about an earlier answer are left out, so that a
conversation that is repeated with other ids is the same one.
"""

from collections.abc import Container, Iterable, Mapping
from itertools import takewhile
from typing import Any

from llmops_langchain.wrapping.canonical import exact, written

__all__ = ["conversation_parts", "text_parts"]

# A streamed message is the message.
_WHOLE = {
    f"{name}MessageChunk": name.lower() for name in ("Chat", "Function", "Human", "System", "Tool")
}

# Of blocks: given by the provider, or by the order in which they were streamed.
_BOOKKEEPING = frozenset(("call_id", "id", "index"))
_NOT_TELLING = _BOOKKEEPING | {"status", "type"}

# Of `additional_kwargs`: what stands in the message itself, in the form of a provider.
_PARSED = frozenset(("parsed",))
_PARSED_AND_CALLS = frozenset(("parsed", "tool_calls"))

# Said to the cache, not to the model.
_TO_THE_CACHE = "llmops_"

Numbers = dict[str | None, int]


def conversation_parts(messages: Iterable[Mapping[str, Any]]) -> tuple[bytes, bytes, bytes]:
    """The system messages at the beginning, the history, and the last message.

    Args:
        messages: The fields of each message: `vars(message)`, or the `kwargs` of core's JSON.

    Raises:
        TypeError: If a message holds what cannot be written down.
    """
    numbers: Numbers = {}
    said = [_READERS.get(message["type"], _other)(message, numbers) for message in messages]
    earlier, last = said[:-1], said[-1:]
    system = sum(1 for _ in takewhile(_is_system, earlier))
    return written(earlier[:system]), written(earlier[system:]), written(last)


def text_parts(prompt: str) -> tuple[bytes, bytes, bytes]:
    """The same of a text model's prompt: it is the question, and no message of that text."""
    return b"[]", b"[]", b'"' + prompt.encode("utf-8", "surrogatepass")


def _is_system(said: tuple[Any, ...]) -> bool:
    return bool(said[0] == "system")


def _answer(message: Mapping[str, Any], numbers: Numbers) -> tuple[Any, ...]:
    """What a model reads of an answer; calls of tools go by numbers, not by their ids."""
    content, calls = message["content"], message.get("tool_calls")
    if broken := message.get("invalid_tool_calls"):  # known by arguments that are no dict
        calls = [*(calls or ()), *broken]
    if not isinstance(content, str):
        content = [_block(block, numbers) for block in content]
    if extra := message.get("additional_kwargs"):
        extra = _besides(extra, _PARSED_AND_CALLS if calls else _PARSED)
    said = ("ai", content, message.get("name") or "", extra or {})
    return (*said, _calls(calls, numbers)) if calls else said


def _calls(calls: Iterable[Mapping[str, Any]], numbers: Numbers) -> list[tuple[Any, ...]]:
    return [
        (numbers.setdefault(call.get("id"), len(numbers)), call["name"], exact(call["args"]))
        for call in calls
    ]


def _result(message: Mapping[str, Any], numbers: Numbers) -> tuple[Any, ...]:
    """What a model reads of a tool's result; the artifact is not for it."""
    call = message["tool_call_id"]
    return (*_other(message, numbers), numbers.setdefault(call, len(numbers)), message["status"])


def _other(message: Mapping[str, Any], _numbers: Numbers) -> tuple[Any, ...]:
    kind, content = message["type"], message["content"]
    if not isinstance(content, str):
        exact(content)
    if extra := message.get("additional_kwargs"):
        extra = _besides(extra)
    name, role = message.get("name") or "", message.get("role") or ""
    return (_WHOLE.get(kind, kind), content, name, extra or {}, role)


_READERS = {
    "ai": _answer,
    "AIMessageChunk": _answer,
    "tool": _result,
    "ToolMessageChunk": _result,
}


def _block(block: Any, numbers: Numbers) -> Any:
    """A block of an answer without its ids, unless they are all it tells."""
    if not isinstance(block, Mapping):
        return block
    exact(block)
    if "name" in block:  # a call, and its result may follow
        numbers.setdefault(block.get("call_id") or block.get("id"), len(numbers))
    told = any(value for name, value in block.items() if name not in _NOT_TELLING)
    if not told or block.get("source_type") == "id":
        return block
    return {name: value for name, value in block.items() if name not in _BOOKKEEPING}


def _besides(extra: Mapping[str, Any], repeated: Container[str] = ()) -> dict[str, Any]:
    return exact(
        {
            name: value
            for name, value in extra.items()
            if value is not None and name not in repeated and not name.startswith(_TO_THE_CACHE)
        }
    )
