/** Boxes and what stands in them: cards, figures, nothing yet, something wrong, not here yet. */

import type { ReactNode } from "react";
import { Problem } from "@/api/client";
import { Button } from "./Button";
import { capital } from "./format";
import { Icon, type IconName } from "./icons";
import { useTitle } from "./title";

export function PageHead({
  title,
  about,
  children,
}: {
  title: string;
  about?: ReactNode;
  children?: ReactNode;
}): ReactNode {
  useTitle(title);
  return (
    <header className="mb-4 flex flex-wrap items-end justify-between gap-x-6 gap-y-2">
      <div>
        <h1 className="text-xl">{title}</h1>
        {about && <p className="text-sm text-soft">{about}</p>}
      </div>
      {children && <div className="flex flex-wrap items-center gap-2">{children}</div>}
    </header>
  );
}

export function Card({
  title,
  aside,
  className = "",
  children,
}: {
  title?: ReactNode;
  aside?: ReactNode;
  className?: string;
  children: ReactNode;
}): ReactNode {
  return (
    <section className={`min-w-0 rounded-lg border border-line bg-card ${className}`}>
      {title && (
        <div className="flex min-h-11 flex-wrap items-center justify-between gap-2 border-b border-line px-4 py-1.5">
          <h2 className="text-sm font-semibold">{title}</h2>
          {aside && <div className="flex items-center gap-2 text-sm text-soft">{aside}</div>}
        </div>
      )}
      {children}
    </section>
  );
}

/** A figure with its name and unit. */
export function Figure({
  label,
  value,
  unit,
  about,
  tone,
}: {
  label: string;
  value: ReactNode;
  unit?: string;
  about?: ReactNode;
  tone?: "good" | "warn" | "bad";
}): ReactNode {
  const colour = tone === "bad" ? "text-bad" : tone === "warn" ? "text-warn" : tone === "good" ? "text-good" : "";
  return (
    <div className="min-w-0">
      <dt className="label-caps">{label}</dt>
      <dd>
        <span className={`text-lg font-semibold tabular-nums ${colour}`}>{value}</span>
        {unit && <span className="ml-1 text-xs text-soft">{unit}</span>}
        {about && <div className="text-xs text-soft">{about}</div>}
      </dd>
    </div>
  );
}

/** Nothing here yet, and what to do about it. */
export function Empty({
  icon = "info",
  title,
  about,
  children,
}: {
  icon?: IconName;
  title: string;
  about?: ReactNode;
  children?: ReactNode;
}): ReactNode {
  return (
    <div className="flex flex-col items-center gap-1 px-6 py-12 text-center">
      <Icon name={icon} size={24} className="mb-2 text-soft" />
      <p className="font-medium">{title}</p>
      {about && <p className="max-w-md text-sm text-soft">{about}</p>}
      {children && <div className="mt-3 flex flex-wrap justify-center gap-2">{children}</div>}
    </div>
  );
}

/** What was wrong, and what to do next. */
export function Fault({
  error,
  retry,
  className = "",
}: {
  error: unknown;
  retry?: () => void;
  className?: string;
}): ReactNode {
  const problem = error instanceof Problem ? error : null;
  return (
    <div
      role="alert"
      className={`flex items-start gap-2 rounded-md bg-bad-wash px-3 py-2 text-sm text-bad ${className}`}
    >
      <Icon name="wrong" className="mt-0.5" />
      <div className="min-w-0 grow">
        <p className="font-medium">{error instanceof Error ? capital(error.message) : "Something went wrong."}</p>
        {problem?.hint && <p className="text-ink">{capital(problem.hint)}</p>}
      </div>
      {retry && (
        <Button size="sm" onClick={retry}>
          Try again
        </Button>
      )}
    </div>
  );
}

/** Room for what is on its way, so that nothing jumps when it comes. */
export function Loading({ lines = 4, label = "Loading" }: { lines?: number; label?: string }): ReactNode {
  return (
    <div role="status" aria-label={label} className="space-y-3 p-4">
      {Array.from({ length: lines }, (_, line) => (
        <div
          key={line}
          className="h-4 animate-pulse rounded-sm bg-calm-wash"
          style={{ width: `${90 - ((line * 17) % 45)}%` }}
        />
      ))}
    </div>
  );
}
