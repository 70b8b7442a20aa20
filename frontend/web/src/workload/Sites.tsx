/** Sites and their machines: where, how they fare, what they bring to the rounds, what they cost. */

import { useMemo, type ReactNode } from "react";
import { Button } from "@/design/Button";
import { decimal, NOTHING, percent, plural, price, words, zone } from "@/design/format";
import { Card, Empty } from "@/design/Layout";
import { Badge, Status } from "@/design/Status";
import { SitesMap } from "./SitesMap";
import { siteFigures, utilisation, type SiteFigures } from "./figures";
import { CELL, HEAD, HEAD_NUM, Moment, Wide } from "./parts";
import { isDead, isOver, type Node, type Round, type Site, type Workload } from "./types";

interface SitesProps {
  workload: Workload;
  rounds: readonly Round[];
}

function useFigures(sites: readonly Site[], rounds: readonly Round[]): Map<number, SiteFigures> {
  return useMemo(() => new Map(sites.map((site) => [site.placement, siteFigures(site, rounds)])), [sites, rounds]);
}

const isClosed = (site: Site): boolean => site.state === "closed";

/** Beside the curves: a line for each site that is there. */
export function SitesAtAGlance({ workload, rounds, showAll }: SitesProps & { showAll: () => void }): ReactNode {
  const figures = useFigures(workload.sites, rounds);
  const open = workload.sites.filter((site) => !isClosed(site));
  const closed = workload.sites.length - open.length;
  return (
    <Card
      title="Sites"
      className="grow"
      aside={
        <Button size="sm" kind="quiet" onClick={showAll}>
          All
        </Button>
      }
    >
      {open.length === 0 ? (
        <p className="px-4 py-3 text-sm text-soft">
          {isOver(workload)
            ? `It has ended; ${plural(closed, "site")} took part.`
            : `No site yet: machines for ${plural(workload.sites_wanted, "site")} are looked for.`}
        </p>
      ) : (
        <ul>
          {open.map((site) => (
            <li key={site.placement} className="border-b border-line px-4 py-2 last:border-0">
              <div className="flex items-center justify-between gap-2">
                <span className="min-w-0 truncate text-sm font-medium" title={site.site}>
                  {site.site}
                </span>
                <Status state={site.state} title={site.why} />
              </div>
              <div className="text-xs text-soft tabular-nums">{inShort(site, figures.get(site.placement))}</div>
            </li>
          ))}
        </ul>
      )}
      {open.length > 0 && closed > 0 && (
        <p className="border-t border-line px-4 py-2 text-xs text-soft">{plural(closed, "site")} before, closed.</p>
      )}
      <SitesMap sites={workload.sites} />
    </Card>
  );
}

function inShort(site: Site, figures: SiteFigures | undefined): string {
  const machines = site.nodes.filter((node) => !isDead(node));
  const told = [chipsOf(machines.length > 0 ? machines : site.nodes)];
  if (figures?.samplesPerS != null) told.push(`${decimal(figures.samplesPerS)} samples/s`);
  if (figures?.utilisation != null) told.push(`${percent(figures.utilisation)} busy`);
  return told.join(" · ");
}

function chipsOf(nodes: readonly Node[]): string {
  const chips = nodes.reduce((all, node) => all + node.accelerators, 0);
  return nodes[0] ? `${chips} x ${nodes[0].accelerator}` : "no machines";
}

export function Sites({ workload, rounds }: SitesProps): ReactNode {
  const figures = useFigures(workload.sites, rounds);
  const newest = [...workload.sites].reverse();
  const open = newest.filter((site) => !isClosed(site));
  const closed = newest.filter(isClosed);
  if (newest.length === 0) {
    return (
      <Card>
        <Empty
          icon="hosts"
          title="No site yet"
          about="Machines are looked for. Each site shows here with its machines as soon as they are leased."
        />
      </Card>
    );
  }
  return (
    <div className="flex flex-col gap-3">
      {open.map((site) => (
        <OneSite key={site.placement} site={site} figures={figures.get(site.placement)} />
      ))}
      {closed.length > 0 && (
        <details open={open.length === 0} className="rounded-lg border border-line bg-card">
          <summary className="min-h-9 px-4 py-2 text-sm font-medium">{plural(closed.length, "closed site")}</summary>
          <div className="flex flex-col gap-3 border-t border-line p-3">
            {closed.map((site) => (
              <OneSite key={site.placement} site={site} figures={figures.get(site.placement)} />
            ))}
          </div>
        </details>
      )}
    </div>
  );
}

function OneSite({ site, figures }: { site: Site; figures: SiteFigures | undefined }): ReactNode {
  const alive = site.nodes.filter((node) => !isDead(node));
  const dead = site.nodes.filter(isDead);
  return (
    <Card
      title={
        <>
          {site.site} {site.country && <span className="font-normal text-soft">{site.country}</span>}
        </>
      }
      aside={<Status state={site.state} />}
    >
      <div className="px-4 py-3">
        {site.why && <p className="mb-2 text-sm text-soft">{site.why}</p>}
        {!isClosed(site) && figures && <Figures figures={figures} />}
        {alive.length > 0 && <Nodes nodes={alive} label={`Machines of ${site.site}`} />}
        {dead.length > 0 && (
          <details open={alive.length === 0} className="mt-2">
            <summary className="min-h-6 text-sm text-soft">
              {plural(dead.length, "machine")} that {dead.length === 1 ? "is" : "are"} gone
            </summary>
            <Nodes nodes={dead} label={`Machines that ${site.site} had`} />
          </details>
        )}
      </div>
    </Card>
  );
}

function Figures({ figures }: { figures: SiteFigures }): ReactNode {
  const rows: [string, string, string][] = [
    ["Throughput", decimal(figures.samplesPerS), "samples/s"],
    ["Busy", percent(figures.utilisation), ""],
    ["Loss", decimal(figures.loss, 4), ""],
    ["Share of the last rounds", percent(figures.share), ""],
    ["Stalled", percent(figures.stall, 1), "of its time"],
  ];
  return (
    <dl className="mb-3 grid grid-cols-2 gap-x-6 gap-y-2 sm:grid-cols-3 lg:grid-cols-5">
      {rows.map(([label, value, unit]) => (
        <div key={label}>
          <dt className="label-caps">{label}</dt>
          <dd className="text-sm font-semibold tabular-nums">
            {value} {value !== NOTHING && unit && <span className="text-xs font-normal text-soft">{unit}</span>}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function Nodes({ nodes, label }: { nodes: readonly Node[]; label: string }): ReactNode {
  return (
    <Wide label={label}>
      <table className="w-full text-sm">
        <caption className="sr-only">
          {label}. Times in {zone()}.
        </caption>
        <thead className="border-b border-line">
          <tr>
            {["Machine", "State", "Phase", "Accelerators", "Market"].map((name) => (
              <th key={name} scope="col" className={HEAD}>
                {name}
              </th>
            ))}
            <th scope="col" className={HEAD_NUM}>
              Busy
            </th>
            <th scope="col" className={HEAD_NUM}>
              Per hour
            </th>
            <th scope="col" className={HEAD}>
              Rented
            </th>
            <th scope="col" className={HEAD}>
              Given back
            </th>
          </tr>
        </thead>
        <tbody>
          {nodes.map((node) => (
            <tr key={node.lease} className="border-b border-line last:border-0">
              <th scope="row" className={`${CELL} text-left font-normal`}>
                {node.host ?? `lease ${node.lease}`}
                {node.address && <span className="block text-xs text-soft">{node.address}</span>}
              </th>
              <td className={CELL}>
                <Status state={node.state} />
              </td>
              <td className={CELL}>
                {node.phase ? words(node.phase) : <span className="text-soft">not heard yet</span>}
              </td>
              <td className={CELL}>
                {node.accelerators} x {node.accelerator}
              </td>
              <td className={CELL}>
                <Badge>{words(node.market)}</Badge>
              </td>
              <td className={`${CELL} num`}>{isDead(node) ? NOTHING : percent(utilisation([node]))}</td>
              <td className={`${CELL} num`}>{price(node.usd_per_hour)}</td>
              <td className={CELL}>
                <Moment at={node.opened_at} />
              </td>
              <td className={CELL}>
                <Moment at={node.closed_at} />
              </td>
            </tr>
          ))}
        </tbody>
      </table>
    </Wide>
  );
}
