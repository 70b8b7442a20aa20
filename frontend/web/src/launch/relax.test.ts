import { describe, expect, it } from "vitest";
import { EMPTY, needOf, type Form } from "./form";
import { longerDeadline, relaxed } from "./relax";

const loosened = (form: Partial<Form>, field: string, value: unknown) =>
  relaxed({ ...EMPTY, ...form }, { field, value, change: "", usd: "4.02", finish_s: 3600 });

describe("a loosened need", () => {
  it.each<[string, unknown, Partial<Form>]>([
    ["deadline_hours", 4.64, { deadlineHours: "2" }],
    ["deadline_hours", 1240, { deadlineAt: "2026-11-27T18:00" }],
    ["budget_usd", "12.3", { budget: "5" }],
    ["max_usd_per_hour", "12.3", { perHour: "5" }],
    ["max_egress_usd", "0.42", { egress: "0.1" }],
    ["max_spot_share", 0.34, { spotShare: "0" }],
    ["min_memory_gib", 40, { memory: "80" }],
    ["accelerators_per_site", 4, { count: "8" }],
    ["accelerators", 32, { per: "all", count: "16" }],
    ["sites", 1, { sites: "exactly" }],
    ["accelerator", ["A100-SXM", "L40S"], { gpu: ["H100"] }],
    ["providers", ["aws", "gcp", "nebius"], { providers: ["aws"] }],
    ["not_countries", ["CN"], { notCountries: ["us", "CN"] }],
    ["markets", ["on_demand", "spot"], { markets: ["on_demand"] }],
    ["tiers", ["secure", "community"], { tiers: ["secure"] }],
    ["queue", true, {}],
  ])("has %s at %j", (field, value, form) => {
    const { need } = needOf(loosened(form, field, value), 0);

    expect(need[field as keyof typeof need]).toEqual(value);
  });

  it.each<[string, Partial<Form>]>([
    ["countries", { countries: ["DE"] }],
    ["residency", { residency: "EU" }],
    ["interconnect", { interconnect: "nvlink" }],
    ["spread", { spread: "provider" }],
    ["offers", { offers: [1] }],
  ])("has no %s where none would do", (field, form) =>
    expect(needOf(loosened(form, field, null), 0).need).not.toHaveProperty(field),
  );

  it("keeps what was typed elsewhere as it was typed", () => {
    const typed = { samples: "1.5M", deadlineAt: "2026-11-27T18:00", budget: "$5" };

    expect(loosened(typed, "sites", 1)).toMatchObject(typed);
  });

  it("leaves a field alone that it does not know", () => expect(loosened({}, "weather", "sun")).toEqual(EMPTY));
});

it("a deadline of the curve is rounded up", () =>
  expect([4.63, 1230, 0.5].map(longerDeadline)).toEqual(["4.64", "1240", "0.501"]));
