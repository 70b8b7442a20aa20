/** A share of a whole as a bar, with a second part that is expected and a line that should not be crossed. */

import type { ReactNode } from "react";

interface BarProps {
  label: string;
  /** 0 to 1, each; null: not known yet. */
  value: number | null;
  expected?: number;
  limit?: number;
  /** In words, read aloud. */
  text: string;
  tone?: "accent" | "bad";
}

const width = (share: number) => ({ width: `${Math.max(0, Math.min(1, share)) * 100}%` });

export function Bar({ label, value, expected, limit, text, tone = "accent" }: BarProps): ReactNode {
  return (
    <div
      role="progressbar"
      aria-label={label}
      aria-valuemin={0}
      aria-valuemax={100}
      aria-valuetext={text}
      aria-valuenow={value === null ? undefined : Math.round(value * 100)}
      className="relative h-2.5 w-full overflow-hidden rounded-full bg-calm-wash"
    >
      {expected !== undefined && (
        <div
          className={`absolute inset-y-0 left-0 opacity-40 ${tone === "bad" ? "bg-bad" : "bg-accent"}`}
          style={width(expected)}
        />
      )}
      <div
        className={`absolute inset-y-0 left-0 rounded-r-full ${tone === "bad" ? "bg-bad" : "bg-accent"}`}
        style={width(value ?? 0)}
      />
      {limit !== undefined && limit < 1 && (
        <div className="absolute inset-y-0 w-0.5 bg-ink" style={{ left: `${limit * 100}%` }} />
      )}
    </div>
  );
}
