/** Events in plain words: what moved, why, and what of it is worth a mark on the curves. */

import type { Mark } from "@/design/Chart";
import { capital, plural, words } from "@/design/format";
import type { Move, Workload } from "./types";

export type Tone = "good" | "work" | "warn" | "bad" | "calm";

/** Who is who: events name placements and leases by number. */
export interface Names {
  site: (placement: number) => string;
  /** The machine of a lease, and its placement. */
  lease: (lease: number) => { name: string; placement: number | null };
}

export function namesOf(workload: Pick<Workload, "sites"> | null): Names {
  const sites = new Map<number, string>();
  const leases = new Map<number, { name: string; placement: number | null }>();
  for (const site of workload?.sites ?? []) {
    sites.set(site.placement, site.site);
    for (const node of site.nodes)
      leases.set(node.lease, { name: node.host ?? `lease ${node.lease}`, placement: site.placement });
  }
  return {
    site: (placement) => sites.get(placement) ?? `placement ${placement}`,
    lease: (lease) => leases.get(lease) ?? { name: `lease ${lease}`, placement: null },
  };
}

export interface Told {
  text: string;
  tone: Tone;
}

const WORKLOAD: Record<string, [string, Tone]> = {
  placing: ["It gets new machines", "work"],
  starting: ["Placed", "work"],
  running: ["All its sites train", "good"],
  recovering: ["Every site is lost; it waits for machines", "bad"],
  stopping: ["It stops", "warn"],
  succeeded: ["Succeeded", "good"],
  failed: ["Failed", "bad"],
  cancelled: ["Cancelled", "calm"],
};
const PLACEMENT: Record<string, [string, Tone]> = {
  joining: ["has its machines; the program starts", "work"],
  training: ["trains", "good"],
  draining: ["leaves", "warn"],
  closed: ["is closed", "calm"],
};
const LEASE: Record<string, [string, Tone]> = {
  booting: ["was rented and boots", "work"],
  held: ["is up", "good"],
  releasing: ["is given back", "calm"],
  released: ["was given back", "calm"],
  refused: ["was refused", "warn"],
  lost: ["was lost", "bad"],
};
/** How sites leave when nothing is wrong, and when a machine is. */
const DONE = /^(the script ended|the model is saved|the workload stops)/;
const LOST = /^lost a machine/;
const ROUND: Record<string, [string, Tone]> = {
  closed: ["A round was merged", "calm"],
  abandoned: ["A round came to nothing", "warn"],
};

/** One event in one sentence. The broker's own words say why. */
export function tell(move: Move, names: Names): Told {
  if (isDecision(move) && move.subject === "workload")
    return { text: decided(move.why), tone: stays(move) ? "calm" : "work" };
  if (move.from === move.to) return said(subjectOf(move, names), move.why || words(move.to), toneOfStaying(move));
  if (move.subject === "workload") return withWhy(WORKLOAD[move.to] ?? [words(move.to), "calm"], move.why);
  if (move.subject === "round") return withWhy(ROUND[move.to] ?? [words(move.to), "calm"], move.why);
  const known = move.subject === "placement" ? PLACEMENT : LEASE;
  const [verb, usual] = known[move.to] ?? [`is ${words(move.to).toLowerCase()}`, "calm"];
  const tone = move.to === "draining" && DONE.test(move.why) ? "calm" : usual;
  return withWhy(
    [`${subjectOf(move, names)} ${verb}`, tone],
    move.subject === "placement" && move.to === "closed" ? "" : move.why,
  );
}

function subjectOf(move: Move, names: Names): string {
  if (move.subject === "placement") return names.site(move.subject_id);
  if (move.subject === "lease") return names.lease(move.subject_id).name;
  return "";
}

const withWhy = ([text, tone]: readonly [string, Tone], why: string): Told => ({
  text: why ? `${text}: ${why}` : text,
  tone,
});
const said = (who: string, what: string, tone: Tone): Told => ({ text: who ? `${who}: ${what}` : capital(what), tone });

function toneOfStaying(move: Move): Tone {
  const { machines, before } = (move.figures ?? {}) as { machines?: number; before?: number };
  if (machines !== undefined && before !== undefined) return machines < before ? "bad" : "good";
  return move.subject === "lease" ? "warn" : "calm";
}

export const isDecision = (move: Move): boolean => move.figures !== null && move.subject === "workload";
export const stays = (move: Move): boolean => move.why === "stay";
const decided = (why: string): string =>
  why === "stay" ? "Looked again at where it runs: it stays" : `Decided: ${why}`;

// What is marked on the curves ------------------------------------------------------------------------------------------

export interface Marked {
  id: number;
  at: string;
  text: string;
  tone: NonNullable<Mark["tone"]>;
}

/** The moves that bend a curve: sites that came and left after the start, lost machines, notices, the policy's moves, the stop. */
export function marksOf(events: readonly Move[], names: Names): Marked[] {
  const started = events.find((move) => move.subject === "workload" && move.to === "running")?.id ?? Infinity;
  return events.flatMap((move) => {
    const found = marked(move, names, move.id > started);
    return found ? [{ id: move.id, at: move.at, ...found }] : [];
  });
}

function marked(move: Move, names: Names, started: boolean): Omit<Marked, "id" | "at"> | null {
  const { text } = tell(move, names);
  if (move.from === move.to) {
    if (isDecision(move)) return stays(move) ? null : { text, tone: "warn" };
    const tone = toneOfStaying(move);
    return { text, tone: tone === "bad" || tone === "good" ? tone : "warn" };
  }
  if (move.subject === "workload" && move.to === "recovering") return { text, tone: "bad" };
  if (move.subject === "workload" && move.to === "stopping") return { text, tone: "warn" };
  if (move.subject !== "placement") return null;
  if (move.to === "training") return started ? { text: `${names.site(move.subject_id)} joins`, tone: "good" } : null;
  if (move.to !== "draining" || DONE.test(move.why)) return null;
  return { text, tone: LOST.test(move.why) ? "bad" : "warn" };
}

// The timeline ----------------------------------------------------------------------------------------------------------

export type Filter = "all" | "moves" | "decisions";

export interface Entry {
  /** Of its first event: it stays where it is while more is added. */
  id: number;
  at: string;
  until: string;
  text: string;
  tone: Tone;
  moves: Move[];
}

interface Group extends Entry {
  kind: string;
}

const APART_MS = 10 * 60_000;

/** Newest first; steps of one coming or going are one entry. */
export function timeline(events: readonly Move[], names: Names, filter: Filter): Entry[] {
  const groups: Group[] = [];
  const newest = new Map<string, Group>();
  for (const move of events) {
    if (!passes(move, filter)) continue;
    const [key, kind] = groupOf(move, names);
    const group = newest.get(key);
    const goesOn = group && group.kind === kind && Date.parse(move.at) - Date.parse(group.until) < APART_MS;
    if (group && goesOn && (kind !== "round" && kind !== "stay" ? true : groups.at(-1) === group)) {
      group.moves.push(move);
      group.until = move.at;
    } else {
      const begun: Group = { id: move.id, at: move.at, until: move.at, text: "", tone: "calm", moves: [move], kind };
      groups.push(begun);
      newest.set(key, begun);
    }
  }
  return groups.map((group) => ({ ...group, ...headline(group, names) })).reverse();
}

function passes(move: Move, filter: Filter): boolean {
  // Each run leaves the round behind that it had opened for more.
  if (move.subject === "round" && move.to === "abandoned" && move.why === "the workload has ended") return false;
  if (filter === "decisions") return isDecision(move);
  if (filter === "moves") return move.subject !== "round" && !(isDecision(move) && stays(move));
  return true;
}

/** Whose the entry is, and what it is about: [key, kind]. */
function groupOf(move: Move, names: Names): [string, string] {
  if (move.subject === "round") return ["round", "round"];
  if (isDecision(move) && stays(move)) return ["stay", "stay"];
  if (move.subject === "workload") return ["workload", `${move.id}`];
  const placement = move.subject === "placement" ? move.subject_id : names.lease(move.subject_id).placement;
  return [`placement ${placement ?? move.id}`, wayOf(move)];
}

function wayOf(move: Move): string {
  if (move.from === move.to)
    return move.subject === "lease" ? `${move.id}` : toneOfStaying(move) === "bad" ? "leave" : "come";
  return ["releasing", "released", "lost", "refused", "draining", "closed"].includes(move.to) ? "leave" : "come";
}

/** What the entry says while it is folded: the last word of the site, else of its machines. */
function headline(group: Group, names: Names): Told {
  const last = group.moves.at(-1) as Move;
  if (group.kind === "round" && group.moves.length > 1)
    return { text: `${plural(group.moves.length, "round")} were merged`, tone: "calm" };
  if (group.kind === "stay" && group.moves.length > 1)
    return { text: `Looked ${group.moves.length} times at where it runs: it stays`, tone: "calm" };
  const ofSite = group.moves.filter(
    (move) => move.subject === "placement" && (move.to !== "closed" || group.moves.length === 1),
  );
  return tell(ofSite.at(-1) ?? last, names);
}

// The state in words ----------------------------------------------------------------------------------------------------

const STATES: Record<string, string> = {
  placing: "Looking for machines.",
  starting: "Machines are being started.",
  recovering: "Every site is lost; it waits for machines.",
  stopping: "Its sites hand in what they have and leave.",
};
const ENDS: Record<string, string> = {
  finished: "All samples are trained on and merged.",
  asked: "It was asked to stop.",
  budget: "Its budget was used up.",
  script_error: "The script failed.",
  refused_contributions: "What its sites handed in was refused several times running.",
  diverged: "Its parameters did not follow from the rounds any more.",
  no_capacity: "No suitable machines could be had.",
  silent: "Nothing was heard of its training for too long.",
  deadline: "It took longer than it may.",
  no_session: "The script ended without training.",
};

/** Why it is in its state, in a sentence; the broker's own words after the colon. */
export function stateInWords(workload: Workload): string {
  const training = workload.sites.filter((site) => site.state === "training").map((site) => site.site);
  const what = workload.end_reason
    ? (ENDS[workload.end_reason] ?? `${words(workload.end_reason)}.`)
    : workload.state === "running" && training.length > 0
      ? `Trains at ${listed(training)}.`
      : (STATES[workload.state] ?? "");
  return workload.why && what ? `${what.replace(/\.$/, "")}: ${workload.why}` : what || workload.why;
}

function listed(names: readonly string[]): string {
  const counted = new Map<string, number>();
  for (const name of names) counted.set(name, (counted.get(name) ?? 0) + 1);
  const all = [...counted].map(([name, many]) => (many > 1 ? `${name} (${many} sites)` : name));
  return all.length < 2 ? all.join("") : `${all.slice(0, -1).join(", ")} and ${all.at(-1)}`;
}
