"""Dollars at the public face, integer nano-dollars in events and tables."""

from decimal import ROUND_HALF_UP, Context, Decimal, InvalidOperation

from llmops_langchain.errors import ConfigurationError

__all__ = ["dollars", "nano_dollars"]

_NANO = Decimal(10**9)
_EXACT = Context(prec=100, rounding=ROUND_HALF_UP)


def dollars(nano: int) -> Decimal:
    """Return nano-dollars as dollars, exactly."""
    return _EXACT.divide(Decimal(nano), _NANO)


def nano_dollars(amount: Decimal | float | str) -> int:
    """Return dollars as whole nano-dollars, halves rounded away from zero.

    A float counts as what it is printed as: `0.1` is a tenth.

    Raises:
        ConfigurationError: If `amount` is no finite number.
    """
    try:
        exact = amount if isinstance(amount, Decimal) else Decimal(str(amount))
        return int(_EXACT.quantize(_EXACT.multiply(exact, _NANO), Decimal(1)))
    except (InvalidOperation, ValueError) as error:
        msg = f"an amount of dollars must be a finite number, got {amount!r}"
        raise ConfigurationError(msg) from error
