"""A chat model that asks the cheapest model that will do, and learns which one that is."""

from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.constraints import Limits
from llmops_langchain.routing.decision import Decision, Exclusion, Prediction
from llmops_langchain.routing.router import ModelRouter
from llmops_langchain.routing.target import Target

__all__ = ["Decision", "Exclusion", "Limits", "ModelChoice", "ModelRouter", "Prediction", "Target"]
