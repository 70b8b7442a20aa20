/** Every filter of the API, as the page asks for it. A test holds the list against the API's schema. */

export type FilterKind = "words" | "number" | "choice" | "flag";

export interface Filter {
  name: string;
  label: string;
  /** Where there is little room. */
  short?: string;
  kind: FilterKind;
  /** Under which heading it stands among the others. */
  group: "GPU" | "Price" | "Place" | "Terms" | "Trust" | "Machine" | "Network" | "Freshness";
  unit?: string;
  hint?: string;
  options?: readonly (readonly [string, string])[];
  /** The name of the list of known values that the broker keeps. */
  facet?: string;
}

const YES_NO = [
  ["", "Either"],
  ["true", "Yes"],
  ["false", "No"],
] as const;

export const FILTERS: readonly Filter[] = [
  { name: "q", label: "Search", kind: "words", group: "GPU", hint: "Words in provider, region, machine type, GPU." },
  { name: "gpu", label: "GPU", kind: "words", group: "GPU", facet: "gpu", hint: "H100 is every variant of it." },
  { name: "not_gpu", label: "Not these GPUs", kind: "words", group: "GPU", facet: "gpu" },
  { name: "vendor", label: "Maker", kind: "words", group: "GPU", facet: "vendor" },
  {
    name: "count",
    label: "GPUs in a machine",
    kind: "words",
    group: "GPU",
    hint: "Exactly; several with commas: 4,8.",
  },
  { name: "min_count", label: "GPUs, at least", kind: "number", group: "GPU" },
  { name: "max_count", label: "GPUs, at most", kind: "number", group: "GPU" },
  { name: "min_memory_gib", label: "GPU memory, at least", kind: "number", group: "GPU", unit: "GiB" },
  { name: "max_memory_gib", label: "GPU memory, at most", kind: "number", group: "GPU", unit: "GiB" },
  { name: "min_total_memory_gib", label: "Memory of all GPUs, at least", kind: "number", group: "GPU", unit: "GiB" },
  { name: "max_total_memory_gib", label: "Memory of all GPUs, at most", kind: "number", group: "GPU", unit: "GiB" },
  { name: "interconnect", label: "Between GPUs", kind: "words", group: "GPU", hint: "nvlink, infiniband, pcie, efa" },
  {
    name: "max_usd_per_gpu_hour",
    label: "Per GPU-hour, at most",
    short: "Max price",
    kind: "number",
    group: "Price",
    unit: "USD",
  },
  { name: "min_usd_per_gpu_hour", label: "Per GPU-hour, at least", kind: "number", group: "Price", unit: "USD" },
  { name: "max_usd_per_hour", label: "Machine an hour, at most", kind: "number", group: "Price", unit: "USD" },
  { name: "min_usd_per_hour", label: "Machine an hour, at least", kind: "number", group: "Price", unit: "USD" },
  { name: "max_egress_usd_per_gib", label: "Egress, at most", kind: "number", group: "Price", unit: "USD/GiB" },
  {
    name: "market",
    label: "Market",
    kind: "choice",
    group: "Terms",
    options: [
      ["", "Any"],
      ["on_demand", "On demand"],
      ["spot", "Spot"],
      ["reserved", "Reserved"],
    ],
  },
  {
    name: "term",
    label: "Reserved for",
    kind: "choice",
    group: "Terms",
    options: [
      ["", "Any term"],
      ["1mo", "1 month"],
      ["1y", "1 year"],
      ["3y", "3 years"],
    ],
  },
  { name: "leasable", label: "Can be rented here", short: "Rentable", kind: "flag", group: "Terms", options: YES_NO },
  { name: "provider", label: "Provider", kind: "words", group: "Place", facet: "provider" },
  { name: "not_provider", label: "Not these providers", kind: "words", group: "Place", facet: "provider" },
  { name: "region", label: "Region", kind: "words", group: "Place", facet: "region" },
  { name: "not_region", label: "Not these regions", kind: "words", group: "Place", facet: "region" },
  { name: "zone", label: "Zone", kind: "words", group: "Place" },
  { name: "country", label: "Country", kind: "words", group: "Place", facet: "country", hint: "Two letters: DE, US." },
  { name: "not_country", label: "Not these countries", kind: "words", group: "Place", facet: "country" },
  {
    name: "near",
    label: "Near",
    kind: "words",
    group: "Place",
    hint: "Latitude, longitude, kilometres: 52.5,13.4,500",
  },
  { name: "max_gco2_per_kwh", label: "Carbon, at most", kind: "number", group: "Place", unit: "g/kWh" },
  {
    name: "stock",
    label: "Stock, at least",
    kind: "choice",
    group: "Trust",
    options: [
      ["", "Any"],
      ["low", "Low"],
      ["medium", "Medium"],
      ["high", "High"],
    ],
  },
  { name: "min_available", label: "Machines free, at least", kind: "number", group: "Trust" },
  {
    name: "min_reliability",
    label: "Reliability, at least",
    kind: "number",
    group: "Trust",
    hint: "0 to 1: share of time that it was up.",
  },
  {
    name: "max_interruptions_per_hour",
    label: "Interruptions, at most",
    kind: "number",
    group: "Trust",
    unit: "per hour",
  },
  {
    name: "min_placement_score",
    label: "Chance of a launch, at least",
    kind: "number",
    group: "Trust",
    hint: "0 to 1, as the cloud says.",
  },
  { name: "min_hours_left", label: "Hours left, at least", kind: "number", group: "Trust", unit: "h" },
  { name: "id", label: "Offer number", kind: "words", group: "Machine", hint: "Of this book; several with commas." },
  {
    name: "instance_type",
    label: "Machine type",
    kind: "words",
    group: "Machine",
    hint: "The provider's name: p5.48xlarge",
  },
  { name: "min_vcpus", label: "vCPUs, at least", kind: "number", group: "Machine" },
  { name: "max_vcpus", label: "vCPUs, at most", kind: "number", group: "Machine" },
  { name: "min_ram_gib", label: "Main memory, at least", kind: "number", group: "Machine", unit: "GiB" },
  { name: "max_ram_gib", label: "Main memory, at most", kind: "number", group: "Machine", unit: "GiB" },
  { name: "min_disk_gib", label: "Disk, at least", kind: "number", group: "Machine", unit: "GiB" },
  { name: "max_disk_gib", label: "Disk, at most", kind: "number", group: "Machine", unit: "GiB" },
  { name: "max_boot_s", label: "Ready within", kind: "number", group: "Machine", unit: "s" },
  { name: "min_internet_mbit_per_s", label: "Upwards, at least", kind: "number", group: "Network", unit: "Mbit/s" },
  { name: "fresh", label: "Price is fresh", kind: "flag", group: "Freshness", options: YES_NO },
  { name: "seen_within_s", label: "Seen within", kind: "number", group: "Freshness", unit: "s" },
  { name: "gone", label: "Also what is gone", kind: "flag", group: "Freshness", options: YES_NO },
];

/** The API's other name for gpu: one is enough here. */
export const SAME_AS = { accelerator: "gpu" } as const;

export const BY_NAME: ReadonlyMap<string, Filter> = new Map(FILTERS.map((one) => [one.name, one]));

export const SORTS = [
  "usd_per_gpu_hour",
  "usd_per_hour",
  "accelerators",
  "memory_gib",
  "total_memory_gib",
  "vcpus",
  "ram_gib",
  "disk_gib",
  "reliability",
  "interruptions_per_hour",
  "gco2_per_kwh",
  "available",
  "changed_at",
  "id",
] as const;

export const GROUPS = [
  ["gpu", "GPU"],
  ["provider", "Provider"],
  ["region", "Region"],
  ["country", "Country"],
  ["vendor", "Maker"],
  ["market", "Market"],
  ["count", "GPUs in a machine"],
] as const;
