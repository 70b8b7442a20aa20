"""Instants for people: in this machine's time zone, and always with its offset."""

from datetime import UTC, datetime


def moment(at: str | None, *, now: datetime | None = None) -> str:
    """An RFC 3339 instant to the second: `11:01:00+01:00` today, with its date on another day; "-" for None."""
    if not at:
        return "-"
    try:
        when = datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        return at
    today = (now or datetime.now(UTC)).astimezone(when.tzinfo).date()
    day = "" if when.date() == today else f"{when:%Y-%m-%d} "
    return f"{day}{when:%H:%M:%S}{offset(when)}"


def day(at: str | None) -> str:
    """The local day and minute of an instant, for what lies weeks away; "-" for None."""
    if not at:
        return "-"
    try:
        when = datetime.fromisoformat(at).astimezone()
    except (ValueError, OverflowError):
        return at
    return f"{when:%Y-%m-%d %H:%M}{offset(when)}"


def offset(when: datetime) -> str:
    """The zone's offset as ISO 8601 writes it: `Z`, `+01:00`."""
    text = f"{when:%z}"
    return "Z" if text.strip("+-0") == "" else f"{text[:3]}:{text[3:5]}"


def seconds_of(at: str) -> float:
    """An instant as seconds since 1970."""
    return datetime.fromisoformat(at).timestamp()
