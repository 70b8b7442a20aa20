/** The machines in rows: state in words, price, earnings, and what can be done. */

import { useMutation, useQueryClient } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { useNow } from "@/app/clock";
import { complain, say } from "@/app/toasts";
import { Button } from "@/design/Button";
import { ago, instant, price, usd } from "@/design/format";
import { Card } from "@/design/Layout";
import { Status } from "@/design/Status";
import { hosts, offerAgain, renewToken, type Host } from "./api";
import { chips, meaning } from "./states";

interface TableProps {
  rows: readonly Host[];
  /** Whether the command with its token can still be shown. */
  keeps: (host: Host, now: number) => boolean;
  onOpen: (host: Host) => void;
  onReclaim: (host: Host) => void;
  onCommand: (host: Host) => void;
  onRenewed: (host: Host) => void;
}

const HEAD = "px-2 py-1.5 label-caps first:pl-4 last:pr-4";
const CELL = "px-2 py-2.5 align-top first:pl-4 last:pr-4";

export function HostTable({ rows, ...rest }: TableProps): ReactNode {
  return (
    <Card>
      <table className="w-full text-sm">
        <caption className="sr-only">Your machines</caption>
        <thead className="max-lg:sr-only">
          <tr className="border-b border-line text-left">
            <th scope="col" className={HEAD}>
              Machine
            </th>
            <th scope="col" className={`${HEAD} max-lg:hidden`}>
              State
            </th>
            <th scope="col" className={`${HEAD} num max-lg:hidden`}>
              USD per hour
            </th>
            <th scope="col" className={`${HEAD} num max-lg:hidden`} title="Every full hour, and when a rental ends">
              Booked
            </th>
            <th scope="col" className={`${HEAD} num max-xl:hidden`}>
              Last heard
            </th>
            <th scope="col" className={`${HEAD} max-lg:hidden`}>
              <span className="sr-only">What can be done</span>
            </th>
          </tr>
        </thead>
        <tbody className="divide-y divide-line">
          {rows.map((host) => (
            <Row key={host.id} host={host} {...rest} />
          ))}
        </tbody>
      </table>
    </Card>
  );
}

function Row({ host, onOpen, ...rest }: Omit<TableProps, "rows"> & { host: Host }): ReactNode {
  const now = useNow();
  const heard = host.seen_at ? (
    <time dateTime={host.seen_at} title={instant(host.seen_at)}>
      {ago(host.seen_at, now)}
    </time>
  ) : (
    "never"
  );
  const state = (
    <>
      <Status state={host.state} />
      <p className="mt-1 max-w-72 text-xs text-soft">{meaning(host, now)}</p>
    </>
  );
  const hardware = chips(host);
  return (
    <tr>
      <td className={CELL}>
        <button
          type="button"
          onClick={() => onOpen(host)}
          className="min-h-6 text-left font-medium text-accent underline-offset-3 hover:underline"
        >
          {host.name}
        </button>
        <div>{hardware ?? <span className="text-soft">hardware not known yet</span>}</div>
        <div className="text-xs text-soft">
          {host.region}
          {host.country && `, ${host.country}`}
        </div>
        <div className="mt-2 space-y-2 lg:hidden">
          {state}
          <div className="text-xs text-soft">
            {price(host.usd_per_hour)} per hour, booked {usd(host.earned_usd)}, heard {heard}
          </div>
          <Deeds host={host} {...rest} />
        </div>
      </td>
      <td className={`${CELL} max-lg:hidden`}>{state}</td>
      <td className={`${CELL} num max-lg:hidden`}>{price(host.usd_per_hour)}</td>
      <td className={`${CELL} num max-lg:hidden`}>{usd(host.earned_usd)}</td>
      <td className={`${CELL} num whitespace-nowrap max-xl:hidden`}>{heard}</td>
      <td className={`${CELL} max-lg:hidden`}>
        <div className="flex justify-end">
          <Deeds host={host} {...rest} />
        </div>
      </td>
    </tr>
  );
}

type DeedsProps = Omit<TableProps, "rows" | "onOpen"> & { host: Host };

function Deeds({ host, keeps, onReclaim, onCommand, onRenewed }: DeedsProps): ReactNode {
  const client = useQueryClient();
  const now = useNow();
  const again = useMutation({
    mutationFn: () => offerAgain(host.id),
    onSuccess: () => say(`${host.name} is offered again.`),
    onError: complain,
    onSettled: () => client.invalidateQueries({ queryKey: hosts.queryKey }),
  });
  const renew = useMutation({ mutationFn: () => renewToken(host.id), onSuccess: onRenewed, onError: complain });
  const offer = (text: string) => (
    <Button size="sm" busy={again.isPending} aria-label={`${text}: ${host.name}`} onClick={() => again.mutate()}>
      {text}
    </Button>
  );
  const take = (text: string) => (
    <Button size="sm" aria-label={`${text}: ${host.name}`} onClick={() => onReclaim(host)}>
      {text}
    </Button>
  );
  if (host.state === "new")
    return keeps(host, now) ? (
      <Button size="sm" aria-label={`Show the command: ${host.name}`} onClick={() => onCommand(host)}>
        Show the command
      </Button>
    ) : (
      <Button size="sm" busy={renew.isPending} aria-label={`New command: ${host.name}`} onClick={() => renew.mutate()}>
        New command
      </Button>
    );
  if (host.reclaim_at === null) return take("Reclaim");
  if (host.state === "reclaiming")
    return (
      <span className="flex flex-wrap gap-1">
        {take("Sooner")}
        {offer("Keep it offered")}
      </span>
    );
  return offer("Offer again");
}
