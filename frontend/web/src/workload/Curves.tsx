/** Loss and throughput, with the moves marked on both and told below. */

import { useMemo, useState, type ReactNode } from "react";
import { Chart } from "@/design/chart-lazy";
import type { Line, Mark } from "@/design/Chart";
import { Select } from "@/design/Field";
import { clock, count, decimal, instant, moment, words } from "@/design/format";
import { Icon, type IconName } from "@/design/icons";
import { Card } from "@/design/Layout";
import { Segmented } from "@/design/Segmented";
import {
  aligned,
  isLoss,
  onlyPositive,
  placeOn,
  sitesLeftOut,
  throughputLines,
  valueLines,
  valueNames,
  type Axis,
  type Drawn,
  type Place,
} from "./curves";
import type { Live } from "./live";
import type { Marked } from "./moves";
import { isOver, type Workload } from "./types";

const LOSS = "losses";
const LOSS_PX = 190;
const SPEED_PX = 110;
/** So many marks are drawn; a run on spot machines may have hundreds. */
const MARKS_MAX = 60;
const NONE: readonly never[] = [];
const AXES = { time: { xIs: "time", xLabel: "Time" }, samples: { xIs: "number", xLabel: "Samples" } } as const;

interface CurvesProps {
  workload: Workload;
  live: Live;
  marks: readonly Marked[];
  waiting: boolean;
}

export function Curves({ workload, live, marks, waiting }: CurvesProps): ReactNode {
  const [axis, setAxis] = useState<Axis>("time");
  const [scale, setScale] = useState<"linear" | "log">("linear");
  const [by, setBy] = useState<"all" | "site">("all");
  const [value, setValue] = useState(LOSS);
  const [looked, setLooked] = useState<number | null>(null);
  const shown = useMemo(() => marks.slice(-MARKS_MAX), [marks]);
  const names = useMemo(() => valueNames(live.metrics), [live.metrics]);
  const place = usePlace(axis, live, workload.samples.merged);
  const reported = useValues({ live, names, value, bySite: by === "site", log: scale === "log", place });
  const merged = useMemo(() => throughputLines(live.rounds, place), [live.rounds, place]);
  const [values, throughput] = useMemo(() => aligned(reported, merged) as [Drawn, Drawn], [reported, merged]);
  const drawnMarks = useMarks(marks.length - shown.length, shown, looked, place);
  const left = sitesLeftOut(live.rounds);

  const axes = { ...AXES[axis], together: `workload ${workload.id}` };
  return (
    <Card title="Curves" aside={<Choices {...{ axis, setAxis, scale, setScale, by, setBy, value, setValue, names }} />}>
      <div className="px-4 py-3">
        <Plot
          title={value === LOSS ? "Loss" : words(value)}
          drawn={values}
          height={LOSS_PX}
          log={scale === "log"}
          marks={drawnMarks}
          {...axes}
          nothing={nothing(
            waiting || workload.loss !== null, // What is known already is on its way.
            isOver(workload),
            "No loss was reported. A script reports with run.report(loss=loss).",
            "The loss shows here with the first report of the script.",
          )}
        />
        <Plot
          title="Throughput, samples/s"
          drawn={throughput}
          height={SPEED_PX}
          marks={drawnMarks}
          {...axes}
          nothing={nothing(
            waiting || (workload.version ?? 0) > 0,
            isOver(workload),
            "No round was closed.",
            "The throughput shows here when the first round has closed.",
          )}
        />
        {(live.thinned?.metrics_one_in ?? 1) > 1 && (
          <p className="text-xs text-soft">
            Of what was reported before this page was opened one row in {live.thinned?.metrics_one_in} is drawn; of what
            is reported seldom, more.
          </p>
        )}
        {left > 0 && <p className="text-xs text-soft">The throughput of {left} more sites is under Sites and nodes.</p>}
      </div>
      <MarkList waiting={waiting} marks={shown} before={marks.length - shown.length} looked={looked} look={setLooked} />
    </Card>
  );
}

const nothing = (waiting: boolean, over: boolean, never: string, soon: string): string =>
  waiting ? "" : over ? never : soon;

/** By time the place of a moment never changes; by samples it does with each round. */
function usePlace(axis: Axis, live: Live, merged: number): Place {
  const rounds = axis === "time" ? (NONE as Live["rounds"]) : live.rounds;
  const known = axis === "time" ? 0 : merged;
  return useMemo(() => placeOn(axis, rounds, known), [axis, rounds, known]);
}

interface ValuesGiven {
  live: Live;
  names: readonly string[];
  value: string;
  bySite: boolean;
  log: boolean;
  place: Place;
}

function useValues({ live: { metrics }, names, value, bySite, log, place }: ValuesGiven): Drawn {
  return useMemo(() => {
    const chosen = value === LOSS ? names.filter(isLoss) : [value];
    const drawn = valueLines(metrics, chosen, bySite, place);
    return log ? onlyPositive(drawn) : drawn;
  }, [metrics, names, value, bySite, log, place]);
}

function useMarks(before: number, shown: readonly Marked[], looked: number | null, place: Place): Mark[] {
  return useMemo(
    () =>
      shown.map((mark, index) => ({
        x: place(Date.parse(mark.at) / 1000),
        label: mark.text,
        tone: mark.tone,
        flag: String(before + index + 1),
        strong: mark.id === looked,
      })),
    [before, shown, looked, place],
  );
}

interface PlotProps {
  title: string;
  drawn: Drawn;
  height: number;
  nothing: string;
  marks: readonly Mark[];
  xIs: "time" | "number";
  xLabel: string;
  together: string;
  log?: boolean;
}

function Plot({ title, drawn, height, nothing, ...chart }: PlotProps): ReactNode {
  return (
    <div className="min-w-0">
      <h3 className="label-caps">{title}</h3>
      {drawn.xs.length > 0 ? (
        <Chart label={title} xs={drawn.xs} lines={drawn.lines as Line[]} height={height} format={short} {...chart} />
      ) : (
        <p
          className="flex items-center justify-center px-4 text-center text-sm text-soft"
          style={{ minHeight: height + 28 }}
        >
          {nothing}
        </p>
      )}
    </div>
  );
}

function short(value: number): string {
  const size = Math.abs(value);
  return size >= 1000 ? count(Math.round(value)) : decimal(value, size < 0.01 ? 5 : 3);
}

interface ChoicesProps {
  axis: Axis;
  setAxis: (axis: Axis) => void;
  scale: "linear" | "log";
  setScale: (scale: "linear" | "log") => void;
  by: "all" | "site";
  setBy: (by: "all" | "site") => void;
  value: string;
  setValue: (value: string) => void;
  names: readonly string[];
}

function Choices({ axis, setAxis, scale, setScale, by, setBy, value, setValue, names }: ChoicesProps): ReactNode {
  const others = names.filter((name) => name !== "loss");
  return (
    <div className="flex flex-wrap items-center gap-2">
      {others.length > 0 && (
        <div className="w-36">
          <Select
            label="Value"
            hidden
            value={value}
            onChange={(event) => setValue(event.target.value)}
            className="!h-7"
            options={[[LOSS, "Loss"] as const, ...names.map((name) => [name, name] as const)]}
          />
        </div>
      )}
      <Segmented
        label="Lines of the loss"
        options={[
          ["all", "All sites"],
          ["site", "Each site"],
        ]}
        value={by}
        onChange={setBy}
      />
      <Segmented
        label="Scale of the loss"
        options={[
          ["linear", "Linear"],
          ["log", "Log"],
        ]}
        value={scale}
        onChange={setScale}
      />
      <Segmented
        label="Along the bottom"
        options={[
          ["time", "Time"],
          ["samples", "Samples"],
        ]}
        value={axis}
        onChange={setAxis}
      />
    </div>
  );
}

const ICONS: Record<Marked["tone"], [IconName, string]> = {
  bad: ["wrong", "text-bad"],
  good: ["check", "text-good"],
  warn: ["warn", "text-warn"],
};

interface MarkListProps {
  waiting: boolean;
  marks: readonly Marked[];
  /** So many are not shown. */
  before: number;
  looked: number | null;
  look: (id: number | null) => void;
}

/** The marks in words; the one that is pointed at, or was pressed, stands out in the curves. */
function MarkList({ waiting, marks, before, looked, look }: MarkListProps): ReactNode {
  const [pinned, setPinned] = useState<number | null>(null);
  const rest = () => look(pinned);
  return (
    <div className="h-32 overflow-y-auto border-t border-line px-2 py-1.5">
      <h3 className="sr-only">Moves that are marked in the curves</h3>
      {before > 0 && (
        <p className="px-2 text-xs text-soft">
          The newest {marks.length} of {before + marks.length}; all are in the timeline.
        </p>
      )}
      {marks.length === 0 && !waiting && (
        <p className="px-2 text-xs text-soft">
          No moves: sites that come, go or are lost are marked in the curves and told here.
        </p>
      )}
      <ol>
        {marks.map((mark, index) => (
          <li key={mark.id}>
            <button
              type="button"
              aria-pressed={pinned === mark.id}
              onMouseEnter={() => look(mark.id)}
              onMouseLeave={rest}
              onFocus={() => look(mark.id)}
              onBlur={rest}
              onClick={() => {
                setPinned(pinned === mark.id ? null : mark.id);
                look(pinned === mark.id ? null : mark.id);
              }}
              className={`flex min-h-6 w-full items-start gap-2 rounded-md px-2 py-0.5 text-left text-sm -outline-offset-2 hover:bg-hover aria-pressed:bg-accent-wash ${looked === mark.id ? "bg-hover" : ""}`}
            >
              <span className="num w-6 shrink-0 text-xs leading-5 font-semibold">{before + index + 1}</span>
              <Icon name={ICONS[mark.tone][0]} size={14} className={`mt-0.75 ${ICONS[mark.tone][1]}`} />
              <span className="min-w-0 grow">{mark.text}</span>
              <time
                dateTime={mark.at}
                title={instant(mark.at)}
                className="shrink-0 text-xs leading-5 text-soft tabular-nums"
              >
                {isToday(mark.at) ? clock(mark.at) : moment(mark.at)}
              </time>
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}

const isToday = (at: string): boolean => new Date(at).toDateString() === new Date().toDateString();
