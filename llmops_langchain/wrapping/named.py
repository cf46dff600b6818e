"""Models by their name."""

from langchain_core.language_models import BaseChatModel

from llmops_langchain.errors import MissingExtraError

__all__ = ["chat_model"]


def chat_model(model: BaseChatModel | str) -> BaseChatModel:
    """The model, or the one that LangChain makes of a name such as `"openai:gpt-5-mini"`.

    Raises:
        MissingExtraError: If it is a name and LangChain is not installed.
    """
    if not isinstance(model, str):
        return model
    try:
        from langchain.chat_models import init_chat_model
    except ModuleNotFoundError as error:
        raise MissingExtraError(error.name or "langchain", extra="agents") from error
    return init_chat_model(model)
