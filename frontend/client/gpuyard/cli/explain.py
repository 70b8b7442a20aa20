"""`yard explain`: why a workload runs where it runs, in the figures that it was decided on."""

from typing import Any

from gpuyard import objects
from gpuyard.cli.flags import JsonFlag, WorkloadId
from gpuyard.cli.market import show_quotes
from gpuyard.cli.output import Output
from gpuyard.cli.session import connect
from gpuyard.cli.times import moment

PAGE = 500


def explain(workload: WorkloadId, json: JsonFlag = False) -> None:
    """The quote that was ordered, and every decision since: stay, move, grow, shrink, buy on-demand, wait."""
    out, client = Output(json=json), connect()
    quote = client.quote(client.workload(workload)["quote"])
    decisions: list[objects.Event] = []
    while True:
        page = client.decisions(workload, after=decisions[-1]["id"] if decisions else 0, limit=PAGE)
        decisions += page
        if len(page) < PAGE:
            break
    out.document({"quote": quote, "decisions": decisions})
    out.line(f"Ordered as quote {quote['id']}:")
    show_quotes(out, [quote])
    if not decisions:
        out.line("Nothing was decided since.")
    for one in decisions:
        out.line()
        out.line(f"{moment(one['at'])}  {one['why']}")
        for name, value in (one["figures"] or {}).items():
            tell(out, name, value)


def tell(out: Output, name: str, value: Any, *, indent: str = "  ") -> None:
    """A figure, or a group of them under its name."""
    said = name.replace("_", " ")
    if isinstance(value, dict):
        out.line(f"{indent}{said}")
        for inner, number in value.items():
            tell(out, inner, number, indent=indent + "  ")
        return
    shown = f"{value:,.4g}" if isinstance(value, float) else "-" if value is None else str(value)
    out.line(f"{indent}{said:<28} {shown}")
