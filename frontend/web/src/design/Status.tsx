/** How a thing fares: a shape, a colour and a word; the word alone would do. */

import type { ReactNode } from "react";
import { words } from "./format";
import { Icon, type IconName } from "./icons";

type Tone = "good" | "work" | "warn" | "bad" | "calm";

const TONES: Record<Tone, string> = {
  good: "bg-good-wash text-good",
  work: "bg-accent-wash text-accent-strong",
  warn: "bg-warn-wash text-warn",
  bad: "bg-bad-wash text-bad",
  calm: "bg-calm-wash text-soft",
};

const STATES: Record<string, [Tone, IconName]> = {
  // Workloads
  placing: ["work", "search"],
  starting: ["work", "clock"],
  running: ["good", "pulse"],
  recovering: ["warn", "warn"],
  stopping: ["work", "clock"],
  succeeded: ["good", "check"],
  failed: ["bad", "wrong"],
  cancelled: ["calm", "stop"],
  // Placements
  leasing: ["work", "search"],
  joining: ["work", "clock"],
  training: ["good", "pulse"],
  draining: ["warn", "clock"],
  closed: ["calm", "check"],
  // Leases
  requested: ["work", "search"],
  booting: ["work", "clock"],
  held: ["good", "pulse"],
  releasing: ["work", "clock"],
  released: ["calm", "check"],
  refused: ["warn", "warn"],
  lost: ["bad", "wrong"],
  // Hosts
  new: ["work", "clock"],
  offered: ["good", "check"],
  rented: ["good", "pulse"],
  reclaiming: ["warn", "clock"],
  reclaimed: ["calm", "minus"],
  silent: ["bad", "wrong"],
  barred: ["bad", "wrong"],
  // Contributions
  merged: ["good", "check"],
  accepted: ["work", "clock"],
  late: ["warn", "clock"],
};

/** An unknown state is shown as it is: the broker may know more words than this page. */
export function Status({ state, title }: { state: string; title?: string }): ReactNode {
  const [tone, icon] = STATES[state] ?? ["calm", "dot"];
  return (
    <Badge tone={tone} icon={icon} title={title}>
      {words(state)}
    </Badge>
  );
}

export function Badge({
  tone = "calm",
  icon,
  title,
  children,
}: {
  tone?: Tone;
  icon?: IconName;
  title?: string;
  children: ReactNode;
}): ReactNode {
  return (
    <span
      title={title}
      className={`inline-flex h-5.5 items-center gap-1 rounded-full px-2 text-xs font-medium whitespace-nowrap ${TONES[tone]}`}
    >
      {icon && <Icon name={icon} size={12} />}
      {children}
    </span>
  );
}
