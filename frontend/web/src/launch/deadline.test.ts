import { afterEach, describe, expect, it } from "vitest";
import { afterHours, fromLocal, hoursUntil, shortHours, toLocal } from "./deadline";

const own = process.env.TZ;

afterEach(() => {
  process.env.TZ = own;
});

describe.each(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Chatham"])(
  "a moment in %s",
  (zone) => {
    it("is read back as it was written", () => {
      process.env.TZ = zone;
      for (const at of ["2026-01-15T03:07:00Z", "2026-07-15T23:59:00Z", "2026-12-31T23:30:00Z"])
        expect(fromLocal(toLocal(new Date(at)))?.toISOString()).toBe(at.replace("Z", ".000Z"));
    });
  },
);

describe("a change of clocks", () => {
  it("makes a night in spring an hour shorter", () => {
    process.env.TZ = "Europe/Berlin";
    const evening = fromLocal("2026-03-28T22:00")?.getTime() ?? 0;
    expect(hoursUntil(fromLocal("2026-03-29T06:00") as Date, evening)).toBe(7);
  });

  it("makes a night in autumn an hour longer", () => {
    process.env.TZ = "America/New_York";
    const evening = fromLocal("2026-10-31T22:00")?.getTime() ?? 0;
    expect(hoursUntil(fromLocal("2026-11-01T06:00") as Date, evening)).toBe(9);
    expect(toLocal(afterHours(9, evening))).toBe("2026-11-01T06:00");
  });

  it("takes the first of an hour that comes twice, and the next of one that never comes", () => {
    process.env.TZ = "Europe/Berlin";
    expect(fromLocal("2026-10-25T02:30")?.toISOString()).toBe("2026-10-25T00:30:00.000Z");
    expect(fromLocal("2026-03-29T02:30")?.toISOString()).toBe("2026-03-29T01:30:00.000Z");
  });
});

describe("what is no moment", () => {
  it.each(["", "tomorrow", "2026-02-30T10:00", "2026-13-01T10:00"])("is null: %j", (text) =>
    expect(fromLocal(text)).toBeNull(),
  );
});

it("never rounds a deadline past its moment", () => {
  expect(shortHours(12.349)).toBe(12.34);
  expect(shortHours(1.23456)).toBe(1.234);
});
