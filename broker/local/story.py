"""The main job with a lost machine, told through the public API and the `yard` command only."""

import hashlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gpuyard import Client

from broker.local import figures, hosts, leftovers
from broker.local.launch import PROJECT, Place, yard_program

LIMIT_S = 540.0  # Of the whole story: `make demo` promises less than ten minutes.
SITES = 2
ROUNDS_BEFORE_THE_LOSS = 2
_ENDED = ("succeeded", "failed", "cancelled")
_POLL_S = 0.3
_PAGE = 500
_LOG_LINES = 12


class StoryBroken(Exception):
    """The story did not come to its end; the text says where it stopped."""


@dataclass(frozen=True)
class Plot:
    """What to run and which price lists to load."""

    script: Path  # As it was given; relative to the project.
    args: tuple[str, ...]
    catalogs: Path | None


@dataclass(frozen=True)
class _Loss:
    """One machine taken away, and who is left."""

    victim: int  # placement
    survivor: int  # placement
    first_sites: tuple[int, ...]
    at: datetime


class Story:
    """One telling; all of its figures are measured in this run."""

    def __init__(self, place: Place, plot: Plot, *, say: Callable[[str], None], alive: Callable[[], None]) -> None:
        """`alive` is called often and raises when the broker is gone."""
        self._place = place
        self._plot = plot
        self._say = say
        self._alive = alive
        self._client: Client = place.client()
        self._metrics: list[Any] = []
        self._started = time.monotonic()
        self._output = place.state / "demo-run.jsonl"

    def tell(self) -> tuple[dict[str, Any], list[str]]:
        """Import, quote, run, lose a machine, finish, pull, check, pay. Returns the figures and what is wrong."""
        offers = self._offers()
        self._yard("quote", "--gpu", "CPU", "--sites", str(SITES))
        run = self._order()
        try:
            workload = self._workload_of(run)
            loss = self._lose_a_machine(workload)
            self._watch_the_replacement(workload, loss)
            self._wait(lambda: run.poll() is not None, "the end of `yard run`")
        finally:
            if run.poll() is None:
                run.terminate()
                run.wait()
        if run.returncode != 0:
            raise StoryBroken(f"`yard run` ended with code {run.returncode}: {self._last_words()}")
        told = self._figures(workload, loss, offers)
        return told, figures.wrong(told, leases=len(self._client.bill(workload)["leases"]))

    def _offers(self) -> int:
        """Load the price lists that are given, and count what is in the book."""
        if self._plot.catalogs is None:
            self._say("No price lists were given (GPUYARD_CATALOG_DIR): the book holds what this machine offers.")
        else:
            self._say(f"Importing the price lists in {self._plot.catalogs}")
            self._yard("offers", "import", str(self._plot.catalogs))
        count = sum(1 for _ in hosts.every(lambda cursor: self._client.offers(cursor=cursor, limit=_PAGE)))
        self._say(f"{count} offers are in the book.\n")
        return count

    def _order(self) -> subprocess.Popen[bytes]:
        words = ["run", str(self._plot.script), "--sites", str(SITES), "--gpu", "CPU"]
        words += ["--budget", "1", "--yes", "--json"]
        words += ["--", *self._plot.args] if self._plot.args else []
        self._say(f"$ yard {' '.join(words)}")
        with self._output.open("wb") as output:
            return subprocess.Popen(
                [yard_program(), *words],
                cwd=PROJECT,
                env=self._place.for_the_cli,
                stdin=subprocess.DEVNULL,
                stdout=output,
            )

    def _workload_of(self, run: subprocess.Popen[bytes]) -> int:
        """Wait for the order and return its id."""
        found: list[int] = []

        def ordered() -> bool:
            rows = [json.loads(line) for line in self._output.read_text().splitlines(keepends=True) if line[-1] == "\n"]
            found.extend(row["workload"]["id"] for row in rows if row["type"] == "workload")
            if not found and run.poll() is not None:
                raise StoryBroken(f"`yard run` ended with code {run.returncode}: {self._last_words()}")
            return bool(found)

        self._wait(ordered, "the order")
        self._say(f"Ordered workload {found[0]}.")
        return found[0]

    def _lose_a_machine(self, workload: int) -> _Loss:
        """Wait until every site trains and two rounds are merged, then kill one node in mid-round."""
        chosen: list[tuple[Any, Any, str]] = []

        def may_lose() -> bool:
            now = self._running(workload)
            sites = [site for site in now["sites"] if self._rows_of(workload, site["placement"])]
            sites = [site for site in sites if site["state"].lower() == "training"]
            rounds = figures.closed(self._client.rounds(workload))
            if len(sites) < SITES or len(rounds) < ROUNDS_BEFORE_THE_LOSS:
                return False
            found = self._replaceable(sites)
            # In mid-round: its newest report is of the version that is open now.
            if found is None or self._rows_of(workload, found[0]["placement"])[-1]["version"] != now["version"]:
                return False
            other = next(site for site in sites if site["placement"] != found[0]["placement"])
            chosen.append((found[0], other, found[1]))
            return True

        self._wait(may_lose, f"training on {SITES} sites with {ROUNDS_BEFORE_THE_LOSS} merged rounds")
        victim, survivor, host = chosen[0]
        self._say(f"Both sites train. kill -9 of everything on {host} ({victim['region']}), in mid-round.")
        at = self._kill(host)
        first = (victim["placement"], survivor["placement"])
        return _Loss(victim["placement"], survivor["placement"], first, at)

    def _replaceable(self, sites: Sequence[Any]) -> tuple[Any, str] | None:
        """Return a site, and the name of its host, in whose region another host is free."""
        rows = list(hosts.every(lambda cursor: self._client.hosts(cursor=cursor)))
        free = {row["region"] for row in rows if row["state"] == "offered"}
        for site in sites:
            leases = {node["lease"] for node in site["nodes"]}
            for row in rows:
                if row["lease"] in leases and row["region"] in free:
                    return site, row["name"]
        return None

    def _kill(self, host: str) -> datetime:
        """Kill the host's agent and all that it started, for good, as a power cut would."""
        directory = hosts.state_of(self._place.state, host)
        (directory / hosts.STAY_DOWN).touch()
        at = datetime.now(UTC)
        count = leftovers.end(
            lambda: leftovers.carriers(variable=leftovers.HOST_VARIABLE, value=str(directory)),
            grace_s=0.0,
            first=signal.SIGKILL,
        )
        self._say(f"  {count} processes killed at {at:%H:%M:%S}")
        return at

    def _watch_the_replacement(self, workload: int, loss: _Loss) -> None:
        def lost() -> bool:
            self._running(workload)
            return figures.machines_lost(self._events(workload)) > 0

        def trains_again() -> bool:
            self._running(workload)
            return figures.replacements(self._rows(workload), loss.first_sites) > 0

        self._wait(lost, "the loss to be noticed")
        self._say(f"  lease LOST after {self._since(loss):.1f} s")
        self._wait(trains_again, "the replacement's first step")
        new = next(row for row in self._rows(workload) if row["placement"] not in loss.first_sites)
        after = (figures.instant(new["at"]) - loss.at).total_seconds()
        self._say(f"  the replacement in {new['site']} made its first step {after:.1f} s after the kill")

    def _figures(self, workload: int, loss: _Loss, offers: int) -> dict[str, Any]:
        bill = self._final_bill(workload)
        now = self._client.workload(workload)
        rounds, metrics = self._client.rounds(workload), self._rows(workload)
        reported, checked, sha256_ok = self._model(workload)
        self._yard("bill", str(workload))
        first_step = now["first_step_at"]
        return {
            "offers": offers,
            "sites": figures.sites(rounds),
            "preemptions": figures.machines_lost(self._events(workload)),
            "replacements": figures.replacements(metrics, loss.first_sites),
            "rounds": len(figures.closed(rounds)),
            "samples_lost": figures.samples_lost(now["samples"]),
            "samples_double_counted": figures.samples_double_counted(now["samples"], rounds),
            "model_loss_reported": reported,
            "model_loss_checked": checked,
            "model_sha256_ok": sha256_ok,
            "leases_open": figures.open_leases(bill["leases"]),
            "ledger_sum_usd": self._client.ledger(workload=workload)["sum_usd"],
            "billed_usd": bill["billed_usd"],
            "leased_seconds_usd": str(figures.leased_usd(bill["leases"])),
            "first_step_after_order_s": (
                round(figures.seconds_between(now["created_at"], first_step), 1) if first_step else None
            ),
            "stall_of_other_site_s": round(figures.stall_s(metrics, placement=loss.survivor, since=loss.at), 1),
        }

    def _final_bill(self, workload: int) -> Any:
        self._wait(lambda: bool(self._client.bill(workload)["final"]), "the final bill")
        return self._client.bill(workload)

    def _model(self, workload: int) -> tuple[float | None, float | None, bool]:
        """Pull the model, compare its hash with the API's, load it and check its loss on held-out text."""
        file = self._place.state / "model.safetensors"
        self._yard("pull", str(workload), "--output", str(file))
        artifact = next(each for each in self._client.artifacts(workload) if each["kind"] == "model")
        sha256_ok = hashlib.sha256(file.read_bytes()).hexdigest() == artifact["sha256"]
        reported = artifact["metrics"].get("val_loss")
        if "--check" not in (PROJECT / self._plot.script).read_text(errors="replace"):
            self._say("This script has no --check: its loss is not checked.")
            return reported, None, sha256_ok
        command = [sys.executable, str(self._plot.script), *self._plot.args, "--check", str(file)]
        done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=self._left_s())
        if done.returncode != 0:
            raise StoryBroken(f"The model does not load (code {done.returncode}): {done.stderr[-1000:]}")
        checked = float(json.loads(done.stdout.strip().splitlines()[-1])["val_loss"])
        self._say(f"Held-out loss: reported {reported}, checked {checked}")
        return reported, checked, sha256_ok

    def _running(self, workload: int) -> Any:
        """Return the workload. Raises `StoryBroken` when it has ended before its time."""
        now = self._client.workload(workload)
        if now["state"] in _ENDED:
            lines = self._all(lambda after: self._client.logs(workload, after=after, limit=_PAGE))[-_LOG_LINES:]
            told = "\n".join(f"  {line['site']}: {line['text']}" for line in lines)
            why = f"{now['state']}, {now['end_reason']}. {now['why']}"
            raise StoryBroken(f"The workload has ended too early: {why}\n{told}")
        return now

    def _events(self, workload: int) -> list[Any]:
        return self._all(lambda after: self._client.events(workload, after=after, limit=_PAGE))

    def _rows(self, workload: int) -> list[Any]:
        """Return all metrics so far; only those that are new are asked for."""
        known = self._metrics[-1]["id"] if self._metrics else None
        self._metrics += self._all(lambda after: self._client.metrics(workload, after=after, limit=_PAGE), since=known)
        return self._metrics

    def _rows_of(self, workload: int, placement: int) -> list[Any]:
        return [row for row in self._rows(workload) if row["placement"] == placement]

    @staticmethod
    def _all(page: Callable[[int | None], Sequence[Any]], *, since: int | None = None) -> list[Any]:
        rows: list[Any] = []
        while new := page(rows[-1]["id"] if rows else since):
            rows += new
        return rows

    def _yard(self, *words: str) -> None:
        """Run a `yard` command before the user's eyes."""
        self._say(f"$ yard {' '.join(words)}")
        command = [yard_program(), *words]
        done = subprocess.run(
            command, cwd=PROJECT, env=self._place.for_the_cli, stdin=subprocess.DEVNULL, timeout=self._left_s()
        )
        if done.returncode != 0:
            raise StoryBroken(f"`yard {words[0]}` ended with code {done.returncode}.")
        self._say("")

    def _wait(self, answer: Callable[[], bool], what: str) -> None:
        while not answer():
            self._alive()
            if self._left_s() <= 1:
                raise StoryBroken(f"{what} did not come within {LIMIT_S:.0f} s of the story.")
            time.sleep(_POLL_S)

    def _left_s(self) -> float:
        return max(1.0, LIMIT_S - (time.monotonic() - self._started))

    def _since(self, loss: _Loss) -> float:
        return (datetime.now(UTC) - loss.at).total_seconds()

    def _last_words(self) -> str:
        lines = self._output.read_text(errors="replace").strip().splitlines()
        return lines[-1][-1000:] if lines else "it said nothing"
