"""Which offers a need rules out, and which constraint did it: tests on the columns of the book."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np

from offers.matching.book import MARKETS, OWN, SPOT, TIERS, Book, Flags, Ints, Line
from offers.matching.estimate import Speed
from offers.matching.need import Need, residencies

FREE_NOW = "free now"
ALLOWED = (("providers", "provider"), ("regions", "region"), ("countries", "country"))
DENIED = (("not_providers", "provider"), ("not_regions", "region"), ("not_countries", "country"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """Whose question it is, and when: what the book cannot know by itself."""

    fresh: Collection[str] | None = None  # Providers whose prices are not stale; None: all. Others are not looked at.
    rents_at: Collection[str] | None = None  # Providers at which the one who asks can rent; None: wherever anybody can.
    own: Collection[int] = ()  # Offers of the team's own hosts.
    barred: Mapping[Line, str] = field(default_factory=dict)  # {line of a price list: why it is left alone for now}


@dataclass(frozen=True, slots=True)
class Test:
    """One constraint on single offers: `passes: [rows]`; need_field None: it is not for the need to loosen."""

    name: str
    need_field: str | None
    passes: Flags


@dataclass(frozen=True, slots=True)
class Sieve:
    """A book held against a need. `seen: [rows]` are looked at."""

    book: Book
    seen: Flags
    tests: tuple[Test, ...]

    def passing(self, *, without: str | None = None) -> Ints:
        """Return the rows that pass every test. without: a field of the need that is left aside."""
        alive = self.seen.copy()
        for test in self.tests:
            if without is None or test.need_field != without:
                alive &= test.passes
        return np.flatnonzero(alive)

    def excluded(self) -> list[tuple[str, int]]:
        """Return how many rows each test takes out, the first that a row fails counts; in their order."""
        alive, told = self.seen.copy(), []
        left = int(np.count_nonzero(alive))
        for test in self.tests:
            alive &= test.passes
            before, left = left, int(np.count_nonzero(alive))
            if before > left:
                told.append((test.name, before - left))
        return told


def sieve(need: Need, book: Book, *, speed: Speed, scope: Scope) -> Sieve:
    """Hold a book against a need."""
    seen = np.ones(len(book), np.bool_) if scope.fresh is None else among(book, "provider", scope.fresh)
    tests = (*_of_machines(need, book), *_of_places(need, book), *_of_trust(need, book, scope),
             *_of_price(need, book, speed), *_of_the_moment(need, book, scope))  # fmt: skip
    return Sieve(book, seen, tuple(Test(*test) for test in tests))


def tiers(book: Book, scope: Scope) -> Ints:
    """Return how far each row's owner is trusted by the one who asks, as an index of TIERS."""
    if not scope.own:
        return book.tier
    return np.where(np.isin(book.id, np.fromiter(scope.own, np.int64)), OWN, book.tier)


Tests = Iterable[tuple[str, str | None, Flags]]


def _of_machines(need: Need, book: Book) -> Tests:
    if need.wishes:
        chips = need.chips
        yield f"accelerator: {', '.join(need.wishes)}", "accelerator", among(book, "accelerator", chips)
    if need.min_memory_gib is not None:
        with np.errstate(invalid="ignore"):
            enough = book.memory_gib >= need.min_memory_gib
        yield f"min_memory_gib: {need.min_memory_gib:g}", "min_memory_gib", enough
    if need.interconnect is not None:
        alone = book.accelerators >= (need.accelerators or need.site_size)
        wanted = need.interconnect.casefold()
        yield (
            f"interconnect: {need.interconnect}",
            "interconnect",
            alone | _where(book, "interconnect", lambda text: wanted in text.casefold()),
        )


def _of_places(need: Need, book: Book) -> Tests:
    if need.offers is not None:
        yield f"offers: the {len(need.offers)} picked", "offers", np.isin(book.id, need.offers)
    for wish, column in ALLOWED:
        if (wanted := getattr(need, wish)) is not None:
            yield f"{wish}: {', '.join(wanted)}", wish, among(book, column, wanted)
    for wish, column in DENIED:
        if (unwanted := getattr(need, wish)) is not None:
            yield f"{wish}: {', '.join(unwanted)}", wish, ~among(book, column, unwanted)
    if need.residency is not None:
        yield f"residency: {need.residency}", "residency", among(book, "country", residencies()[need.residency])


def _of_trust(need: Need, book: Book, scope: Scope) -> Tests:
    if need.markets is not None:
        wanted = [MARKETS.index(name.casefold()) for name in need.markets if name.casefold() in MARKETS]
        yield f"markets: {', '.join(need.markets)}", "markets", np.isin(book.market, wanted)
    if need.max_spot_share == 0:
        yield "max_spot_share: 0", "max_spot_share", (book.market != SPOT) | book.reserved
    if need.tiers is not None:
        trusted = np.isin(tiers(book, scope), [TIERS.index(name) for name in need.tiers])
        yield f"tiers: {', '.join(need.tiers)}", "tiers", trusted


def _of_price(need: Need, book: Book, speed: Speed) -> Tests:
    if need.max_usd_per_hour is not None:
        most = int(need.max_usd_per_hour.scaleb(6))
        yield f"max_usd_per_hour: {need.max_usd_per_hour.normalize():f}", "max_usd_per_hour", book.micro_usd <= most
    if need.samples is not None:
        known = {chip for chip in _chips(need, book) if speed.of(chip) is not None}
        if known:
            yield "a known speed", None, _where(book, "accelerator", known.__contains__)


def _chips(need: Need, book: Book) -> set[str]:
    """Return the accelerators that are wanted and in the book; its words may be of rows that are gone."""
    here = {book.words["accelerator"].things[code] for code in np.flatnonzero(np.bincount(book.accelerator))}
    return {chip for chip in here if chip.casefold() in need.chips} if need.wishes else here


def _of_the_moment(need: Need, book: Book, scope: Scope) -> Tests:
    leasable = book.leasable
    if scope.rents_at is not None:
        leasable = leasable & among(book, "provider", scope.rents_at)
    yield "for rent here (price list only)", None, leasable
    if not need.queue:
        yield FREE_NOW, "queue", book.available > 0
    reasons: dict[str, list[Ints]] = defaultdict(list)
    for line, why in scope.barred.items():
        reasons[why].append(book.rows_of(line))
    for why, rows in sorted(reasons.items()):
        left_alone = np.ones(len(book), np.bool_)
        left_alone[np.concatenate(rows)] = False
        yield f"left alone for now: {why}", None, left_alone


def among(book: Book, column: str, wanted: Collection[str]) -> Flags:
    """Return which lines of the book have one of these texts there, in any case."""
    names = {text.casefold() for text in wanted}
    return _where(book, column, lambda text: text.casefold() in names)


def _where(book: Book, column: str, fits: Callable[[str], bool]) -> Flags:
    """Ask each word once, and the rows by their codes."""
    words = book.words[column].things
    fitting = np.fromiter((fits(text) for text in words), np.bool_, len(words))
    return np.asarray(fitting[getattr(book, column)])
