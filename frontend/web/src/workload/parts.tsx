/** Small things that several parts of the page show the same way. */

import type { ReactNode } from "react";
import { instant, moment, NOTHING } from "@/design/format";

/** Cells of a table without columns of its own width. */
export const HEAD = "py-1.5 pr-4 text-left label-caps whitespace-nowrap last:pr-0";
export const HEAD_NUM = "py-1.5 pr-4 num label-caps whitespace-nowrap last:pr-0";
export const CELL = "py-1.5 pr-4 align-top whitespace-nowrap last:pr-0";

/** What may be wider than the page: it scrolls by itself, by keyboard too. */
export function Wide({
  label,
  className = "",
  children,
}: {
  label: string;
  className?: string;
  children: ReactNode;
}): ReactNode {
  return (
    // It scrolls, so it can be reached by keyboard.

    <div
      role="region"
      aria-label={label}
      tabIndex={0}
      className={`relative overflow-x-auto -outline-offset-2 ${className}`}
    >
      {children}
    </div>
  );
}

/** A moment in the zone of who looks; in full on hover. */
export function Moment({ at, show = moment }: { at: string | null; show?: (at: string) => string }): ReactNode {
  return at ? (
    <time dateTime={at} title={instant(at)}>
      {show(at)}
    </time>
  ) : (
    <span className="text-soft">{NOTHING}</span>
  );
}
