/** What the broker says of a workload. All of this is local until the schema has it field by field. */

export interface Samples {
  total: number;
  merged: number;
  leased: number;
  free: number;
}

export interface Usage {
  cpu_percent: number | null;
  ram_used_gib: number | null;
  accelerators: { utilisation_percent: number | null; memory_used_gib: number | null }[];
}

export interface Node {
  lease: number;
  state: string;
  host: string | null;
  address: string | null;
  accelerator: string;
  accelerators: number;
  usd_per_hour: string;
  opened_at: string | null;
  closed_at: string | null;
  phase: string;
  usage: Usage | null;
  market?: string;
}

export interface Site {
  placement: number;
  site: string;
  provider: string;
  region: string;
  country?: string;
  latitude?: number | null;
  longitude?: number | null;
  state: string;
  why: string;
  nodes: Node[];
}

export interface Artifact {
  id: number;
  name: string;
  kind: "model" | "checkpoint";
  version: number;
  sha256: string;
  size_bytes: number;
  metrics: Record<string, number | string | boolean>;
  created_at: string;
}

export interface Forecast {
  finish_at: string | null;
  cost_usd: string | null;
  over_budget: boolean;
}

export interface Workload {
  id: number;
  name: string;
  state: string;
  end_reason: string | null;
  why: string;
  created_at: string;
  started_at: string | null;
  first_step_at: string | null;
  ended_at: string | null;
  script: string;
  args: string[];
  program: string;
  quote: number;
  resumes: { workload: number; version: number | null } | null;
  budget_usd: string;
  spent_usd: string;
  sites_wanted: number;
  version: number | null;
  samples: Samples;
  loss: number | null;
  step: number;
  sites: Site[];
  artifact: Artifact | null;
  forecast?: Forecast | null;
}

export interface Move {
  id: number;
  at: string;
  subject: string;
  subject_id: number;
  from: string;
  to: string;
  why: string;
  figures: Record<string, unknown> | null;
}

export interface Metric {
  id: number;
  at: string;
  site: string;
  placement: number;
  step: number;
  version: number;
  values: Record<string, number | string | boolean>;
}

export interface LogLine {
  id: number;
  at: string;
  site: string;
  host: string | null;
  stream: string;
  text: string;
}

export interface Contributor {
  site: string;
  placement: number;
  samples: number;
  steps: number;
  loss: number | null;
  status: string;
  why: string;
  received_at: string;
  share: number | null;
  norm: number | null;
  cosine: number | null;
  base: number;
  size_bytes: number;
  train_s: number | null;
  stall_s: number | null;
  put_s: number | null;
  fetch_s: number | null;
}

export interface Round {
  version: number;
  opened_at: string;
  called_at: string | null;
  closed_at: string | null;
  merge_s: number | null;
  contributors: Contributor[];
  samples: number;
  update_sha256: string;
  update_bytes: number;
  codec: string;
  fingerprint: string;
}

/** How what came first was thinned. */
export interface Thinned {
  metrics_one_in: number;
  logs_at_most: number;
  rounds_at_most: number;
}

export interface Versions {
  newest: number | null;
  kept: [number, number][];
}

export interface BillLine {
  lease: number;
  site: string;
  provider: string;
  region: string;
  host: string | null;
  usd_per_hour: string;
  opened_at: string;
  closed_at: string | null;
  seconds: string;
  usd: string;
}

export interface Bill {
  workload: number;
  total_usd: string;
  billed_usd: string;
  final: boolean;
  leases: BillLine[];
}

const FINAL = new Set(["succeeded", "failed", "cancelled"]);

export const isOver = (workload: Pick<Workload, "state">): boolean => FINAL.has(workload.state);

const DEAD = new Set(["released", "lost", "refused"]);

export const isDead = (node: Node): boolean => DEAD.has(node.state);
