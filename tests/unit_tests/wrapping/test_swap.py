"""A layer is laid over a copy; the copy stays what it was."""

from typing import Any

import pytest
from langchain_core.language_models import FakeListChatModel
from models import CountingModel

from llmops_langchain import ConfigurationError
from llmops_langchain.wrapping import layered


class Loud:
    """Adds its part to what the model says."""

    _llmops_layer = True
    _llmops: Any

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        answer = super()._generate(*args, **kwargs)  # type: ignore[misc]
        answer.generations[0].message.content += self._llmops[Loud]
        return answer


class Louder(Loud):
    """A second layer, with a part of its own."""

    _llmops_layer = True

    def _generate(self, *args: Any, **kwargs: Any) -> Any:
        answer = super()._generate(*args, **kwargs)
        answer.generations[0].message.content += self._llmops[Louder]
        return answer


def part(value: str) -> Any:
    return lambda _model: value


def test_a_layer_comes_before_the_model() -> None:
    assert layered(CountingModel(), Loud, part("!")).invoke("q").content == "the answer!"


def test_a_layer_laid_twice_is_there_once_with_the_new_part() -> None:
    model = layered(layered(CountingModel(), Loud, part("!")), Loud, part("?"))
    assert model.invoke("q").content == "the answer?"


def test_fields_are_changed_on_the_copy_alone() -> None:
    plain = CountingModel()
    assert layered(plain, Loud, part("!"), model_name="new").model_name == "new"
    assert plain.model_name == "tested-model"
    assert plain.invoke("q").content == "the answer"


def test_two_copies_have_parts_of_their_own() -> None:
    one, two = (layered(CountingModel(), Loud, part(each)) for each in "12")
    assert [each.invoke("q").content for each in (one, two)] == ["the answer1", "the answer2"]


def test_two_layers_each_find_their_part() -> None:
    model = layered(layered(CountingModel(), Loud, part("1")), Louder, part("2"))
    assert model.invoke("q").content.endswith("2")


def test_copies_share_the_class() -> None:
    one, two = (layered(FakeListChatModel(responses=["a"]), Loud, part(each)) for each in "12")
    assert type(one) is type(two)


def test_private_attributes_stay() -> None:
    plain = CountingModel()
    layered(plain, Loud, part("!")).invoke("q")
    assert plain.calls == 1


def test_bindings_are_reached_through() -> None:
    bound = CountingModel().bind(stop=["x"]).with_config(tags=["t"])
    model = layered(bound, Loud, part("!"))
    assert model.invoke("q").content == "the answer!"
    assert model.kwargs == {"stop": ["x"]}


@pytest.mark.parametrize("wrong", [str, lambda x: x, "gpt-4o"], ids=["type", "function", "name"])
def test_there_must_be_a_chat_model(wrong) -> None:
    with pytest.raises(ConfigurationError, match="a language model is needed"):
        layered(wrong, Loud, part("!"))
