import { describe, expect, it } from "vitest";
import { EMPTY, needOf, type Form } from "./form";
import { relaxed } from "./relax";

// The sentences are those of offers/matching/relax.py.
const after = (form: Partial<Form>, field: string, change: string) =>
  needOf(relaxed({ ...EMPTY, ...form }, { field, change, usd: "4.02", finish_s: 3600 }), 0).need as Record<
    string,
    unknown
  >;

describe("a loosened need", () => {
  it.each<[string, string, Partial<Form>, unknown]>([
    ["deadline_hours", "with a deadline of 4.63 h", { deadlineHours: "2" }, 4.64],
    ["deadline_hours", "with a deadline of 1.23e+03 h", { deadlineAt: "2026-11-27T18:00" }, 1240],
    ["budget_usd", "with a budget of 12.30 USD", { budget: "5" }, "12.31"],
    ["max_usd_per_hour", "with up to 12.30 USD an hour", { perHour: "5" }, "12.31"],
    ["max_egress_usd", "with 0.42 USD of egress", { egress: "0.1" }, "0.43"],
    ["max_spot_share", "with 33 % of the accelerators on the spot market", { spotShare: "0" }, 0.34],
    ["min_memory_gib", "with 40 GiB instead of 80", { memory: "80" }, 40],
    ["accelerators_per_site", "with 4 accelerators a site instead of 8", { count: "8" }, 4],
    ["accelerators", "with 32 accelerators instead of 16", { per: "all", count: "16" }, 32],
    ["sites", "with 1 site instead of 2", { sites: "exactly" }, 1],
    ["accelerator", "with A100-SXM, L40S instead of H100", { gpu: ["H100"] }, ["A100-SXM", "L40S"]],
    ["providers", "also at gcp, nebius", { providers: ["aws"] }, ["aws", "gcp", "nebius"]],
    ["not_countries", "also in US", { notCountries: ["us", "CN"] }, ["CN"]],
    ["markets", "also spot", { markets: ["on_demand"] }, ["on_demand", "spot"]],
    ["tiers", "also community", { tiers: ["secure"] }, ["secure", "community"]],
    ["queue", "with waiting until machines at own are free", {}, true],
    ["countries", "also in an unknown place", { countries: ["DE"] }, undefined],
    ["residency", "also outside the EU, in US", { residency: "EU" }, undefined],
    ["interconnect", "without nvlink between machines", { interconnect: "nvlink" }, undefined],
    ["spread", "with sites that may share a provider", { spread: "provider" }, undefined],
    ["offers", "with others than the offers picked, H100-SXM at aws", { offers: [1] }, undefined],
    ["max_spot_share", "with 100 % of the accelerators on the spot market", { spotShare: "0" }, undefined],
  ])("%s: %s", (field, change, form, value) => expect(after(form, field, change)[field]).toEqual(value));

  it("leaves a field alone that it does not know", () =>
    expect(relaxed(EMPTY, { field: "weather", change: "with sun", usd: "1", finish_s: null })).toEqual(EMPTY));
});
