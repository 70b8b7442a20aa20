/** What is true of a machine, in words: how it fares, since when, and what to do about it. */

import { ago, decimal, duration, plural } from "@/design/format";
import type { ChipPrice, Earned, Host } from "./api";

/** 2 x RTX 4090, 24 GiB; null until the agent came. */
export function chips({ hardware }: Pick<Host, "hardware">): string | null {
  const found = hardware.accelerators ?? [];
  const first = found[0];
  if (!first) return null;
  const memory = first.memory_gib ? `, ${decimal(first.memory_gib, 0)} GiB${found.length > 1 ? " each" : ""}` : "";
  return `${found.length} × ${first.kind}${memory}`;
}

export function rest({ hardware }: Pick<Host, "hardware">): string {
  const { vcpus, ram_gib, disk_free_gib } = hardware;
  return [
    vcpus ? plural(vcpus, "CPU") : "",
    ram_gib ? `${decimal(ram_gib, 0)} GiB of memory` : "",
    disk_free_gib ? `${decimal(disk_free_gib, 0)} GiB of disk free` : "",
  ]
    .filter(Boolean)
    .join(", ");
}

/** How long until then: 4 min 10 s; "now" once it is there. */
export function left(at: string | number, now: number): string {
  const seconds = Math.ceil(((typeof at === "number" ? at : Date.parse(at)) - now) / 1000);
  return seconds <= 0 ? "now" : duration(seconds);
}

/** What the state means for who lends the machine, and what to do where something is to be done. */
export function meaning(host: Host, now: number): string {
  switch (host.state) {
    case "new":
      return "Its agent did not come yet: paste the command on the machine within the hour, or ask for a new one.";
    case "offered":
      return "Free: anybody can rent it.";
    case "rented": {
      const lease = host.lease === null ? "" : `, on lease ${host.lease}`;
      return host.rented_at
        ? `For ${duration(Math.max(0, now - Date.parse(host.rented_at)) / 1000)}${lease}: it earns.`
        : `It earns${lease}.`;
    }
    case "reclaiming":
      return `Yours again in ${left(host.reclaim_at ?? now, now)}.${host.lease === null ? "" : " What runs on it hands in its work and moves on."}`;
    case "reclaimed":
      return "Yours: nobody can rent it until you offer it again.";
    case "silent":
      return `Last heard ${ago(host.seen_at, now)}: nobody can rent it. See that it is on, connected, and its agent runs.`;
    case "barred":
      return `Not offered: it ${host.why}.`;
    default:
      return host.why;
  }
}

/** The hosts' days laid over each other; hosts may be younger than others. */
export function summed(all: readonly (readonly Earned[])[]): Earned[] {
  const days = new Map<string, { usd: number; seconds: number }>();
  for (const { day, usd, seconds } of all.flat()) {
    const sum = days.get(day) ?? { usd: 0, seconds: 0 };
    days.set(day, { usd: sum.usd + Number(usd), seconds: sum.seconds + seconds });
  }
  const sorted = [...days].sort(([one], [other]) => (one < other ? -1 : 1));
  return sorted.map(([day, { usd, seconds }]) => ({ day, usd: usd.toFixed(6), seconds }));
}

export const totalUsd = (days: readonly Earned[]): number => days.reduce((sum, { usd }) => sum + Number(usd), 0);

/** Of each kind of chip its spot price, or, where nobody sells it spot, another: what is lent here is sold as spot. */
export function pricesByChip(rows: readonly ChipPrice[]): Map<string, ChipPrice> {
  const found = new Map<string, ChipPrice>();
  for (const row of rows) if (row.gpu && (row.market === "spot" || !found.has(row.gpu))) found.set(row.gpu, row);
  return new Map([...found].sort(([one], [other]) => one.localeCompare(other)));
}
