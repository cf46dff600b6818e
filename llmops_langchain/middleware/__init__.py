"""Parts for LangChain's agents: `create_agent(model, tools, middleware=[…])`; needs `[agents]`."""

from llmops_langchain.middleware.budget import BudgetMiddleware, ExitBehavior

__all__ = ["BudgetMiddleware", "ExitBehavior"]
