import { describe, expect, it } from "vitest";
import { costs, progress, roundFigures, siteFigures, utilisation } from "./figures";
import type { Contributor, Node, Round, Site, Workload } from "./types";

const given = (placement: number, more: Partial<Contributor> = {}): Contributor => ({
  site: "s",
  placement,
  samples: 100,
  steps: 10,
  loss: 2,
  status: "merged",
  why: "",
  received_at: "",
  share: 0.5,
  norm: 1,
  cosine: 1,
  base: 0,
  size_bytes: 1000,
  train_s: 10,
  stall_s: 1,
  put_s: 0.1,
  fetch_s: 0.1,
  ...more,
});
const round = (version: number, contributors: Contributor[], closed = true): Round => ({
  version,
  opened_at: "2026-11-26T12:00:00Z",
  called_at: null,
  closed_at: closed ? "2026-11-26T12:00:10Z" : null,
  merge_s: 0.1,
  contributors,
  samples: 200,
  update_sha256: "",
  update_bytes: 500,
  codec: "int8",
  fingerprint: "",
});
const node = (more: Partial<Node> = {}): Node => ({
  lease: 1,
  state: "held",
  host: "a",
  address: null,
  accelerator: "CPU",
  accelerators: 1,
  market: "spot",
  usd_per_hour: "1.5",
  opened_at: "2026-11-26T12:00:00Z",
  closed_at: null,
  phase: "running",
  usage: null,
  ...more,
});
const site: Site = {
  placement: 1,
  site: "s",
  provider: "p",
  region: "r",
  country: "",
  latitude: null,
  longitude: null,
  state: "training",
  why: "",
  nodes: [],
};
const usage = (chips: (number | null)[], cpu: number | null = 50) => ({
  cpu_percent: cpu,
  ram_used_gib: 1,
  accelerators: chips.map((one) => ({ utilisation_percent: one, memory_used_gib: null })),
});

describe("a site", () => {
  it("has its figures of the last rounds, and a share of nothing where it was out", () => {
    const closed = Array.from({ length: 6 }, (_, version) =>
      round(version, version === 5 ? [given(2)] : [given(1), given(2)]),
    );
    const rounds = [...closed, round(6, [given(1)], false)];
    expect(siteFigures(site, rounds)).toEqual({ samplesPerS: 10, share: 0.4, loss: 2, stall: 0.1, utilisation: null });
  });
  it("of whom nothing is known has none", () =>
    expect(siteFigures(site, [])).toEqual({
      samplesPerS: null,
      share: null,
      loss: null,
      stall: null,
      utilisation: null,
    }));
  it("is as busy as the accelerators that it holds", () =>
    expect(
      utilisation([node({ usage: usage([80, 40]) }), node({ state: "lost", usage: usage([0]) }), node()]),
    ).toBeCloseTo(0.6));
  it("without accelerators is as busy as its processors", () =>
    expect(utilisation([node({ usage: usage([]) })])).toBe(0.5));
});

describe("a round", () => {
  it("has the loss of its samples and the longest stall", () =>
    expect(
      roundFigures(
        round(0, [
          given(1, { loss: 1, samples: 300, stall_s: 3 }),
          given(2, { loss: 3 }),
          given(3, { status: "late", loss: 99 }),
        ]),
      ),
    ).toEqual({ seconds: 10, bytesIn: 3000, bytesOut: 1000, stallS: 3, loss: 1.5, sites: 2 }));
});

describe("a workload", () => {
  const workload = {
    spent_usd: "2",
    budget_usd: "10",
    samples: { total: 100, merged: 25, leased: 0, free: 75 },
    forecast: { finish_at: "2026-11-26T12:01:00Z", cost_usd: "4", over_budget: false },
    sites: [{ ...site, nodes: [node(), node({ closed_at: "2026-11-26T12:30:00Z" }), node({ opened_at: null })] }],
  } as unknown as Workload;
  it("costs what its open machines do", () =>
    expect(costs(workload)).toEqual({
      spent: 2,
      budget: 10,
      forecast: 4,
      perHour: 1.5,
      overBudget: false,
      bar: { spent: 0.2, forecast: 0.4, budget: 1 },
    }));
  it("that goes beyond its budget has a bar of what it will cost", () =>
    expect(costs({ ...workload, forecast: { finish_at: null, cost_usd: "20", over_budget: true } }).bar).toEqual({
      spent: 0.1,
      forecast: 1,
      budget: 0.5,
    }));
  it("of which nobody knows the end", () => {
    const unknown = {
      ...workload,
      forecast: { finish_at: null, cost_usd: null, over_budget: false },
      samples: { total: 0, merged: 0, leased: 0, free: 0 },
    };
    expect([costs(unknown).forecast, progress(unknown, 0).share, progress(unknown, 0).leftS]).toEqual([
      null,
      null,
      null,
    ]);
  });
  it("says for how long yet", () => expect(progress(workload, Date.parse("2026-11-26T12:00:00Z")).leftS).toBe(60));
});
