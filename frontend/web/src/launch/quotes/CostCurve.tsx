/** What more time saves: the cheapest cost for each deadline, with the deadline that was chosen and the quotes. */

import type { ReactNode } from "react";
import { Button } from "@/design/Button";
import { duration, usd } from "@/design/format";
import { useWidth } from "@/design/useWidth";
import { longerDeadline } from "../relax";
import { scaleOf, stairs, ticks } from "../scale";
import type { Quote, Quotes } from "../shapes";

const HEIGHT = 200;
const PAD = { left: 56, right: 16, top: 14, bottom: 30 };
const HOUR_S = 3600;

interface CurveProps {
  curve: Quotes["curve"];
  quotes: readonly Quote[];
  chosen: number;
  deadlineHours: number | undefined;
  onDeadline: (hours: string) => void;
}

export function CostCurve({ curve, quotes, chosen, deadlineHours, onDeadline }: CurveProps): ReactNode {
  const [box, width] = useWidth();
  const steps = stairs(curve);
  const marks = quotes.flatMap(({ rank, outcome }) =>
    outcome ? [{ rank, hours: outcome.late_s / HOUR_S, usd: Number(outcome.expected_usd) }] : [],
  );
  const [only] = steps;
  if (!only) return null;
  if (steps.length === 1) {
    return (
      <p className="px-4 pt-1 pb-3 text-sm text-soft">
        More time would save nothing: the cheapest way is the fastest too, {usd(only.usd)} within{" "}
        {duration(only.hours * HOUR_S)}.
      </p>
    );
  }
  const hours = scaleOf([...steps, ...marks].map((one) => one.hours).concat(deadlineHours ?? []));
  const cost = scaleOf([...steps, ...marks].map((one) => one.usd));
  const x = (value: number) => PAD.left + hours.at(value) * Math.max(1, width - PAD.left - PAD.right);
  const y = (value: number) => HEIGHT - PAD.bottom - cost.at(value) * (HEIGHT - PAD.top - PAD.bottom);
  const [first] = steps;
  const path =
    steps.map((one, at) => (at === 0 ? `M${x(one.hours)} ${y(one.usd)}` : `H${x(one.hours)}V${y(one.usd)}`)).join("") +
    `H${width - PAD.right}`;
  return (
    <figure>
      <figcaption className="px-4 pt-3 text-xs text-soft">
        The cheapest cost, USD, for a run that is done by then with the chance that is wanted.
      </figcaption>
      <div ref={box} className="w-full" style={{ height: HEIGHT }}>
        {width > 0 && (
          <svg width={width} height={HEIGHT} role="img" aria-label={summary(steps)} className="block text-[11px]">
            {ticks(cost.low, cost.high, 4).map((tick) => (
              <g key={tick}>
                <line x1={PAD.left} x2={width - PAD.right} y1={y(tick)} y2={y(tick)} className="stroke-line" />
                <text x={PAD.left - 8} y={y(tick) + 4} textAnchor="end" className="fill-soft">
                  {usd(tick)}
                </text>
              </g>
            ))}
            {ticks(hours.low, hours.high, width < 480 ? 4 : 7).map((tick) => (
              <text key={tick} x={x(tick)} y={HEIGHT - PAD.bottom + 18} textAnchor="middle" className="fill-soft">
                {tick === 0 || tick >= 1 ? `${tick} h` : duration(tick * HOUR_S)}
              </text>
            ))}
            {first && (
              <line
                x1={x(first.hours)}
                x2={x(first.hours)}
                y1={y(first.usd)}
                y2={PAD.top}
                className="stroke-line-1"
                strokeDasharray="2 3"
              />
            )}
            <path d={path} fill="none" className="stroke-line-1" strokeWidth="2" />
            {deadlineHours !== undefined && <Deadline at={x(deadlineHours)} width={width} />}
            {marks.map((one) => (
              <Mark key={one.rank} x={x(one.hours)} y={y(one.usd)} rank={one.rank} chosen={one.rank === chosen} />
            ))}
          </svg>
        )}
      </div>
      <div className="flex flex-wrap items-center gap-1.5 px-4 pb-3 text-xs">
        <span className="text-soft">Take a deadline:</span>
        {steps.map((one) => (
          <Button key={one.hours} size="sm" className="text-xs!" onClick={() => onDeadline(longerDeadline(one.hours))}>
            {duration(one.hours * HOUR_S)} <span className="text-soft">{usd(one.usd)}</span>
          </Button>
        ))}
      </div>
    </figure>
  );
}

function Deadline({ at, width }: { at: number; width: number }): ReactNode {
  const left = at > width - 90;
  return (
    <g>
      <line
        x1={at}
        x2={at}
        y1={PAD.top}
        y2={HEIGHT - PAD.bottom}
        className="stroke-warn"
        strokeWidth="1.5"
        strokeDasharray="4 3"
      />
      <text x={left ? at - 6 : at + 6} y={PAD.top + 8} textAnchor={left ? "end" : "start"} className="fill-warn">
        Deadline
      </text>
    </g>
  );
}

function Mark({ x, y, rank, chosen }: { x: number; y: number; rank: number; chosen: boolean }): ReactNode {
  return (
    <g>
      <circle
        cx={x}
        cy={y}
        r="8"
        className={chosen ? "fill-accent stroke-card" : "fill-card stroke-edge"}
        strokeWidth="1.5"
      />
      <text
        x={x}
        y={y + 3.5}
        textAnchor="middle"
        className={`text-[10px] font-semibold ${chosen ? "fill-on-accent" : "fill-ink"}`}
      >
        {rank}
      </text>
    </g>
  );
}

function summary(steps: readonly { hours: number; usd: number }[]): string {
  return `Cost against deadline. ${steps.map((one) => `Within ${duration(one.hours * HOUR_S)}: ${usd(one.usd)}`).join(". ")}.`;
}
