/**
 * A workload as it lives: what is on its page, made of what its stream tells. Pure; told twice is told once.
 *
 * Rows bear ids and never change. They may come out of the order of their ids (who commits late comes late), and again
 * after a cut; only the workload and its rounds are told anew as a whole.
 */

import type { LogLine, Metric, Move, Round, Thinned, Workload } from "./types";

export type News =
  | { kind: "workload"; data: Workload }
  | { kind: "history"; data: Thinned }
  | { kind: "caught_up"; data: unknown }
  | { kind: "event"; data: Move }
  | { kind: "metric"; data: Metric }
  | { kind: "log"; data: LogLine }
  | { kind: "round"; data: Round }
  /** All rounds, fetched because the stream begins with the newest. */
  | { kind: "rounds"; data: readonly Round[] }
  /** Log lines from before those that the stream began with. */
  | { kind: "earlier"; data: readonly LogLine[] };

export const KINDS = ["workload", "history", "event", "metric", "log", "round", "caught_up"] as const;

/** A metric row as the charts need it: the time is a number. */
export interface Point {
  id: number;
  t: number;
  site: string;
  placement: number;
  step: number;
  version: number;
  values: Metric["values"];
}

export interface Live {
  workload: Workload | null;
  /** Oldest first, each. */
  events: readonly Move[];
  metrics: readonly Point[];
  logs: readonly LogLine[];
  rounds: readonly Round[];
  /** Null until what was before has begun to come. */
  thinned: Thinned | null;
  /** Whether what was before has come: what is not here by then is not there yet. */
  hasCaughtUp: boolean;
}

export const EMPTY: Live = {
  workload: null,
  events: [],
  metrics: [],
  logs: [],
  rounds: [],
  thinned: null,
  hasCaughtUp: false,
};

/** What is kept at most: a page may be open for days. */
export const CAPS = { logs: 20_000, metrics: 20_000, events: 10_000, rounds: 20_000 } as const;

/** The page after the news. What they do not touch stays the same object. */
export function take(live: Live, news: readonly News[]): Live {
  let now = live;
  let batch = emptyBatch();
  for (const one of news) {
    if (one.kind === "history") {
      // It begins anew: what is here may have a gap before what comes.
      now = { ...EMPTY, workload: now.workload, thinned: one.data };
      batch = { ...emptyBatch(), workload: batch.workload };
    } else if (one.kind === "caught_up") now = { ...now, hasCaughtUp: true };
    else if (one.kind === "workload") batch.workload = one.data;
    else if (one.kind === "event") batch.events.push(one.data);
    else if (one.kind === "metric") batch.metrics.push(pointOf(one.data));
    else if (one.kind === "log") batch.logs.push(one.data);
    else if (one.kind === "round") batch.rounds.push(one.data);
    else if (one.kind === "rounds") batch.rounds = [...one.data, ...batch.rounds];
    else batch.logs = batch.logs.concat(one.data);
  }
  return settle(now, batch);
}

interface Batch {
  workload: Workload | null;
  events: Move[];
  metrics: Point[];
  logs: LogLine[];
  rounds: Round[];
}

const emptyBatch = (): Batch => ({ workload: null, events: [], metrics: [], logs: [], rounds: [] });

function settle(live: Live, batch: Batch): Live {
  const metrics = merge(live.metrics, batch.metrics);
  return {
    workload: batch.workload ?? live.workload,
    events: newest(merge(live.events, batch.events), CAPS.events),
    metrics: metrics.length > CAPS.metrics ? thin(metrics) : metrics,
    logs: newest(merge(live.logs, batch.logs), CAPS.logs),
    rounds: withRounds(live.rounds, batch.rounds),
    thinned: live.thinned,
    hasCaughtUp: live.hasCaughtUp,
  };
}

const newest = <Row>(rows: readonly Row[], most: number): readonly Row[] =>
  rows.length > most ? rows.slice(-most) : rows;

function pointOf({ at, ...row }: Metric): Point {
  return { ...row, t: Date.parse(at) / 1000 };
}

/** Rows in the order of their ids, each once. */
export function merge<Row extends { id: number }>(rows: readonly Row[], fresh: readonly Row[]): readonly Row[] {
  if (fresh.length === 0) return rows;
  const sorted = [...fresh].sort((a, b) => a.id - b.id);
  const last = rows.at(-1);
  const first = sorted[0] as Row;
  const all =
    last === undefined || first.id > last.id ? rows.concat(sorted) : [...rows, ...sorted].sort((a, b) => a.id - b.id);
  return all.filter((row, index) => index === 0 || row.id !== (all[index - 1] as Row).id);
}

/** So few rows of one sort are not thinned: what is held out is reported seldom. */
const FEW = 500;

/** Of the older half each second row of each site and sort: the newest stay whole, the oldest are thinned again and again. */
export function thin(points: readonly Point[]): readonly Point[] {
  const half = Math.floor(points.length / 2);
  const sorts = points
    .slice(0, half)
    .map((point) => `${point.placement} ${Object.keys(point.values).sort().join(" ")}`);
  const many = new Map<string, number>();
  for (const sort of sorts) many.set(sort, (many.get(sort) ?? 0) + 1);
  const seen = new Map<string, number>();
  return points.filter((_, index) => {
    const sort = sorts[index];
    if (sort === undefined || (many.get(sort) ?? 0) <= FEW) return true;
    const nth = seen.get(sort) ?? 0;
    seen.set(sort, nth + 1);
    return nth % 2 === 0;
  });
}

/** Rounds by version, each as it was told last; one that is closed is not opened again by an older answer. */
function withRounds(rounds: readonly Round[], fresh: readonly Round[]): readonly Round[] {
  if (fresh.length === 0) return rounds;
  const found = new Map(rounds.map((round) => [round.version, round]));
  for (const round of fresh) {
    if (round.closed_at !== null || !found.get(round.version)?.closed_at) found.set(round.version, round);
  }
  return newest(
    [...found.values()].sort((a, b) => a.version - b.version),
    CAPS.rounds,
  );
}

export const closedRounds = (rounds: readonly Round[]): readonly Round[] =>
  rounds.filter((round) => round.closed_at !== null);
