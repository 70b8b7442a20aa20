/** What the broker says of a workload, by the names of these pages. */

import type { Schemas } from "@/api/client";

export type Node = Schemas["Node"];
export type Site = Schemas["Site"];
export type Artifact = Schemas["Artifact"];
export type Workload = Schemas["Workload"];
export type Move = Schemas["Event"];
export type Metric = Schemas["Metric"];
export type LogLine = Schemas["LogLine"];
export type Contributor = Schemas["Contributor"];
export type Round = Schemas["Round"];
export type Versions = Schemas["Versions"];
export type BillLine = Schemas["BillLine"];
export type Bill = Schemas["Bill"];

/** How what came first was thinned. */
export type Thinned = Schemas["StreamHistory"];

const FINAL = new Set(["succeeded", "failed", "cancelled"]);

export const isOver = (workload: Pick<Workload, "state">): boolean => FINAL.has(workload.state);

const DEAD = new Set(["released", "lost", "refused"]);

export const isDead = (node: Node): boolean => DEAD.has(node.state);
