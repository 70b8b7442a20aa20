"""One need held against the book, to be asked again with a constraint loosened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

import numpy as np

from offers.matching import constraints, facts, plans, sites
from offers.matching.book import Book, OpenOffer
from offers.matching.constraints import Scope, Sieve
from offers.matching.estimate import Speed
from offers.matching.need import Need
from offers.matching.plans import Plans

ANYWHERE = Scope()


class Question:
    """A need, the rows that it rules out, and the plans that are left."""

    def __init__(
        self, need: Need, book: Book, *, speed: Speed, scope: Scope = ANYWHERE, reserved: Sequence[OpenOffer] = ()
    ) -> None:
        """reserved: the team's own reserved capacity; it is paid for, whatever it cost."""
        own = [replace(one, reserved=True, usd_per_hour=Decimal(0)) for one in reserved]
        books = [book, book.with_same_words(own)] if own else [book]
        chips, providers = book.words["accelerator"].things, book.words["provider"].things
        self.need, self.scope, self.speed = need, scope, speed
        rates = [speed.rate(chip) for chip in chips]
        self.samples_per_s = np.array([one.samples_per_s if one else np.nan for one in rates], np.float64)
        self.sigma = np.array([one.sigma if one else 0.0 for one in rates], np.float64)
        self.watts = np.array([facts.watts(chip) for chip in chips], np.float64)
        self.pue = np.array([facts.pue(provider) for provider in providers], np.float64)
        self.sieves = [self._sieve(one) for one in books]
        self.considered = sum(int(np.count_nonzero(sieve.seen)) for sieve in self.sieves)

    def _sieve(self, book: Book) -> Sieve:
        return constraints.sieve(self.need, book, speed=self.speed, scope=self.scope)

    def candidates(self, need: Need, *, without: str | None = None) -> Plans | None:
        """
        Return the candidate plans, or None where no offer or no fill of a site is left.

        need: the question's own, or one that asks for less; without: a field that is left aside.
        """
        most = need.accelerators or need.site_size
        parts = []
        for sieve in self.sieves:
            book = sieve.book.when_free() if need.queue else sieve.book
            rows = sites.cheapest_of_each(book, sieve.passing(without=without), most=most)
            if len(rows):
                parts.append(book.take(rows))
        if not parts:
            return None
        book = parts[0].beside(parts[1:]) if len(parts) > 1 else parts[0]
        fills = sites.fills(need, book, constraints.tiers(book, self.scope))
        if not len(fills):
            return None
        rates = plans.paces(
            need,
            fills,
            samples_per_s=self.samples_per_s,
            sigma=self.sigma,
            watts=self.watts,
            pue=self.pue,
            profile=self.speed.profile,
        )
        return plans.candidates(need, rates)

    def passing(self, *, without: str | None = None) -> int:
        """Return how many offers are left."""
        return sum(len(sieve.passing(without=without)) for sieve in self.sieves)

    def excluded(self) -> list[tuple[str, int]]:
        """Return how many offers each constraint takes out; the first that an offer fails counts."""
        counts: dict[str, int] = {}
        for sieve in self.sieves:
            for name, count in sieve.excluded():
                counts[name] = counts.get(name, 0) + count
        return list(counts.items())
