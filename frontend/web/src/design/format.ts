/** Numbers as people read them: with unit, currency and time zone, never longer than they need to be. */

const LOCALE = "en-US";

const cache = new Map<string, Intl.NumberFormat>();

function numbers(least: number, most: number): Intl.NumberFormat {
  const key = `${least}/${most}`;
  let found = cache.get(key);
  if (!found) {
    found = new Intl.NumberFormat(LOCALE, { minimumFractionDigits: least, maximumFractionDigits: most });
    cache.set(key, found);
  }
  return found;
}

export const NOTHING = "–";

type Maybe<T> = T | null | undefined;

/** USD with the digits that matter: $0.0042, $0.42, $42.00, $4,200. The broker sends decimal strings. */
export function usd(value: Maybe<string | number>): string {
  if (value === null || value === undefined || value === "") return NOTHING;
  const amount = Number(value);
  const size = Math.abs(amount);
  const digits = size >= 1 ? 2 : size >= 0.01 ? 3 : size >= 0.0001 ? 4 : 6;
  return `${amount < 0 ? "−" : ""}$${numbers(2, digits).format(size)}`;
}

/** A price per hour: always three decimals below ten, so that a column of them lines up. */
export function price(value: Maybe<string | number>): string {
  if (value === null || value === undefined) return NOTHING;
  const amount = Number(value);
  return `$${amount < 10 ? numbers(3, 3).format(amount) : numbers(2, 2).format(amount)}`;
}

export function count(value: Maybe<number>): string {
  return value === null || value === undefined ? NOTHING : numbers(0, 0).format(value);
}

/** Four digits at most: 1.25, 12.5, 125, 1,250. */
export function decimal(value: Maybe<number>, digits = 2): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return NOTHING;
  const size = Math.abs(value);
  return numbers(0, size >= 100 ? 0 : size >= 10 ? Math.min(1, digits) : digits).format(value);
}

export function percent(share: Maybe<number>, digits = 0): string {
  if (share === null || share === undefined) return NOTHING;
  if (digits === 0 && share > 0 && share < 0.005) return "<1 %"; // Little is not nothing.
  return `${numbers(0, digits).format(share * 100)} %`;
}

/** A mass, of carbon dioxide: grams where kilograms would be a string of zeros. */
export function kilograms(value: Maybe<number>): string {
  if (value === null || value === undefined) return NOTHING;
  return value !== 0 && value < 0.1 ? `${decimal(value * 1000)} g` : `${decimal(value)} kg`;
}

const BYTES = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

export function bytes(value: Maybe<number>): string {
  if (value === null || value === undefined) return NOTHING;
  let size = value;
  let unit = 0;
  while (size >= 1024 && unit < BYTES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? numbers(0, 0).format(size) : decimal(size, 1)} ${BYTES[unit]}`;
}

/** Seconds as 0.4 s, 12 s, 3 min 20 s, 5 h 12 min, 3 d 4 h. */
export function duration(seconds: Maybe<number>): string {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return NOTHING;
  if (seconds < 10) return `${decimal(Math.max(0, seconds), 1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return two(Math.floor(whole / 60), "min", whole % 60, "s");
  const minutes = Math.round(seconds / 60);
  if (minutes < 24 * 60) return two(Math.floor(minutes / 60), "h", minutes % 60, "min");
  const hours = Math.round(seconds / 3600);
  return two(Math.floor(hours / 24), "d", hours % 24, "h");
}

function two(large: number, unit: string, small: number, smaller: string): string {
  return small === 0 ? `${count(large)} ${unit}` : `${count(large)} ${unit} ${small} ${smaller}`;
}

/** Made when it is first needed, and kept: to make one takes milliseconds. */
function dates(options: Intl.DateTimeFormatOptions): () => Intl.DateTimeFormat {
  let made: Intl.DateTimeFormat | undefined;
  return () => (made ??= new Intl.DateTimeFormat("en-GB", options));
}

const ZONED = dates({
  year: "numeric",
  month: "short",
  day: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  timeZoneName: "short",
});
const CLOCK = dates({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const DAY = dates({ day: "numeric", month: "short" });
const SHORT = dates({ day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
const ZONE = dates({ timeZoneName: "short" });

/** With the zone: 26 Nov 2026, 14:03:22 CET. */
export const instant = (at: Maybe<string | Date>) => (at ? ZONED().format(new Date(at)) : NOTHING);
export const clock = (at: Maybe<string | Date>) => (at ? CLOCK().format(new Date(at)) : NOTHING);
export const day = (at: Maybe<string | Date>) => (at ? DAY().format(new Date(at)) : NOTHING);
export const moment = (at: Maybe<string | Date>) => (at ? SHORT().format(new Date(at)) : NOTHING);

/** The zone in which times are shown, such as CET or GMT+1. */
export function zone(): string {
  const part = ZONE().formatToParts(new Date());
  return part.find((one) => one.type === "timeZoneName")?.value ?? "local time";
}

/** How long ago: now, 40 s ago, 3 min ago, 2 h ago, 5 d ago. */
export function ago(at: Maybe<string>, now: number): string {
  if (!at) return "never";
  const seconds = Math.max(0, (now - Date.parse(at)) / 1000);
  if (seconds < 5) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s ago`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ago`;
  if (seconds < 86400) return `${Math.floor(seconds / 3600)} h ago`;
  return `${Math.floor(seconds / 86400)} d ago`;
}

/** on_demand -> On demand. */
export function words(name: Maybe<string>): string {
  if (!name) return NOTHING;
  return capital(name.replaceAll("_", " "));
}

export const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);

/** 1 site, 2 sites. */
export function plural(many: number, one: string, more = `${one}s`): string {
  return `${count(many)} ${many === 1 ? one : more}`;
}
