import { describe, expect, it } from "vitest";
import { filtered, hits, matcher, parts, plain, written } from "./logs";
import type { LogLine } from "./types";

const line = (text: string, more: Partial<LogLine> = {}): LogLine => ({
  id: 1,
  at: "2026-11-26T12:00:00Z",
  site: "home/berlin",
  host: "a",
  stream: "stdout",
  text,
  ...more,
});

describe("a line", () => {
  it.each([
    ["\u001b[1;31mred\u001b[0m and not", "red and not"],
    ["\u001b]0;title\u0007prompt", "prompt"],
    ["\u001b[2K\rstep 1\rstep 2", "step 2"],
    ["step 2\r", "step 2"],
    ["a\tb\u0000c", "a\tbc"],
    ["[0m is no command", "[0m is no command"],
  ])("is what a terminal shows: %j", (text, shown) => expect(plain(line(text))).toBe(shown));

  it("is written down with its time and place", () =>
    expect(written(line("\u001b[1mhi"))).toBe("2026-11-26T12:00:00Z home/berlin a stdout hi"));
});

describe("a search", () => {
  const lines = [line("Loss 2.5"), line("loss (nan)"), line("nothing")];
  it("takes small letters for both", () => expect(hits(lines, matcher("loss", false).pattern)).toEqual([0, 1]));
  it("takes a large letter at its word", () => expect(hits(lines, matcher("Loss", false).pattern)).toEqual([0]));
  it("takes signs at their word", () => expect(hits(lines, matcher("(nan)", false).pattern)).toEqual([1]));
  it("takes an expression", () => expect(hits(lines, matcher("loss \\d|^not", true).pattern)).toEqual([0, 2]));
  it("leaves its pattern as it was for those who mark the hits", () => {
    const { pattern } = matcher("loss", false);
    hits([line("much text before the loss")], pattern);
    expect(parts("loss", pattern)).toEqual(["", "loss", ""]);
  });
  it("says what is wrong with one", () => expect(matcher("(", true).error).toContain("brackets"));
  it("for nothing finds nothing", () => expect(hits(lines, matcher("", false).pattern)).toEqual([]));
  it("cuts the text at its hits", () =>
    expect(parts("a loss, a Loss", matcher("loss", false).pattern)).toEqual(["a ", "loss", ", a ", "Loss", ""]));
  it("does not hang on what is empty", () => expect(parts("ab", matcher("x*", true).pattern)).toEqual(["ab"]));
});

it("keeps the lines of a site and a stream", () => {
  const lines = [line("1"), line("2", { stream: "stderr" }), line("3", { site: "home/paris" })];
  expect([
    filtered(lines, { site: "home/berlin", stream: "" }).length,
    filtered(lines, { site: "home/berlin", stream: "stderr" }).length,
    filtered(lines, { site: "", stream: "" }) === lines,
  ]).toEqual([2, 1, true]);
});
