"""What a cell shows: quotes and a run as HTML that needs no widgets, light or dark as its notebook is."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from typing import Any

from gpuyard import objects
from gpuyard.cli.market import site_of
from gpuyard.cli.output import duration, printable
from gpuyard.cli.plans import cost_range, percent
from gpuyard.cli.story import forecast_usd, left_s
from gpuyard.cli.telling import event_line
from gpuyard.cli.times import moment
from gpuyard.money import dollars
from gpuyard.notebook import curve

# The notebook's own colour is the ink, and all greys are made of it: so it is right in every theme. Thrice the class
# outweighs what Jupyter says of every table and list.
STYLE = """<style>
.gpuyard{font:13px/1.5 var(--jp-ui-font-family,var(--vscode-font-family,system-ui,sans-serif));max-width:60rem;
 color:var(--jp-content-font-color1,var(--vscode-editor-foreground,light-dark(#1f2328,#e6edf3)));
 --line:color-mix(in srgb,currentColor 18%,transparent);--soft:color-mix(in srgb,currentColor 72%,transparent)}
& .wide{overflow-x:auto}
& table{table-layout:auto;border-collapse:collapse;width:100%;margin:.25rem 0;font:inherit;color:inherit;border:0}
& caption{text-align:left;font-weight:600;padding:.25rem 0;color:inherit}
& tr{background:none}
& th,& td{padding:.3rem .9rem .3rem 0;text-align:left;vertical-align:top;font:inherit;color:inherit;
 background:none;white-space:normal;border:0;border-bottom:1px solid var(--line);max-width:none}
& thead th{color:var(--soft);font-size:12px;vertical-align:bottom}
& .number{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
& .chosen td,& .chosen th{font-weight:600}
& th[scope=row]{white-space:nowrap}
& p{margin:.25rem 0;max-width:none}
& .soft{color:var(--soft);font-size:12px;overflow-wrap:anywhere}
& .head{display:flex;flex-wrap:wrap;gap:.25rem 1rem;align-items:baseline;margin:.25rem 0 .5rem}
& .state{font-weight:600;font-size:15px}
& dl{display:flex;flex-wrap:wrap;gap:.5rem 2.25rem;margin:.5rem 0;padding:0}
& dt{float:none;width:auto;clear:none;color:var(--soft);font-size:12px;font-weight:400;margin:0;padding:0}
& dd{white-space:nowrap;float:none;width:auto;margin:0;padding:0;font-size:15px;font-variant-numeric:tabular-nums}
& progress{width:100%;height:6px;display:block;margin:.35rem 0 0;appearance:none;border:0;background:var(--line)}
& progress::-webkit-progress-bar{background:var(--line)}
& progress::-webkit-progress-value{background:#2f81f7}
& progress::-moz-progress-bar{background:#2f81f7}
& .curve{width:100%;max-width:44rem;height:auto;display:block;margin:.5rem 0 0}
& .curve text{font-size:11px;fill:currentColor;opacity:.75}
& .curve .grid{stroke:currentColor;opacity:.18}
& .curve polyline{fill:none;stroke-width:2;stroke-linejoin:round}
& .legend{display:flex;flex-wrap:wrap;gap:.1rem 1rem;font-size:12px;margin:.1rem 0 .75rem}
& details{margin:.25rem 0}
& summary{cursor:pointer}
& pre{font:12px/1.45 var(--jp-code-font-family,var(--vscode-editor-font-family,ui-monospace,monospace));
 color:inherit;background:none;border:0;border-left:2px solid var(--line);padding:0 0 0 .75rem;margin:.25rem 0;
 white-space:pre-wrap;overflow-wrap:anywhere}
& .warn,& .bad,& .good{border-left:3px solid;padding-left:.6rem}
& .warn{border-color:#d97706}
& .bad{border-color:#e5484d}
& .good{border-color:#16a34a}
</style>""".replace("&", ".gpuyard.gpuyard.gpuyard")
MARKS = {"succeeded": "✓", "failed": "✕", "cancelled": "■"}
CHARACTERS_MAX = 400


@dataclass(frozen=True)
class Shown:
    """Something to display: as HTML in notebooks, as text everywhere else."""

    html: str
    text: str

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/html": f'{STYLE}<div class="gpuyard">{self.html}</div>', "text/plain": self.text}

    def __repr__(self) -> str:
        return self.text


COLUMNS = ("to finish", "p10 to p90", "time", "in time", "per hour", "sites", "best at")
NUMBERS = 5  # So many of them are numbers.


def quotes(answer: objects.Quotes, *, chosen: int | None = None, note: str = "") -> Shown:
    """The quotes as a numbered table, best first; `chosen` is the id of the one that was ordered."""
    rows, lines = [], []
    told = [[printable(cell) for cell in quote_cells(each)] for each in answer["quotes"]]
    columns = [at for at in range(len(COLUMNS)) if any(cells[at] != "-" for cells in told)]
    heads, numbers_of = [COLUMNS[at] for at in columns], sum(at < NUMBERS for at in columns)
    for each, all_cells in zip(answer["quotes"], told, strict=True):
        cells, is_chosen = [all_cells[at] for at in columns], each["id"] == chosen
        lines.append("  ".join([f"{each['rank']}{' (ordered)' if is_chosen else ''}", *cells]).replace("\n", "; "))
        mark = f'<th scope="row">{each["rank"]}{" ✓ ordered" if is_chosen else ""}</th>'
        numbers = "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells[:numbers_of])
        words = "".join(f"<td>{escape(cell)}</td>" for cell in cells[numbers_of:]).replace("\n", "<br/>")
        kind = ' class="chosen"' if is_chosen else ""
        rows.append(f"<tr{kind}>{mark}{numbers}{words}</tr>")
    why = [f"{each['rank']}: {each['why_not']}" for each in answer["quotes"] if each["why_not"]]
    why += [f"Promised until {moment(min(each['expires_at'] for each in answer['quotes']))}."] if rows else []
    why += [note] if note else []
    caption = f"What it costs to finish ({answer['offers_considered']:,} offers considered)"
    html = table(["no.", *heads], rows, numbers=set(COLUMNS[:NUMBERS]), caption=caption)
    html += "".join(f'<p class="soft">{escape(printable(line))}</p>' for line in why)
    return Shown(html, "\n".join([caption, "  ".join(["no.", *heads]), *lines, *map(printable, why)]))


def quote_cells(quote: objects.Quote) -> list[str]:
    """A quote in the order of COLUMNS."""
    return [
        dollars(quote["cost_usd"]) if quote["cost_usd"] else "not known",
        cost_range(quote["outcome"]) or "-",
        duration(quote["finish_s"]),
        percent(quote["outcome"]["deadline_chance"] if quote["outcome"] else None),
        dollars(quote["usd_per_hour"]),
        "\n".join(site_of(site) for site in quote["sites"]),
        ", ".join(quote["labels"]) or "-",
    ]


def table(heads: Sequence[str], rows: Sequence[str], *, numbers: set[str], caption: str = "") -> str:
    """Rows of cells under headings."""
    kinds = {head: ' class="number"' if head in numbers else "" for head in heads}
    head = "".join(f'<th scope="col"{kinds[each]}>{each}</th>' for each in heads)
    told = f"<caption>{caption}</caption>" if caption else ""
    body = "".join(rows)
    return f'<div class="wide"><table>{told}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


@dataclass
class Run:
    """What is known of a followed run."""

    workload: objects.Workload
    losses: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    events: list[objects.Event] = field(default_factory=list)
    logs: list[objects.LogLine] = field(default_factory=list)
    cost_usd: str | None = None  # The bill, once there is one.
    notes: list[tuple[str, str]] = field(default_factory=list)  # (warn, bad, good or soft; text)
    is_followed: bool = True


def run(seen: Run) -> Shown:
    """A run as it stands."""
    workload = seen.workload
    state = workload["state"]
    is_over = state in objects.ENDED
    reason = f" ({workload['end_reason']})" if workload["end_reason"] not in (None, "finished") else ""
    head = f"{MARKS.get(state, '●')} Run {workload['id']} {state}{reason}"
    why = workload["why"] or ""
    facts = dict(facts_of(seen))
    parts = [
        f'<div class="head"><span class="state">{escape(head)}</span><span>{escape(workload["name"])}</span></div>'
    ]
    parts += [f'<p class="{"bad" if state == "failed" else "warn"}">{escape(printable(why))}</p>'] if why else []
    parts.append("<dl>" + "".join(fact(name, value) for name, value in facts.items()) + "</dl>")
    parts.append(curve.svg(seen.losses))
    parts.append(sites(workload))
    parts += [f'<p class="{kind}">{escape(printable(text))}</p>' for kind, text in seen.notes]
    events = [event_line(each) for each in seen.events[-6:]]
    logs = [cut(f"{each['site']}| {each['text']}") for each in seen.logs[-12:]]
    parts += [folded("What happened", events, is_open=not is_over), folded("Log", logs, is_open=state == "failed")]
    told = [head, *([why] if why else []), "  ".join(f"{name}: {value[0]}" for name, value in facts.items())]
    return Shown("".join(parts), printable("\n".join([*told, *events, *logs, *(text for _, text in seen.notes)])))


def facts_of(seen: Run) -> list[tuple[str, tuple[str, str, float | None]]]:
    """(name, (value, beside it, share of a whole)) of the few numbers that matter."""
    workload, now = seen.workload, datetime.now(UTC).timestamp()
    samples, budget = workload["samples"], workload["budget_usd"]
    spent = seen.cost_usd if seen.cost_usd is not None else workload["spent_usd"]
    of = f"of {dollars(budget)}" if budget else ""
    share = float(spent) / float(budget) if budget and float(budget) else None
    facts: list[tuple[str, tuple[str, str, float | None]]] = [
        ("cost" if seen.cost_usd else "cost so far", (dollars(spent), of, share))
    ]
    if (forecast := forecast_usd(workload)) is not None:
        facts.append(("forecast", (dollars(forecast), "at the end", None)))
    if samples["total"]:
        done = f"{100 * samples['merged'] // samples['total']} %"
        facts.append(("done", (done, f"of {samples['total']:,} samples", samples["merged"] / samples["total"])))
    if (left := left_s(workload, now)) is not None:
        facts.append(("to go", (duration(left), "", None)))
    newest = [points[-1][1] for points in seen.losses.values() if points]
    loss = workload["loss"] if workload["loss"] is not None else sum(newest) / len(newest) if newest else None
    facts += [("loss", (f"{loss:.4f}", "", None))] if loss is not None else []
    facts += [("version", (str(workload["version"]), "", None))] if workload["version"] is not None else []
    return facts


def fact(name: str, value: tuple[str, str, float | None]) -> str:
    """One number with its name."""
    text, beside, share = value
    bar = f'<progress max="1" value="{min(share, 1):.4f}" aria-label="{name}"></progress>' if share is not None else ""
    return f'<div><dt>{name}</dt><dd>{escape(text)} <span class="soft">{escape(beside)}</span>{bar}</dd></div>'


def sites(workload: objects.Workload) -> str:
    """The sites and their machines."""
    heads, rows = ["site", "state", "machines", "why"], []
    if not any(site["why"] for site in workload["sites"]):
        heads.pop()
    for site in workload["sites"]:
        nodes = [
            f"{each['host'] or 'machine'}: {each['accelerators']} x {each['accelerator']}" for each in site["nodes"]
        ]
        rate = sum(
            Decimal(each["usd_per_hour"]) for each in site["nodes"] if each["opened_at"] and not each["closed_at"]
        )
        cells = [site["site"], site["state"], "; ".join(nodes) or "-", site["why"] or ""][: len(heads)]
        html = "".join(f"<td>{escape(printable(cell))}</td>" for cell in cells)
        rows.append(f'<tr>{html}<td class="number">{dollars(str(rate)) if rate else "-"}</td></tr>')
    return table([*heads, "per hour"], rows, numbers={"per hour"}) if rows else ""


def folded(title: str, lines: Sequence[str], *, is_open: bool) -> str:
    """Lines under a title that opens and closes."""
    if not lines:
        return ""
    text = escape(printable("\n".join(lines)))
    return f"<details{' open' if is_open else ''}><summary>{title}</summary><pre>{text}</pre></details>"


def cut(line: str) -> str:
    """A line that cannot flood the page."""
    return line if len(line) <= CHARACTERS_MAX else f"{line[:CHARACTERS_MAX]}..."
