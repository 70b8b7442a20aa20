/** What the broker takes and sends about needs, quotes and orders. */

// until the schema has it: a need's `offers`, a site's place, the examples, the facets.

export interface Need {
  accelerator?: string | string[];
  accelerators?: number;
  accelerators_per_site?: number;
  sites?: number;
  max_sites?: number;
  spread?: string;
  min_memory_gib?: number;
  interconnect?: string;
  offers?: number[];
  providers?: string[];
  not_providers?: string[];
  regions?: string[];
  not_regions?: string[];
  countries?: string[];
  not_countries?: string[];
  residency?: string;
  markets?: string[];
  tiers?: string[];
  prefer_own?: boolean;
  queue?: boolean;
  max_spot_share?: number;
  samples?: number;
  samples_per_s?: number;
  program?: string;
  data_gib?: number;
  checkpoint_gib?: number;
  deadline_hours?: number;
  chance?: number;
  budget_usd?: string;
  max_usd_per_hour?: string;
  max_egress_usd?: string;
}

export interface Range {
  p10: number;
  p50: number;
  p90: number;
}

export interface Outcome {
  finish_s: Range;
  cost_usd: { p10: string; p50: string; p90: string };
  expected_usd: string;
  egress_usd: string;
  storage_usd: string;
  deadline_chance: number | null;
  budget_chance: number | null;
  losses: number;
  loss_chance: number;
  energy_kwh: number;
  carbon_kg: number | null;
  late_s: number;
}

export interface QuoteSite {
  site: string;
  provider: string;
  region: string;
  market: string;
  instance_type: string;
  accelerator: string;
  accelerators: number;
  nodes: number;
  usd_per_hour: string;
  offer: number;
  country?: string;
  latitude?: number | null;
  longitude?: number | null;
}

export interface Speed {
  source: "measured" | "stated" | "probed" | "predicted" | "unknown";
  samples_per_s: number | null;
  per_accelerator: Record<string, number | null>;
}

export interface Quote {
  id: number;
  expires_at: string;
  rank: number;
  usd_per_hour: string;
  cost_usd: string | null;
  finish_s: number | null;
  speed: Speed;
  sites: QuoteSite[];
  labels: string[];
  outcome: Outcome | null;
  why: string;
  why_not: string;
}

export interface Excluded {
  constraint: string;
  offers: number;
}

export interface Quotes {
  quotes: Quote[];
  excluded: Excluded[];
  offers_considered: number;
  curve: [number, string][];
}

/** What one constraint loosened would make possible. */
export interface Relaxation {
  field: string;
  change: string;
  usd: string;
  finish_s: number | null;
}

export interface Resume {
  workload: number;
  version: number | null;
}

export interface Order {
  quote: number;
  program: string;
  script: string;
  args: string[];
  name?: string;
  budget_usd?: string;
  resume?: Resume;
}

export interface Example {
  name: string;
  title: string;
  about: string;
  script: string;
  args: string[];
  files: { path: string; text: string }[];
  need: Partial<Need>;
}

export interface Facet {
  value: string;
  offers: number;
}
