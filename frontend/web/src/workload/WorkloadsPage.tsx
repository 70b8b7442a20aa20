/** All workloads, newest first. */

import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import type { ReactNode } from "react";
import { Bar } from "@/design/Bar";
import { Button, buttonClass } from "@/design/Button";
import { CopyText } from "@/design/CopyText";
import { Select } from "@/design/Field";
import { decimal, duration, NOTHING, percent, plural, usd, words, zone } from "@/design/format";
import { Icon } from "@/design/icons";
import { Empty, Fault, Loading, PageHead } from "@/design/Layout";
import { Status } from "@/design/Status";
import { useNow } from "@/app/clock";
import { costs, progress } from "./figures";
import { Moment, Wide } from "./parts";
import { workloadsQuery } from "./queries";
import { readListSearch, STATES, type ListSearch } from "./search";
import { isOver, type Workload } from "./types";

const route = getRouteApi("/own/workloads");
const FILTERS = [["", "All states"] as const, ...STATES.map((state) => [state, words(state)] as const)];
const HEAD = "px-3 py-2 text-left label-caps whitespace-nowrap";
const HEAD_NUM = "px-3 py-2 num label-caps whitespace-nowrap";
const CELL = "px-3 py-2 align-top";

export function WorkloadsPage(): ReactNode {
  const { state, cursor = "" } = route.useSearch();
  const navigate = useNavigate({ from: "/workloads" });
  const { data, error, isPending, isPlaceholderData, refetch } = useQuery(workloadsQuery(state, cursor));
  const rows = data?.results ?? [];

  return (
    <>
      <PageHead title="Workloads" about="What your team has run, newest first.">
        <div className="w-40">
          <Select
            label="State"
            hidden
            options={FILTERS}
            value={state ?? ""}
            onChange={(event) => void navigate({ search: readListSearch({ state: event.target.value }) })}
          />
        </div>
        <Link to="/launch" className={`${buttonClass("primary")} no-underline`}>
          <Icon name="launch" /> Launch
        </Link>
      </PageHead>
      {error && <Fault error={error} retry={() => void refetch()} className="mb-3" />}
      {isPending ? (
        <Loading lines={8} label="Workloads are on their way" />
      ) : rows.length > 0 ? (
        <div aria-busy={isPlaceholderData}>
          <Table rows={rows} />
          <Pages first={cursor === ""} next={data?.next ?? null} state={state} />
        </div>
      ) : (
        !error && <Nothing state={state} beyond={cursor !== ""} />
      )}
    </>
  );
}

function Table({ rows }: { rows: readonly Workload[] }): ReactNode {
  const now = useNow();
  return (
    <Wide label="Workloads" className="rounded-lg border border-line bg-card">
      <table className="w-full border-collapse text-sm">
        <caption className="sr-only">Workloads, newest first. Times are in {zone()}.</caption>
        <thead className="border-b border-line">
          <tr>
            <th scope="col" className={HEAD}>
              Name
            </th>
            <th scope="col" className={HEAD}>
              State
            </th>
            <th scope="col" className={`${HEAD} max-lg:hidden`}>
              Sites
            </th>
            <th scope="col" className={`${HEAD} max-sm:hidden`}>
              Progress
            </th>
            <th scope="col" className={`${HEAD_NUM} max-md:hidden`}>
              Loss
            </th>
            <th scope="col" className={`${HEAD_NUM} max-sm:hidden`}>
              Cost <span className="font-normal">USD</span>
            </th>
            <th scope="col" className={`${HEAD} max-lg:hidden`}>
              Started
            </th>
            <th scope="col" className={`${HEAD} max-md:hidden`}>
              Finish <span className="font-normal">{zone()}</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <Row key={row.id} row={row} now={now} />
          ))}
        </tbody>
      </table>
    </Wide>
  );
}

function Row({ row, now }: { row: Workload; now: number }): ReactNode {
  const done = progress(row, now);
  const { spent, overBudget } = costs(row);
  const sites = row.sites.filter((site) => site.state !== "closed");
  return (
    <tr className="relative border-b border-line last:border-0 hover:bg-hover">
      <th scope="row" className={`${CELL} max-w-72 text-left font-normal max-sm:w-full max-sm:max-w-0`}>
        <Link
          to="/workloads/$id"
          params={{ id: String(row.id) }}
          className="block truncate font-medium text-ink no-underline after:absolute after:inset-0 hover:underline"
        >
          {row.name}
        </Link>
        <span className="block truncate text-xs text-soft">
          {row.id} · {row.script}
        </span>
        <span className="block truncate text-xs text-soft sm:hidden">
          {percent(done.share)} · {usd(spent)} of {usd(row.budget_usd)}
        </span>
      </th>
      <td className={CELL}>
        <Status state={row.state} title={row.why} />
      </td>
      <td className={`${CELL} max-lg:hidden`}>
        <Sites row={row} open={sites.map((site) => site.site)} />
      </td>
      <td className={`${CELL} w-44 max-sm:hidden`}>
        {done.share === null ? (
          <span className="text-soft">{NOTHING}</span>
        ) : (
          <div className="flex items-center gap-2 pt-1">
            <Bar label="Progress" value={done.share} text={percent(done.share)} />
            <span className="num w-11 shrink-0 text-xs">{percent(done.share)}</span>
          </div>
        )}
      </td>
      <td className={`${CELL} num whitespace-nowrap max-md:hidden`}>{decimal(row.loss, 3)}</td>
      <td className={`${CELL} num whitespace-nowrap max-sm:hidden`}>
        <span className={overBudget ? "font-medium text-bad" : ""}>{usd(spent)}</span>
        <span className="block text-xs text-soft">of {usd(row.budget_usd)}</span>
        {overBudget && <span className="block text-xs text-bad">over budget</span>}
      </td>
      <td className={`${CELL} whitespace-nowrap max-lg:hidden`}>
        <Moment at={row.started_at ?? row.created_at} />
      </td>
      <td className={`${CELL} whitespace-nowrap max-md:hidden`}>
        {row.ended_at ? (
          <Moment at={row.ended_at} />
        ) : done.finishAt ? (
          <>
            <Moment at={done.finishAt} />
            <span className="block text-xs text-soft">in {duration(done.leftS)}</span>
          </>
        ) : (
          <span className="text-soft" title="Known once it trains">
            not known yet
          </span>
        )}
      </td>
    </tr>
  );
}

function Sites({ row, open }: { row: Workload; open: readonly string[] }): ReactNode {
  if (isOver(row))
    return (
      <span className="text-soft">
        {row.sites.length > 0 ? `${plural(new Set(row.sites.map((site) => site.site)).size, "site")} used` : NOTHING}
      </span>
    );
  if (open.length === 0) return <span className="text-soft">{row.started_at ? "none now" : "none yet"}</span>;
  return (
    <span className="block max-w-56 truncate" title={open.join(", ")}>
      {open.length > 2 ? `${open[0]} and ${open.length - 1} more` : open.join(", ")}
    </span>
  );
}

function Pages({ first, next, state }: { first: boolean; next: string | null; state: ListSearch["state"] }): ReactNode {
  const navigate = useNavigate({ from: "/workloads" });
  if (first && next === null) return null;
  const kept = state ? { state } : {};
  return (
    <nav aria-label="Pages of workloads" className="mt-3 flex justify-end gap-2">
      <Button size="sm" disabled={first} onClick={() => void navigate({ search: kept })}>
        Newest
      </Button>
      <Button
        size="sm"
        icon="right"
        disabled={next === null}
        onClick={() => void navigate({ search: { ...kept, cursor: next ?? undefined } })}
      >
        Older
      </Button>
    </nav>
  );
}

function Nothing({ state, beyond }: { state?: string; beyond: boolean }): ReactNode {
  if (beyond)
    return (
      <Empty icon="runs" title="Nothing older">
        <Link to="/workloads">See the newest</Link>
      </Empty>
    );
  if (state) {
    return (
      <Empty
        icon="filter"
        title={`No workload is ${words(state).toLowerCase()}`}
        about="Others may be in another state."
      >
        <Link to="/workloads" className={`${buttonClass()} no-underline`}>
          Show all states
        </Link>
      </Empty>
    );
  }
  return (
    <Empty
      icon="runs"
      title="Nothing was run yet"
      about="Launch a script here, or try the example from a terminal: a small language model, trained at two sites for a few cents."
    >
      <Link to="/launch" className={`${buttonClass("primary")} no-underline`}>
        <Icon name="launch" /> Launch a workload
      </Link>
      <CopyText text="yard run examples/tiny_gpt.py --gpu CPU --sites 2 --budget 1" label="Copy the command" />
    </Empty>
  );
}
