"""What providers billed, and what each usage handler says they did.

Two servers on loopback answer as OpenAI and Anthropic do, and keep the truth: what they billed for
each request. The cases drive LangChain's real clients against them, and every handler is scored by
the same rule. `benchmarks/usage_truth.py` prints the table, `docs/usage-truth.md` publishes it.
"""
