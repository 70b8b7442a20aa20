"""Choose a quote, order, and follow the run: one display that is brought up to date where it stands."""

import time
from typing import Any, Protocol

from gpuyard import objects
from gpuyard.cli.output import Output, poll_s
from gpuyard.cli.telling import Teller
from gpuyard.client import Client
from gpuyard.errors import GpuyardError, NeedUnmet
from gpuyard.money import dollars
from gpuyard.notebook import page
from gpuyard.notebook.options import Options
from gpuyard.pack import Program
from gpuyard.watch import Follower

BILL_WITHIN_S = 15.0
NO = ("n", "no", "none", "q")


class NobodyChooses(GpuyardError):
    """A quote is to be chosen where nobody can be asked. Nothing was ordered."""

    exit_code = 2
    default_code = "nobody_chooses"
    default_hint = "add --yes for the best quote, or --pick RANK"


class RunFailed(GpuyardError):
    """The run ended without having succeeded."""

    exit_code = 10
    default_code = "run_failed"


class Screen(Protocol):
    """Where a cell shows something and brings it up to date."""

    is_page: bool

    def put(self, shown: page.Shown) -> None:
        """Show it, in place of what was shown before."""

    def new(self) -> "Screen":
        """Another place, below."""


def choose(client: Client, options: Options, program: Program, screen: Screen) -> objects.Quote | None:
    """Quote the need, show the quotes, have one chosen; None: nothing is to be ordered. Raises: GpuyardError."""
    answer = client.create_quotes(options.wishes.need(program=program.tar_sha256))
    quotes = answer["quotes"]
    if not quotes:
        shut = ", ".join(f"{each['constraint']} shuts out {each['offers']:,}" for each in answer["excluded"][:4])
        raise NeedUnmet(f"no offer meets the need ({answer['offers_considered']:,} considered; {shut or 'none fits'})")
    screen.put(page.quotes(answer))
    if options.dry_run:
        screen.put(page.quotes(answer, note="Nothing was ordered: --dry-run."))
        return None
    ranks = {each["rank"]: each for each in quotes}
    rank = options.pick or ask(ranks)
    if rank is None:
        screen.put(page.quotes(answer, note="Nothing was ordered."))
        return None
    if rank not in ranks:
        raise NobodyChooses(f"there is no quote {rank}; there are {len(ranks)}", hint="--pick takes a rank")
    screen.put(page.quotes(answer, chosen=ranks[rank]["id"]))
    return ranks[rank]


def ask(ranks: dict[int, objects.Quote]) -> int | None:
    """The rank that a person says; None for none. Raises: NobodyChooses."""
    known = ", ".join(str(rank) for rank in ranks)
    try:
        while True:
            said = input(f"Order which quote? ({known}; n = none) ").strip().lower()
            if said.isdecimal() and int(said) in ranks:
                return int(said)
            if said in NO:
                return None
    except KeyboardInterrupt:
        return None
    except (EOFError, RuntimeError) as error:  # Jupyter's StdinNotImplementedError, where no person is connected.
        raise NobodyChooses("a quote is to be chosen, and nobody can be asked here") from error


def order(client: Client, options: Options, program: Program, *, quote: objects.Quote, name: str) -> objects.Workload:
    """Hand the program over and order. Raises: GpuyardError."""
    try:
        client.put_program(program.sha256, content=program.content)
        return client.create_workload(
            quote=quote["id"],
            program=program.sha256,
            script=program.script,
            name=options.name or name or "notebook",
            budget_usd=options.budget,
            priority=options.priority,
        )
    except KeyboardInterrupt:
        raise GpuyardError("interrupted while ordering", hint="`%yard ps` tells whether the order arrived") from None


def follow(client: Client, workload: objects.Workload, screen: Screen) -> page.Run:
    """Follow a run to its end, or until the kernel is interrupted, which leaves it running. Raises: GpuyardError."""
    seen = page.Run(workload)
    teller = None if screen.is_page else Teller(Output(json=False))
    patient = Client.from_config(backoff_s=())  # The follower itself waits for a broker that is away.
    follower = Follower(patient, workload["id"], poll_s=poll_s(), notice=lambda text: tell(seen, screen, text))
    try:
        while True:
            look(follower, seen, teller)
            if teller is None:
                screen.put(page.run(seen))
            if seen.workload["state"] in objects.ENDED:
                break
            time.sleep(follower.poll_s)
        settle(client, seen)
    except KeyboardInterrupt:
        number = seen.workload["id"]
        seen.is_followed = False
        note = f"No longer followed. Run {number} goes on, and so does its cost."
        seen.notes.append(("warn", f"{note} Back to it: %yard attach {number}. End it: %yard stop {number}."))
    if screen.is_page:
        screen.put(page.run(seen))
    return seen


def look(follower: Follower, seen: page.Run, teller: Teller | None) -> None:
    """Ask for what is new."""
    for told in follower.look(("event", "metrics", "log")):
        take(seen, told)
        if teller is not None and told["type"] != "log":
            teller.tell(told)
    seen.notes = warnings(seen)


def take(seen: page.Run, told: dict[str, Any]) -> None:
    """One object that the follower tells."""
    if told["type"] == "workload":
        seen.workload = told["workload"]
    elif told["type"] == "event":
        seen.events.append(told["event"])
    elif told["type"] == "log":
        seen.logs = [*seen.logs, told["log"]][-200:]
    elif "loss" in told["metrics"]["values"]:
        row = told["metrics"]
        seen.losses.setdefault(row["site"], []).append((row["step"], row["values"]["loss"]))


def warnings(seen: page.Run) -> list[tuple[str, str]]:
    """What a person should know before it happens."""
    if seen.workload["state"] in objects.ENDED or not seen.workload["forecast"]["over_budget"]:
        return []
    budget = dollars(seen.workload["budget_usd"])
    return [("warn", f"At this pace the budget of {budget} ends it before it is done; its last checkpoint is kept.")]


def settle(client: Client, seen: page.Run) -> None:
    """The cost as it is billed, once the machines are given back."""
    seen.notes = []
    late = time.monotonic() + BILL_WITHIN_S
    bill = client.bill(seen.workload["id"])
    while not bill["final"] and time.monotonic() < late:
        time.sleep(min(poll_s(), 1.0))
        bill = client.bill(seen.workload["id"])
    seen.cost_usd = bill["total_usd"] if bill["final"] else None
    seen.workload = client.workload(seen.workload["id"])


def tell(seen: page.Run, screen: Screen, text: str) -> None:
    """Something about the line to the broker."""
    seen.notes = [("warn", text)]
    if screen.is_page:
        screen.put(page.run(seen))
