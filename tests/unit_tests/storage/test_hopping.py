"""An async twin does what its method does, in a thread, and a subclass has it overridden too."""

import threading

import pytest

from llmops_langchain.storage.hopping import hop


class Greeter:
    def greet(self, name: str, *, loud: bool = False) -> tuple[str, int]:
        """Say hello."""
        if not name:
            raise ValueError(name)
        said = f"hello {name}"
        return said.upper() if loud else said, threading.get_ident()

    agreet = hop(greet)


class Polite(Greeter):
    def greet(self, name: str, **_) -> tuple[str, int]:
        return f"good day {name}", 0


async def test_a_twin_gives_the_same_from_another_thread() -> None:
    said, thread = await Greeter().agreet("Ann", loud=True)
    assert said == "HELLO ANN"
    assert thread != threading.get_ident()


async def test_a_twin_raises_the_same() -> None:
    with pytest.raises(ValueError, match=r"^$"):
        await Greeter().agreet("")


async def test_who_overrides_the_method_overrides_its_twin() -> None:
    assert await Polite().agreet("Ann") == ("good day Ann", 0)


def test_a_twin_is_documented() -> None:
    assert Greeter.agreet.__name__ == "agreet"
    assert Greeter.agreet.__doc__ == "`greet` in a worker thread."
