"""A chat model that asks the cheapest model that will do, and learns which one that is."""

from llmops_langchain.routing.choice import ModelChoice
from llmops_langchain.routing.constraints import Limits
from llmops_langchain.routing.decision import Decision, Exclusion, Prediction
from llmops_langchain.routing.evaluation import Evaluation
from llmops_langchain.routing.router import ModelRouter
from llmops_langchain.routing.savings import Savings
from llmops_langchain.routing.target import Target
from llmops_langchain.routing.verifiers import keeps_to, likely

__all__ = [
    "Decision",
    "Evaluation",
    "Exclusion",
    "Limits",
    "ModelChoice",
    "ModelRouter",
    "Prediction",
    "Savings",
    "Target",
    "keeps_to",
    "likely",
]
