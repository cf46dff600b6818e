"""What happened before, how likely it works, what to do better; needs `[learning]` for Chroma."""

from llmops_langchain.learning.advising import Suggestion
from llmops_langchain.learning.examples import ExperienceExampleSelector
from llmops_langchain.learning.experience import Experience, Match
from llmops_langchain.learning.filters import Filter
from llmops_langchain.learning.finished import FinishedRun
from llmops_langchain.learning.learning import Learning
from llmops_langchain.learning.patterns import Patterns
from llmops_langchain.learning.portable import Imported
from llmops_langchain.learning.predicting import Estimate, Prediction, Risk
from llmops_langchain.learning.recorder import ExperienceRecorder
from llmops_langchain.learning.retriever import LearningRetriever
from llmops_langchain.learning.stats import LearningStats
from llmops_langchain.learning.upkeep import Rebuilt

__all__ = [
    "Estimate",
    "Experience",
    "ExperienceExampleSelector",
    "ExperienceRecorder",
    "Filter",
    "FinishedRun",
    "Imported",
    "Learning",
    "LearningRetriever",
    "LearningStats",
    "Match",
    "Patterns",
    "Prediction",
    "Rebuilt",
    "Risk",
    "Suggestion",
]
