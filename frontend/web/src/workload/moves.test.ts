import { describe, expect, it } from "vitest";
import { marksOf, namesOf, stateInWords, tell, timeline } from "./moves";
import type { Move, Node, Workload } from "./types";

const node = (lease: number, host: string): Node => ({
  lease,
  state: "held",
  host,
  address: null,
  accelerator: "CPU",
  accelerators: 1,
  market: "spot",
  usd_per_hour: "1",
  opened_at: null,
  closed_at: null,
  phase: "",
  usage: null,
});
const workload = {
  state: "running",
  end_reason: null,
  why: "",
  sites: [
    {
      placement: 1,
      site: "home/berlin",
      provider: "home",
      region: "home/berlin",
      state: "training",
      why: "",
      nodes: [node(11, "a"), node(12, "b")],
    },
    {
      placement: 2,
      site: "home/paris",
      provider: "home",
      region: "home/paris",
      state: "training",
      why: "",
      nodes: [node(21, "c")],
    },
  ],
} as unknown as Workload;
const names = namesOf(workload);
let next = 1;
const move = (
  subject: Move["subject"],
  subject_id: number,
  from: Move["from"],
  to: Move["to"],
  why = "",
  figures: Move["figures"] = null,
  minute = 0,
): Move => ({
  id: next++,
  at: `2026-11-26T12:${String(minute).padStart(2, "0")}:00Z`,
  subject,
  subject_id,
  from,
  to,
  why,
  figures,
});

describe("an event", () => {
  it.each([
    [move("lease", 11, "held", "lost", "the machine is gone"), "a was lost: the machine is gone"],
    [move("placement", 1, "training", "draining", "lost a machine: gone"), "home/berlin leaves: lost a machine: gone"],
    [
      move("placement", 1, "training", "training", "lost one of 2 machines, goes on with 1", {
        machines: 1,
        before: 2,
      }),
      "home/berlin: lost one of 2 machines, goes on with 1",
    ],
    [move("workload", 9, "running", "running", "stay", { gain_usd: 0 }), "Looked again at where it runs: it stays"],
    [move("workload", 9, "placing", "starting", "on 1 x CPU at home/berlin"), "Placed: on 1 x CPU at home/berlin"],
    [move("lease", 99, "requested", "booting"), "lease 99 was rented and boots"],
    [
      move("workload", 9, "running", "running", "the script at home/berlin ends the run early: enough"),
      "The script at home/berlin ends the run early: enough",
    ],
    [move("placement", 1, "training", "hibernating" as Move["to"]), "home/berlin is hibernating"],
  ])("is told in plain words", (given, text) => expect(tell(given, names).text).toBe(text));
});

describe("marks", () => {
  const events = [
    move("placement", 1, "joining", "training"),
    move("workload", 9, "starting", "running"),
    move("workload", 9, "running", "running", "stay", {}),
    move("lease", 11, "held", "held", "aws recommends to leave this machine"),
    move("lease", 11, "held", "lost", "gone"),
    move("placement", 1, "training", "draining", "lost a machine: gone"),
    move("placement", 2, "joining", "training"),
    move("workload", 9, "running", "running", "move from a to b, 3 USD less to finish", {}),
    move("workload", 9, "running", "stopping", "asked"),
    move("placement", 2, "training", "draining", "the workload stops: asked"),
  ];
  it("are what bends the curves, and no step of the usual way", () =>
    expect(marksOf(events, names).map((mark) => [mark.text, mark.tone])).toEqual([
      ["a: aws recommends to leave this machine", "warn"],
      ["home/berlin leaves: lost a machine: gone", "bad"],
      ["home/paris joins", "good"],
      ["Decided: move from a to b, 3 USD less to finish", "warn"],
      ["It stops: asked", "warn"],
    ]));
});

describe("the timeline", () => {
  const events = [
    move("lease", 11, "requested", "booting"),
    move("lease", 21, "requested", "booting"),
    move("lease", 11, "booting", "held"),
    move("placement", 1, "leasing", "joining"),
    move("placement", 1, "joining", "training"),
    move("round", 1, "open", "closed", "", null, 1),
    move("round", 2, "open", "closed", "", null, 2),
    move("workload", 9, "running", "running", "stay", {}, 3),
    move("workload", 9, "running", "running", "stay", {}, 4),
    move("lease", 11, "held", "lost", "gone", null, 5),
    move("placement", 1, "training", "draining", "lost a machine: gone", null, 5),
    move("placement", 1, "draining", "closed", "lost a machine: gone", null, 6),
  ];
  it("tells the coming and going of a site as one, newest first", () =>
    expect(timeline(events, names, "all").map((entry) => [entry.text, entry.moves.length])).toEqual([
      ["home/berlin leaves: lost a machine: gone", 3],
      ["Looked 2 times at where it runs: it stays", 2],
      ["2 rounds were merged", 2],
      ["c was rented and boots", 1],
      ["home/berlin trains", 4],
    ]));
  it("can be of moves alone, or of decisions", () =>
    expect([timeline(events, names, "moves").length, timeline(events, names, "decisions").length]).toEqual([3, 1]));
  it("does not take what came an hour later for the same", () => {
    const far = [
      move("lease", 11, "requested", "booting"),
      { ...move("lease", 11, "booting", "held"), at: "2026-11-26T13:30:00Z" },
    ];
    expect(timeline(far, names, "all").length).toBe(2);
  });
});

describe("the state", () => {
  it("says where it trains", () => expect(stateInWords(workload)).toBe("Trains at home/berlin and home/paris."));
  it("says how it ended and why", () =>
    expect(
      stateInWords({
        ...workload,
        state: "failed",
        end_reason: "script_error",
        why: "home/berlin: train_gpt.py: no module named x",
      }),
    ).toBe("The script failed: home/berlin: train_gpt.py: no module named x"));
});
