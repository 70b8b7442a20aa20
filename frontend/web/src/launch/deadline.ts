/** A deadline as hours from now or as a moment in the local zone: each shown as the other. */

const HOUR_MS = 3_600_000;

const two = (value: number) => String(value).padStart(2, "0");

/** As <input type="datetime-local"> has it, in the local zone: 2026-11-27T18:00. */
export function toLocal(at: Date): string {
  return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}T${two(at.getHours())}:${two(at.getMinutes())}`;
}

/** The instant of a local date and time, null for none. In the hour that a change of clocks skips or repeats: the first that is meant. */
export function fromLocal(text: string): Date | null {
  const [, year, month, day, hour, minute] = (/^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)/.exec(text) ?? []).map(Number);
  if (!year || !month || !day || hour === undefined || minute === undefined) return null;
  const at = new Date(year, month - 1, day, hour, minute);
  return at.getDate() === day && at.getMonth() === month - 1 ? at : null;
}

/** Hours that have really to pass, also across a change of clocks. */
export function hoursUntil(at: Date, now: number): number {
  return (at.getTime() - now) / HOUR_MS;
}

export function afterHours(hours: number, now: number): Date {
  return new Date(now + hours * HOUR_MS);
}

/** Hours with as many digits as a deadline needs, never rounded up past the moment. */
export function shortHours(hours: number): number {
  return hours >= 10 ? Math.floor(hours * 100) / 100 : Math.floor(hours * 1000) / 1000;
}
