/** What is filled in, as it is typed; and the need that it describes. */

import { Problem } from "@/api/problem";
import { faultsOf } from "@/design/faults";
import { usd } from "@/design/format";
import { fromLocal, hoursUntil, shortHours } from "./deadline";
import type { Need, Refusal, StatedNeed } from "./shapes";

export interface Form {
  gpu: string[];
  count: string;
  per: "site" | "all";
  sites: "compare" | "exactly" | "most";
  siteCount: string;
  /** GPUs that a site has at least. */
  least: string;
  memory: string;
  samples: string;
  speed: string;
  /** One of the two at most. */
  deadlineHours: string;
  deadlineAt: string;
  /** In percent. */
  chance: string;
  budget: string;
  perHour: string;
  egress: string;
  countries: string[];
  notCountries: string[];
  regions: string[];
  notRegions: string[];
  providers: string[];
  notProviders: string[];
  residency: string;
  markets: string[];
  tiers: string[];
  /** In percent. */
  spotShare: string;
  spread: string;
  interconnect: string;
  data: string;
  checkpoint: string;
  preferOwn: boolean;
  queue: boolean;
  offers: number[];
}

export type Wrong = Partial<Record<keyof Form, string>>;

export const EMPTY: Form = {
  gpu: [],
  count: "1",
  per: "site",
  sites: "compare",
  siteCount: "2",
  least: "",
  memory: "",
  samples: "",
  speed: "",
  deadlineHours: "",
  deadlineAt: "",
  chance: "",
  budget: "",
  perHour: "",
  egress: "",
  countries: [],
  notCountries: [],
  regions: [],
  notRegions: [],
  providers: [],
  notProviders: [],
  residency: "",
  markets: [],
  tiers: [],
  spotShare: "",
  spread: "",
  interconnect: "",
  data: "",
  checkpoint: "",
  preferOwn: false,
  queue: false,
  offers: [],
};

/** Under "More": those that are set are counted there. */
export const MORE = [
  "least",
  "memory",
  "chance",
  "perHour",
  "egress",
  "regions",
  "notRegions",
  "providers",
  "notProviders",
  "markets",
  "tiers",
  "spotShare",
  "spread",
  "interconnect",
  "data",
  "checkpoint",
  "preferOwn",
  "queue",
] as const satisfies readonly (keyof Form)[];

export const isSet = (form: Form, name: keyof Form) => String(form[name]) !== String(EMPTY[name]);

const TIMES = { k: 1e3, m: 1e6, g: 1e9 } as const;

/** A number as people type it: 200,000 or 200 000 or 1.5M; NaN where it is none. */
export function numberOf(text: string): number {
  const [, digits, suffix] = /^(\d[\d,_ ]*(?:\.\d+)?(?:e\d+)?|\.\d+)\s*([kmg])?$/i.exec(text.trim()) ?? [];
  if (digits === undefined) return NaN;
  return Number(digits.replace(/[,_ ]/g, "")) * (suffix ? TIMES[suffix.toLowerCase() as keyof typeof TIMES] : 1);
}

/** The need that a form describes at a moment, and what is wrong with it; only what is set is in it. */
export function needOf(form: Form, now: number, program?: string): { need: Need; wrong: Wrong } {
  const wrong: Wrong = {};
  const need: Need = {};
  const number = (name: keyof Form & string, rule: Rule): number | undefined => {
    const text = String(form[name]).trim();
    if (text === "") return undefined;
    const value = rule.percent ? numberOf(text.replace(/\s*%$/, "")) / 100 : numberOf(text.replace(/^\$/, ""));
    if (Number.isFinite(value) && rule.fits(value)) return value;
    wrong[name] = rule.says;
    return undefined;
  };

  if (form.gpu.length) need.accelerator = form.gpu.length === 1 ? form.gpu[0] : form.gpu;
  const count = number("count", WHOLE);
  if (form.per === "all") need.accelerators = count;
  else need.accelerators_per_site = count;
  if (count === undefined) wrong.count ??= "How many?";
  if (form.sites !== "compare") {
    const sites = number("siteCount", SITES);
    if (sites === undefined) wrong.siteCount ??= "How many?";
    if (form.sites === "exactly") need.sites = sites;
    else need.max_sites = sites;
  }
  if (need.accelerators !== undefined && need.sites !== undefined && need.accelerators < need.sites) {
    wrong.count = `At least ${need.sites}: one for each site`;
  }
  need.min_accelerators_per_site = number("least", WHOLE);
  need.min_memory_gib = number("memory", POSITIVE);
  need.samples = number("samples", WHOLE);
  need.samples_per_s = number("speed", POSITIVE);
  need.data_gib = number("data", POSITIVE);
  need.checkpoint_gib = number("checkpoint", POSITIVE);
  need.deadline_hours = form.deadlineAt ? untilDeadline(form, now, wrong) : number("deadlineHours", POSITIVE);
  if (need.deadline_hours !== undefined) need.chance = number("chance", CHANCE);
  need.max_spot_share = number("spotShare", SHARE);
  need.budget_usd = money(number("budget", POSITIVE));
  need.max_usd_per_hour = money(number("perHour", POSITIVE));
  need.max_egress_usd = money(number("egress", POSITIVE));
  for (const [name, field] of LISTS) if (form[name].length) Object.assign(need, { [field]: form[name] });
  if (form.offers.length) need.offers = form.offers;
  if (form.residency) need.residency = form.residency;
  if (form.spread) need.spread = form.spread as Need["spread"];
  if (form.interconnect) need.interconnect = form.interconnect;
  if (form.preferOwn) need.prefer_own = true;
  if (form.queue) need.queue = true;
  if (form.preferOwn && form.tiers.length && !form.tiers.includes("own"))
    wrong.tiers = "Add Own, or take back \u201cOwn machines first\u201d";
  if (program) need.program = program;
  return { need: JSON.parse(JSON.stringify(need)) as Need, wrong };
}

export const LISTS = [
  ["countries", "countries"],
  ["notCountries", "not_countries"],
  ["regions", "regions"],
  ["notRegions", "not_regions"],
  ["providers", "providers"],
  ["notProviders", "not_providers"],
  ["markets", "markets"],
  ["tiers", "tiers"],
] as const;

/** Where a field of a need is filled in. */
const PLACES: Partial<Record<string, keyof Form>> = {
  accelerator: "gpu",
  accelerators: "count",
  accelerators_per_site: "count",
  min_accelerators_per_site: "least",
  sites: "siteCount",
  max_sites: "siteCount",
  min_memory_gib: "memory",
  samples: "samples",
  samples_per_s: "speed",
  deadline_hours: "deadlineHours",
  chance: "chance",
  budget_usd: "budget",
  max_usd_per_hour: "perHour",
  max_egress_usd: "egress",
  max_spot_share: "spotShare",
  data_gib: "data",
  checkpoint_gib: "checkpoint",
  ...Object.fromEntries(LISTS.map(([name, field]) => [field, name])),
};

/** What the broker says is wrong with a need, at the fields of the form. */
export function refused(error: unknown): Wrong {
  if (error instanceof Problem && error.code === "budget_below_cheapest") {
    const cheapest = Number((error.fields as Refusal).cheapest_usd);
    return { budget: Number.isFinite(cheapest) ? `The cheapest way to finish costs ${usd(cheapest)}.` : error.message };
  }
  const { at } = faultsOf(error, Object.keys(PLACES));
  return Object.fromEntries(Object.entries(at).map(([field, why]) => [PLACES[field], why]));
}

interface Rule {
  fits: (value: number) => boolean;
  says: string;
  percent?: boolean;
}

const POSITIVE: Rule = { fits: (value) => value > 0 && value < 1e15, says: "A number above 0, such as 1.5" };
const WHOLE: Rule = {
  fits: (value) => Number.isInteger(value) && value >= 1 && value <= 1e15,
  says: "A whole number, at least 1",
};
const SITES: Rule = { fits: (value) => Number.isInteger(value) && value >= 1 && value <= 16, says: "1 to 16" };
const CHANCE: Rule = {
  fits: (value) => value > 0 && value < 1,
  says: "Above 0 and below 100: nothing is certain",
  percent: true,
};
const SHARE: Rule = { fits: (value) => value >= 0 && value <= 1, says: "0 to 100", percent: true };

/** A decimal string with at most six places, as money travels. */
function money(value: number | undefined): string | undefined {
  return value === undefined ? undefined : value.toFixed(6).replace(/\.?0+$/, "");
}

function untilDeadline(form: Form, now: number, wrong: Wrong): number | undefined {
  const at = fromLocal(form.deadlineAt);
  if (at === null) wrong.deadlineAt = "A date and a time";
  else if (hoursUntil(at, now) <= 0) wrong.deadlineAt = "That is over already";
  else return Math.max(0.001, shortHours(hoursUntil(at, now)));
  return undefined;
}

/** What of a need a form can hold, filled in: an example's need, or one that was kept. */
export function filled(form: Form, need: StatedNeed): Form {
  const text = (value: number | string | null | undefined) => String(value ?? "");
  const amount = (usd: string | null | undefined) => (usd == null ? "" : String(Number(usd)));
  const percent = (share: number | null | undefined) => (share == null ? "" : String(Math.round(share * 1e6) / 1e4));
  const changed: Partial<Form> = {
    gpu: need.accelerator ? [need.accelerator].flat() : [],
    count: text(need.accelerators ?? need.accelerators_per_site) || "1",
    per: need.accelerators ? "all" : "site",
    sites: need.sites ? "exactly" : need.max_sites ? "most" : "compare",
    siteCount: text(need.sites ?? need.max_sites) || EMPTY.siteCount,
    least: text(need.min_accelerators_per_site),
    memory: text(need.min_memory_gib),
    samples: text(need.samples),
    speed: text(need.samples_per_s),
    deadlineHours: text(need.deadline_hours),
    deadlineAt: "",
    chance: percent(need.chance),
    budget: amount(need.budget_usd),
    perHour: amount(need.max_usd_per_hour),
    egress: amount(need.max_egress_usd),
    spotShare: percent(need.max_spot_share),
    residency: text(need.residency),
    spread: text(need.spread),
    interconnect: text(need.interconnect),
    data: text(need.data_gib),
    checkpoint: text(need.checkpoint_gib),
    preferOwn: !!need.prefer_own,
    queue: !!need.queue,
    offers: need.offers === undefined ? form.offers : (need.offers ?? []),
  };
  for (const [name, field] of LISTS) changed[name] = need[field] ?? [];
  return { ...form, ...changed };
}

const KEPT = "launch.need";

/** The form as it was left in this tab. What was kept by an older page counts as far as it fits. */
export function kept(storage: Pick<Storage, "getItem">): Form {
  try {
    const found = JSON.parse(storage.getItem(KEPT) ?? "{}") as Record<string, unknown>;
    const names = Object.keys(EMPTY) as (keyof Form)[];
    const kind = (value: unknown) => (Array.isArray(value) ? "list" : typeof value);
    const fits = names.filter((name) => kind(found[name]) === kind(EMPTY[name]));
    return { ...EMPTY, ...Object.fromEntries(fits.map((name) => [name, found[name]])) };
  } catch {
    return EMPTY;
  }
}

export function keep(storage: Pick<Storage, "setItem">, form: Form): void {
  try {
    storage.setItem(KEPT, JSON.stringify(form));
  } catch {
    // Storage is closed to us or full: the form lasts as long as the page.
  }
}

/** What the address asks for, over what was kept. */
export function addressed(form: Form, search: { offers?: string; gpu?: string }): Form {
  const offers = (search.offers ?? "")
    .split(",")
    .map(Number)
    .filter((one) => Number.isInteger(one) && one > 0);
  const gpu = (search.gpu ?? "")
    .split(",")
    .map((one) => one.trim())
    .filter(Boolean);
  const any = gpu[0]?.toLowerCase() === "any";
  // Offers that were picked say which GPUs; what was wanted before would only stand in their way.
  if (offers.length) return { ...form, offers: [...new Set(offers)].slice(0, 100), gpu: any ? [] : gpu };
  return gpu.length ? { ...form, gpu: any ? [] : gpu } : form;
}

/** 12@180 or 12, as the address and `yard run --resume` name a version of another run. */
export function resumeOf(text: string | undefined): { workload: number; version: number | null } | null {
  const [, workload, version] = /^(\d{1,15})(?:@(\d{1,15}))?$/.exec(text ?? "") ?? [];
  return workload ? { workload: Number(workload), version: version === undefined ? null : Number(version) } : null;
}
