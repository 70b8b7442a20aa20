/** Our icons: 16 px, one stroke, in the colour of the text. They never stand alone without a name. */

import type { ReactNode } from "react";

const PATHS = {
  offers: "M2 4h12M2 8h12M2 12h7",
  launch: "M3 13c1-4 3-8 10-10-1 7-5 9-9 10zM9.5 6.5v0M3 10l-1 1M6 13l-1 1",
  runs: "M2 13l4-5 3 2 5-7",
  hosts: "M2.5 3h11v4h-11zM2.5 9h11v4h-11zM5 5v0M5 11v0",
  account: "M8 8a3 3 0 100-6 3 3 0 000 6zM2.5 14c.6-3 2.6-4.5 5.5-4.5s4.9 1.500 5.5 4.500",
  search: "M7 12A5 5 0 107 2a5 5 0 000 10zM11 11l3 3",
  close: "M3.500 3.500l9 9M12.500 3.500l-9 9",
  check: "M3 8.500l3.500 3.500L13 4.500",
  up: "M8 13V3M4 7l4-4 4 4",
  down: "M8 3v10M4 9l4 4 4-4",
  left: "M10 3L5 8l5 5",
  right: "M6 3l5 5-5 5",
  open: "M4 6l4 4 4-4",
  plus: "M8 3v10M3 8h10",
  minus: "M3 8h10",
  play: "M4.500 3v10l8-5z",
  stop: "M4 4h8v8H4z",
  download: "M8 2v8M4.500 7L8 10.500 11.500 7M2.500 13.500h11",
  upload: "M8 11V3M4.500 6L8 2.500 11.500 6M2.500 13.500h11",
  copy: "M5.500 5.500h8v8h-8zM10.500 5.500v-3h-8v8h3",
  warn: "M8 2l6.500 11.500h-13zM8 6.500v3M8 11.700v0",
  wrong: "M8 14A6 6 0 108 2a6 6 0 000 12zM6 6l4 4M10 6l-4 4",
  info: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 7.500v3.500M8 5v0",
  clock: "M8 14A6 6 0 108 2a6 6 0 000 12zM8 4.500V8l2.500 1.500",
  leaf: "M3 13c0-7 4-10 10-10 0 6-2 9-7 9-1 0-2-.3-2.500-.7M3 13c1-3 3-5 6-6.500",
  bolt: "M9 1.500L3.500 9H8l-1 5.500L12.500 7H8z",
  shield: "M8 1.500l5.500 2v4c0 3.500-2 5.700-5.500 7-3.500-1.300-5.500-3.500-5.500-7v-4z",
  sun: "M8 11a3 3 0 100-6 3 3 0 000 6zM8 1v1.500M8 13.500V15M1 8h1.500M13.500 8H15M3 3l1 1M12 12l1 1M13 3l-1 1M4 12l-1 1",
  moon: "M13.500 9.500A6 6 0 016.500 2.500a6 6 0 107 7z",
  screen: "M2 3h12v8H2zM6 14h4M8 11v3",
  filter: "M2 3.500h12L9.500 9v4l-3 1V9z",
  columns: "M2.500 3h11v10h-11zM6.200 3v10M9.800 3v10",
  pin: "M8 14s4.500-4.300 4.500-7.500a4.500 4.500 0 00-9 0C3.500 9.700 8 14 8 14zM8 6.500v0",
  more: "M3 8v0M8 8v0M13 8v0",
  key: "M5.500 11a3 3 0 100-6 3 3 0 000 6zM8.500 8H14v2.500M11.500 8v2",
  team: "M6 7.500a2.500 2.500 0 100-5 2.500 2.500 0 000 5zM1.500 13.500c.4-2.700 2-4 4.500-4s4.100 1.300 4.500 4M11 3a2.300 2.300 0 010 4.500M12 9.700c1.500.4 2.300 1.700 2.500 3.800",
  out: "M9.500 2.500h-6v11h6M6.500 8H14M11.500 5.500L14 8l-2.500 2.500",
  file: "M3.500 1.500h6l3 3v10h-9zM9.500 1.500v3h3",
  pulse: "M1.500 8h3l2-5 3 10 2-5h3",
  dot: "M8 11a3 3 0 100-6 3 3 0 000 6z",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({
  name,
  size = 16,
  className = "",
}: {
  name: IconName;
  size?: number;
  className?: string;
}): ReactNode {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.500"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
      className={`shrink-0 ${className}`}
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
