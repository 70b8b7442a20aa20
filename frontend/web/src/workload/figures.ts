/** What the rounds and the machines say in numbers: of each site, of the progress, of the money. */

import { closedRounds } from "./live";
import { isDead, type Node, type Round, type Site, type Workload } from "./types";

/** Over so many rounds a site's figures are taken: one alone jumps. */
export const ROUNDS_BACK = 5;

export interface SiteFigures {
  samplesPerS: number | null;
  /** Of the last rounds' means; 0 where it was in none of them. */
  share: number | null;
  loss: number | null;
  /** Of its time, without a step. */
  stall: number | null;
  utilisation: number | null;
}

export function siteFigures(site: Site, rounds: readonly Round[]): SiteFigures {
  const last = closedRounds(rounds).slice(-ROUNDS_BACK);
  const given = last.flatMap((round) =>
    round.contributors.filter((one) => one.placement === site.placement && one.status === "merged"),
  );
  const timed = given.filter((one) => one.train_s !== null && one.train_s > 0);
  const seconds = sum(timed.map((one) => one.train_s ?? 0));
  return {
    samplesPerS: seconds > 0 ? sum(timed.map((one) => one.samples)) / seconds : null,
    share: last.length > 0 ? sum(given.map((one) => one.share ?? 0)) / last.length : null,
    loss: given.findLast((one) => one.loss !== null)?.loss ?? null,
    stall: seconds > 0 ? sum(timed.map((one) => one.stall_s ?? 0)) / seconds : null,
    utilisation: utilisation(site.nodes),
  };
}

/** Of the accelerators that are held, 0 to 1; of the processors where there are none. */
export function utilisation(nodes: readonly Node[]): number | null {
  const busy = nodes
    .filter((node) => !isDead(node) && node.usage)
    .flatMap(({ usage }) => {
      const chips = usage?.accelerators.map((chip) => chip.utilisation_percent) ?? [];
      return (chips.length > 0 ? chips : [usage?.cpu_percent ?? null]).filter((one): one is number => one !== null);
    });
  return busy.length > 0 ? Math.min(1, sum(busy) / busy.length / 100) : null;
}

export interface Progress {
  /** 0 to 1; null while it is not known how much there is to do. */
  share: number | null;
  merged: number;
  total: number;
  /** Seconds from now; null when nobody can tell. */
  leftS: number | null;
  finishAt: string | null;
}

export function progress(workload: Workload, now: number): Progress {
  const { merged, total } = workload.samples;
  const finishAt = workload.forecast.finish_at;
  return {
    share: total > 0 ? Math.min(1, merged / total) : null,
    merged,
    total,
    finishAt,
    leftS: finishAt ? Math.max(0, (Date.parse(finishAt) - now) / 1000) : null,
  };
}

export interface Costs {
  spent: number;
  budget: number;
  /** At the end; null when nobody can tell. */
  forecast: number | null;
  perHour: number;
  overBudget: boolean;
  /** The bar's parts, 0 to 1 of its width. */
  bar: { spent: number; forecast: number; budget: number };
}

export function costs(workload: Workload): Costs {
  const spent = Number(workload.spent_usd);
  const budget = Number(workload.budget_usd);
  const { cost_usd, over_budget } = workload.forecast;
  const forecast = cost_usd === null ? null : Number(cost_usd);
  const most = Math.max(spent, budget, forecast ?? 0) || 1;
  return {
    spent,
    budget,
    forecast,
    perHour: perHour(workload),
    overBudget: over_budget,
    bar: { spent: spent / most, forecast: Math.max(spent, forecast ?? 0) / most, budget: budget / most },
  };
}

/** What the machines cost that are paid for now. */
export function perHour(workload: Pick<Workload, "sites">): number {
  const open = workload.sites
    .flatMap((site) => site.nodes)
    .filter((node) => node.opened_at !== null && node.closed_at === null);
  return sum(open.map((node) => Number(node.usd_per_hour)));
}

export interface RoundFigures {
  seconds: number | null;
  bytesIn: number;
  bytesOut: number;
  /** Longest of its sites. */
  stallS: number | null;
  loss: number | null;
  sites: number;
}

/** bytesIn: what sites handed in; bytesOut: the update, as often as there were sites to fetch it. */
export function roundFigures(round: Round): RoundFigures {
  const merged = round.contributors.filter((one) => one.status === "merged");
  const stalls = merged.map((one) => one.stall_s).filter((one): one is number => one !== null);
  const lossy = merged.filter((one) => one.loss !== null);
  const weight = sum(lossy.map((one) => one.samples));
  return {
    seconds: round.closed_at ? (Date.parse(round.closed_at) - Date.parse(round.opened_at)) / 1000 : null,
    bytesIn: sum(round.contributors.map((one) => one.size_bytes)),
    bytesOut: round.update_bytes * merged.length,
    stallS: stalls.length > 0 ? Math.max(...stalls) : null,
    loss: weight > 0 ? sum(lossy.map((one) => one.samples * (one.loss ?? 0))) / weight : null,
    sites: merged.length,
  };
}

export const sum = (values: readonly number[]): number => values.reduce((all, one) => all + one, 0);

/** Samples a second of all sites over so many last rounds; null before the first has closed. */
export function speed(rounds: readonly Round[], back: number): number | null {
  const last = closedRounds(rounds).slice(-back);
  const [first, newest] = [last[0], last.at(-1)];
  if (!first || !newest) return null;
  const took = (Date.parse(newest.closed_at as string) - Date.parse(first.opened_at)) / 1000;
  return took > 0 ? sum(last.map((round) => round.samples)) / took : null;
}
