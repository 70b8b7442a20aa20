/** A price's last days in a word-sized line. */

import { memo, type ReactNode } from "react";
import { price } from "./format";

const WIDTH = 72;
const HEIGHT = 18;
const PAD = 2;

/** values: oldest first, evenly spaced; null where there was no price. */
export const Spark = memo(function Spark({
  values,
  label,
}: {
  values: readonly (number | null)[];
  label: string;
}): ReactNode {
  const known = values.filter((one): one is number => one !== null);
  if (known.length < 2)
    return (
      <span className="text-soft" aria-label={`${label}: no history yet`}>
        ·
      </span>
    );
  const low = Math.min(...known);
  const high = Math.max(...known);
  const x = (at: number) => PAD + (at / (values.length - 1)) * (WIDTH - 2 * PAD);
  const y = (value: number) =>
    high === low ? HEIGHT / 2 : PAD + (1 - (value - low) / (high - low)) * (HEIGHT - 2 * PAD);
  // Prices are steps: they hold until they change.
  let path = "";
  let before: number | null = null;
  values.forEach((value, at) => {
    if (value === null) return;
    path +=
      before === null ? `M${x(at).toFixed(1)} ${y(value).toFixed(1)}` : `H${x(at).toFixed(1)}V${y(value).toFixed(1)}`;
    before = value;
  });
  const first = known[0] as number;
  const last = known[known.length - 1] as number;
  const moved = last === first ? "unchanged" : `${last > first ? "up" : "down"} from ${price(first)}`;
  return (
    <svg
      role="img"
      aria-label={`${label}: ${moved}`}
      width={WIDTH}
      height={HEIGHT}
      viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
      className="inline-block align-middle"
    >
      <path d={path} fill="none" stroke="currentColor" strokeWidth="1.25" className="text-soft" />
      <circle cx={x(values.length - 1)} cy={y(last)} r="1.75" className="fill-accent" />
    </svg>
  );
});
