"""
Ours against SkyPilot's optimizer on the same catalogs: `python -m tests.benchmarks.matching_skypilot`.

Both are asked "one instance type, cheapest" for every (label, count, market) that the catalogs sell, of all providers
and within each alone, so that one provider's low price hides no mistake at another. SkyPilot runs in an environment of
its own (.venv-bench, made here). CPU is that of one question of all providers; prices are in memory on both sides.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from offers import gpus
from offers.matching.book import OpenOffer, book_of
from offers.matching.solve import cheapest
from providers.base import Listing
from providers.catalog import Catalog
from tests.benchmarks import market_peer

ROOT = Path(__file__).parents[2]
CATALOGS = Path(os.environ.get("GPUYARD_CATALOG_DIR") or ROOT.parent / "shared" / "data" / "catalogs")
PEER = Path(__file__).with_name("matching_peer.py")
SKYPILOT = "skypilot==0.14.1"
REPEATS = 5  # Ours takes so little that one reading of the clock would be coarse.
SLICE = "tpu-"
USD_ALIKE = 1e-5  # SkyPilot adds up floats.
WIDELY = 3  # Sold by so many providers: what people mostly ask for, and where SkyPilot's optimizer has work to do.


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One question with both answers; a price or a listing of None is no answer."""

    label: str  # As SkyPilot spells it.
    count: float  # Of the label: 1 "tpu-v5p-8" is four chips; 0.5 of an A10 is a share of one.
    market: str
    within: str  # The one provider asked for, or "".
    their_usd: float | None
    their_place: str
    their_machine: str
    their_cpu_s: float
    ours: Listing | None
    our_cpu_s: float

    @property
    def our_usd(self) -> float | None:
        """The price of our answer."""
        return None if self.ours is None else float(self.ours.usd_per_hour)

    @property
    def is_of_chips(self) -> bool:
        """Whether it asks all providers for whole chips; a slice of TPUs makes SkyPilot look at one cloud only."""
        return not self.within and self.count % 1 == 0 and not self.label.startswith(SLICE)


def figures(say: Callable[[str], None] = lambda line: None) -> dict[str, Any]:
    """Return the benchmark's two keys, what they are made of, and every answer that differs, in words."""
    listings, rows = _listings()
    theirs = _asked_skypilot(say)
    pairs = _asked_ours(theirs, listings, len(listings))
    as_many = _asked_ours(theirs, listings, rows)
    chips = [pair for pair in pairs if pair.is_of_chips]
    sellers = defaultdict(set)
    for line in listings:
        sellers[line.accelerator_label, line.accelerator_count].add(line.provider)
    widely = [pair for pair in chips if len(sellers[pair.label, pair.count]) >= WIDELY]
    kinds = Counter(map(_kind, pairs))
    others = [pair for pair in pairs if _kind(pair) != "same"]
    return {
        "cpu_vs_skypilot": _ratio(chips),
        "dearer_than_skypilot": sum(map(_is_worse, pairs)),
        "dearer_with_the_same_label": _dearer_with_the_same_label(pairs, listings),
        "skypilot_questions": len(pairs),
        "skypilot_answers": dict(kinds.most_common()),
        "skypilot_cpu_ms": _median_ms(chips, "their_cpu_s"),
        "our_cpu_ms": _median_ms(chips, "our_cpu_s"),
        "cpu_vs_skypilot_widely_sold": _ratio(widely),
        "skypilot_cpu_ms_widely_sold": _median_ms(widely, "their_cpu_s"),
        "our_cpu_ms_with_as_many_rows": _median_ms([pair for pair in as_many if pair.is_of_chips], "our_cpu_s"),
        "skypilot_reasons": dict(Counter(map(_reason, others)).most_common()),
        "skypilot_differences": [_in_words(pair) for pair in others],
    }


def _asked_skypilot(say: Callable[[str], None]) -> list[dict[str, Any]]:
    """Return SkyPilot's answers, from a process of its own with a home of its own."""
    python = _installed(say)
    with tempfile.TemporaryDirectory() as home:
        answers = Path(home) / "answers.json"
        env = {"HOME": home, "PATH": os.environ["PATH"], "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
        said = subprocess.run([python, PEER, CATALOGS, answers], env=env, capture_output=True, text=True, check=False)
        if said.returncode:
            raise RuntimeError(said.stderr[-2000:])
        found: list[dict[str, Any]] = json.loads(answers.read_text())
    say(f"SkyPilot has answered {len(found)} questions")
    return found


def _installed(say: Callable[[str], None]) -> Path:
    """Return the Python that has SkyPilot. The environment is shared with the peer of `make bench-market`."""
    home = market_peer.HOME
    python, name = home / "bin" / "python", SKYPILOT.replace("==", "-")
    wanted = [] if list(home.glob(f"lib/*/site-packages/{name}.dist-info")) else [SKYPILOT]
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        wanted.append(market_peer.GPUHUNT)
    if wanted:
        say(f"installing {', '.join(wanted)} into {home.name}")
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    return python


def _listings() -> tuple[list[Listing], int]:
    """Return what our book would hold of the catalogs, and how many rows they have: most are machines without a GPU."""
    tables = [Catalog(path=path, now=datetime.now(UTC)) for path in sorted(CATALOGS.glob("*/vms.csv"))]
    found = [line for table in tables for line in table.listings()]
    if not found:
        sys.exit(f"{CATALOGS} holds no <provider>/vms.csv; name a directory with GPUYARD_CATALOG_DIR")
    return found, sum(table.report.rows for table in tables)


def _asked_ours(theirs: Sequence[dict[str, Any]], listings: Sequence[Listing], rows: int) -> list[Pair]:
    """Ask ours the same, a label being a wish in a person's words; the listings are repeated up to so many rows."""
    offers = [_offer(index, listings[index % len(listings)]) for index in range(rows)]
    books, pairs = {}, []
    for name in {one["within"] for one in theirs}:
        books[name] = book_of(offer for offer in offers if name in ("", offer.provider))
    for one in theirs:
        chip = gpus.identify(one["label"])
        wish = chip.name if one["label"].startswith(SLICE) else one["label"]
        book, chips, times, row = books[one["within"]], one["count"] * chip.per_label, [], None
        for _ in range(REPEATS):
            began = time.process_time()
            row = cheapest(book, accelerator=wish, count=chips, market=one["market"])
            times.append(time.process_time() - began)
        place = "/".join(filter(None, (one.get("provider"), one.get("region"), one.get("zone"))))
        pairs.append(
            Pair(label=one["label"], count=one["count"], market=one["market"], within=one["within"],
                 their_usd=one["usd_per_hour"], their_place=place, their_machine=one.get("machine_type", ""),
                 their_cpu_s=one["cpu_s"], ours=None if row is None else listings[book.id[row] % len(listings)],
                 our_cpu_s=statistics.median(times))
        )  # fmt: skip
    return pairs


def _offer(index: int, line: Listing) -> OpenOffer:
    chip = gpus.identify(line.accelerator_label, line.memory_gib)
    return OpenOffer(
        id=index, provider=line.provider, region=line.region, zone=line.zone, country=line.country,
        machine_type=line.machine_type, market=line.market.value, accelerator=chip.name,
        accelerators=line.accelerator_count * chip.per_label, memory_gib=line.memory_gib or chip.memory_gib,
        usd_per_hour=line.usd_per_hour, leasable=True, available=line.available,
    )  # fmt: skip


def _kind(pair: Pair) -> str:
    if pair.our_usd is None:
        return "neither" if pair.their_usd is None else "only theirs"
    if pair.their_usd is None:
        return "only ours"
    if abs(pair.our_usd - pair.their_usd) <= USD_ALIKE:
        return "same price elsewhere" if _elsewhere(pair) else "same"
    return "cheaper" if pair.our_usd < pair.their_usd else "dearer"


def _is_worse(pair: Pair) -> bool:
    """Whether ours is dearer, or is none although whole chips were asked for."""
    return _kind(pair) == "dearer" or (_kind(pair) == "only theirs" and pair.count % 1 == 0)


def _elsewhere(pair: Pair) -> bool:
    """Whether both name one price at different sites."""
    line = pair.ours
    return line is not None and not f"{pair.their_place}/".startswith(f"{line.provider}/{line.region}/")


def _reason(pair: Pair) -> str:
    """Say why the answers differ; "unexplained" is a defect of one of them."""
    if pair.ours is None:
        return "a share of a chip, which our book does not hold" if pair.count % 1 else "unexplained"
    if _kind(pair) == "same price elsewhere":
        return "the same price in several regions"
    if pair.ours.accelerator_label != pair.label:
        asked = gpus.identify(pair.label).name
        got = gpus.identify(pair.ours.accelerator_label, pair.ours.memory_gib).name
        return "another spelling of the chip" if asked == got else "another variant of the chip"
    if pair.ours.machine_type.split("+")[0] != pair.their_machine and "+" in pair.ours.machine_type:
        return "another host for the same chips"
    return "unexplained"


def _in_words(pair: Pair) -> str:
    theirs = "none" if pair.their_usd is None else f"{pair.their_usd:.4f} at {pair.their_place} {pair.their_machine}"
    ours = "none"
    if pair.ours is not None:
        line = pair.ours
        where = "/".join(filter(None, (line.provider, line.region, line.zone)))
        ours = f"{line.usd_per_hour:.4f} at {where} {line.machine_type} ({line.accelerator_label})"
    asked = f"{pair.label} x {pair.count:g} {pair.market}" + (f" at {pair.within}" if pair.within else "")
    return f"{asked}: {ours}; SkyPilot {theirs}: {_kind(pair)}, {_reason(pair)}"


def _dearer_with_the_same_label(pairs: Sequence[Pair], listings: Sequence[Listing]) -> int:
    """Count questions at which our book's rows of that very label, without other variants, are dearer."""
    least: dict[tuple[str, float, str, str], float] = {}
    for line in listings:
        for within in ("", line.provider):
            key = (line.accelerator_label, line.accelerator_count, line.market.value, within)
            least[key] = min(float(line.usd_per_hour), least.get(key, float("inf")))
    return sum(
        least.get((pair.label, pair.count, pair.market, pair.within), 0) > pair.their_usd + USD_ALIKE
        for pair in pairs
        if pair.their_usd is not None
    )


def _median_ms(pairs: Sequence[Pair], field: str) -> float:
    return float(f"{1000 * statistics.median(getattr(pair, field) for pair in pairs):.3g}")


def _ratio(pairs: Sequence[Pair]) -> float:
    return round(_median_ms(pairs, "their_cpu_s") / _median_ms(pairs, "our_cpu_s"))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(figures(_say), indent=1) + "\n")
