import { describe, expect, it } from "vitest";
import schema from "../../../../docs/openapi.json";
import { FILTERS, SAME_AS } from "./filters";
import {
  changed,
  filtersOf,
  hiddenOf,
  nextSort,
  parseSearch,
  picksOf,
  readOfferSearch,
  stringifySearch,
  toggleColumn,
  togglePick,
} from "./search";

describe("the list of filters", () => {
  it("is the API's", () => {
    const parameters = schema.paths["/v1/offers"].get.parameters.map((one) => one.name);
    const controls = ["sort", "limit", "cursor", "total"];
    const api = parameters.filter((name) => !controls.includes(name) && !(name in SAME_AS));
    expect(FILTERS.map((one) => one.name).sort()).toEqual(api.sort());
  });
});

describe("the address", () => {
  it("is read back as it was written", () => {
    const search = {
      gpu: "H100,A100",
      max_usd_per_gpu_hour: "2.5",
      region: "home/berlin",
      sort: "-memory_gib",
      pick: "3,4",
    };
    expect(stringifySearch(search)).toBe(
      "?gpu=H100,A100&max_usd_per_gpu_hour=2.5&region=home/berlin&sort=-memory_gib&pick=3,4",
    );
    expect(readOfferSearch(parseSearch(stringifySearch(search)))).toEqual(search);
  });

  it("loses what means nothing", () => {
    expect(
      readOfferSearch({ gpu: " ", colour: "red", sort: "beauty", group: "weather", accelerator: "T4", count: 8 }),
    ).toEqual({ gpu: "T4", count: "8" });
  });

  it("tells filters from the rest", () =>
    expect(filtersOf({ gpu: "T4", sort: "id", open: "3", pick: "1" })).toEqual({ gpu: "T4" }));
});

describe("changes", () => {
  it("turns an order over, and gives it up", () => {
    expect(nextSort({}, "vcpus")).toBe("vcpus");
    expect(nextSort({ sort: "vcpus" }, "vcpus")).toBe("-vcpus");
    expect(nextSort({ sort: "-vcpus" }, "vcpus")).toBeUndefined();
    expect(nextSort({}, "usd_per_gpu_hour")).toBe("-usd_per_gpu_hour");
  });

  it("picks and lets go", () => {
    expect(togglePick({ gpu: "T4" }, 3)).toEqual({ gpu: "T4", pick: "3" });
    expect(togglePick({ pick: "3,4" }, 3)).toEqual({ pick: "4" });
    expect(togglePick({ pick: "3" }, 3)).toEqual({});
    expect(picksOf({ pick: "3,x,-1,0,4.5,7" })).toEqual([3, 7]);
  });

  it("hides a column and shows it again", () => {
    expect(toggleColumn({ hide: "spark" }, "seen")).toEqual({ hide: "spark,seen" });
    expect(toggleColumn({ hide: "spark,seen" }, "spark")).toEqual({ hide: "seen" });
    expect(toggleColumn({ hide: "seen", gpu: "T4" }, "seen")).toEqual({ gpu: "T4" });
    expect(hiddenOf({})).toEqual([]);
  });

  it("drops a filter that is emptied", () => expect(changed({ gpu: "T4" }, "gpu", "")).toEqual({}));
});
