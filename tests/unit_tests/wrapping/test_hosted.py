"""Calls whose answer depends on what the provider keeps or runs have no key, by either path."""

from typing import Any

import pytest
from langchain_core.messages import HumanMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from models import CountingModel
from pydantic import BaseModel, Field

from llmops_langchain.wrapping import call_parts, core_parts

OPENAI = ChatOpenAI(model="gpt-4o", api_key="not-a-key")
ASK = [HumanMessage("q")]

KEPT_OR_RUN = [
    {"previous_response_id": "resp_1"},
    {"use_previous_response_id": True},
    {"conversation": "conv_1"},
    {"container": "cntr_1"},
    {"background": True},
    {"web_search_options": {}},
    {"mcp_servers": [{"type": "url", "url": "https://example.org"}]},
    {"search_parameters": {"mode": "auto"}},
    {"extra_body": {"plugins": [{"id": "web"}]}},
    {"model_kwargs": {"extra_body": {"enable_search": True}}},
]

HOSTED = [
    {"type": "web_search"},
    {"type": "web_search_preview", "search_context_size": "low"},
    {"type": "file_search", "vector_store_ids": ["vs_1"]},
    {"type": "code_interpreter", "container": {"type": "auto"}},
    {"type": "computer_use_preview", "display_width": 1, "display_height": 1},
    {"type": "mcp", "server_label": "a", "server_url": "https://example.org"},
    {"type": "image_generation"},
    {"type": "tool_search"},
    {"type": "web_search_20250305", "name": "web_search", "max_uses": 5},
    {"type": "code_execution_20250825", "name": "code_execution"},
    {"type": "web_fetch_20250910", "name": "web_fetch"},
    {"type": "mcp_toolset", "mcp_server_name": "a"},
    {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
    {"type": "builtin_function", "function": {"name": "$web_search"}},
    {"google_search": {}},
    {"google_search_retrieval": {}},
    {"url_context": {}},
    {"code_execution": {}},
    {"google_maps": {}},
    {"retrieval": {"vertex_ai_search": {"datastore": "a"}}},
    {"function_declarations": [{"name": "f"}], "google_search": {}},
    {"systemTool": {"name": "nova_grounding"}},
]

IN_THE_APP = [
    {"type": "function", "function": {"name": "f", "parameters": {}}},
    {"type": "function", "name": "f"},
    {"type": "custom", "name": "f", "format": {"type": "text"}},
    {"name": "f", "input_schema": {"type": "object"}},
    {"type": "custom", "name": "f", "input_schema": {"type": "object"}},
    {"type": "bash_20250124", "name": "bash"},
    {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool"},
    {"type": "computer_20250124", "name": "computer", "display_width_px": 1},
    {"type": "memory_20250818", "name": "memory"},
    {"type": "apply_patch"},
    {"function_declarations": [{"name": "f"}], "google_search": None},
    {"toolSpec": {"name": "f", "inputSchema": {}}},
    {"cachePoint": {"type": "default"}},
    {"title": "f", "type": "object", "properties": {}},
]


def keys(**given: Any) -> list[bytes]:
    """The key by objects, and by core's strings of either kind of model."""
    strings = [model._get_llm_string(**given) for model in (OPENAI, CountingModel())]
    return [
        call_parts(OPENAI, ASK, **given).key,
        *(core_parts("q", each, scope="").key for each in strings),
    ]


@pytest.mark.parametrize("given", KEPT_OR_RUN, ids=str)
def test_what_the_provider_keeps_or_runs_has_no_key(given) -> None:
    with pytest.raises(TypeError, match=r"provider keeps or runs: `\w+`"):
        call_parts(OPENAI, ASK, **given)
    for model in (OPENAI, CountingModel()):
        with pytest.raises(TypeError, match="provider keeps or runs"):
            core_parts("q", model._get_llm_string(**given), scope="")


@pytest.mark.parametrize("hosted", HOSTED, ids=str)
def test_a_tool_of_the_provider_has_no_key(hosted) -> None:
    given = {"tools": [IN_THE_APP[0], hosted]}
    with pytest.raises(TypeError, match="runs at the provider"):
        call_parts(OPENAI, ASK, **given)
    for model in (OPENAI, CountingModel()):
        with pytest.raises(TypeError, match="runs at the provider"):
            core_parts("q", model._get_llm_string(**given), scope="")


@pytest.mark.parametrize("local", IN_THE_APP, ids=str)
def test_a_tool_of_the_app_has_one(local) -> None:
    assert keys(tools=[local]) == keys(tools=[local])
    assert not set(keys(tools=[local])) & set(keys())


@pytest.mark.parametrize(
    "given", [{"container": None}, {"background": False}, {"tools": []}, {"tools": ["f"]}], ids=str
)
def test_what_is_switched_off_or_only_named_has_one(given) -> None:
    assert len(keys(**given)) == 3


@pytest.mark.parametrize(
    "settings",
    [
        {"use_previous_response_id": True},
        {"model_kwargs": {"previous_response_id": "resp_1"}},
        {"model_kwargs": {"tools": [{"type": "web_search"}]}},
        {"extra_body": {"data_sources": [{"type": "azure_search"}]}},
    ],
    ids=str,
)
def test_a_model_that_is_set_so_has_no_key(settings) -> None:
    model = ChatOpenAI(model="gpt-4o", api_key="not-a-key", **settings)
    with pytest.raises(TypeError, match="provider"):
        call_parts(model, ASK)
    with pytest.raises(TypeError, match="provider"):
        core_parts("q", model._get_llm_string(), scope="")


def test_a_model_with_tools_of_its_own_has_no_key() -> None:
    class Searching(CountingModel):
        tools: list[dict[str, Any]] = Field(default_factory=lambda: [{"google_search": {}}])

    with pytest.raises(TypeError, match="'google_search' runs at the provider"):
        call_parts(Searching(), ASK)


def test_tools_as_objects_are_read_too() -> None:
    class GeminiTool(BaseModel):
        function_declarations: list[str] | None = None
        google_search: dict[str, str] | None = None

    assert call_parts(OPENAI, ASK, tools=[GeminiTool(function_declarations=["f"])])
    with pytest.raises(TypeError, match="runs at the provider"):
        call_parts(OPENAI, ASK, tools=[GeminiTool(google_search={})])


def test_functions_that_a_model_binds_have_a_key() -> None:
    @tool
    def clock(city: str) -> str:
        """What time it is."""
        return city

    given = OPENAI.bind_tools([clock], tool_choice="any").kwargs
    assert keys(**given) == keys(**given)
    assert call_parts(OPENAI, ASK, **given).tools != call_parts(OPENAI, ASK).tools


def test_a_search_that_a_model_binds_has_none() -> None:
    with pytest.raises(TypeError, match="'web_search' runs at the provider"):
        call_parts(OPENAI, ASK, **OPENAI.bind_tools([{"type": "web_search"}]).kwargs)


@pytest.mark.parametrize(
    "text",
    [
        "[('when', datetime.date(2026, 1, 1)), ('tools', [1])]",
        "[('when', datetime.date(2026, 1, 1)), ('previous_response_id', 'resp_1')]",
    ],
    ids=["tools", "state"],
)
def test_a_text_that_cannot_be_read_and_may_speak_of_them_has_none(text) -> None:
    with pytest.raises(TypeError, match="does not tell its value"):
        core_parts("q", text, scope="")
