"""Parts for LangChain's agents: `create_agent(model, tools, middleware=[…])`; needs `[agents]`."""

from llmops_langchain.middleware.budget import BudgetMiddleware, ExitBehavior
from llmops_langchain.middleware.context import ContextWindowMiddleware
from llmops_langchain.middleware.lessons import LessonsMiddleware
from llmops_langchain.middleware.prompts import WindowFor
from llmops_langchain.middleware.router import ModelRouterMiddleware

__all__ = [
    "BudgetMiddleware",
    "ContextWindowMiddleware",
    "ExitBehavior",
    "LessonsMiddleware",
    "ModelRouterMiddleware",
    "WindowFor",
]
