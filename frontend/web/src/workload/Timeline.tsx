/** Events in plain words, newest first: what came, what went, what was decided and on which figures. */

import { useMemo, useState, type ReactNode } from "react";
import { Button } from "@/design/Button";
import { clock, day, decimal, duration, NOTHING, plural, zone } from "@/design/format";
import { Icon, type IconName } from "@/design/icons";
import { Card, Empty, Loading } from "@/design/Layout";
import { Segmented } from "@/design/Segmented";
import { tell, timeline, type Entry, type Filter, type Names, type Tone } from "./moves";
import { Moment } from "./parts";
import type { Move, Workload } from "./types";

const SHOWN = 100;
const FILTERS = [
  ["all", "All"],
  ["moves", "Moves"],
  ["decisions", "Decisions"],
] as const;
const ICONS: Record<Tone, [IconName, string]> = {
  good: ["check", "text-good"],
  work: ["right", "text-accent"],
  warn: ["warn", "text-warn"],
  bad: ["wrong", "text-bad"],
  calm: ["dot", "text-soft"],
};
const NOTHING_OF: Record<Filter, [string, string]> = {
  all: ["Nothing happened yet", "Each step of the workload, its sites and their machines shows here."],
  moves: ["No moves yet", "Sites and machines that come and go show here."],
  decisions: [
    "Nothing was decided yet",
    "Every few minutes the broker looks whether the workload is where it should be, and writes down what it decided on.",
  ],
};

interface TimelineProps {
  workload: Workload;
  events: readonly Move[];
  names: Names;
  waiting: boolean;
}

export function Timeline({ workload, events, names, waiting }: TimelineProps): ReactNode {
  const [filter, setFilter] = useState<Filter>("all");
  const [most, setMost] = useState(SHOWN);
  const entries = useMemo(() => timeline(events, names, filter), [events, names, filter]);
  return (
    <Card
      title="What happened"
      aside={<Segmented label="Show" options={FILTERS} value={filter} onChange={setFilter} />}
    >
      {waiting ? (
        <Loading lines={5} label="Events are on their way" />
      ) : (
        <div className="px-4 py-2">
          {entries.length === 0 && <Empty icon="clock" title={NOTHING_OF[filter][0]} about={NOTHING_OF[filter][1]} />}
          <ol>
            {entries.slice(0, most).map((entry, index) => (
              <li key={entry.id} className="flex gap-3 py-0.5">
                <When at={entry.at} before={entries[index - 1]?.at} />
                <Icon name={ICONS[entry.tone][0]} size={14} className={`mt-1 ${ICONS[entry.tone][1]}`} />
                <div className="min-w-0 grow">
                  <One entry={entry} names={names} />
                </div>
              </li>
            ))}
            {filter === "all" && entries.length <= most && (
              <li className="flex gap-3 py-0.5">
                <When at={workload.created_at} before={entries.at(-1)?.at} />
                <Icon name="dot" size={14} className="mt-1 text-soft" />
                <p className="text-sm">Ordered as quote {workload.quote}</p>
              </li>
            )}
          </ol>
          {entries.length > most && (
            <Button size="sm" className="my-2" onClick={() => setMost(most + SHOWN)}>
              Show {Math.min(SHOWN, entries.length - most)} older
            </Button>
          )}
          <p className="sr-only">Times are in {zone()}.</p>
        </div>
      )}
    </Card>
  );
}

/** The time; the day above it where it is another than the entry's before. */
function When({ at, before }: { at: string; before: string | undefined }): ReactNode {
  const turned = before === undefined ? day(at) !== day(new Date()) : day(at) !== day(before);
  return (
    <span className="w-16 shrink-0 text-xs leading-5 text-soft tabular-nums">
      {turned && <span className="block font-medium">{day(at)}</span>}
      <Moment at={at} show={clock} />
    </span>
  );
}

function One({ entry, names }: { entry: Entry; names: Names }): ReactNode {
  const [first] = entry.moves;
  if (entry.moves.length === 1 && first) {
    if (!first.figures || Object.keys(first.figures).length === 0)
      return <p className="min-h-6 text-sm">{entry.text}</p>;
    return (
      <details>
        <summary className="min-h-6 text-sm">
          {entry.text} <span className="text-xs text-soft">figures</span>
        </summary>
        <Figures figures={first.figures} />
      </details>
    );
  }
  const took = (Date.parse(entry.until) - Date.parse(entry.at)) / 1000;
  return (
    <details>
      <summary className="min-h-6 text-sm">
        {entry.text}{" "}
        <span className="text-xs text-soft">
          {plural(entry.moves.length, "step")}
          {took >= 1 ? ` in ${duration(took)}` : ""}
        </span>
      </summary>
      <ol className="mt-1 mb-2 border-l border-line pl-3">
        {entry.moves.map((move) => (
          <li key={move.id} className="flex gap-3 py-0.5 text-sm">
            <span className="w-14 shrink-0 text-xs leading-5 text-soft tabular-nums">
              <Moment at={move.at} show={clock} />
            </span>
            <div className="min-w-0">
              <p>{tell(move, names).text}</p>
              {move.figures && Object.keys(move.figures).length > 0 && (
                <details>
                  <summary className="min-h-6 text-xs text-soft">figures</summary>
                  <Figures figures={move.figures} />
                </details>
              )}
            </div>
          </li>
        ))}
      </ol>
    </details>
  );
}

/** What a decision was made on: figures, or groups of them under a name. */
function Figures({ figures }: { figures: Record<string, unknown> }): ReactNode {
  return (
    <dl className="mt-1 mb-2 grid w-fit max-w-full grid-cols-[auto_auto] gap-x-6 border-l border-line pl-3 text-sm">
      {Object.entries(figures).map(([name, value]) => {
        const said = name.replaceAll("_", " ");
        const inner =
          typeof value === "object" && value !== null && !Array.isArray(value)
            ? (value as Record<string, unknown>)
            : null;
        return inner ? (
          <div key={name} className="col-span-2">
            <dt className="text-soft">{said}</dt>
            <dd>
              <Figures figures={inner} />
            </dd>
          </div>
        ) : (
          <div key={name} className="contents">
            <dt className="text-soft">{said}</dt>
            <dd className="num">{shown(value)}</dd>
          </div>
        );
      })}
    </dl>
  );
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return NOTHING;
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : decimal(value, 4);
  return Array.isArray(value) ? value.map(shown).join(", ") : String(value);
}
