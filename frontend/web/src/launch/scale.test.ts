import { describe, expect, it } from "vitest";
import { holdOf, numbered, scaleOf, stairs, successor, ticks } from "./scale";
import type { Quote, QuoteSite } from "./shapes";

const site = (offer: number, name = "aws/us-east-1", nodes = 1) => ({ offer, nodes, site: name }) as QuoteSite;
const quote = (rank: number, sites: QuoteSite[], labels: string[] = []) => ({ rank, sites, labels }) as Quote;

describe("a scale", () => {
  it("holds all values, with room at its ends", () => {
    const scale = scaleOf([10, 20, 30]);
    expect(scale.at(20)).toBeCloseTo(0.5);
    expect(scale.at(10)).toBeGreaterThan(0);
    expect(scale.at(30)).toBeLessThan(1);
  });

  it("does not go below nothing", () => expect(scaleOf([0.1, 100]).low).toBe(0));
  it("puts a single value in the middle", () => expect(scaleOf([4, 4]).at(4)).toBeCloseTo(0.5));
  it("stands for no values too", () => expect(scaleOf([]).at(0.5)).toBeGreaterThanOrEqual(0));
  it("has round ticks", () => expect(ticks(0.7, 3.2, 5)).toEqual([1, 1.5, 2, 2.5, 3]));
  it("has none where there is no length", () => expect(ticks(1, 1, 5)).toEqual([]));
});

describe("the curve", () => {
  it("only goes down", () =>
    expect(
      stairs([
        [4, "3.0"],
        [2, "5.0"],
        [3, "5.5"],
        [8, "2.5"],
      ]),
    ).toEqual([
      { hours: 2, usd: 5 },
      { hours: 4, usd: 3 },
      { hours: 8, usd: 2.5 },
    ]));
});

describe("a quote asked anew", () => {
  it("is the one with the same machines", () => {
    const old = quote(1, [site(1), site(2)], ["cheapest"]);
    const same = quote(2, [site(2), site(1)], ["safest"]);
    expect(successor(old, [quote(1, [site(3)], ["cheapest"]), same])).toBe(same);
  });

  it("is else the one that is best at the same, else the first", () => {
    const old = quote(2, [site(1)], ["greenest"]);
    const green = quote(3, [site(3)], ["greenest"]);
    expect(successor(old, [quote(1, [site(4)]), green])).toBe(green);
    expect(successor(old, [quote(1, [site(4)])])?.rank).toBe(1);
    expect(successor(old, [])).toBeNull();
  });
});

it("numbers each site once", () => {
  expect([...numbered([quote(1, [site(1, "a"), site(2, "b")]), quote(2, [site(3, "b"), site(4, "c")])])]).toEqual([
    ["a", 1],
    ["b", 2],
    ["c", 3],
  ]);
});

it("sets aside what the broker sets aside", () => {
  expect(holdOf({ cost_usd: "4.02" } as Quote, undefined)).toBe(8.04);
  expect(holdOf({ cost_usd: "0" } as Quote, undefined)).toBe(0.01);
  expect(holdOf({ cost_usd: null } as Quote, undefined)).toBeNull();
  expect(holdOf({ cost_usd: "4.02" } as Quote, "6")).toBe(6);
});
