/** What a quote says, measure by measure: the same in the table and on cards. */

import type { ReactNode } from "react";
import { Badge } from "@/design/Status";
import { decimal, instant, kilograms, moment, percent, price, usd, words } from "@/design/format";
import { Icon, type IconName } from "@/design/icons";
import { scaleOf, type Scale } from "../scale";
import type { Outcome, Quote, QuoteSite, Range } from "../shapes";

const LABELS: Record<string, IconName> = { cheapest: "down", fastest: "bolt", safest: "shield", greenest: "leaf" };

export function Labels({ quote }: { quote: Quote }): ReactNode {
  return (
    <span className="flex flex-wrap gap-1">
      {quote.labels.map((one) => (
        <Badge key={one} tone="work" icon={LABELS[one]}>
          {words(one)}
        </Badge>
      ))}
    </span>
  );
}

export const costOf = ({ cost_usd: { p10, p50, p90 } }: Outcome): Range => ({
  p10: Number(p10),
  p50: Number(p50),
  p90: Number(p90),
});

export interface Scales {
  cost: Scale;
  finish: Scale;
}

export function scalesOf(quotes: readonly Quote[]): Scales {
  const all = quotes.flatMap((one) => one.outcome ?? []);
  const ends = (range: Range) => [range.p10, range.p90];
  return {
    cost: scaleOf(all.flatMap((one) => ends(costOf(one)))),
    finish: scaleOf(all.flatMap((one) => ends(one.finish_s))),
  };
}

export interface Fact {
  label: string;
  about?: string;
  show: (outcome: Outcome, askedAt: number) => ReactNode;
  /** Among the first that one wants to know: always in sight. */
  first?: boolean;
  /** Whether any of them has something to say. */
  has?: (outcome: Outcome) => boolean;
}

export const FACTS: readonly Fact[] = [
  { label: "Expected cost", first: true, about: "the mean", show: ({ expected_usd }) => usd(expected_usd) },
  { label: "Done about", first: true, show: ({ finish_s }, askedAt) => <When at={askedAt + finish_s.p50 * 1000} /> },
  {
    label: "Meets the deadline",
    first: true,
    has: ({ deadline_chance }) => deadline_chance !== null,
    show: ({ deadline_chance }) => <Chance share={deadline_chance} />,
  },
  {
    label: "Stays in the budget",
    first: true,
    has: ({ budget_chance }) => budget_chance !== null,
    show: ({ budget_chance }) => <Chance share={budget_chance} />,
  },
  {
    label: "Machines lost",
    about: "expected (chance of any)",
    show: ({ losses, loss_chance }) => (
      <>
        {decimal(losses)} <span className="text-soft">({percent(loss_chance)})</span>
      </>
    ),
  },
  { label: "Energy", show: ({ energy_kwh }) => <>{decimal(energy_kwh)} kWh</> },
  {
    label: "CO\u2082",
    about: "equivalent",
    show: ({ carbon_kg }) => (carbon_kg === null ? <span className="text-soft">not known</span> : kilograms(carbon_kg)),
  },
  {
    label: "Egress, storage",
    about: "in the cost",
    has: ({ egress_usd, storage_usd }) => Number(egress_usd) + Number(storage_usd) > 0,
    show: ({ egress_usd, storage_usd }) => (
      <>
        {usd(egress_usd)}, {usd(storage_usd)}
      </>
    ),
  },
];

function When({ at }: { at: number }): ReactNode {
  const date = new Date(at);
  return (
    <time dateTime={date.toISOString()} title={instant(date)}>
      {moment(date)}
    </time>
  );
}

function Chance({ share }: { share: number | null }): ReactNode {
  if (share === null) return <span className="text-soft">no limit</span>;
  const tone = share >= 0.9 ? "" : share >= 0.5 ? "text-warn" : "text-bad";
  return (
    <span className={`inline-flex items-center gap-1 ${tone}`}>
      {tone && <Icon name="warn" size={12} />}
      {percent(share)}
    </span>
  );
}

export function Pin({ number }: { number: number }): ReactNode {
  return (
    <span className="inline-flex size-4 shrink-0 items-center justify-center rounded-full bg-ink text-[10px] leading-none font-semibold text-card">
      <span className="sr-only">Site </span>
      {number}
    </span>
  );
}

export function Sites({
  sites,
  numbers,
}: {
  sites: readonly QuoteSite[];
  numbers: ReadonlyMap<string, number>;
}): ReactNode {
  return (
    <ul className="space-y-2">
      {sites.map((one, at) => (
        <li key={`${one.offer}/${at}`} className="text-xs">
          <span className="flex items-start gap-1 font-medium">
            <Pin number={numbers.get(one.site) ?? 0} /> <span className="min-w-0">{one.site}</span>
          </span>
          <span className="block">
            {one.accelerators} × {one.accelerator}, {words(one.market).toLowerCase()}
          </span>
          <span className="block text-soft">
            {one.nodes > 1 ? `${one.nodes} × ` : ""}
            {one.instance_type}, {price(one.usd_per_hour)}/h
          </span>
        </li>
      ))}
    </ul>
  );
}
