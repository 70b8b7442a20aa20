"""Money as the broker writes it and as people read it: always Decimal, never float."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from gpuyard.errors import BrokerFailed

PLACES = ((Decimal(1), 2), (Decimal("0.01"), 3), (Decimal("0.0001"), 4), (Decimal(0), 6))  # From this size on.


def usd(amount: Decimal | None) -> str | None:
    """An amount in the broker's form: a decimal string with six places; None stays None."""
    return None if amount is None else f"{amount:.6f}"


def dollars(amount: str | None) -> str:
    """A broker's amount for people, as the dashboard writes it, too: cents, and more places the smaller it is.

    "-" for None. Raises: BrokerFailed when it is no decimal string.
    """
    if amount is None:
        return "-"
    try:
        value = Decimal(amount)
        size = abs(value)
        places = next(places for least, places in PLACES if size >= least)
        rounded = size.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
        whole, _, rest = f"{rounded:,f}".partition(".")
    except (InvalidOperation, TypeError, ValueError, StopIteration) as error:
        raise BrokerFailed(f"{amount!r} is not an amount of money") from error
    return f"{'-' if value < 0 else ''}${whole}.{rest.rstrip('0').ljust(2, '0')}"
