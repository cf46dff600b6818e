"""Loading the end of a long conversation, against histories that load all of it.

Both sides keep the same messages in an SQLite file and give back what the next prompt needs: ours
reads the newest rows by their tokens, `SQLChatMessageHistory` reads every row and `trim_messages`
cuts. Both must end with the same messages before either is timed.

    python benchmarks/history.py
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from tempfile import TemporaryDirectory

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from measuring import Claim, Timing, in_turn, print_claims, print_table, sized

from llmops_langchain import LLMOps, Settings
from llmops_langchain.memory import ContextWindow

SIZES = sized((500, 5_000, 50_000), quick=(50, 100))
LOADS = sized(21, quick=2)
ADDS = sized(200, quick=4)
OURS, SEALED, COMMUNITY = "`ops.history`", "`ops.history`, encrypted", "`SQLChatMessageHistory`"
MODEL, ROOM = "gpt-4o", 2_000
KEY = "w8bJmHk4TnkuAoD8yEhmS4i7VQ3wV8dEXQ0dYyN1f3c="


def main() -> None:
    """Check, time, and print; sizes one after the other."""
    loads, adds = {}, {}
    for size in SIZES:
        with TemporaryDirectory() as folder, ExitStack() as closing:
            histories = {
                name: made(f"sqlite:///{folder}/{at}.db", closing)
                for at, (name, made) in enumerate(KINDS.items())
            }
            for history in histories.values():
                fill(history, size)
            check(histories)
            loads[size] = in_turn(
                {name: lambda _, of=each: of.messages for name, each in histories.items()},
                range(LOADS),
            )
            adds[size] = in_turn(
                {
                    name: lambda number, of=each: of.add_messages(turn(number))
                    for name, each in histories.items()
                },
                range(size, size + ADDS),
            )
    rows = [
        (f"{size:,}", name, loads[size][name].p50, adds[size][name].p50)
        for size in SIZES
        for name in KINDS
    ]
    print_table(
        f"The newest {ROOM:,} tokens of a conversation",
        ("messages", "history", "load, p50 µs", "add a turn, p50 µs"),
        rows,
    )
    print_claims(claims(loads))


def ours(url: str, closing: ExitStack, settings: Settings | None = None) -> BaseChatMessageHistory:
    """Ours, with a window that counts as the peer's cut would."""
    ops = closing.enter_context(LLMOps(url, settings or Settings()))
    return ops.history("s", window=ContextWindow(MODEL, ROOM))


def sealed(url: str, closing: ExitStack) -> BaseChatMessageHistory:
    """Ours, encrypted."""
    return ours(url, closing, Settings(encryption_key=KEY))


def community(url: str, _: ExitStack) -> BaseChatMessageHistory:
    """langchain-community's; a load is all messages, before any cut."""
    from langchain_community.chat_message_histories import SQLChatMessageHistory

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return SQLChatMessageHistory("s", connection=url)


KINDS: dict[str, Callable[[str, ExitStack], BaseChatMessageHistory]] = {
    OURS: ours,
    SEALED: sealed,
    COMMUNITY: community,
}


def turn(number: int) -> list[BaseMessage]:
    """A question and its answer."""
    return [
        HumanMessage(
            f"Question {number}: how often does plant {number} want water?", id=f"q{number}"
        ),
        AIMessage(f"Plant {number} wants water once a week, less in winter. " * 2, id=f"a{number}"),
    ]


def fill(history: BaseChatMessageHistory, size: int) -> None:
    """Add so many messages."""
    for start in range(0, size // 2, 250):
        numbers = range(start, min(start + 250, size // 2))
        history.add_messages([message for number in numbers for message in turn(number)])


def check(histories: dict[str, BaseChatMessageHistory]) -> None:
    """Ours is the end of what the peer has, and fits."""
    whole = [message.content for message in histories[COMMUNITY].messages]
    for name in (OURS, SEALED):
        found = histories[name].messages
        assert [message.content for message in found] == whole[-len(found) :]
        assert 0.9 < ContextWindow(MODEL, ROOM).check(found).share <= 1 or len(found) == len(whole)


def claims(loads: dict[int, dict[str, Timing]]) -> Sequence[Claim]:
    """What was promised of a conversation of 5,000 messages, and of longer ones."""
    middle, longest = SIZES[-2:] if len(SIZES) == 2 else SIZES[1:]
    return [
        Claim(
            what=f"faster load of the end of {middle:,} messages",
            against=f"{COMMUNITY}, which loads all",
            result=loads[middle][COMMUNITY].p50 / loads[middle][OURS].p50,
            goal=100,
        ),
        Claim(
            what=f"load at {longest:,} messages over one at {middle:,}",
            against="ours",
            result=loads[longest][OURS].p50 / loads[middle][OURS].p50,
            goal=1.5,
            at_most=True,
        ),
    ]


if __name__ == "__main__":
    main()
