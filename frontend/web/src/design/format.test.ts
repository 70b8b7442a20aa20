import { describe, expect, it } from "vitest";
import amounts from "./amounts.json";
import { ago, bytes, decimal, duration, NOTHING, percent, plural, price, usd, words } from "./format";

describe("money", () => {
  // The same table holds the command line and the notebook: tests/client/test_money.py.
  it.each(amounts as [string, string][])("%s is %s", (value, shown) =>
    expect(usd(value)).toBe(shown.replace("-", "−")),
  );
  it("is not known", () => expect(usd(null)).toBe(NOTHING));

  it("lines up as prices", () =>
    expect([price("2.49"), price("0.0375"), price("98.321")]).toEqual(["$2.490", "$0.038", "$98.32"]));
});

describe("quantities", () => {
  it.each([
    [0, "0 B"],
    [1023, "1,023 B"],
    [1536, "1.5 KiB"],
    [80 * 2 ** 30, "80 GiB"],
  ])("%d bytes", (value, shown) => expect(bytes(value)).toBe(shown));
  it.each([
    [0.42, "0.4 s"],
    [59.6, "1 min"],
    [200, "3 min 20 s"],
    [3600, "1 h"],
    [18_720, "5 h 12 min"],
    [86_399, "1 d"],
    [273_600, "3 d 4 h"],
  ])("%d seconds", (value, shown) => expect(duration(value)).toBe(shown));
  it("has as many digits as matter", () =>
    expect([decimal(1.256), decimal(12.56), decimal(125.6), decimal(Number.NaN)]).toEqual([
      "1.26",
      "12.6",
      "126",
      NOTHING,
    ]));
  it("shares", () => expect([percent(0.256), percent(0.0042, 1), percent(null)]).toEqual(["26 %", "0.4 %", NOTHING]));
});

describe("words", () => {
  it("speaks of the past", () => {
    const now = Date.parse("2026-11-26T12:00:00Z");
    expect(
      ["2026-11-26T11:59:58Z", "2026-11-26T11:59:20Z", "2026-11-26T09:30:00Z", "2026-11-20T12:00:00Z", null].map((at) =>
        ago(at, now),
      ),
    ).toEqual(["now", "40 s ago", "2 h ago", "6 d ago", "never"]);
  });
  it("reads names", () =>
    expect([words("on_demand"), plural(1, "site"), plural(2, "site")]).toEqual(["On demand", "1 site", "2 sites"]));
});
