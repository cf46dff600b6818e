"""Count tokens offline, with the model's own vocabulary where one is on this machine."""

from llmops_langchain.tokens.counting import TokenCounter, count_tokens, counter_for, model_name

__all__ = ["TokenCounter", "count_tokens", "counter_for", "model_name"]
