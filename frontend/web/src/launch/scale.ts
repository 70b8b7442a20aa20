/** One scale for several ranges, so that they can be compared at a glance; and what is promised until when. */

import type { Quote } from "./shapes";

export interface Scale {
  low: number;
  high: number;
  /** 0 to 1 along the scale. */
  at: (value: number) => number;
}

const ROOM = 0.06;

/** Over all values, with some room at both ends; where all are one value, in the middle. */
export function scaleOf(values: readonly number[]): Scale {
  const known = values.filter(Number.isFinite);
  const least = known.length ? Math.min(...known) : 0;
  const most = known.length ? Math.max(...known) : 1;
  const room = most > least ? (most - least) * ROOM : Math.abs(most) * 0.5 || 1;
  const low = least >= 0 ? Math.max(0, least - room) : least - room;
  const high = most + room;
  return { low, high, at: (value) => Math.min(1, Math.max(0, (value - low) / (high - low))) };
}

/** What a quote is about: the machines, whatever they cost now. */
export function sameMachines(quote: Quote): string {
  return quote.sites
    .map((one) => `${one.offer}x${one.nodes}`)
    .sort()
    .join("+");
}

/** Of new quotes the one that stands for an old one: the same machines, else what is best at the same, else the first. */
export function successor(old: Quote, fresh: readonly Quote[]): Quote | null {
  const machines = sameMachines(old);
  const [best] = old.labels;
  const alike = (one: Quote) => best !== undefined && one.labels.includes(best);
  return fresh.find((one) => sameMachines(one) === machines) ?? fresh.find(alike) ?? fresh[0] ?? null;
}

/** When the first of them is no longer promised, in milliseconds since 1970. */
export function expiry(quotes: readonly Quote[]): number {
  return Math.min(...quotes.map((one) => Date.parse(one.expires_at)));
}

/** What is set aside for a run that names no budget: as broker/api/runs.py has it. */
export function holdOf(quote: Quote, budget: string | undefined): number | null {
  if (budget !== undefined) return Number(budget);
  return quote.cost_usd === null ? null : Math.max(2 * Number(quote.cost_usd), 0.01);
}

/** Round values along an axis, about so many of them. */
export function ticks(low: number, high: number, about: number): number[] {
  const rough = (high - low) / Math.max(1, about);
  if (!(rough > 0) || !Number.isFinite(rough)) return [];
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * ([1, 2, 5, 10].find((one) => one * power >= rough) ?? 10);
  const found: number[] = [];
  for (let at = Math.ceil(low / step); at * step <= high; at++) found.push(Number((at * step).toPrecision(12)));
  return found;
}

/** The cheapest for each deadline, dearer points that come later left out: a stair that only goes down. */
export function stairs(curve: readonly (readonly [number, string | number])[]): { hours: number; usd: number }[] {
  const found: { hours: number; usd: number }[] = [];
  for (const [hours, usd] of [...curve].sort((a, b) => a[0] - b[0])) {
    const last = found[found.length - 1];
    if (last === undefined || Number(usd) < last.usd) found.push({ hours, usd: Number(usd) });
  }
  return found;
}

/** Sites of all quotes, each once, numbered in the order in which they are met. */
export function numbered(quotes: readonly Quote[]): Map<string, number> {
  const found = new Map<string, number>();
  for (const site of quotes.flatMap((one) => one.sites))
    if (!found.has(site.site)) found.set(site.site, found.size + 1);
  return found;
}
