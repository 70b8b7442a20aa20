import { describe, expect, it } from "vitest";
import { Problem } from "@/api/problem";
import { faultsOf } from "./faults";

describe("what is wrong with a form", () => {
  it("stands at the field that the broker names", () => {
    const error = new Problem(422, "invalid", "name: this value does not match", "", {
      name: ["this value does not match"],
    });

    expect(faultsOf(error, ["name", "region"])).toEqual({ at: { name: "This value does not match." }, rest: null });
  });

  it("is found at the front of a message without fields", () => {
    const error = new Problem(422, "invalid", "usd_per_hour: a positive price is needed", "state what an hour costs");

    expect(faultsOf(error, ["usd_per_hour"]).at).toEqual({ usd_per_hour: "A positive price is needed." });
  });

  it("is told as a whole where the form has no such field", () => {
    const error = new Problem(422, "invalid", "body: not JSON", "", { body: ["not JSON"] });

    expect(faultsOf(error, ["name"])).toEqual({ at: {}, rest: error });
  });

  it("is told as a whole beside what stands at fields when some of it belongs to none", () => {
    const error = new Problem(400, "invalid", "Too many tries.", "", { "": "Too many tries.", password: "Wrong." });

    expect(faultsOf(error, ["password"])).toEqual({ at: { password: "Wrong." }, rest: error });
  });

  it("may be no answer of the broker's at all", () => {
    const error = new TypeError("a bug");

    expect(faultsOf(error, ["name"])).toEqual({ at: {}, rest: error });
  });
});
