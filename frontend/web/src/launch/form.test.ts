import { describe, expect, it } from "vitest";
import { Problem } from "@/api/problem";
import { addressed, EMPTY, filled, keep, kept, needOf, numberOf, refused, resumeOf, type Form } from "./form";

const NOW = Date.parse("2026-11-26T12:00:00Z");
const form = (changed: Partial<Form>): Form => ({ ...EMPTY, ...changed });

describe("a need", () => {
  it("says only what was filled in", () =>
    expect(needOf(EMPTY, NOW)).toEqual({ need: { accelerators_per_site: 1 }, wrong: {} }));

  it("has every field that the form has", () => {
    const { need, wrong } = needOf(
      form({
        gpu: ["H100", "A100"],
        count: "16",
        per: "all",
        sites: "most",
        siteCount: "3",
        least: "4",
        memory: "80",
        samples: "1.5M",
        speed: "350",
        deadlineHours: "24",
        chance: "95",
        budget: "$1,200.50",
        perHour: "40",
        egress: "0.10",
        countries: ["DE"],
        notCountries: ["US"],
        regions: ["home/berlin"],
        notRegions: ["x"],
        providers: ["aws"],
        notProviders: ["gcp"],
        residency: "EU",
        markets: ["spot"],
        tiers: ["secure"],
        spotShare: "50",
        spread: "provider",
        interconnect: "nvlink",
        data: "12",
        checkpoint: "0.5",
        queue: true,
        offers: [1, 2],
      }),
      NOW,
      "ab",
    );
    expect(wrong).toEqual({});
    expect(need).toEqual({
      accelerator: ["H100", "A100"],
      accelerators: 16,
      max_sites: 3,
      min_accelerators_per_site: 4,
      min_memory_gib: 80,
      samples: 1_500_000,
      samples_per_s: 350,
      deadline_hours: 24,
      chance: 0.95,
      budget_usd: "1200.5",
      max_usd_per_hour: "40",
      max_egress_usd: "0.1",
      countries: ["DE"],
      not_countries: ["US"],
      regions: ["home/berlin"],
      not_regions: ["x"],
      providers: ["aws"],
      not_providers: ["gcp"],
      residency: "EU",
      markets: ["spot"],
      tiers: ["secure"],
      max_spot_share: 0.5,
      spread: "provider",
      interconnect: "nvlink",
      data_gib: 12,
      checkpoint_gib: 0.5,
      queue: true,
      offers: [1, 2],
      program: "ab",
    });
  });

  it("names what is wrong, field by field", () => {
    const { wrong } = needOf(
      form({
        count: "0",
        samples: "many",
        budget: "-1",
        deadlineHours: "0",
        sites: "exactly",
        siteCount: "99",
        spotShare: "101",
        preferOwn: true,
        tiers: ["secure"],
      }),
      NOW,
    );
    expect(Object.keys(wrong).sort()).toEqual([
      "budget",
      "count",
      "deadlineHours",
      "samples",
      "siteCount",
      "spotShare",
      "tiers",
    ]);
  });

  it("shows at its fields what the broker refused", () => {
    const why = "accelerators must be at least 8 for so many sites of that size";
    const odd = new Problem(422, "invalid", why, "", { accelerators: why, not_regions: "must be a list" });

    expect(refused(odd)).toEqual({
      count: "Accelerators must be at least 8 for so many sites of that size.",
      notRegions: "Must be a list.",
    });
    expect(refused(new Problem(422, "need_unmet", "none", "", { excluded: [] }))).toEqual({});
    expect(refused(null)).toEqual({});
    const dear = new Problem(422, "budget_below_cheapest", "too little", "", { cheapest_usd: "12.5" });
    expect(refused(dear)).toEqual({ budget: "The cheapest way to finish costs $12.50." });
  });

  it("does not ask for a chance without a deadline, which the broker refuses", () =>
    expect(needOf(form({ chance: "95" }), NOW).need).not.toHaveProperty("chance"));

  it("does not ask for more sites than GPUs", () =>
    expect(needOf(form({ per: "all", count: "1", sites: "exactly", siteCount: "2" }), NOW).wrong.count).toBe(
      "At least 2: one for each site",
    ));

  it("counts a moment from now, and refuses one that is over", () => {
    const at = form({ deadlineAt: localOf(NOW + 90 * 60_000) });
    expect(needOf(at, NOW).need.deadline_hours).toBe(1.5);
    expect(needOf(at, NOW + 2 * 3_600_000).wrong.deadlineAt).toBe("That is over already");
  });
});

const localOf = (at: number) => new Date(at - new Date(at).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

describe("numbers", () => {
  it.each([
    ["200,000", 200_000],
    ["200 000", 200_000],
    ["1.5M", 1_500_000],
    ["2k", 2000],
    ["1e6", 1e6],
    [".5", 0.5],
    ["1.2.3", NaN],
    ["ten", NaN],
    ["", NaN],
    ["-1", NaN],
    ["Infinity", NaN],
  ])("%s is %d", (text, value) => expect(numberOf(text)).toBe(value));
});

describe("an example's need", () => {
  it("fills the form, and says the same again", () => {
    const need = {
      accelerator: "CPU",
      accelerators_per_site: 1,
      sites: 2,
      samples: 60_000,
      budget_usd: "1.000000",
      chance: 0.9,
      deadline_hours: 2,
      countries: ["DE"],
    };
    expect(needOf(filled(EMPTY, need), NOW).need).toEqual({ ...need, budget_usd: "1" });
  });
});

describe("what is kept", () => {
  const storage = () => {
    const all = new Map<string, string>();
    return {
      getItem: (name: string) => all.get(name) ?? null,
      setItem: (name: string, value: string) => void all.set(name, value),
    };
  };

  it("comes back after a reload", () => {
    const tab = storage();
    keep(tab, form({ gpu: ["H100"], queue: true, offers: [3] }));
    expect(kept(tab)).toEqual(form({ gpu: ["H100"], queue: true, offers: [3] }));
  });

  it("is read as far as it fits", () => {
    const tab = storage();
    tab.setItem("launch.need", JSON.stringify({ gpu: "H100", count: "8", colour: "red" }));
    expect(kept(tab)).toEqual(form({ count: "8" }));
    tab.setItem("launch.need", "{");
    expect(kept(tab)).toEqual(EMPTY);
  });

  it("gives way to the address", () => {
    expect(addressed(form({ gpu: ["A100"], budget: "5" }), { offers: "2,x,2,-1,3" })).toEqual(
      form({ offers: [2, 3], budget: "5" }),
    );
    expect(addressed(form({ gpu: ["A100"] }), { gpu: "H100,H200" }).gpu).toEqual(["H100", "H200"]);
    expect(addressed(form({ gpu: ["A100"] }), { gpu: "any" }).gpu).toEqual([]);
    expect(addressed(form({ gpu: ["A100"] }), {}).gpu).toEqual(["A100"]);
  });
});

describe("going on from a run", () => {
  it("is written as on the command line", () => {
    expect(resumeOf("12@180")).toEqual({ workload: 12, version: 180 });
    expect(resumeOf("12")).toEqual({ workload: 12, version: null });
    expect(resumeOf("12@")).toBeNull();
    expect(resumeOf(undefined)).toBeNull();
  });
});
