"""A cut comes when it is needed, or where it is worth more than the discount that is lost."""

import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import takewhile
from operator import is_

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage

from llmops_langchain.errors import ConfigurationError
from llmops_langchain.memory import ContextWindow, EarlyCut
from llmops_langchain.memory.prompt_cache import cost_of_cycles, lost_discount
from llmops_langchain.models import PriceBook, Rates, TokenUsage

LIMIT, SYSTEM_TOKENS = 4000, 200
PRICES = PriceBook()
HALF, TENTH, WRITES = "gpt-4o", "gpt-5", "claude-sonnet-4-5"  # what cached input costs

Ask = Callable[[Sequence[BaseMessage], Sequence[BaseMessage]], list[BaseMessage]]
"""Takes a history and the prompt before; returns the prompt."""


def tokens(messages: Sequence[BaseMessage]) -> int:
    return sum(m.response_metadata["tokens"] for m in messages)


def told(kind: type[BaseMessage], count: int) -> BaseMessage:
    return kind(content="x", response_metadata={"tokens": count})


def rates(model: str) -> Rates:
    found = PRICES.rates(model)
    assert found is not None
    return found


def window(**settings) -> ContextWindow:
    return ContextWindow("gpt-4o", LIMIT, token_counter=tokens, **settings)


def chats(growth: int, turns: int) -> Iterator[list[BaseMessage]]:
    """Chats of about so many tokens a turn that go on for about so many turns once it is full."""
    rng = random.Random(f"{growth} {turns}")  # noqa: S311 - the same chats in every run
    sizes = partial(rng.expovariate, 2 / growth)
    for _ in range(4):
        length = int(0.6 * LIMIT / growth) + int(rng.expovariate(1 / turns))
        parts = [told(kind, 2 + int(sizes())) for kind in [HumanMessage, AIMessage] * length]
        yield [told(SystemMessage, SYSTEM_TOKENS), *parts, told(HumanMessage, 10)]


def cost(model: str, history: list[BaseMessage], ask: Ask) -> float:
    """US dollars for the input of all calls, as their events are priced."""
    spent, before = 0, list[BaseMessage]()
    for end in range(2, len(history) + 1, 2):
        prompt = ask(history[:end], before)
        same = takewhile(lambda pair: is_(*pair), zip(prompt, before, strict=False))
        cached, whole = tokens([m for m, _ in same]), tokens(prompt)
        used = TokenUsage(input_tokens=whole, cached_tokens=cached, written_tokens=whole - cached)
        price = PRICES.price(model, used)
        assert price is not None
        spent, before = spent + price.nano_dollars, prompt
    return spent / 1e9


def sticky(**settings) -> Ask:
    one = window(**settings)
    return lambda history, previous: one.trim_sticky(history, previous=previous).messages


def ways(model: str, turns: int) -> dict[str, Ask]:
    each_turn = window()
    return {
        "priced": sticky(early=EarlyCut(rates=rates(model), turns=turns)),
        "never early": sticky(),
        "always early": sticky(trigger=("fraction", 0.75)),
        "each turn": lambda history, _: each_turn.trim(history, max_tokens=3400).messages,
    }


@pytest.mark.parametrize("model", [HALF, TENTH, WRITES, "deepseek-chat"])
@pytest.mark.parametrize(("growth", "turns"), [(40, 50), (40, 150), (100, 50), (300, 50)])
def test_whole_chats_never_cost_more_than_by_any_fixed_rule(model, growth, turns) -> None:
    spent = {
        name: sum(cost(model, chat, ask) for chat in chats(growth, turns))
        for name, ask in ways(model, turns).items()
    }
    # Turns of every size: where two rules cost the same, the figures differ by less than this.
    assert spent["priced"] <= 1.005 * min(spent.values())


def test_where_cached_input_costs_half_early_cuts_pay_and_where_a_tenth_they_do_not() -> None:
    for model, way in ((HALF, "always early"), (TENTH, "never early"), (WRITES, "never early")):
        asks = ways(model, turns=150)
        [chat, *_] = chats(40, 150)
        assert cost(model, chat, asks["priced"]) == cost(model, chat, asks[way])


def test_a_cut_in_each_turn_costs_three_times_as_much() -> None:
    asks = ways(WRITES, turns=50)
    each, kept = (
        sum(cost(WRITES, chat, asks[way]) for chat in chats(100, 50))
        for way in ("each turn", "never early")
    )
    assert each > 3 * kept


@given(
    calls=st.integers(1, 60),
    after=st.integers(100, 100_000),
    growth=st.floats(1, 2000),
    turns=st.floats(0, 200),
    model=st.sampled_from([HALF, TENTH, WRITES]),
)
def test_the_formula_is_what_priced_calls_add_up_to(calls, after, growth, turns, model) -> None:
    each, prefix = rates(model), 100
    goes_on, likely, total = turns / (turns + 1), 1.0, 0.0
    for call in range(8_000):
        size = after + call % calls * growth
        cached = prefix if call % calls == 0 else size - growth
        total += likely * (cached * each.cached + (size - cached) * each.written) / 1e6
        likely *= goes_on
    formula = cost_of_cycles(
        calls, after=after, prefix=prefix, growth=growth, turns=turns, rates=each
    )
    assert formula == pytest.approx(total, rel=1e-6)


def test_a_longer_chat_is_worth_an_earlier_cut() -> None:
    def pays(turns: float) -> bool:
        early = EarlyCut(rates=rates(HALF), turns=turns)
        return early.pays(96_000, latest=108_800, after=76_800, prefix=2_000, growth=400)

    assert [pays(turns) for turns in (0, 1, 50, 1000)] == [False, False, True, True]


@pytest.mark.parametrize("settings", [{"keep": ("messages", 5)}, {"keep": ("fraction", 0.8)}])
def test_what_would_leave_as_much_as_there_is_is_no_early_cut(settings) -> None:
    early = EarlyCut(rates=rates(HALF), turns=150)
    [chat, *_] = chats(40, 150)
    plain, priced = sticky(**settings), sticky(early=early, **settings)
    for end in range(100, 161, 2):
        assert list(map(id, priced(chat[:end], ()))) == list(map(id, plain(chat[:end], ())))


def test_the_lost_discount_is_what_the_tokens_would_have_cost_less() -> None:
    each = rates(WRITES)
    assert lost_discount(1_000_000, each) == each.written - each.cached
    assert lost_discount(1_000_000, rates(HALF)) == rates(HALF).input - rates(HALF).cached
    assert lost_discount(0, each) == 0


@pytest.mark.parametrize("turns", [-1, float("nan"), float("inf")])
def test_turns_that_make_no_sense_are_refused(turns) -> None:
    with pytest.raises(ConfigurationError, match="turns"):
        EarlyCut(rates=rates(HALF), turns=turns)
