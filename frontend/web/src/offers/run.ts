/** The run that offers are compared for: what was typed last, on this machine. */

import type { Offer } from "./live";

export interface Run {
  samples: number;
  /** Samples a second on one GPU; 0: not known. */
  speed: number;
}

export function readRun(): Run {
  try {
    const kept = JSON.parse(localStorage.getItem("run") ?? "{}") as Partial<Run>;
    return { samples: Number(kept.samples) || 0, speed: Number(kept.speed) || 0 };
  } catch {
    return { samples: 0, speed: 0 };
  }
}

export function keepRun(run: Run): void {
  try {
    localStorage.setItem("run", JSON.stringify(run));
  } catch {
    // Storage is closed to us: it is typed again.
  }
}

/** Time and money by the price list alone: no start, no loss, no storage. */
export function estimated(
  offer: Pick<Offer, "accelerators" | "usd_per_hour">,
  run: Run,
): { finish_s: number | null; cost_usd: number | null } {
  if (run.samples === 0 || run.speed === 0) return { finish_s: null, cost_usd: null };
  const finish_s = run.samples / (run.speed * offer.accelerators);
  return { finish_s, cost_usd: (finish_s / 3600) * Number(offer.usd_per_hour) };
}
