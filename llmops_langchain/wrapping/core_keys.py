"""The parts of a call as LangChain's core shows it to a cache: two strings.

`prompt` is the JSON of the messages, or the text for a text model. `llm_string` is the model's JSON
followed by `---` and the `repr` of the call's parameters, or that `repr` alone.
"""

import ast
import re
import sys
from functools import lru_cache
from json import JSONDecodeError, JSONDecoder
from typing import Any

import orjson
from langchain_core.messages import BaseMessage, HumanMessage, messages_from_dict

from llmops_langchain.wrapping.canonical import canonical, schema_of
from llmops_langchain.wrapping.conversation import conversation_parts, text_parts
from llmops_langchain.wrapping.hosted import names_hosted, refuse_hosted
from llmops_langchain.wrapping.parameters import SILENT_FIELDS, parameter_parts, telling
from llmops_langchain.wrapping.parts import CallParts

__all__ = ["core_messages", "core_parts"]

# Around a dict of the user's that could be taken for one of core's own.
_ESCAPED = "__lc_escaped__"
_NOT_TOLD = "not_implemented"
_MESSAGE = ["langchain", "schema", "messages"]

# A string, or a class that stands outside of strings.
_TOKEN = re.compile(
    r"""(?P<string>'(?:\\.|[^'\\])*'|"(?:\\.|[^"\\])*")|<class '(?P<class>[^']+)'>""", re.DOTALL
)

_decoder = JSONDecoder()


def core_parts(prompt: str, llm_string: str, *, scope: str) -> CallParts:
    """What names a call for which core asks a cache.

    Args:
        prompt: The messages as `langchain_core.load.dumps` writes them, or a text.
        llm_string: Model and parameters as core writes them.
        scope: Whose answer it is: two scopes never share one.

    Raises:
        TypeError: If something is told by name only (an object, a class that is not found), or
            the answer depends on what the provider keeps or runs; such a call has no key.
    """
    # Looked up at each call: a class that was edited is another one under its old name.
    classes = tuple(map(_found, _class_names(llm_string)))
    model, parameters, tools, schema = _settings(llm_string, classes)
    system, history, question = _conversation(prompt)
    return CallParts(
        scope=scope.encode("utf-8", "surrogatepass"),
        model=model,
        parameters=parameters,
        tools=tools,
        schema=schema,
        system=system,
        history=history,
        question=question,
    )


def core_messages(prompt: str) -> list[BaseMessage]:
    """The messages that `core_parts` reads; a text is the user's."""
    if fields := _messages(prompt):
        return messages_from_dict([{"type": each["type"], "data": each} for each in fields])
    return [HumanMessage(prompt)]


def _conversation(prompt: str) -> tuple[bytes, bytes, bytes]:
    """System messages, history and question; a text is a question."""
    try:
        if messages := _messages(prompt):
            return conversation_parts(messages)
    except (AttributeError, KeyError):
        pass  # it only looks like messages
    return text_parts(prompt)


def _messages(prompt: str) -> list[dict[str, Any]] | None:
    """The fields of each message, if all of it is messages."""
    if not prompt.startswith("[{"):
        return None
    try:
        read = orjson.loads(prompt)
        fields = [each["kwargs"] for each in read if each["id"][:3] == _MESSAGE]
    except (KeyError, TypeError, ValueError):
        return None
    if len(fields) < len(read):
        return None
    return _unmarked(fields) if _ESCAPED in prompt or _NOT_TOLD in prompt else fields


def _unmarked(value: Any) -> Any:
    """A value without core's marks; what core could not write down has no plain form here."""
    if isinstance(value, list):
        return [_unmarked(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {_ESCAPED}:
        return value[_ESCAPED]
    if "lc" in value and value.get("type") == _NOT_TOLD:
        return NotImplemented
    return {name: _unmarked(each) for name, each in value.items()}


@lru_cache(maxsize=256)
def _class_names(llm_string: str) -> tuple[str, ...]:
    _, parameters = _split(llm_string)
    return tuple(found["class"] for found in _TOKEN.finditer(parameters) if found["class"])


def _found(name: str) -> type:
    """The class of that name, among the modules that are loaded."""
    module, _, inside = name.rpartition(".")
    while module and module not in sys.modules:
        module, _, outer = module.rpartition(".")
        inside = f"{outer}.{inside}"
    found: Any = sys.modules[module or "builtins"]
    for each in inside.split("."):
        found = vars(found).get(each)
    if isinstance(found, type) and f"{found.__module__}.{found.__qualname__}".endswith(name):
        return found
    msg = f"the class {name!r} is not found by its name"
    raise TypeError(msg)


@lru_cache(maxsize=256)
def _settings(llm_string: str, classes: tuple[type, ...]) -> tuple[bytes, bytes, bytes, bytes]:
    """Model, parameters, tools and schema; an application has few of them and repeats them."""
    model, text = _split(llm_string)
    told = telling(_parameters(text, classes))
    refuse_hosted(told)
    if model is not None:
        tools, schema, rest = parameter_parts(told)
        return _model(model), rest, tools, schema
    # The model's settings stand among the parameters.
    stop = {name: told.pop(name) for name in ("stop",) if name in told}
    tools, schema, rest = parameter_parts(told)
    return rest, canonical(stop), tools, schema


def _split(llm_string: str) -> tuple[dict[str, Any] | None, str]:
    """The model, if it stands there as JSON, and the parameters."""
    if llm_string.startswith("{"):
        try:
            model, end = _decoder.raw_decode(llm_string)
        except JSONDecodeError:
            return None, llm_string
        if llm_string.startswith("---", end):
            return model, llm_string[end + 3 :]
    return None, llm_string


def _model(serialised: dict[str, Any]) -> bytes:
    """Class and settings of a model."""
    if serialised.get("type") != "constructor":
        msg = "the model does not tell its settings"
        raise TypeError(msg)
    settings = telling(_unmarked(serialised["kwargs"]), SILENT_FIELDS)
    refuse_hosted(settings)
    return canonical([serialised["id"], settings])


def _parameters(text: str, classes: tuple[type, ...]) -> dict[str, Any]:
    """The parameters by name; a text that cannot be read stands under no name."""
    left = iter(classes)
    literal = _TOKEN.sub(lambda found: found["string"] or _described(next(left)), text)
    pairs = _pairs(literal)
    if pairs is not None:
        return pairs
    _refuse_untold(text)
    return {"": literal}


def _described(given: type) -> str:
    """A class as a literal: its name and its schema."""
    return repr(("class", given.__qualname__, schema_of(given)))


def _pairs(literal: str) -> dict[str, Any] | None:
    if not literal.startswith("[("):
        return None
    try:
        pairs = ast.literal_eval(literal)
    except (MemoryError, RecursionError, SyntaxError, TypeError, ValueError):
        return None
    named = all(isinstance(each, tuple) and isinstance(each[0], str) for each in pairs)
    return dict(pairs) if named else None


def _refuse_untold(text: str) -> None:
    """Raise for a text that may hide a value, a tool or a state kept by the provider."""
    outside = _TOKEN.sub("", text)
    if "<" in outside or "..." in outside or " at 0x" in text or names_hosted(text):
        msg = "a parameter does not tell its value"
        raise TypeError(msg)
