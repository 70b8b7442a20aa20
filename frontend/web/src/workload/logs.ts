/** Log lines as text: without the terminal's commands, searched, and written down. */

import type { LogLine } from "./types";

const ESC = "\\u001b";
// Colours and cursor moves, titles of windows, and other bytes that a page cannot show. Tabs stay.
const COMMANDS = new RegExp(
  `${ESC}\\[[0-?]*[ -/]*[@-~]|${ESC}\\][^\\u0007${ESC}]*(?:\\u0007|${ESC}\\\\)|${ESC}.|[\\u0000-\\u0008\\u000b-\\u001f\\u007f]`,
  "g",
);
const known = new WeakMap<LogLine, string>();

/** What a terminal would show of the line: of a bar that was drawn again and again, the last. */
export function plain(line: LogLine): string {
  let text = known.get(line);
  if (text === undefined) {
    text = line.text.includes("\r") ? (line.text.split("\r").findLast((part) => part.trim() !== "") ?? "") : line.text;
    text = text.replace(COMMANDS, "");
    known.set(line, text);
  }
  return text;
}

export interface LogFilter {
  site: string;
  stream: string;
}

export function filtered(lines: readonly LogLine[], { site, stream }: LogFilter): readonly LogLine[] {
  if (!site && !stream) return lines;
  return lines.filter((line) => (!site || line.site === site) && (!stream || line.stream === stream));
}

export interface Matcher {
  /** Null: nothing is looked for. */
  pattern: RegExp | null;
  /** What is wrong with it. */
  error: string | null;
}

/** Large and small letters are the same unless a large one is asked for. */
export function matcher(query: string, asRegex: boolean): Matcher {
  if (query === "") return { pattern: null, error: null };
  const flags = /\p{Lu}/u.test(asRegex ? query.replace(/\\./g, "") : query) ? "g" : "gi";
  try {
    return { pattern: new RegExp(asRegex ? query : query.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), flags), error: null };
  } catch {
    return { pattern: null, error: "That is no regular expression: look at its brackets and backslashes." };
  }
}

/** Indexes of the lines in which it is found. */
export function hits(lines: readonly LogLine[], pattern: RegExp | null): number[] {
  if (pattern === null) return [];
  const found: number[] = [];
  lines.forEach((line, index) => {
    // Unlike test(), this leaves the pattern as it was.
    if (plain(line).search(pattern) >= 0) found.push(index);
  });
  return found;
}

/** The text cut where it is found: every second part is a hit. */
export function parts(text: string, pattern: RegExp | null): string[] {
  if (pattern === null) return [text];
  const found: string[] = [];
  let from = 0;
  for (const hit of text.matchAll(pattern)) {
    if (hit[0] === "") continue;
    found.push(text.slice(from, hit.index), hit[0]);
    from = hit.index + hit[0].length;
  }
  found.push(text.slice(from));
  return found;
}

/** As it is copied and saved: time in UTC, where, and the text. */
export function written(line: LogLine): string {
  return `${line.at} ${line.site} ${line.host ?? "-"} ${line.stream} ${plain(line)}`;
}
