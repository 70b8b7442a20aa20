import { expect, it } from "vitest";
import { isKept, ranges } from "./versions";

const versions = {
  newest: 199,
  kept: [
    [0, 0],
    [100, 100],
    [180, 199],
  ],
};

it("tells which versions can be had", () => expect(ranges(versions)).toBe("0, 100 and 180 to 199"));
it.each([
  [0, true],
  [1, false],
  [100, true],
  [180, true],
  [199, true],
  [200, false],
  [1.5, false],
  [Number.NaN, false],
])("knows whether version %d is among them", (version, is) => expect(isKept(versions, version)).toBe(is));
