/** The command that does the same: `yard run ... --dry-run`. */

import { quoted } from "./program/program";
import type { Need, Resume } from "./shapes";

export interface Asked {
  script: string;
  folder: string | null;
  /** Other files beside the script, where no folder was taken. */
  loose: boolean;
  requirements: boolean;
  args: string[];
  name: string;
  resume: Resume | null;
}

const FLAGS: readonly (readonly [keyof Need, string])[] = [
  ["sites", "--sites"],
  ["min_memory_gib", "--min-memory"],
  ["samples", "--samples"],
  ["samples_per_s", "--speed"],
  ["deadline_hours", "--deadline"],
  ["budget_usd", "--budget"],
];
const REPEATED: readonly (readonly [keyof Need, string])[] = [
  ["providers", "--provider"],
  ["regions", "--region"],
  ["countries", "--country"],
];
const WISHES: readonly (keyof Need)[] = [
  "accelerators",
  "min_accelerators_per_site",
  "max_sites",
  "spread",
  "interconnect",
  "offers",
  "not_providers",
  "not_regions",
  "not_countries",
  "residency",
  "tiers",
  "prefer_own",
  "queue",
  "max_spot_share",
  "data_gib",
  "checkpoint_gib",
  "chance",
  "max_usd_per_hour",
  "max_egress_usd",
];

export function commandOf(asked: Asked, need: Need): string {
  const words = ["yard", "run", asked.script];
  const add = (flag: string, value: unknown) => words.push(flag, String(value));
  if (asked.folder !== null) add("--workdir", asked.folder);
  else if (asked.loose) add("--workdir", ".");
  else if (asked.requirements) add("--requirements", "requirements.txt");
  if (asked.name) add("--name", asked.name);
  const kinds = need.accelerator === undefined ? [] : [need.accelerator].flat();
  const kind = kinds.length === 1 ? kinds[0] : "any";
  if (kinds.length || need.accelerators_per_site)
    add("--gpu", need.accelerators_per_site ? `${kind}:${need.accelerators_per_site}` : kind);
  if (kinds.length > 1) add("-w", `accelerator=${kinds.join(",")}`);
  for (const [field, flag] of FLAGS) if (need[field] !== undefined) add(flag, need[field]);
  for (const [field, flag] of REPEATED) for (const one of (need[field] as string[] | undefined) ?? []) add(flag, one);
  if (need.markets?.includes("reserved")) add("-w", `markets=${need.markets.join(",")}`);
  else for (const one of need.markets ?? []) add("--market", one);
  for (const field of WISHES) if (need[field] !== undefined) add("-w", `${field}=${String(need[field])}`);
  if (asked.resume)
    add(
      "--resume",
      asked.resume.version === null ? asked.resume.workload : `${asked.resume.workload}@${asked.resume.version}`,
    );
  words.push("--dry-run");
  if (asked.args.length) words.push("--", ...asked.args);
  return words.map(quoted).join(" ");
}
