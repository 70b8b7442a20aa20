/** Sites on a map of the world: land as dots, each site with its number and name beside it, lines between those that work together. */

import { useMemo, type ReactNode } from "react";
import { COLUMNS, FROM_Y, land, STEP } from "./land";
import { useWidth } from "./useWidth";
import { LINE_PX, placeLabels, project, viewOf, WORLD, type Label } from "./world";

export interface Place {
  id: string;
  name: string;
  /** In its pin. */
  number: number;
  latitude: number;
  longitude: number;
  /** Shown weaker than the others. */
  faint?: boolean;
}

interface MapProps {
  label: string;
  places: readonly Place[];
  /** Pairs of ids. */
  links?: readonly (readonly [string, string])[];
}

const LETTER_PX = 6.4; // At 11 px, a little wide.
const NAME_MAX = 26;
const PIN_PX = 15;

export function WorldMap({ label, places, links = [] }: MapProps): ReactNode {
  const [box, width] = useWidth();
  const height = Math.round(Math.min(340, Math.max(190, width * 0.42)));
  return (
    <div ref={box} className="w-full overflow-hidden" style={{ height }}>
      {width > 0 && <Drawn {...{ label, places, links, width, height }} />}
    </div>
  );
}

function Drawn({
  label,
  places,
  links,
  width,
  height,
}: Required<MapProps> & { width: number; height: number }): ReactNode {
  const flat = places.map((one) => project(one.latitude, one.longitude));
  const view = viewOf(flat, width / height);
  const scale = width / view.width;
  const points = new Map(places.map((one, index) => [one.id, flat[index] ?? { x: 0, y: 0 }]));
  const at = (id: string) => {
    const { x, y } = points.get(id) ?? { x: 0, y: 0 };
    return { x: (x - view.x) * scale, y: (y - view.y) * scale };
  };
  const names = places.map((one) =>
    one.name.length > NAME_MAX ? `${one.name.slice(0, NAME_MAX - 1)}\u2026` : one.name,
  );
  const wide = (name: string | undefined) => PIN_PX + 4 + (name?.length ?? 0) * LETTER_PX;
  const labels = placeLabels(
    places.map((one, index) => ({ ...at(one.id), width: wide(names[index]) })),
    { width, height },
  );
  const faint = new Set(places.filter((one) => one.faint).map((one) => one.id));
  return (
    <svg
      width={width}
      height={height}
      role="img"
      aria-label={`${label}: ${places.map((one) => `${one.number} ${one.name}`).join(", ")}`}
      className="block"
    >
      <g transform={`scale(${scale}) translate(${-view.x} ${-view.y})`}>
        <Land />
      </g>
      {links.map(([from, to]) => (
        <path
          key={`${from} ${to}`}
          d={arc(at(from), at(to))}
          fill="none"
          strokeWidth={faint.has(from) || faint.has(to) ? 1 : 1.75}
          className={faint.has(from) || faint.has(to) ? "stroke-edge" : "stroke-accent"}
          strokeDasharray={faint.has(from) || faint.has(to) ? "2 3" : undefined}
        />
      ))}
      {places.map((one, index) => (
        <Pinned
          key={one.id}
          place={one}
          name={names[index] ?? ""}
          x={at(one.id).x}
          y={at(one.id).y}
          label={labels[index] as Label}
        />
      ))}
    </svg>
  );
}

/** Bent a little, so that lines over the same sites can be told apart. */
function arc(from: { x: number; y: number }, to: { x: number; y: number }): string {
  const bend = 0.14;
  const x = (from.x + to.x) / 2 + (to.y - from.y) * bend;
  const y = (from.y + to.y) / 2 - Math.abs(to.x - from.x) * bend;
  return `M${from.x.toFixed(1)} ${from.y.toFixed(1)}Q${x.toFixed(1)} ${y.toFixed(1)} ${to.x.toFixed(1)} ${to.y.toFixed(1)}`;
}

function Pinned({
  place,
  name,
  x,
  y,
  label,
}: {
  place: Place;
  name: string;
  x: number;
  y: number;
  label: Label;
}): ReactNode {
  const right = label.side === "right";
  const pin = right ? label.x + PIN_PX / 2 : label.x - PIN_PX / 2;
  const text = right ? label.x + PIN_PX + 4 : label.x - PIN_PX - 4;
  return (
    <g>
      <line
        x1={x}
        y1={y}
        x2={pin}
        y2={label.y}
        className={place.faint ? "stroke-edge" : "stroke-ink"}
        strokeWidth="1"
      />
      <circle
        cx={x}
        cy={y}
        r="3.5"
        className={place.faint ? "fill-card stroke-edge" : "fill-accent stroke-card"}
        strokeWidth="1.25"
      />
      <circle cx={pin} cy={label.y} r={PIN_PX / 2} className={place.faint ? "fill-card stroke-edge" : "fill-ink"} />
      <text
        x={pin}
        y={label.y + 3.5}
        textAnchor="middle"
        className={`text-[10px] font-semibold ${place.faint ? "fill-ink" : "fill-card"}`}
      >
        {place.number}
      </text>
      <text
        x={text}
        y={label.y + LINE_PX / 4}
        textAnchor={right ? "start" : "end"}
        paintOrder="stroke"
        strokeWidth="3"
        strokeLinejoin="round"
        className={`stroke-card text-[11px] ${place.faint ? "fill-soft" : "fill-ink font-medium"}`}
      >
        {name}
      </text>
    </g>
  );
}

function Land(): ReactNode {
  // A line of no length with round ends is a dot: thousands of them are one path.
  const path = useMemo(() => {
    let dots = "";
    land().forEach((is, at) => {
      if (is)
        dots += `M${(WORLD.x + ((at % COLUMNS) + 0.5) * STEP).toFixed(4)} ${(FROM_Y + (Math.floor(at / COLUMNS) + 0.5) * STEP).toFixed(4)}h0`;
    });
    return dots;
  }, []);
  return <path d={path} fill="none" className="stroke-edge/40" strokeLinecap="round" strokeWidth={STEP * 0.56} />;
}
