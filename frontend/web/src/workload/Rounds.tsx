/** Every exchange of the sites: how long it took, who brought what, what went over the wire. */

import { useVirtualizer } from "@tanstack/react-virtual";
import { useMemo, useRef, useState, type ReactNode } from "react";
import { Chart } from "@/design/chart-lazy";
import { CopyText } from "@/design/CopyText";
import { bytes, clock, count, decimal, duration, instant, NOTHING, percent, zone } from "@/design/format";
import { Card, Empty, Figure, Loading } from "@/design/Layout";
import { Drawer } from "@/design/Panel";
import { Status } from "@/design/Status";
import { roundLines } from "./curves";
import { roundFigures } from "./figures";
import { CELL, HEAD, HEAD_NUM, Moment, Wide } from "./parts";
import { isOver, type Contributor, type Round, type Workload } from "./types";

const ROW_PX = 34;
/** Merges take milliseconds, stalls of a slow link minutes. */
const brief = (seconds: number | null): string =>
  seconds !== null && seconds < 1 ? `${count(Math.round(seconds * 1000))} ms` : duration(seconds);
const COLUMNS =
  "grid grid-cols-[4.5rem_6.5rem_5.5rem_minmax(12rem,1fr)_6rem_6rem_5rem_5rem_4.5rem_5rem] items-center gap-x-3";

export function Rounds({
  workload,
  rounds,
  waiting,
}: {
  workload: Workload;
  rounds: readonly Round[];
  waiting: boolean;
}): ReactNode {
  const [looked, setLooked] = useState<number | null>(null);
  // An open round of a run that is over came to nothing.
  const shown = useMemo(
    () => rounds.filter((round) => round.closed_at !== null || !isOver(workload)).reverse(),
    [rounds, workload],
  );
  const chosen = shown.find((round) => round.version === looked) ?? null;

  if (shown.length === 0) {
    return waiting ? (
      <Loading lines={6} label="Rounds are on their way" />
    ) : (
      <Card>
        <Empty
          icon="runs"
          title="No round yet"
          about="The sites train on their own and meet once in some steps. Each meeting is a round, and shows here with what every site brought."
        />
      </Card>
    );
  }
  return (
    <div className="flex flex-col gap-3">
      <RoundCharts rounds={rounds} />
      <RoundTable rounds={shown} look={setLooked} />
      <Drawer
        open={chosen !== null}
        onOpenChange={(open) => !open && setLooked(null)}
        wide
        title={chosen ? `Round ${chosen.version}` : "Round"}
        about={chosen ? leadsTo(chosen) : undefined}
      >
        {chosen && <Details round={chosen} />}
      </Drawer>
    </div>
  );
}

const leadsTo = ({ version, closed_at }: Round): string =>
  closed_at
    ? `It led from version ${version} to version ${version + 1}.`
    : `It is open: it leads from version ${version} to the next.`;

function RoundCharts({ rounds }: { rounds: readonly Round[] }): ReactNode {
  const wire = useMemo(
    () =>
      roundLines(rounds, (round) => {
        const { bytesIn, bytesOut } = roundFigures(round);
        return [
          ["Handed in", bytesIn],
          ["Fetched", bytesOut],
        ];
      }),
    [rounds],
  );
  const stall = useMemo(() => roundLines(rounds, (round) => [["Longest stall", roundFigures(round).stallS]]), [rounds]);
  if (wire.xs.length < 2) return null;
  return (
    <div className="grid gap-3 md:grid-cols-2">
      <Card className="px-4 py-2">
        <h2 className="label-caps">Bytes of each round</h2>
        <Chart
          label="Bytes of each round"
          xs={wire.xs}
          lines={wire.lines}
          xIs="number"
          xLabel="Round"
          height={96}
          format={bytes}
        />
      </Card>
      <Card className="px-4 py-2">
        <h2 className="label-caps">Longest stall of a site in each round</h2>
        <Chart
          label="Longest stall of a site in each round"
          xs={stall.xs}
          lines={stall.lines}
          xIs="number"
          xLabel="Round"
          height={96}
          format={(value) => `${decimal(value)} s`}
        />
      </Card>
    </div>
  );
}

function RoundTable({ rounds, look }: { rounds: readonly Round[]; look: (version: number) => void }): ReactNode {
  const box = useRef<HTMLDivElement>(null);

  const rows = useVirtualizer({
    count: rounds.length,
    getScrollElement: () => box.current,
    estimateSize: () => ROW_PX,
    overscan: 8,
    getItemKey: (index) => (rounds[index] as Round).version,
  });
  return (
    <div className="rounded-lg border border-line bg-card">
      <div
        // It scrolls, so it can be reached by keyboard.

        ref={box}
        tabIndex={0}
        role="table"
        aria-label={`Rounds, newest first; times in ${zone()}`}
        aria-rowcount={rounds.length + 1}
        className="max-h-[28rem] overflow-auto -outline-offset-2"
      >
        <div className="min-w-[64rem]">
          <div role="rowgroup" className="sticky top-0 z-10 border-b border-line bg-card">
            <div role="row" aria-rowindex={1} className={`${COLUMNS} px-3 py-1.5 label-caps`}>
              {["Round", "Closed", "Took", "Contributors and shares"].map((name) => (
                <span key={name} role="columnheader">
                  {name}
                </span>
              ))}
              {["Handed in", "Fetched", "Stall", "Merge", "Codec", "Loss"].map((name) => (
                <span key={name} role="columnheader" className="num">
                  {name}
                </span>
              ))}
            </div>
          </div>
          <div role="rowgroup" className="relative" style={{ height: rows.getTotalSize() }}>
            {rows.getVirtualItems().map((item) => (
              <RoundRow
                key={item.key}
                round={rounds[item.index] as Round}
                at={item.start}
                index={item.index}
                look={look}
              />
            ))}
          </div>
        </div>
      </div>
    </div>
  );
}

function RoundRow({
  round,
  at,
  index,
  look,
}: {
  round: Round;
  at: number;
  index: number;
  look: (version: number) => void;
}): ReactNode {
  const { seconds, bytesIn, bytesOut, stallS, loss } = roundFigures(round);
  return (
    <div
      role="row"
      aria-rowindex={index + 2}
      className={`${COLUMNS} absolute inset-x-0 border-b border-line px-3 text-sm whitespace-nowrap tabular-nums hover:bg-hover`}
      style={{ height: ROW_PX, transform: `translateY(${at}px)` }}
    >
      <span role="cell">
        <button
          type="button"
          onClick={() => look(round.version)}
          className="min-h-6 font-medium text-accent after:absolute after:inset-0 hover:underline"
          aria-label={`Round ${round.version} in detail`}
        >
          {count(round.version)}
        </button>
      </span>
      <span role="cell">
        {round.closed_at ? (
          <Moment at={round.closed_at} show={clock} />
        ) : (
          <span className="text-accent-strong">open</span>
        )}
      </span>
      <span role="cell">{duration(seconds)}</span>
      <span role="cell" className="truncate" title={told(round.contributors)}>
        {told(round.contributors)}
      </span>
      <span role="cell" className="num">
        {bytesIn > 0 ? bytes(bytesIn) : NOTHING}
      </span>
      <span role="cell" className="num">
        {bytesOut > 0 ? bytes(bytesOut) : NOTHING}
      </span>
      <span role="cell" className="num">
        {brief(stallS)}
      </span>
      <span role="cell" className="num">
        {brief(round.merge_s)}
      </span>
      <span role="cell" className="num">
        {round.codec || NOTHING}
      </span>
      <span role="cell" className="num">
        {decimal(loss, 4)}
      </span>
    </div>
  );
}

function told(contributors: readonly Contributor[]): string {
  if (contributors.length === 0) return "nobody yet";
  return contributors
    .map((one) => `${one.site} ${one.status === "merged" ? percent(one.share) : one.status}`)
    .join(", ");
}

function Details({ round }: { round: Round }): ReactNode {
  const { seconds } = roundFigures(round);
  return (
    <>
      <dl className="mb-4 grid grid-cols-2 gap-x-6 gap-y-2 sm:grid-cols-4">
        <Figure label="Samples merged" value={count(round.samples)} />
        <Figure
          label="Took"
          value={duration(seconds)}
          about={round.closed_at ? `closed ${clock(round.closed_at)} ${zone()}` : "still open"}
        />
        <Figure
          label="Called"
          value={round.called_at ? clock(round.called_at) : NOTHING}
          about={
            round.called_at ? (
              <span title={instant(round.called_at)}>the first site had handed in</span>
            ) : (
              "nobody has handed in"
            )
          }
        />
        <Figure
          label="Update"
          value={round.update_bytes > 0 ? bytes(round.update_bytes) : NOTHING}
          about={round.codec || undefined}
        />
      </dl>
      {round.contributors.length === 0 ? (
        <p className="text-sm text-soft">Nobody has handed in yet.</p>
      ) : (
        <Contributors round={round} />
      )}
      {round.fingerprint && (
        <dl className="mt-4 grid grid-cols-[auto_1fr] items-center gap-x-3 gap-y-1.5 text-sm">
          <dt className="text-soft">Parameters after it</dt>
          <dd>
            <CopyText text={round.fingerprint} shown={round.fingerprint.slice(0, 16)} label="Copy the fingerprint" />
          </dd>
          <dt className="text-soft">Update</dt>
          <dd>
            <CopyText
              text={round.update_sha256}
              shown={round.update_sha256.slice(0, 16)}
              label="Copy the SHA-256 of the update"
            />
          </dd>
        </dl>
      )}
    </>
  );
}

const NUMBERS: readonly [string, (one: Contributor) => string, string?][] = [
  ["Samples", (one) => count(one.samples)],
  ["Steps", (one) => count(one.steps)],
  ["Loss", (one) => decimal(one.loss, 4)],
  ["Share", (one) => percent(one.share, 1)],
  ["Norm", (one) => decimal(one.norm, 4), "How far it moved the parameters"],
  ["Cosine", (one) => decimal(one.cosine, 3), "With the mean of the others"],
  ["Size", (one) => bytes(one.size_bytes)],
  ["Train", (one) => duration(one.train_s)],
  ["Stall", (one) => brief(one.stall_s), "Of that, without a step"],
  ["Put", (one) => brief(one.put_s), "To send it"],
  ["Fetch", (one) => brief(one.fetch_s), "Of the update before"],
];

function Contributors({ round }: { round: Round }): ReactNode {
  return (
    <Wide label="What each site handed in">
      <table className="w-full text-sm">
        <caption className="sr-only">What each site handed in</caption>
        <thead className="border-b border-line">
          <tr>
            <th scope="col" className={HEAD}>
              Site
            </th>
            <th scope="col" className={HEAD}>
              Status
            </th>
            {NUMBERS.map(([name, , about]) => (
              <th key={name} scope="col" className={HEAD_NUM} title={about}>
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {round.contributors.map((one) => (
            <tr key={`${one.placement} ${one.received_at}`} className="border-b border-line last:border-0">
              <th scope="row" className={`${CELL} text-left font-normal`}>
                {one.site}
                {one.why && <span className="block text-xs whitespace-normal text-soft">{one.why}</span>}
              </th>
              <td className={CELL}>
                <Status state={one.status} title={one.why} />
              </td>
              {NUMBERS.map(([name, show]) => (
                <td key={name} className={`${CELL} num`}>
                  {show(one)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
