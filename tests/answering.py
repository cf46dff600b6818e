"""What a provider answers that does as it is told: calls tools, fills schemas, else says hello."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from strict_provider import Asked, Call

__all__ = ["obliging"]


def obliging(asked: Asked) -> str | Call:
    """A script for `StrictProvider`: what OpenAI's request asks for, by its form alone."""
    last = asked.messages[-1]
    said = _text(next(m for m in reversed(asked.messages) if m["role"] in ("user", "system")))
    tool = _tool(asked.body.get("tools") or [], asked.body.get("tool_choice"))
    if tool is not None and (last["role"] != "tool" or asked.body.get("tool_choice")):
        return Call(tool["name"], _filled(tool.get("parameters") or {}, said))
    form = asked.body.get("response_format") or {}
    if form.get("type") == "json_schema":
        return orjson.dumps(_filled(form["json_schema"]["schema"], said)).decode()
    return "Hello there, it is a fine day."


def _tool(tools: Sequence[Mapping[str, Any]], choice: Any) -> Mapping[str, Any] | None:
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    known = [each["function"] for each in tools]
    return next((each for each in known if named in (None, each["name"])), None)


def _filled(schema: Mapping[str, Any], said: str) -> dict[str, Any]:
    return {name: _value(each, said) for name, each in (schema.get("properties") or {}).items()}


def _value(schema: Mapping[str, Any], said: str) -> Any:
    kind = schema.get("type") or next(each["type"] for each in schema["anyOf"])
    if kind in ("integer", "number"):
        found = re.search(r"\d+", said)
        return int(found[0]) if found else 1
    quoted = re.search(r"'([^']+)'", said)
    return {"array": [], "object": {}, "boolean": True}.get(kind, quoted[1] if quoted else "text")


def _text(message: Mapping[str, Any]) -> str:
    content = message["content"]
    if isinstance(content, str):
        return content
    return " ".join(block.get("text", "") for block in content)
