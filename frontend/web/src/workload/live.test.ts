import { describe, expect, it } from "vitest";
import { CAPS, EMPTY, merge, take, thin, type Live, type News } from "./live";
import type { LogLine, Metric, Round, Workload } from "./types";

const log = (id: number, text = `line ${id}`): LogLine => ({
  id,
  at: "2026-11-26T12:00:00Z",
  site: "home/berlin",
  host: "a",
  stream: "stdout",
  text,
});
const metric = (id: number, placement = 1): Metric => ({
  id,
  at: "2026-11-26T12:00:00Z",
  site: "s",
  placement,
  step: id,
  version: 0,
  values: { loss: 1 / id },
});
const round = (version: number, closed_at: string | null = null): Round => ({
  version,
  opened_at: "2026-11-26T12:00:00Z",
  called_at: null,
  closed_at,
  merge_s: null,
  contributors: [],
  samples: 0,
  update_sha256: "",
  update_bytes: 0,
  codec: "int8",
  fingerprint: "",
});
const logs = (...ids: number[]): News[] => ids.map((id) => ({ kind: "log", data: log(id) }));
const idsOf = (live: Live) => live.logs.map((line) => line.id);
const HISTORY: News = { kind: "history", data: { metrics_one_in: 1, logs_at_most: 500, rounds_at_most: 200 } };

describe("what was before", () => {
  it("has come when the stream says so, and is on its way again when it begins anew", () => {
    const some = take(EMPTY, [HISTORY, ...logs(1)]);
    const all = take(some, [...logs(2), { kind: "caught_up", data: {} }, ...logs(3)]);
    const anew = take(all, [HISTORY]);
    expect([some, all, anew].map((live) => live.hasCaughtUp)).toEqual([false, true, false]);
    expect(idsOf(all)).toEqual([1, 2, 3]);
  });
});

describe("rows", () => {
  it("told twice after a cut are there once, in order", () => {
    const before = take(EMPTY, [HISTORY, ...logs(1, 2, 3)]);
    const after = take(before, logs(2, 3, 4, 5));
    expect(idsOf(after)).toEqual([1, 2, 3, 4, 5]);
  });

  it("that were committed late come to their place", () => {
    const now = take(take(EMPTY, logs(1, 2, 5)), logs(4, 6, 3));
    expect(idsOf(now)).toEqual([1, 2, 3, 4, 5, 6]);
  });

  it("come to the same whatever the batches are", () => {
    const all = logs(3, 1, 2, 2, 7, 5, 6, 3);
    const atOnce = take(EMPTY, all);
    const oneByOne = all.reduce((live, one) => take(live, [one]), EMPTY);
    expect(oneByOne).toEqual(atOnce);
  });

  it("of another kind are left as they are", () => {
    const before = take(EMPTY, [...logs(1), { kind: "metric", data: metric(1) }, { kind: "round", data: round(0) }]);
    const after = take(before, logs(2));
    expect([after.metrics === before.metrics, after.rounds === before.rounds, after.events === before.events]).toEqual([
      true,
      true,
      true,
    ]);
  });

  it("begin anew with the history, and the workload stays", () => {
    const workload = { id: 7 } as Workload;
    const before = take(EMPTY, [{ kind: "workload", data: workload }, ...logs(1, 2)]);
    const after = take(before, [...logs(3), HISTORY, ...logs(900, 901)]);
    expect([idsOf(after), after.workload]).toEqual([[900, 901], workload]);
  });

  it("from before are put in front", () => {
    const now = take(take(EMPTY, [HISTORY, ...logs(500, 501)]), [{ kind: "earlier", data: [log(10), log(11)] }]);
    expect(idsOf(now)).toEqual([10, 11, 500, 501]);
  });
});

describe("memory", () => {
  it("keeps the newest log lines", () => {
    const many = Array.from({ length: CAPS.logs }, (_, index) => index + 1);
    const now = take(take(EMPTY, logs(...many)), logs(CAPS.logs + 1, CAPS.logs + 2));
    expect([now.logs.length, now.logs[0]?.id, now.logs.at(-1)?.id]).toEqual([CAPS.logs, 3, CAPS.logs + 2]);
  });

  it("thins old metrics by each site's own count, leaves the newest whole, and what is reported seldom", () => {
    const news = Array.from({ length: 8000 }, (_, index): News => ({
      kind: "metric",
      data: metric(index + 1, index % 2),
    }));
    const held = (index: number): News => ({
      kind: "metric",
      data: { ...metric(index + 1, 0), values: { val_loss: 1 } },
    });
    const seldom = news.map((one, index) => (index % 100 === 0 ? held(index) : one));
    const points = take(EMPTY, seldom).metrics;
    const now = thin(points);
    expect(now.slice(-4000)).toEqual(points.slice(-4000));
    expect([0, 1].map((site) => now.filter((one) => one.placement === site && "loss" in one.values).length)).toEqual([
      2940, 3000,
    ]);
    expect(now.filter((one) => "val_loss" in one.values).length).toBe(80);
  });

  it("holds with metrics without end", () => {
    let live = EMPTY;
    for (let id = 1; id <= 3 * CAPS.metrics; id += 5000) {
      live = take(
        live,
        Array.from({ length: 5000 }, (_, index): News => ({ kind: "metric", data: metric(id + index) })),
      );
    }
    expect(live.metrics.length).toBeLessThanOrEqual(CAPS.metrics);
    expect([live.metrics[0]?.id, live.metrics.at(-1)?.id]).toEqual([1, 3 * CAPS.metrics]);
  });
});

describe("rounds", () => {
  it("are as they were told last", () => {
    const now = take(take(EMPTY, [{ kind: "round", data: round(0) }]), [
      { kind: "round", data: round(0, "2026-11-26T12:01:00Z") },
      { kind: "round", data: round(1) },
    ]);
    expect(now.rounds.map((one) => [one.version, one.closed_at])).toEqual([
      [0, "2026-11-26T12:01:00Z"],
      [1, null],
    ]);
  });

  it("that are closed stay so when an older answer comes after", () => {
    const live = take(EMPTY, [{ kind: "round", data: round(1, "2026-11-26T12:01:00Z") }]);
    const now = take(live, [{ kind: "rounds", data: [round(0, "2026-11-26T12:00:30Z"), round(1)] }]);
    expect(now.rounds.map((one) => one.closed_at !== null)).toEqual([true, true]);
  });
});

it("merges nothing into the very same rows", () => {
  const rows = [{ id: 1 }];
  expect(merge(rows, [])).toBe(rows);
});
