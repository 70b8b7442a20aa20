/** What came in day by day, in small bars; the words say the same. */

import type { ReactNode } from "react";
import { day as short, plural, usd } from "@/design/format";
import type { Earned } from "./api";
import { totalUsd } from "./states";

const WIDTH = 300;
const HEIGHT = 48;

/** In UTC, as the broker counts days. */
const named = (day: string) => short(new Date(`${day}T12:00:00Z`));

export function Bars({ days, label }: { days: readonly Earned[]; label: string }): ReactNode {
  const most = Math.max(...days.map(({ usd: amount }) => Number(amount)), 0);
  const total = totalUsd(days);
  const earning = days.filter(({ usd: amount }) => Number(amount) > 0).length;
  const best = days.find(({ usd: amount }) => most > 0 && Number(amount) === most);
  const said = `${label}: ${usd(total)} USD on ${plural(earning, "day")} of ${days.length}${best ? `, most on ${named(best.day)}, ${usd(most)}` : ""}.`;
  const step = WIDTH / Math.max(days.length, 1);
  return (
    <figure className="min-w-0">
      <svg
        role="img"
        aria-label={said}
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        className="block h-12 w-full"
      >
        {days.map(({ day, usd: amount }, at) => {
          const height = most > 0 && Number(amount) > 0 ? Math.max(2, (Number(amount) / most) * (HEIGHT - 2)) : 1;
          return (
            <rect
              key={day}
              x={at * step + step * 0.1}
              y={HEIGHT - height}
              width={step * 0.8}
              height={height}
              className={height > 1 ? "fill-accent" : "fill-line"}
            >
              <title>{`${named(day)}: ${usd(amount)}`}</title>
            </rect>
          );
        })}
      </svg>
      {days.length > 0 && (
        <figcaption className="mt-1 flex justify-between text-xs text-soft">
          <span>{named((days[0] as Earned).day)}</span>
          <span>{best ? `highest ${usd(most)} on ${named(best.day)}` : "nothing yet"}</span>
          <span>today, UTC</span>
        </figcaption>
      )}
    </figure>
  );
}
