"""How others rank prompts by how hard they look: the higher, the sooner to the strong model.

What is published is asked as it is published, and only where it is installed: none of it is a
dependency of ours. Prompts that a peer finds equally hard stay in the order of the file.
"""

import os
import re
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HARD = re.compile(
    r"\b(?:algorithm|analy[sz]e|architect\w*|complex|debug|derive|design|explain|optimi[sz]e|"
    r"prove|refactor|step by step|trade-?offs?|why)\b",
    re.IGNORECASE,
)
"""Words that apps which route by hand look for; chosen before they were measured."""


def rankings(texts: Sequence[str]) -> dict[str, Floats | str]:
    """For each peer how hard it finds each text, or the name of the module that is missing."""
    peers: dict[str, Callable[[Sequence[str]], Floats]] = {
        "length": lengths,
        "length and keywords": keywords,
        "LiteLLM": litellm_complexity,
        "langchain-model-router": model_router,
    }
    return {name: _or_missing(rank, texts) for name, rank in peers.items()}


def lengths(texts: Sequence[str]) -> Floats:
    """Characters."""
    return np.array([float(len(text)) for text in texts])


def keywords(texts: Sequence[str]) -> Floats:
    """Words, and 50 more for each word that sounds hard."""
    return np.array([len(text.split()) + 50.0 * len(HARD.findall(text)) for text in texts])


def litellm_complexity(texts: Sequence[str]) -> Floats:
    """The score of LiteLLM's complexity router, of which its tiers are steps."""
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # it would ask the network otherwise
    found = import_module("litellm.router_strategy.complexity_router.complexity_router")
    router = found.ComplexityRouter("router", None, {})
    return np.array([float(router.classify(text)[1]) for text in texts])


def model_router(texts: Sequence[str]) -> Floats:
    """The sum of langchain-model-router's default signals, of which its tiers are steps."""
    found = import_module("langchain_model_router.strategies.heuristic")
    weights, signals = found.DEFAULT_WEIGHTS, found.DEFAULT_SIGNALS

    def score(text: str) -> float:
        block = [{"type": "text", "text": text}]
        request = found.RoutingRequest(
            text=text,
            content_blocks=block,
            modalities=frozenset(("text",)),
            routes=("small", "large"),
            tools_bound=False,
            messages=None,
            config={},
            previous_requests=(),
        )
        return float(sum(weights[name] * ask(request) for name, ask in signals.items()))

    return np.array([score(text) for text in texts])


def named(peer: str) -> str:
    """A peer with the version that was asked."""
    packages = {"LiteLLM": "litellm", "langchain-model-router": "langchain-model-router"}
    return f"{peer} {version(packages[peer])}" if peer in packages else peer


def _or_missing(rank: Callable[[Sequence[str]], Floats], texts: Sequence[str]) -> Floats | str:
    try:
        return rank(texts)
    except ModuleNotFoundError as error:
        return str(error.name)
