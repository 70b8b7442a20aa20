import { describe, expect, it } from "vitest";
import { wished, wrongIn } from "./wish";

const GOOD = { name: "attic-1", region: "home/berlin", country: "DE", usd_per_hour: "0.40" };

describe("a machine to register", () => {
  it("is taken as it is meant", () => {
    expect(wished({ name: " attic-1 ", region: "Home/Berlin", country: "de", usd_per_hour: "$ 0,40" })).toEqual(GOOD);
  });

  it("needs no country", () => {
    expect(wrongIn(GOOD)).toEqual({});
    expect(wrongIn({ ...GOOD, country: "" })).toEqual({});
  });

  it.each([
    ["name", ""],
    ["name", "my machine"],
    ["name", "-x"],
    ["region", "berlin"],
    ["region", "home/berlin/attic"],
    ["region", "home / berlin"],
    ["country", "Germany"],
    ["country", "D1"],
    ["usd_per_hour", ""],
    ["usd_per_hour", "0"],
    ["usd_per_hour", "-1"],
    ["usd_per_hour", "abc"],
    ["usd_per_hour", "0.0000001"],
  ] as const)("is told what is wrong with %s %j", (field, value) => {
    expect(Object.keys(wrongIn({ ...GOOD, [field]: value }))).toEqual([field]);
  });
});
