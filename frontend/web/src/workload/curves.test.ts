import { describe, expect, it } from "vitest";
import { aligned, onlyPositive, placeOn, throughputLines, valueLines, valueNames } from "./curves";
import type { Point } from "./live";
import type { Contributor, Round } from "./types";

const point = (t: number, placement: number, values: Point["values"]): Point => ({
  id: t * 10 + placement,
  t,
  placement,
  site: `site ${placement}`,
  step: t,
  version: 0,
  values,
});
const iso = (t: number) => new Date(t * 1000).toISOString();
const given = (site: string, samples: number, train_s: number): Contributor => ({
  site,
  placement: 1,
  samples,
  steps: 1,
  loss: null,
  status: "merged",
  why: "",
  received_at: iso(0),
  share: null,
  norm: null,
  cosine: null,
  base: 0,
  size_bytes: 0,
  train_s,
  stall_s: null,
  put_s: null,
  fetch_s: null,
});
const round = (version: number, opened: number, closed: number | null, contributors: Contributor[] = []): Round => ({
  version,
  opened_at: iso(opened),
  called_at: null,
  closed_at: closed === null ? null : iso(closed),
  merge_s: null,
  contributors,
  samples: contributors.reduce((all, one) => all + one.samples, 0),
  update_sha256: "",
  update_bytes: 0,
  codec: "int8",
  fingerprint: "",
});
const asIs = (t: number) => t;

describe("values", () => {
  it("of many rows are no more points than there is room for, and keep their extremes", () => {
    const points = Array.from({ length: 10_000 }, (_, t) => point(t, t % 2, { loss: t === 5000 ? 99 : 1 }));
    const { xs, lines } = valueLines(points, ["loss"], false, asIs);
    expect(xs.length).toBeLessThanOrEqual(201);
    expect(Math.max(...(lines[0]?.high ?? []).map((one) => one ?? 0))).toBe(99);
    expect(xs).toEqual([...xs].sort((a, b) => a - b));
  });

  it("stay where they are drawn while the run goes on", () => {
    const points = Array.from({ length: 3000 }, (_, t) => point(t, 1, { loss: t }));
    const before = valueLines(points.slice(0, 2600), ["loss"], true, asIs);
    const after = valueLines(points, ["loss"], true, asIs);
    expect(after.xs.slice(0, 300)).toEqual(before.xs.slice(0, 300));
  });

  it("of each site are a line each", () => {
    const { lines } = valueLines(
      [point(1, 1, { loss: 3 }), point(1.5, 2, { loss: 5 }), point(200, 1, { loss: 2 })],
      ["loss"],
      true,
      asIs,
    );
    expect(lines.map((line) => [line.label, line.values])).toEqual([
      ["site 1", [3, null, 2]],
      ["site 2", [null, 5, null]],
    ]);
  });

  it("that are no numbers are left out", () => {
    const points = [point(1, 1, { loss: "nan", lr: 0.1 }), point(2, 1, { val_loss: 2, loss: 1 })];
    expect([valueNames(points), valueLines(points, ["loss"], true, asIs).xs]).toEqual([
      ["loss", "val_loss", "lr"],
      [2],
    ]);
  });

  it("of one moment are one point", () => {
    const { xs, lines } = valueLines([point(1, 1, { loss: 2 }), point(1, 2, { loss: 4 })], ["loss"], false, asIs);
    expect([xs, lines[0]?.values, lines[0]?.low, lines[0]?.high]).toEqual([[1], [3], [2], [4]]);
  });

  it("below zero have no place on a logarithmic axis", () => {
    const { lines } = onlyPositive({ xs: [1, 2], lines: [{ label: "a", values: [0, 2], low: [-1, 1], high: [1, 3] }] });
    expect(lines[0]).toEqual({ label: "a", values: [null, 2], low: [null, 1], high: [1, 3] });
  });
});

it("two charts reach from the same begin to the same end", () => {
  const [a, b, c] = aligned(
    { xs: [1, 2], lines: [{ label: "a", values: [5, 6], low: [4, 5], high: [6, 7] }] },
    { xs: [2, 4], lines: [{ label: "b", values: [7, 8] }] },
    { xs: [], lines: [] },
  );
  expect([a?.xs, a?.lines[0]?.values, a?.lines[0]?.low, b?.xs, b?.lines[0]?.values, c?.xs]).toEqual([
    [1, 2, 4],
    [5, 6, null],
    [4, 5, null],
    [1, 2, 4],
    [null, 7, 8],
    [],
  ]);
});

describe("samples as the axis", () => {
  const rounds = [round(0, 0, 10, [given("a", 100, 10)]), round(1, 10, 20, [given("a", 300, 10)]), round(2, 20, null)];
  it("go with the rounds, between them in proportion and after them as before", () => {
    const place = placeOn("samples", rounds, 400);
    expect([0, 5, 10, 15, 20, 25].map(place)).toEqual([0, 50, 100, 250, 400, 550]);
  });
  it("begin where an earlier run ended", () => expect(placeOn("samples", rounds, 1400)(10)).toBe(1100));
  it("are what is known before any round", () => expect(placeOn("samples", [], 0)(99)).toBe(0));
});

describe("throughput", () => {
  it("is of all sites together and of each", () => {
    const rounds = [
      round(0, 0, 10, [given("a", 100, 10), given("b", 50, 5)]),
      round(1, 10, 20, [given("a", 100, 5)]),
      round(2, 20, 30, [given("a", 100, 10), given("b", 50, 10)]),
    ];
    const { lines } = throughputLines(rounds, asIs);
    expect(Object.fromEntries(lines.map((line) => [line.label, line.values]))).toEqual({
      "All sites": [15, 10, 15],
      a: [10, 20, 10],
      b: [10, 0, 5],
    });
  });

  it("of a site ends with its last round", () => {
    const rounds = [round(0, 0, 10, [given("a", 10, 10), given("b", 10, 10)]), round(1, 10, 20, [given("a", 10, 10)])];
    expect(throughputLines(rounds, asIs).lines.find((line) => line.label === "b")?.values).toEqual([1, null]);
  });

  it("of one site is one line", () => {
    expect(throughputLines([round(0, 0, 10, [given("a", 10, 10)])], asIs).lines.map((line) => line.label)).toEqual([
      "All sites",
    ]);
  });
});
