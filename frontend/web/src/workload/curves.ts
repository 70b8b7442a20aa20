/** Curves of a run: rows of metrics and rounds as lines of a chart, with no more points than it has room for. */

import type { Line } from "@/design/Chart";
import { closedRounds, type Point } from "./live";
import type { Round } from "./types";

export type Axis = "time" | "samples";

export interface Drawn {
  xs: number[];
  lines: Line[];
}

/** A chart of 800 px has room for so many; more would be drawn over each other. */
const BINS = 400;
/** A mean of all sites needs rows of each in a bin, or it jumps from site to site. */
const MEAN_BINS = 200;
const ROWS_IN_A_BIN = 8;
const LINES_MAX = 4;

/** Which values are losses: what is trained on, and what is held out. */
export const isLoss = (name: string): boolean => name === "loss" || /^(val|eval)_/.test(name);

/** Names of numbers that were reported, the losses first. */
export function valueNames(points: readonly Point[]): string[] {
  const names = new Set<string>();
  for (const point of points) {
    for (const [name, value] of Object.entries(point.values)) if (typeof value === "number") names.add(name);
  }
  return [...names].sort((a, b) => Number(isLoss(b)) - Number(isLoss(a)) || a.localeCompare(b));
}

/** Where something stands on the axis: seconds since 1970, or samples merged by then. */
export type Place = (t: number) => number;

/** merged: of the whole run by now, with what an earlier run had done before it. */
export function placeOn(axis: Axis, rounds: readonly Round[], merged: number): Place {
  if (axis === "time") return (t) => t;
  const closed = closedRounds(rounds);
  const first = closed[0];
  if (!first) return () => merged;
  const here = closed.reduce((all, round) => all + round.samples, 0);
  let sofar = Math.max(0, merged - here);
  const ts = [seconds(first.opened_at)];
  const ys = [sofar];
  for (const round of closed) {
    sofar += round.samples;
    ts.push(seconds(round.closed_at as string));
    ys.push(sofar);
  }
  return (t) => along(ts, ys, t);
}

/** Between two known places in proportion; after the last as it went on before it. */
function along(ts: readonly number[], ys: readonly number[], t: number): number {
  if (t <= (ts[0] as number)) return ys[0] as number;
  let low = 0;
  let high = ts.length - 1;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((ts[middle] as number) <= t) low = middle;
    else high = middle;
  }
  const [from, to] = [ts[low] as number, ts[high] as number];
  if (to <= from) return ys[high] as number;
  return (ys[low] as number) + ((t - from) / (to - from)) * ((ys[high] as number) - (ys[low] as number));
}

interface Sample {
  x: number;
  y: number;
}

/** Lines of these values: of all sites together with the band between lowest and highest, or of each site. */
export function valueLines(points: readonly Point[], names: readonly string[], bySite: boolean, place: Place): Drawn {
  const found = new Map<string, Sample[]>();
  for (const point of points) {
    for (const name of names) {
      const y = point.values[name];
      if (typeof y !== "number") continue;
      const label = bySite ? (names.length > 1 ? `${point.site} ${name}` : point.site) : name;
      const samples = found.get(label);
      if (samples) samples.push({ x: place(point.t), y });
      else found.set(label, [{ x: place(point.t), y }]);
    }
  }
  if (bySite) return drawn([...found].slice(-LINES_MAX));
  const inOrder = names
    .flatMap((name) => (found.has(name) ? [[name, found.get(name) as Sample[]] as const] : []))
    .slice(0, LINES_MAX);
  const rows = Math.max(0, ...inOrder.map(([, samples]) => samples.length));
  return drawn(inOrder, Math.min(MEAN_BINS, Math.max(16, rows / ROWS_IN_A_BIN)), true);
}

/** Samples a second: of all sites, and of each where there are several; a site that is out of a round does none in it. */
export function throughputLines(rounds: readonly Round[], place: Place): Drawn {
  const all: Sample[] = [];
  const sites = new Map<string, Sample[]>();
  let before = "";
  for (const round of closedRounds(rounds)) {
    const closed = round.closed_at as string;
    const x = place(seconds(closed));
    const took = seconds(closed) - seconds(before || round.opened_at);
    before = closed;
    if (took <= 0) continue;
    all.push({ x, y: round.samples / took });
    const here = new Map<string, number>();
    for (const one of round.contributors) {
      const trained = one.train_s ?? took;
      if (one.status === "merged" && trained > 0) here.set(one.site, (here.get(one.site) ?? 0) + one.samples / trained);
    }
    for (const site of here.keys()) if (!sites.has(site)) sites.set(site, []);
    for (const [site, samples] of sites) samples.push({ x, y: here.get(site) ?? 0 });
  }
  const ended = [...sites].map(([site, samples]) => [site, untilLast(samples)] as const);
  const shown = ended.length > 1 ? ended.sort((a, b) => lastX(b[1]) - lastX(a[1])).slice(0, LINES_MAX - 1) : [];
  return drawn([["All sites", all], ...shown]);
}

/** How many sites the throughput's chart leaves out. */
export function sitesLeftOut(rounds: readonly Round[]): number {
  const sites = new Set(closedRounds(rounds).flatMap((round) => round.contributors.map((one) => one.site)));
  return Math.max(0, sites.size - (LINES_MAX - 1));
}

/** Bytes over the wire and the longest stall of each round. */
export function roundLines(
  rounds: readonly Round[],
  figure: (round: Round) => readonly (readonly [string, number | null])[],
): Drawn {
  const found = new Map<string, Sample[]>();
  for (const round of closedRounds(rounds)) {
    for (const [label, y] of figure(round)) {
      if (!found.has(label)) found.set(label, []);
      if (y !== null) found.get(label)?.push({ x: round.version, y });
    }
  }
  return drawn([...found]);
}

const lastX = (samples: readonly Sample[]): number => samples.at(-1)?.x ?? 0;

/** Without the rounds after its last one: a site that has left is no slow one. */
function untilLast(samples: readonly Sample[]): readonly Sample[] {
  return samples.slice(0, samples.findLastIndex((one) => one.y > 0) + 1);
}

/** All on one axis, in bins that keep their borders while the run goes on, so that what is drawn does not tremble. */
function drawn(named: readonly (readonly [string, readonly Sample[]])[], room = BINS, band = false): Drawn {
  const [low, high] = reach(named);
  const width = binWidth(high - low, room);
  const bins = new Map<number, Bin[]>();
  named.forEach(([, samples], line) => {
    for (const { x, y } of samples) {
      if (!Number.isFinite(x) || !Number.isFinite(y)) continue;
      const at = width > 0 ? Math.floor(x / width) : 0;
      let bin = bins.get(at);
      if (!bin) bins.set(at, (bin = []));
      add((bin[line] ??= emptyBin()), x, y);
    }
  });
  const order = [...bins.keys()].sort((a, b) => a - b);
  const rows = order.map((at) => bins.get(at) as Bin[]);
  return {
    xs: rows.map((row) =>
      mean(
        row.filter(Boolean),
        (bin) => bin.x,
        (bin) => bin.n,
      ),
    ),
    lines: named.map(([label], line) => ({
      label,
      values: rows.map((row) => (row[line] ? row[line].y / row[line].n : null)),
      ...(band
        ? { low: rows.map((row) => row[line]?.low ?? null), high: rows.map((row) => row[line]?.high ?? null) }
        : {}),
    })),
  };
}

interface Bin {
  n: number;
  x: number;
  y: number;
  low: number;
  high: number;
}

const emptyBin = (): Bin => ({ n: 0, x: 0, y: 0, low: Infinity, high: -Infinity });

function add(bin: Bin, x: number, y: number): void {
  bin.n += 1;
  bin.x += x;
  bin.y += y;
  bin.low = Math.min(bin.low, y);
  bin.high = Math.max(bin.high, y);
}

function mean(bins: readonly Bin[], of: (bin: Bin) => number, by: (bin: Bin) => number): number {
  return bins.reduce((all, bin) => all + of(bin), 0) / bins.reduce((all, bin) => all + by(bin), 0);
}

function reach(named: readonly (readonly [string, readonly Sample[]])[]): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (const [, samples] of named) {
    for (const { x } of samples) {
      if (x < low) low = x;
      if (x > high) high = x;
    }
  }
  return [low, high];
}

/** The least power of two that needs no more bins than there is room for: it changes when the run has doubled. */
function binWidth(span: number, room: number): number {
  return span > 0 && Number.isFinite(span) ? 2 ** Math.ceil(Math.log2(span / room)) : 0;
}

const seconds = (at: string): number => Date.parse(at) / 1000;

/** The same from end to end for both, so that what stands above each other happened together. */
export function aligned(...all: Drawn[]): Drawn[] {
  const ends = all.flatMap(({ xs }) => (xs.length > 0 ? [xs[0] as number, xs.at(-1) as number] : []));
  const [low, high] = [Math.min(...ends), Math.max(...ends)];
  return all.map((given) => {
    if (given.xs.length === 0) return given;
    const before = low < (given.xs[0] as number);
    const after = high > (given.xs.at(-1) as number);
    const longer = (values: readonly (number | null)[]) => [
      ...(before ? [null] : []),
      ...values,
      ...(after ? [null] : []),
    ];
    return {
      xs: [...(before ? [low] : []), ...given.xs, ...(after ? [high] : [])],
      lines: given.lines.map((line) => ({
        ...line,
        values: longer(line.values),
        ...(line.low && line.high ? { low: longer(line.low), high: longer(line.high) } : {}),
      })),
    };
  });
}

/** A loss of zero has no place on a logarithmic axis. */
export function onlyPositive(given: Drawn): Drawn {
  const positive = (values: readonly (number | null)[] | undefined) =>
    values?.map((one) => (one !== null && one > 0 ? one : null));
  return {
    xs: given.xs,
    lines: given.lines.map((line) => ({
      ...line,
      values: positive(line.values) ?? [],
      low: positive(line.low),
      high: positive(line.high),
    })),
  };
}
