"""What every test may use: time that is turned by hand."""

import pytest


class FakeClock:
    """A clock that moves only when told to: `clock.advance(60)`."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()
