"""Questions as words, and what two of them have in common."""

from llmops_langchain.text.features import FEATURES, Comparison, compare
from llmops_langchain.text.question import Question, comparable, question_of

__all__ = ["FEATURES", "Comparison", "Question", "comparable", "compare", "question_of"]
