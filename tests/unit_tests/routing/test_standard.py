"""LangChain's own suite finds nothing that a router does differently from any chat model."""

from typing import Any

import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.unit_tests import ChatModelUnitTests

from llmops_langchain import ModelRouter


class TestRouter(ChatModelUnitTests):
    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ModelRouter

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {"choices": [ChatOpenAI(model="gpt-4o-mini", api_key="not-a-key")]}

    @pytest.fixture
    def model(self) -> BaseChatModel:
        asked = ChatOpenAI(model="gpt-4o-mini", api_key="not-a-key")
        dear = ChatOpenAI(model="gpt-4o", api_key="not-a-key")
        return ModelRouter(asked, dear, **self.standard_chat_model_params)
