"""Choices of a router that answer at once, and errors as providers have them."""

from typing import Any

import numpy as np
from langchain_core.language_models import BaseChatModel
from models import CountingModel

from llmops_langchain import ModelChoice

EASY, PRICES = "hello", {"small": (1, 2), "large": (10, 20)}


class RateLimitError(Exception):
    status_code = 429


class AuthenticationError(Exception):
    status_code = 401


class TooLongError(Exception):
    status_code = 400

    def __init__(self) -> None:
        super().__init__("This model's maximum context length is 10 tokens.")


def small(**fields: Any) -> CountingModel:
    return CountingModel(model_name="small", answer="by the small one", **fields)


def large(**fields: Any) -> CountingModel:
    return CountingModel(model_name="large", answer="by the large one", **fields)


def choices(*models: BaseChatModel, **options: Any) -> list[ModelChoice]:
    return [
        ModelChoice(
            model,
            input_per_million=PRICES[model.model_name][0],
            output_per_million=PRICES[model.model_name][1],
            **options,
        )
        for model in models
    ]


def rows(number: int, *, gains: bool = True) -> list[dict[str, Any]]:
    """Sums are for everybody; poems for the large model, if it gains anything at all."""
    rng = np.random.default_rng(0)
    told = []
    for at in range(number):
        is_poem = at % 2 == 0
        prompt = f"Translate poem {at}" if is_poem else f"What is {at} plus {at}?"
        chance = 0.1 if is_poem and gains else 0.9
        scores = {"small": float(rng.random() < chance), "large": float(rng.random() < 0.92)}
        told.append({"prompt": prompt, "scores": scores})
    return told
