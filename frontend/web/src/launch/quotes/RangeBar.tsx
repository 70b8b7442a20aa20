/** One time of ten less, as likely more as less, nine times of ten less: as a bar on a scale that all quotes share. */

import type { ReactNode } from "react";
import type { Scale } from "../scale";
import type { Range } from "../shapes";

interface BarProps {
  range: Range;
  scale: Scale;
  upright?: boolean;
}

/** Only the bar: the figures stand beside it. */
export function RangeBar({ range, scale, upright }: BarProps): ReactNode {
  const share = (value: number) => `${(scale.at(value) * 100).toFixed(1)}%`;
  const length = `max(3px, ${((scale.at(range.p90) - scale.at(range.p10)) * 100).toFixed(1)}%)`;
  return upright ? (
    <span aria-hidden="true" className="relative block h-14 w-2.5 shrink-0 rounded-sm bg-calm-wash">
      <span
        className="absolute inset-x-0 rounded-sm bg-line-1/45"
        style={{ bottom: share(range.p10), height: length }}
      />
      <span className="absolute -inset-x-0.75 h-0.5 bg-line-1" style={{ bottom: `calc(${share(range.p50)} - 1px)` }} />
    </span>
  ) : (
    <span aria-hidden="true" className="relative block h-2.5 w-full rounded-sm bg-calm-wash">
      <span className="absolute inset-y-0 rounded-sm bg-line-1/45" style={{ left: share(range.p10), width: length }} />
      <span className="absolute -inset-y-0.75 w-0.5 bg-line-1" style={{ left: `calc(${share(range.p50)} - 1px)` }} />
    </span>
  );
}

interface FiguresProps extends BarProps {
  format: (value: number) => string;
}

export function Upright({ range, scale, format }: FiguresProps): ReactNode {
  return (
    <span className="flex items-center gap-2.5">
      <RangeBar range={range} scale={scale} upright />
      <span className="tabular-nums">
        <span className="block text-xs text-soft">
          <span className="sr-only">Nine times of ten less than </span>
          {format(range.p90)}
        </span>
        <span className="block font-semibold">
          <span className="sr-only">As likely more as less: </span>
          {format(range.p50)}
        </span>
        <span className="block text-xs text-soft">
          <span className="sr-only">One time of ten less than </span>
          {format(range.p10)}
        </span>
      </span>
    </span>
  );
}

export function Lying({ label, range, scale, format }: FiguresProps & { label: string }): ReactNode {
  return (
    <div>
      <div className="mb-1 flex items-baseline justify-between gap-2">
        <span className="text-xs text-soft">{label}</span>
        <span className="font-semibold tabular-nums">{format(range.p50)}</span>
      </div>
      <RangeBar range={range} scale={scale} />
      <div className="mt-0.5 flex justify-between text-xs text-soft tabular-nums">
        <span>
          <span className="sr-only">One time of ten less than </span>
          {format(range.p10)}
        </span>
        <span>
          <span className="sr-only">Nine times of ten less than </span>
          {format(range.p90)}
        </span>
      </div>
    </div>
  );
}
