/** The broker's sentences, which are written for a command line, as a page says them. */

import { capital, duration, usd } from "@/design/format";

/** Amounts and times with the digits that matter. */
export function readable(text: string): string {
  return text
    .replace(/(\d+(?:\.\d+)?) to (\d+(?:\.\d+)?) USD/g, (_, low: string, high: string) => `${usd(low)} to ${usd(high)}`)
    .replace(/(\d+(?:\.\d+)?) USD/g, (_, amount: string) => usd(amount))
    .replace(/\b(\d+(?:\.\d+)?) s\b/g, (_, seconds: string) => duration(Number(seconds)))
    .replace("--samples and a speed", "the samples and a speed");
}

export function sentence(text: string): string {
  return `${capital(text)}${/[.!?]$/.test(text) ? "" : "."}`;
}
