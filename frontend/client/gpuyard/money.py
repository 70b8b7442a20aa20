"""Money as the broker writes it and as people read it: always Decimal, never float."""

from decimal import Decimal, InvalidOperation

from gpuyard.errors import BrokerFailed


def usd(amount: Decimal | None) -> str | None:
    """An amount in the broker's form: a decimal string with six places; None stays None."""
    return None if amount is None else f"{amount:.6f}"


def about(amount: str | None) -> str:
    """A guess at an amount: cents, or more places where cents would be nothing; "-" for None."""
    if amount is None:
        return "-"
    return dollars(f"{float(amount):.2f}" if float(amount) >= 0.1 else f"{float(amount):.4f}")


def dollars(amount: str | None) -> str:
    """A broker's amount for people: cents, more places only where fewer would hide it; "-" for None.

    Raises: BrokerFailed when it is no decimal string.
    """
    if amount is None:
        return "-"
    try:
        value = Decimal(amount)
        rounded = value.quantize(Decimal("0.01"))
    except (InvalidOperation, TypeError, ValueError) as error:
        raise BrokerFailed(f"{amount!r} is not an amount of money") from error
    exact = rounded == value or abs(value) >= 100
    sign = "-" if value < 0 else ""
    if exact:
        return f"{sign}${abs(rounded):,.2f}"
    return f"{sign}${abs(value):.{4 if abs(value) >= Decimal('0.001') else 6}f}"
