import { describe, expect, it } from "vitest";
import type { Host } from "./api";
import { chips, left, meaning, pricesByChip, rest, summed, totalUsd } from "./states";

const NOW = Date.parse("2026-11-26T12:00:00Z");
const HOST: Host = {
  id: 7,
  name: "attic",
  region: "home/berlin",
  country: "DE",
  usd_per_hour: "0.400000",
  state: "offered",
  why: "",
  address: "",
  lease: null,
  rented_at: null,
  earned_usd: "0",
  reclaim_at: null,
  seen_at: "2026-11-26T11:59:59Z",
  hardware: {
    vcpus: 16,
    ram_gib: 62.7,
    disk_free_gib: 900.2,
    accelerators: [
      { kind: "RTX4090", memory_gib: 23.99, uuid: "a" },
      { kind: "RTX4090", memory_gib: 23.99, uuid: "b" },
    ],
  },
};

describe("hardware", () => {
  it("is told by its chips and the rest", () => {
    expect(chips(HOST)).toBe("2 × RTX4090, 24 GiB each");
    expect(rest(HOST)).toBe("16 CPUs, 63 GiB of memory, 900 GiB of disk free");
  });

  it("is not known until the agent came", () => {
    expect(chips({ hardware: {} })).toBeNull();
    expect(rest({ hardware: {} })).toBe("");
  });
});

describe("the countdown", () => {
  it("counts to the second and ends at now", () => {
    expect(left("2026-11-26T12:04:10Z", NOW)).toBe("4 min 10 s");
    expect(left(NOW + 900, NOW)).toBe("1 s");
    expect(left("2026-11-26T12:00:00Z", NOW)).toBe("now");
    expect(left("2026-11-26T11:00:00Z", NOW)).toBe("now");
  });
});

describe("the meaning of a state", () => {
  it("says for how long it is rented", () => {
    expect(meaning({ ...HOST, state: "rented", lease: 12 }, NOW)).toBe("It earns, on lease 12.");
    expect(meaning({ ...HOST, state: "rented", lease: 12, rented_at: "2026-11-26T10:00:00Z" }, NOW)).toBe(
      "For 2 h, on lease 12: it earns.",
    );
  });

  it("counts down while it is reclaimed, and tells of the run where there is one", () => {
    const host = { ...HOST, state: "reclaiming", reclaim_at: "2026-11-26T12:00:30Z" } as const;

    expect(meaning(host, NOW)).toBe("Yours again in 30 s.");
    expect(meaning({ ...host, lease: 12 }, NOW)).toMatch(/hands in its work/);
  });

  it("says what is wrong, and what to do", () => {
    expect(meaning({ ...HOST, state: "barred", why: "reports no accelerator" }, NOW)).toBe(
      "Not offered: it reports no accelerator.",
    );
    expect(meaning({ ...HOST, state: "silent", seen_at: "2026-11-26T11:58:00Z" }, NOW)).toMatch(
      /^Last heard 2 min ago/,
    );
  });
});

describe("earnings", () => {
  it("of several machines lie over each other, oldest day first", () => {
    const one = [
      { day: "2026-11-25", usd: "1.100000", seconds: 3600 },
      { day: "2026-11-26", usd: "0.200000", seconds: 60 },
    ];
    const other = [{ day: "2026-11-26", usd: "0.300000", seconds: 40 }];

    const days = summed([other, one]);

    expect(days).toEqual([
      { day: "2026-11-25", usd: "1.100000", seconds: 3600 },
      { day: "2026-11-26", usd: "0.500000", seconds: 100 },
    ]);
    expect(totalUsd(days)).toBeCloseTo(1.6);
  });
});

it("compares with the spot price of a chip, with another where there is none", () => {
  const row = (gpu: string, market: "spot" | "on_demand", usd: string) => ({
    gpu,
    market,
    offers: 1,
    min_usd_per_gpu_hour: usd,
    median_usd_per_gpu_hour: usd,
  });
  const rows = [
    row("T4", "on_demand", "0.5"),
    row("T4", "spot", "0.2"),
    row("L4", "on_demand", "0.7"),
    row("", "spot", "0.1"),
  ];

  const found = pricesByChip(rows);

  expect([...found].map(([gpu, { market }]) => [gpu, market])).toEqual([
    ["L4", "on_demand"],
    ["T4", "spot"],
  ]);
});
