"""`yard ps`, `show`, `rounds`, `stop`, `bill`, `ledger`: one's workloads, and what they cost."""

from datetime import datetime
from typing import Annotated

import typer

from gpuyard import objects
from gpuyard.cli.flags import JsonFlag, WorkloadId
from gpuyard.cli.follow import described
from gpuyard.cli.output import Output, duration, size, text
from gpuyard.cli.session import connect, follower
from gpuyard.cli.story import forecast_usd
from gpuyard.cli.telling import ending, event_line, spans, standing
from gpuyard.cli.times import moment
from gpuyard.money import dollars
from gpuyard.paging import every


def ps(
    state: Annotated[str | None, typer.Option(help="Only in this state: running, failed, ...")] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 50,
    json: JsonFlag = False,
) -> None:
    """Your workloads."""
    out, client = Output(json=json), connect()
    rows = list(every(lambda cursor: client.workloads(state=state, cursor=cursor), limit=limit))
    out.document({"results": rows})
    if not rows:
        out.line("No workload." if state else "No workload yet: yard run SCRIPT")
        return
    headers = ["id", "name", "state", "reason", "samples", "loss", "spent", "running", "sites"]
    cells = [
        [
            str(row["id"]),
            row["name"],
            row["state"],
            text(row["end_reason"]),
            share(row["samples"]),
            "-" if row["loss"] is None else f"{row['loss']:.4f}",
            dollars(row["spent_usd"]),
            spans(row),
            ", ".join(open_sites(row)) or "-",
        ]
        for row in rows
    ]
    out.table(headers, cells, right=["id", "loss", "spent", "running", "samples"])


def share(samples: objects.Samples) -> str:
    """How much of the work is merged."""
    return f"{100 * samples['merged'] // samples['total']} %" if samples["total"] else f"{samples['merged']:,}"


def open_sites(workload: objects.Workload) -> list[str]:
    """Where it runs now."""
    return [site["site"] for site in workload["sites"] if site["state"] != "closed"]


def show(workload: WorkloadId, json: JsonFlag = False) -> None:
    """One workload: how it fares, where, and what it left."""
    out = Output(json=json)
    found = connect().workload(workload)
    out.document(found)
    out.line(standing(found, losses={}))
    if found["why"] or found["end_reason"]:
        out.line("  " + ": ".join(each for each in (found["end_reason"], found["why"]) if each))
    out.line(f"  name     {found['name']}")
    out.line(f"  script   {' '.join([found['script'], *found['args']])}")
    if found["resumes"]:
        out.line(f"  resumes  workload {found['resumes']['workload']}, version {found['resumes']['version']}")
    out.line(f"  created  {moment(found['created_at'])}")
    out.line(f"  running  {spans(found)}")
    budget = f" of {dollars(found['budget_usd'])}" if found["budget_usd"] else ""
    out.line(f"  spent    {dollars(found['spent_usd'])}{budget}, {dollars(found['hold_usd'])} set aside")
    if (forecast := forecast_usd(found)) is not None:
        out.line(f"  forecast {dollars(forecast)} at the end, done {moment(found['forecast']['finish_at'])}")
    if found["artifact"]:
        out.line(f"  left     {described(found['artifact'])}")
    cells = [
        [
            site["site"],
            site["state"],
            text(node["host"]),
            f"{node['accelerators']} x {node['accelerator']} {node['market'].replace('_', '-')}",
            node["state"],
            text(node["phase"]),
            dollars(node["usd_per_hour"]),
            text(site["why"]),
        ]
        for site in found["sites"]
        for node in site["nodes"]
    ]
    if cells:
        out.line()
        out.table(["site", "is", "host", "accelerators", "lease", "phase", "$/h", "why"], cells, right=["$/h"])


def rounds(workload: WorkloadId, json: JsonFlag = False) -> None:
    """The training rounds across sites, and who brought what."""
    out = Output(json=json)
    rows = connect().rounds(workload)
    out.document({"results": rows})
    cells = [
        [
            str(row["version"]),
            "open" if row["closed_at"] is None else moment(row["closed_at"]),
            took(row),
            each["site"],
            each["status"],
            f"{each['samples']:,}",
            str(each["steps"]),
            *("-" if each[name] is None else f"{each[name]:.4f}" for name in ("loss", "share", "norm", "cosine")),
            *("-" if each[name] is None else f"{each[name]:.1f} s" for name in ("put_s", "fetch_s", "stall_s")),
            "-" if not each["train_s"] else f"{each['samples'] / each['train_s']:,.0f}",
            size(row["update_bytes"]) if row["update_bytes"] else "-",
            text(each["why"]),
        ]
        for row in rows
        for each in row["contributors"]
    ]
    headers = [
        "version", "closed", "took", "site", "status", "samples", "steps", "loss", "share", "norm", "cosine", "sent in",
        "got in", "stood", "samples/s", "update", "why",
    ]  # fmt: skip
    if not rows:
        out.line("No round yet.")
        return
    out.table(headers, cells, right=[name for name in headers if name not in ("closed", "site", "status", "why")])
    out.line(f"{len(rows)} rounds, {sum(row['samples'] for row in rows):,} samples.")


def took(row: objects.Round) -> str:
    """How long a round was open, to the tenth of a second; "-" while it is."""
    if row["closed_at"] is None:
        return "-"
    span = datetime.fromisoformat(row["closed_at"]) - datetime.fromisoformat(row["opened_at"])
    return f"{span.total_seconds():.1f} s"


def stop(
    workload: WorkloadId,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has ended.")] = False,
    json: JsonFlag = False,
) -> None:
    """End a workload; what it has trained so far is kept."""
    out = Output(json=json)
    found = connect().stop_workload(workload)
    if wait:
        for seen in follower(workload, out=out).watch():
            found = seen.get("workload", found)
            if seen["type"] == "event" and out.is_terminal:
                out.note(event_line(seen["event"]))
    out.document(found)
    if found["state"] in objects.ENDED:
        out.line(ending(found))
    else:
        out.line(f"Workload {workload} was asked to end. See it end: yard watch {workload}")


def bill(workload: WorkloadId, json: JsonFlag = False) -> None:
    """What a workload cost, machine by machine."""
    out = Output(json=json)
    found = connect().bill(workload)
    out.document(found)
    cells = [
        [
            str(line["lease"]),
            line["site"],
            text(line["host"]),
            dollars(line["usd_per_hour"]),
            moment(line["opened_at"]),
            moment(line["closed_at"]),
            duration(float(line["seconds"])),
            dollars(line["usd"]),
        ]
        for line in found["leases"]
    ]
    out.table(
        ["lease", "site", "host", "$/h", "from", "to", "time", "cost"], cells, right=["lease", "$/h", "time", "cost"]
    )
    out.line(
        f"Total {dollars(found['total_usd'])}, booked {dollars(found['billed_usd'])};"
        f" {'final' if found['final'] else 'not final yet'}."
    )


def ledger(
    workload: Annotated[int | None, typer.Option(min=1, metavar="ID", help="Only of this workload.")] = None,
    json: JsonFlag = False,
) -> None:
    """Every movement of your money."""
    out, client = Output(json=json), connect()
    rows: list[objects.LedgerRow] = []
    while True:
        page = client.ledger(workload=workload, after=rows[-1]["id"] if rows else 0, limit=500)
        rows += page["results"]
        if len(page["results"]) < 500:
            break
    out.document({"results": rows, "sum_usd": page["sum_usd"]})
    cells = [
        [
            str(row["id"]),
            moment(row["at"]),
            row["debit"],
            row["credit"],
            dollars(row["amount_usd"]),
            row["what"],
            text(row["workload"]),
            text(row["lease"]),
        ]
        for row in rows
    ]
    headers = ["id", "at", "debit", "credit", "amount", "what", "workload", "lease"]
    out.table(headers, cells, right=["id", "amount", "workload", "lease"])
    out.line(f"Debits less credits of all accounts touched: {dollars(page['sum_usd'])}")
