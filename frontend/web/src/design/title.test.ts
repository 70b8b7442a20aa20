import { expect, it } from "vitest";
import { titleOf } from "./title";

it("a page's title ends with whose it is, and begins with what is special to it", () => {
  expect(titleOf(["Offers"])).toBe("Offers - GPUYard");
  expect(titleOf(["train.py", "running"])).toBe("train.py - running - GPUYard");
  expect(titleOf(["", "running"])).toBe("running - GPUYard");
});
