"""Real services, each started once a session."""

from collections.abc import Iterator

import pytest

from llmops_langchain.cli.local_model import LocalModel
from llmops_langchain.errors import MissingExtraError


@pytest.fixture(scope="session")
def local_model() -> Iterator[LocalModel]:
    """SmolLM2-135M-Instruct behind an OpenAI-compatible server on loopback."""
    try:
        with LocalModel() as model:
            yield model
    except MissingExtraError as error:
        pytest.skip(str(error))
